//! PoolCursor: the rows of a statement that a pool has executed.
//!
//! Owns what tells it from a cursor of a connection: it executes nothing more, for the next statement may belong to
//! another connection, and to drop it with rows that were not read is reported, for they keep a connection from others.
//! Thread: any that is attached.

use pyo3::exceptions::PyResourceWarning;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::Amount;

use super::awaitable::Operation;
use super::connection::Connection;
use super::cursor::Cursor;
use super::exceptions;
use super::logs::{self, Area, Severity};
use super::pool::Pool;
use super::statements::Execute;

/// The rows of a statement, and what it did.
#[pyclass(frozen, extends = Cursor, module = "aiolibsql")]
pub struct PoolCursor {
    pool: Py<Pool>,
}

impl PoolCursor {
    /// One for the rows of a statement that ran on this connection.
    pub fn create(pool: &Bound<'_, Pool>, connection: &Py<Connection>) -> PyResult<Py<Cursor>> {
        let py = pool.py();
        let this = Self {
            pool: pool.clone().unbind(),
        };
        let base = PyClassInitializer::from(Cursor::create(py, connection));
        let made = Bound::new(py, base.add_subclass(this))?;
        Ok(made.into_super().unbind())
    }
}

fn refused(name: &'static str, py: Python<'_>) -> Operation {
    let message = "a pool's cursor has the rows of one statement: execute the next one by the pool, or \
                   borrow a connection with 'async with pool.read()' or 'pool.write()'";
    Operation::ready(name, Err(exceptions::programming(py, message)))
}

#[pymethods]
impl PoolCursor {
    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    #[allow(unused_variables, reason = "it is refused")]
    #[allow(clippy::unused_self, reason = "a method, as its neighbours")]
    fn execute(
        &self,
        py: Python<'_>,
        sql: &Bound<'_, PyAny>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> Operation {
        refused("PoolCursor.execute", py)
    }

    #[pyo3(signature = (sql, parameters, *, timeout=None))]
    #[allow(unused_variables, reason = "it is refused")]
    #[allow(clippy::unused_self, reason = "a method, as its neighbours")]
    fn executemany(
        &self,
        py: Python<'_>,
        sql: &Bound<'_, PyAny>,
        parameters: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> Operation {
        refused("PoolCursor.executemany", py)
    }

    #[pyo3(signature = (sql_script, *, timeout=None))]
    #[allow(unused_variables, reason = "it is refused")]
    #[allow(clippy::unused_self, reason = "a method, as its neighbours")]
    fn executescript(
        &self,
        py: Python<'_>,
        sql_script: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> Operation {
        refused("PoolCursor.executescript", py)
    }

    /// Execute a statement on the connection that it was made for, and read all of its rows.
    #[pyo3(signature = (sql, parameters=None))]
    fn _execute_all(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let cursor = slf.clone().into_super().unbind();
        let name = "PoolCursor._execute_all";
        let work = Execute::new(name, cursor, sql, parameters, None, Amount::All)?;
        Ok(Operation::new(Box::new(work)))
    }

    /// It tells of several statements.
    fn _set_rowcount(slf: &Bound<'_, Self>, rowcount: i64) {
        slf.as_super().get().state().rowcount = rowcount;
    }

    /// What has executed the statement; on which of its connections is nobody's business.
    #[getter]
    fn connection(&self, py: Python<'_>) -> Py<Pool> {
        self.pool.clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.pool)
    }
}

/// Says that one was dropped with rows that nobody has read.
pub fn report_leak() {
    exceptions::in_destructor(|py| {
        let message = c"<aiolibsql.PoolCursor> was deleted with rows that were not read, for which it kept a \
                        connection of its pool from others. Please read it to its end, use 'async with', or \
                        '.close()' it.";
        let text = message.to_string_lossy();
        logs::write(py, Area::Pool, Severity::Warning, &text);
        PyErr::warn(py, &py.get_type::<PyResourceWarning>(), message, 1)
    });
}
