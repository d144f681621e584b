//! Building: a list of rows under construction.
//!
//! Owns the rows that one await has taken so far. They are converted in slices, so that the loop is never held for
//! longer than about 0.2 ms. The list itself is made last, when its length is known: a list that grows to a million
//! places is copied again and again, for milliseconds each time.
//! Thread: the driving loop's.

use std::sync::Arc;
use std::time::Instant;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::RowStream;

use super::convert::RowMaker;
use super::cursor::{Cursor, Taken};
use super::ffi::NewList;
use super::results::Piece;
use super::statements::SLICE;
use super::work::Step;

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: usize = 32;
/// Rows in a chunk.
const CHUNK: usize = 1024;

/// A list of rows under construction.
pub struct Building {
    chunks: Vec<Vec<Py<PyAny>>>,
    length: usize,
    maker: RowMaker,
    /// Where its rows came from, to give them back if nobody gets the list.
    pieces: Vec<Piece>,
    source: Option<Arc<RowStream>>,
    list: Option<NewList>,
}

/// How far a list has come.
pub enum Built {
    Enough,
    /// The backend has to be asked for more.
    Nothing,
    /// There are no more.
    End,
    /// The time is up.
    Slice,
}

impl Building {
    pub fn new(py: Python<'_>, cursor: &Py<Cursor>) -> Self {
        Self {
            chunks: Vec::new(),
            length: 0,
            maker: Cursor::maker(cursor, py),
            pieces: Vec::new(),
            source: cursor.get().rows(),
            list: None,
        }
    }

    /// Converts rows that are there, until there are `size` of them.
    pub fn take(&mut self, py: Python<'_>, cursor: &Cursor, size: usize) -> PyResult<Built> {
        let started = Instant::now();
        let _pause = self.maker.pause_collector(py);
        while self.length < size {
            let most = ROWS_PER_LOOK.min(size - self.length);
            let taken = cursor.take(py, most, |batch, rows| Piece {
                batch: Arc::clone(batch),
                next: rows.start,
                end: rows.end,
            })?;
            let piece = match taken {
                Taken::Rows(piece) => piece,
                Taken::Nothing => return Ok(Built::Nothing),
                Taken::End => return Ok(Built::End),
            };
            let (batch, rows) = (Arc::clone(&piece.batch), piece.next..piece.end);
            self.note(piece);
            self.length += rows.len();
            let unfilled = self.chunks.pop_if(|last| last.len() < CHUNK);
            let mut chunk = unfilled.unwrap_or_default();
            for index in rows.clone() {
                match self.maker.make(py, &batch, index) {
                    Ok(row) => chunk.push(row),
                    Err(error) => {
                        // As in sqlite3 the rows after this one can still be fetched.
                        let rest = Piece {
                            batch,
                            next: index + 1,
                            end: rows.end,
                        };
                        cursor.take_back(vec![rest], self.source.as_ref());
                        return Err(error);
                    }
                }
            }
            self.chunks.push(chunk);
            if started.elapsed() > SLICE {
                return Ok(Built::Slice);
            }
        }
        Ok(Built::Enough)
    }

    /// Whether all rows were taken.
    pub const fn is_finishing(&self) -> bool {
        self.list.is_some()
    }

    /// Makes the list of all that were taken.
    pub fn finish(&mut self, py: Python<'_>) -> PyResult<Step> {
        let started = Instant::now();
        let mut list = if let Some(list) = self.list.take() {
            list
        } else {
            // The first is taken from the end first.
            self.chunks.reverse();
            NewList::new(py, self.length)?
        };
        while let Some(chunk) = self.chunks.pop() {
            chunk.into_iter().try_for_each(|row| list.push(py, row))?;
            if started.elapsed() > SLICE {
                self.list = Some(list);
                return Ok(Step::Yield);
            }
        }
        list.finish(py).map(|list| Step::Ready(list.into_any()))
    }

    fn note(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if Arc::ptr_eq(&last.batch, &piece.batch) && last.end == piece.next => {
                last.end = piece.end;
            }
            _ => self.pieces.push(piece),
        }
    }

    /// Nobody gets the list: the rows are the cursor's again.
    pub fn undo(self, cursor: &Cursor) {
        cursor.take_back(self.pieces, self.source.as_ref());
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A million of them are a long walk, which holds the loop.
        if !self.maker.makes_atoms() {
            let mut rows = self.chunks.iter().flatten();
            rows.try_for_each(|row| visit.call(row))?;
        }
        self.maker.traverse(visit)
    }
}
