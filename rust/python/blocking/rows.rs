//! Fetching: a cursor's rows as Python objects.
//!
//! Owns nothing. Rows that are there cost no command; the next ones are read in growing batches.
//! Thread: attached. Invariant: the cursor's lock is not held while an object is made, for that may be Python code.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::core::{Action, Amount};
use crate::python::convert::RowMaker;
use crate::python::exceptions;
use crate::python::ffi::NewList;
use crate::python::link::Link;
use crate::python::results::{Found, Piece};

use super::cursor::Cursor;
use super::quick;
use super::runner;
use super::signals;

/// Rows that are read at a time, at most.
const MOST_ROWS: usize = 1024;

/// What a look for rows came to.
enum Look {
    Rows(Piece),
    /// The statement has to go on.
    Nothing,
    End,
}

impl Cursor {
    fn look(&self, py: Python<'_>, most: usize) -> PyResult<Look> {
        let mut results = self.state();
        let error = match results.state.take(most) {
            Found::Rows(batch, rows) => {
                return Ok(Look::Rows(Piece {
                    batch: Arc::clone(batch),
                    next: rows.start,
                    end: rows.end,
                }));
            }
            Found::Nothing => return Ok(Look::Nothing),
            Found::End => None,
            Found::Failed(error) => Some(error),
        };
        let report = results.state.report.take();
        drop(results);
        let error = error.map(|error| exceptions::to_python(py, error));
        if let Some(report) = report {
            report.read(py, error.as_ref());
        }
        error.map_or(Ok(Look::End), Err)
    }

    /// Has the statement go on, to so many rows; to some, each time to more of them, if that does not take long.
    fn read_on(&self, py: Python<'_>, wanted: Option<usize>) -> PyResult<()> {
        let mut results = self.state();
        let state = &mut results.state;
        let amount = if let Some(wanted) = wanted {
            Amount::Exactly(wanted.min(MOST_ROWS))
        } else {
            state.chunk = state.chunk.saturating_mul(2).min(MOST_ROWS);
            Amount::Ahead(state.chunk)
        };
        let (Some(rows), Some(link)) = (state.rows.clone(), results.source.clone()) else {
            return Ok(());
        };
        drop(results);
        runner::run(py, &link, Action::Fetch { rows, amount })?;
        let report = self.state().state.report.take();
        if let Some(report) = report {
            self.state().state.report = report.went_on(py);
        }
        // Each command may be a short one, and there be no end of them.
        signals::check(py)
    }

    fn maker(slf: &Bound<'_, Self>, link: &Link) -> RowMaker {
        let py = slf.py();
        let texts = link.text_factory_of(py);
        let results = slf.get().state();
        let state = &results.state;
        RowMaker {
            cursor: slf.clone().into_any().unbind(),
            columns: state.columns.clone().unwrap_or_default(),
            converters: state.converters.as_ref().map(|of| of.clone_ref(py)),
            rows: state.row_factory.clone_ref(py),
            texts,
        }
    }

    fn next_row(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        if let Some(row) = quick::next_row(py, this)? {
            return Ok(Some(row));
        }
        let (_, link) = this.usable(py)?;
        let _taken = this.take(py)?;
        loop {
            match this.look(py, 1)? {
                Look::Rows(piece) => {
                    let maker = Self::maker(slf, &link);
                    return maker.make(py, &piece.batch, piece.next).map(Some);
                }
                Look::Nothing => this.read_on(py, None)?,
                Look::End => return Ok(None),
            }
        }
    }

    /// Rows until there are `size` of them, or no more.
    fn next_rows<'py>(slf: &Bound<'py, Self>, size: usize) -> PyResult<Bound<'py, PyList>> {
        let (py, this) = (slf.py(), slf.get());
        let (_, link) = this.usable(py)?;
        let _taken = this.take(py)?;
        let maker = Self::maker(slf, &link);
        // The list is made when its length is known: one that grows is copied again and again.
        let mut rows = Vec::new();
        while rows.len() < size {
            let wanted = size - rows.len();
            match this.look(py, wanted)? {
                Look::Rows(piece) => {
                    rows.reserve(piece.end - piece.next);
                    let _pause = maker.pause_collector(py);
                    for index in piece.next..piece.end {
                        match maker.make(py, &piece.batch, index) {
                            Ok(row) => rows.push(row),
                            Err(error) => {
                                // As in sqlite3 the rows after this one can still be fetched.
                                let next = index + 1;
                                let rest = Piece { next, ..piece };
                                this.state().state.taken_back.push_front(rest);
                                return Err(error);
                            }
                        }
                    }
                }
                Look::Nothing => this.read_on(py, Some(wanted))?,
                Look::End => break,
            }
        }
        let mut list = NewList::new(py, rows.len())?;
        rows.into_iter().try_for_each(|row| list.push(py, row))?;
        Ok(list.finish(py)?.into_bound(py))
    }
}

#[pymethods]
impl Cursor {
    fn fetchone(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        Self::next_row(slf)
    }

    #[pyo3(signature = (size=None))]
    fn fetchmany<'py>(slf: &Bound<'py, Self>, size: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        let size = size.map_or_else(
            || slf.get().state().state.arraysize,
            |size| usize::try_from(size).unwrap_or(usize::MAX),
        );
        Self::next_rows(slf, size)
    }

    fn fetchall<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        Self::next_rows(slf, usize::MAX)
    }

    const fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        Self::next_row(slf)
    }
}
