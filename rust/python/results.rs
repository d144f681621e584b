//! What a cursor holds between its operations: the stream of its last execution and how far it was read.
//!
//! Owns no lock; the cursor's guards it. Must not know: operations, loops.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::{Block, Error, Next, RowBatch, RowStream, Shared};

use super::factories::RowFactory;
use super::quick::Done;
use super::reports::Report;

/// What a cursor knows of its last execution.
pub struct State {
    /// `None`: nothing comes after `current`.
    pub rows: Option<Arc<RowStream>>,
    pub current: Option<(Arc<RowBatch>, usize)>,
    /// Rows that a cancelled fetch had taken: batch, next row, end. They come before `current`.
    pub taken_back: VecDeque<Piece>,
    /// A fetch that was sent before anybody asked.
    pub ahead: Option<Shared>,
    /// What is to be told of it when its rows have ended.
    pub report: Option<Box<Report>>,
    /// The transaction block that it ran in.
    pub block: Option<Arc<Block>>,
    pub columns: Option<Arc<[Box<str>]>>,
    /// For each column its converter, or None.
    pub converters: Option<Py<PyTuple>>,
    pub rowcount: i64,
    pub lastrowid: Option<i64>,
    pub arraysize: usize,
    pub chunk: usize,
    pub row_factory: RowFactory,
    /// Texts are str, whatever the connection's text factory.
    pub is_plain: bool,
    /// Its rows keep a connection from others, so to drop it with some is worth a word.
    pub holds_connection: bool,
    pub closed: bool,
}

/// Consecutive rows of one batch.
#[derive(Debug)]
pub struct Piece {
    pub batch: Arc<RowBatch>,
    pub next: usize,
    pub end: usize,
}

/// What a look for rows found.
pub enum Found<'a> {
    /// Consecutive rows of a batch.
    Rows(&'a Arc<RowBatch>, Range<usize>),
    /// The backend has to be asked.
    Nothing,
    End,
    Failed(Error),
}

impl State {
    /// Of a cursor that has executed nothing.
    pub const fn new(row_factory: RowFactory, chunk: usize) -> Self {
        Self {
            rows: None,
            current: None,
            taken_back: VecDeque::new(),
            ahead: None,
            report: None,
            block: None,
            columns: None,
            converters: None,
            rowcount: -1,
            lastrowid: None,
            arraysize: 1,
            chunk,
            row_factory,
            is_plain: false,
            holds_connection: false,
            closed: false,
        }
    }

    /// Starts an execution in a block. Returns the rows of the last one.
    pub fn begin(
        &mut self,
        rows: Option<Arc<RowStream>>,
        block: Option<Arc<Block>>,
    ) -> Option<Arc<RowStream>> {
        self.taken_back.clear();
        self.current = None;
        self.ahead = None;
        self.columns = None;
        self.rowcount = -1;
        self.block = block;
        std::mem::replace(&mut self.rows, rows)
    }

    /// Rows that are all there are, of an execution that has begun.
    pub fn fill(&mut self, (quick, batch): Done) {
        self.current = Some((batch, 0));
        self.columns = Some(quick.columns);
        self.lastrowid = Some(quick.lastrowid);
    }

    /// Ends it for good; what it did can still be asked (as sqlite3). Returns the rows that the backend has to end.
    pub fn close(&mut self) -> Option<Arc<RowStream>> {
        self.closed = true;
        let (columns, rowcount) = (self.columns.take(), self.rowcount);
        let rows = self.begin(None, None);
        (self.columns, self.rowcount) = (columns, rowcount);
        rows.filter(|rows| !rows.has_ended())
    }

    /// In a child: what a worker thread shared may be locked for ever.
    pub fn leave_to_parent(&mut self) {
        let shared = (self.rows.take(), self.ahead.take(), self.report.take());
        let fetched = (self.current.take(), std::mem::take(&mut self.taken_back));
        std::mem::forget((shared, fetched));
    }

    /// Takes the next rows that are there, at most `most` of them. As in sqlite3 the last one is held back until it is
    /// known whether another follows: when it is given, the statement has ended.
    pub fn take(&mut self, most: usize) -> Found<'_> {
        while let Some(piece) = self.taken_back.front()
            && piece.next == piece.end
        {
            self.taken_back.pop_front();
        }
        if !self.taken_back.is_empty() {
            let piece = &mut self.taken_back[0];
            let first = piece.next;
            piece.next = piece.end.min(first.saturating_add(most));
            return Found::Rows(&piece.batch, first..piece.next);
        }
        loop {
            if let Some((batch, next)) = &self.current {
                let (first, all) = (*next, batch.len());
                let mut end = all.min(first.saturating_add(most));
                let may_follow = |rows: &Arc<RowStream>| !rows.is_ready();
                if end == all && first < all && self.rows.as_ref().is_some_and(may_follow) {
                    end -= 1;
                    if first == end {
                        return Found::Nothing;
                    }
                }
                if first < end {
                    let (batch, next) = self.current.get_or_insert_default();
                    *next = end;
                    return Found::Rows(batch, first..end);
                }
            }
            let Some(rows) = &self.rows else {
                return Found::End;
            };
            match rows.next() {
                Next::Batch(batch) => self.current = Some((Arc::new(batch), 0)),
                Next::Empty => return Found::Nothing,
                Next::End => return Found::End,
                Next::Failed(error) => return Found::Failed(error),
            }
        }
    }

    pub fn available(&self) -> usize {
        let current = self.current.as_ref();
        let current = current.map_or(0, |(batch, index)| batch.len() - index);
        let taken_back: usize = self
            .taken_back
            .iter()
            .map(|piece| piece.end - piece.next)
            .sum();
        taken_back + current + self.rows.as_ref().map_or(0, |rows| rows.available())
    }
}

/// PEP 249's description of columns.
///
/// # Errors
/// Python's.
pub fn describe(
    py: Python<'_>,
    columns: Option<Arc<[Box<str>]>>,
) -> PyResult<Option<Bound<'_, PyTuple>>> {
    let Some(columns) = columns else {
        return Ok(None);
    };
    let describe = |name: &str| {
        PyTuple::new(
            py,
            std::iter::once(PyString::new(py, name).into_any())
                .chain((0..6).map(|_| py.None().into_bound(py)))
                .collect::<Vec<_>>(),
        )
    };
    let columns: PyResult<Vec<_>> = columns.iter().map(|name| describe(name)).collect();
    PyTuple::new(py, columns?).map(Some)
}
