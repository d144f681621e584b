//! Fetching: a cursor's rows as Python objects.
//!
//! Owns nothing. Rows that are there cost no command; the next ones are read in growing batches.
//! Thread: attached. Invariant: the cursor's lock is not held while an object is made, for that may be Python code.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::core::{Action, Amount, RowBatch};
use crate::python::convert::RowMaker;
use crate::python::exceptions;
use crate::python::link::Link;
use crate::python::results::{Found, Piece};

use super::cursor::Cursor;
use super::runner;

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
            Found::End => return Ok(Look::End),
            Found::Failed(error) => error,
        };
        drop(results);
        Err(exceptions::to_python(py, error))
    }

    /// Has the statement go on. Each time it reads more rows.
    fn read_on(&self, py: Python<'_>) -> PyResult<()> {
        let mut results = self.state();
        let state = &mut results.state;
        let amount = Amount::Exactly(state.chunk);
        state.chunk = state.chunk.saturating_mul(2).min(MOST_ROWS);
        let (Some(rows), Some(link)) = (state.rows.clone(), results.source.clone()) else {
            return Ok(());
        };
        drop(results);
        runner::run(py, &link, Action::Fetch { rows, amount }).map(drop)
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
        let (_, link) = this.usable(py)?;
        let _taken = this.take(py)?;
        loop {
            match this.look(py, 1)? {
                Look::Rows(piece) => {
                    let maker = Self::maker(slf, &link);
                    return maker.make(py, &piece.batch, piece.next).map(Some);
                }
                Look::Nothing => this.read_on(py)?,
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
        let list = PyList::empty(py);
        while list.len() < size {
            match this.look(py, size - list.len())? {
                Look::Rows(piece) => {
                    if let Err((error, next)) = append(&list, &maker, &piece.batch, piece.next..piece.end) {
                        // As in sqlite3 the rows after this one can still be fetched.
                        let rest = Piece { next, ..piece };
                        this.state().state.taken_back.push_front(rest);
                        return Err(error);
                    }
                }
                Look::Nothing => this.read_on(py)?,
                Look::End => break,
            }
        }
        Ok(list)
    }
}

/// Appends rows of a batch. With an error comes the row after the one that has caused it.
fn append(
    list: &Bound<'_, PyList>,
    maker: &RowMaker,
    batch: &RowBatch,
    rows: std::ops::Range<usize>,
) -> Result<(), (PyErr, usize)> {
    for index in rows {
        maker
            .make(list.py(), batch, index)
            .and_then(|row| list.append(row))
            .map_err(|error| (error, index + 1))?;
    }
    Ok(())
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
