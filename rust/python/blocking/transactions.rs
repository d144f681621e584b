//! Transactions of a blocking connection: the methods, the attributes, and `with connection`.
//!
//! Owns nothing. An assignment takes effect at once, as in `sqlite3`.
//! Thread: attached, but for the time that SQLite takes.

use pyo3::prelude::*;

use crate::core::{Action, ModeChange};
use crate::python::options::{Autocommit, Control, Level};

use super::connection::Connection;
use super::runner;

impl Connection {
    fn act(&self, py: Python<'_>, action: Action) -> PyResult<()> {
        let link = self.usable(py)?;
        runner::run(py, &link, action).map(drop)
    }

    fn change(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut Control) -> ModeChange,
    ) -> PyResult<()> {
        let link = self.usable(py)?;
        runner::refuse_recursion(py, &link)?;
        link.change_control(change);
        runner::run(py, &link, Action::SetMode).map(drop)
    }
}

#[pymethods]
impl Connection {
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.act(py, Action::Commit)
    }

    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.act(py, Action::Rollback)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.check_thread(py)?;
        let link = self.link(py)?;
        if link.is_closed() {
            return Ok(());
        }
        link.check_not_inherited(py)?;
        runner::run(py, &link, Action::Close).map(drop)
    }

    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        self.open_link(py)?.interrupt();
        Ok(())
    }

    #[getter]
    fn isolation_level(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let link = self.open_link(py)?;
        let level = link.settings().control.isolation_level.clone();
        Ok(level)
    }

    #[setter]
    fn set_isolation_level(&self, py: Python<'_>, level: Level) -> PyResult<()> {
        self.change(py, |control| control.set_isolation_level(level.0))
    }

    #[getter]
    fn autocommit(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let autocommit = self.usable(py)?.settings().control.autocommit;
        autocommit.to_python(py)
    }

    #[setter]
    fn set_autocommit(&self, py: Python<'_>, value: Autocommit) -> PyResult<()> {
        self.change(py, |control| control.set_autocommit(value))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.get().usable(slf.py())?;
        Ok(slf.clone())
    }

    /// Commits, or rolls back after an exception; the connection stays open.
    #[pyo3(signature = (exc_type, exc, _tb, /))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        exc_type: &Bound<'_, PyAny>,
        exc: &Bound<'_, PyAny>,
        _tb: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let py = slf.py();
        if exc_type.is_none() && exc.is_none() {
            if let Err(error) = slf.call_method0("commit") {
                // What can't be committed must not keep its locks.
                slf.call_method0("rollback")?;
                return Err(error);
            }
        } else {
            slf.get().usable(py)?;
            slf.call_method0("rollback")?;
        }
        Ok(false)
    }
}
