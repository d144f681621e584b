//! The driver's own questions to a database, for the parts of the package that are written in Python.
//!
//! Thread: the caller's.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::Amount;

use super::awaitable::Operation;
use super::connection::Connection;
use super::cursor::Cursor;
use super::fetch::FetchAll;
use super::pool::Pool;
use super::statements::Execute;
use super::work::Then;

/// Return all rows of a statement of a connection or a pool as tuples with str, whatever its factories are.
#[pyfunction]
#[pyo3(signature = (connection, sql, parameters=None))]
pub fn _fetch_plain(
    connection: &Bound<'_, PyAny>,
    sql: &Bound<'_, PyString>,
    parameters: Option<&Bound<'_, PyAny>>,
) -> PyResult<Operation> {
    let name = "_fetch_plain";
    let py = connection.py();
    if let Ok(pool) = connection.cast::<Pool>() {
        return Pool::fetch_plain(pool, name, sql, parameters);
    }
    let connection = connection.cast::<Connection>()?;
    let cursor = Py::new(py, Cursor::plain(&connection.clone().unbind(), py))?;
    let kept = cursor.clone_ref(py);
    let execute = Execute::new(name, cursor, sql, parameters, None, Amount::All)?;
    let fetch = FetchAll::executed(name, kept);
    let work = Then::new(Box::new(execute), Box::new(fetch));
    Ok(Operation::new(Box::new(work)))
}
