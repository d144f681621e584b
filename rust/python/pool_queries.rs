//! What a pool does with statements besides `execute` and `fetch_*`: several of them, and the names of other drivers.
//!
//! Owns no state. Thread: any that is attached.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{Action, Amount, Service};

use super::awaitable::Operation;
use super::connection::Connection;
use super::coroutine::Coroutine;
use super::cursor::Cursor;
use super::encryption;
use super::fetch::FetchAll;
use super::lifecycle::Open;
use super::pool::Pool;
use super::pool_cursor::PoolCursor;
use super::pool_works::Pooled;
use super::work::Inserted;

/// Where the parts that are coroutines are.
const MODULE: &str = "aiolibsql._pool_statements";

impl Pool {
    fn batch_as(
        name: &'static str,
        slf: &Bound<'_, Self>,
        operations: &Bound<'_, PyAny>,
    ) -> PyResult<Operation> {
        let arguments = (slf, operations).into_pyobject(slf.py())?;
        Ok(Coroutine::operation(
            name,
            (MODULE, "executebatch"),
            arguments,
        ))
    }

    /// All rows of a question of the driver's own, as tuples with str.
    pub fn fetch_plain(
        slf: &Bound<'_, Self>,
        name: &'static str,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let fetch = move |cursor| -> Option<Box<dyn super::work::Work>> {
            Some(Box::new(FetchAll::executed(name, cursor)))
        };
        let request = (sql, parameters, None);
        let work = Pooled::new(name, slf, request, Amount::All, Box::new(fetch))?;
        Ok(Operation::new(Box::new(work.plain())))
    }
}

#[pymethods]
impl Pool {
    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute_insert(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.execute_insert";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::Only(1), |cursor| {
            Some(Box::new(Inserted::new(cursor)))
        })
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute_fetchall(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.execute_fetchall";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::All, move |cursor| {
            Some(Box::new(FetchAll::executed(name, cursor)))
        })
    }

    #[pyo3(signature = (sql, parameters, *, timeout=None))]
    fn executemany(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Operation> {
        let arguments = (slf, sql, parameters, timeout).into_pyobject(slf.py())?;
        let function = (MODULE, "executemany");
        let name = "ConnectionPool.executemany";
        Ok(Coroutine::operation(name, function, arguments))
    }

    fn executebatch(slf: &Bound<'_, Self>, operations: &Bound<'_, PyAny>) -> PyResult<Operation> {
        Self::batch_as("ConnectionPool.executebatch", slf, operations)
    }

    fn batch(slf: &Bound<'_, Self>, operations: &Bound<'_, PyAny>) -> PyResult<Operation> {
        Self::batch_as("ConnectionPool.batch", slf, operations)
    }

    /// Make a cursor for what is executed on a connection that is lent.
    fn _cursor_on(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, Connection>,
    ) -> PyResult<Py<Cursor>> {
        PoolCursor::create(slf, &connection.clone().unbind())
    }

    /// Close a connection that is lent, until it is opened again.
    #[allow(clippy::unused_self, reason = "a method, as its neighbours")]
    fn _suspend(&self, connection: &Bound<'_, Connection>) -> Operation {
        let suspend = Action::Serve(Service::Suspend);
        Connection::run(connection, "ConnectionPool.rekey", suspend)
    }

    /// Open it again as it was opened first, with what `init` does.
    fn _reopen(&self, connection: &Bound<'_, Connection>) -> PyResult<Operation> {
        let member = self.member_of(connection.py(), connection.get())?;
        Ok(Operation::new(Box::new(Open::new(
            "ConnectionPool.rekey",
            member,
        ))))
    }

    /// Let go of the key: no connection will be opened any more.
    fn _forget_key(&self) {
        self.core().forget_key();
    }

    /// Raise if something is no key.
    #[allow(clippy::unused_self, reason = "a method, as its neighbours")]
    fn _check_key(&self, new_key: &Bound<'_, PyAny>) -> PyResult<()> {
        encryption::read_optional(new_key, "new_key").map(drop)
    }

    #[getter]
    fn iter_chunk_size(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.member(py, 0)?.get().link().settings().chunk)
    }
}
