//! Quick: the short way of a cursor to the rows of a query that needs few steps, and to a row that is there.
//!
//! What `runner` and `rows` do for everything, without what a plain query in a plain connection does not need:
//! `python/quick.rs` says what that is. Left to them are also factories, and rows of the last statement that were not read.
//! Owns nothing. Thread: attached, but for the time that SQLite takes.
//! Invariant: if it does not succeed, nothing has happened, or a row was taken that is an error.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::python::convert;
use crate::python::exceptions;
use crate::python::exit;
use crate::python::factories::RowFactory;
use crate::python::link::Link;
use crate::python::quick::{self, Done};
use crate::python::results::Found;

use super::connection::Connection;
use super::cursor::Cursor;

/// Runs a query. `None`: it takes a command.
///
/// # Errors
/// SQLite's, after which it has rolled back the transaction.
pub fn run(
    connection: &Connection,
    link: &Link,
    sql: &Bound<'_, PyAny>,
    parameters: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Done>> {
    let py = sql.py();
    let Some((sql, local)) = link.plain_request(sql) else {
        return Ok(None);
    };
    if !connection.allows(&sql) {
        return Ok(None);
    }
    let _inside = exit::enter(py)?;
    quick::run(
        py,
        link,
        local.attempt(&sql),
        parameters,
        |attempt, rows| py.detach(|| attempt.run(rows)),
    )
}

/// The next row, if it is there and becomes a tuple. `None`: that is not so.
///
/// # Errors
/// That of the statement, behind its rows; of a text that is no UTF-8.
pub fn next_row(py: Python<'_>, cursor: &Cursor) -> PyResult<Option<Py<PyAny>>> {
    let mut results = cursor.state();
    let is_plain = results.state.converters.is_none()
        && matches!(results.state.row_factory, RowFactory::Tuple)
        && !results.state.closed
        && results.state.report.is_none()
        && !cursor.is_taken();
    let connection = results.connection.as_ref().filter(|_| is_plain);
    if !connection.is_some_and(|connection| connection.get().is_plain_here()) {
        return Ok(None);
    }
    let (batch, row) = match results.state.take(1) {
        Found::Rows(batch, rows) => (Arc::clone(batch), rows.start),
        Found::Nothing | Found::End => return Ok(None),
        Found::Failed(error) => {
            drop(results);
            return Err(exceptions::to_python(py, error));
        }
    };
    let columns = results.state.columns.clone();
    drop(results);
    convert::plain_row(py, &batch, row, columns.as_deref().unwrap_or_default()).map(Some)
}
