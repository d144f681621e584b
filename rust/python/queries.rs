//! How the methods of Connection become operations.
//!
//! Owns no state: each makes a cursor where one is needed, and the Works that the operation drives.
//! Thread: the caller's.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::core::{Action, Amount};

use super::awaitable::Operation;
use super::connection::Connection;
use super::cursor::Cursor;
use super::fetch::{FetchAll, FetchOne};
use super::lifecycle::Simple;
use super::statements::Execute;
use super::work::{Then, Work};

impl Connection {
    pub(super) fn new_cursor(slf: &Bound<'_, Self>) -> PyResult<Py<Cursor>> {
        Py::new(slf.py(), Cursor::create(slf.py(), &slf.clone().unbind()))
    }

    pub(super) fn run(slf: &Bound<'_, Self>, name: &'static str, action: Action) -> Operation {
        Operation::new(Box::new(Simple::new(name, slf.clone().unbind(), action)))
    }

    /// Executes on a new cursor, and goes on with what `then` makes of it.
    pub(super) fn execute_then(
        slf: &Bound<'_, Self>,
        name: &'static str,
        (sql, parameters, timeout): (&Bound<'_, PyString>, Option<&Bound<'_, PyAny>>, Option<f64>),
        amount: Amount,
        then: impl FnOnce(Py<Cursor>) -> Option<Box<dyn Work>>,
    ) -> Operation {
        let work = || {
            let cursor = Self::new_cursor(slf)?;
            let execute = Execute::new(
                name,
                cursor.clone_ref(slf.py()),
                sql,
                parameters,
                timeout,
                amount,
            )?;
            Ok((Box::new(execute), then(cursor)))
        };
        match work() {
            Ok((execute, Some(then))) => Operation::new(Box::new(Then::new(execute, then))),
            Ok((execute, None)) => Operation::new(execute),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    pub(super) fn only_row(
        slf: &Bound<'_, Self>,
        name: &'static str,
        request: (&Bound<'_, PyString>, Option<&Bound<'_, PyAny>>, Option<f64>),
        absent: fn(Python<'_>) -> PyResult<Py<PyAny>>,
        finish: fn(Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    ) -> Operation {
        Self::execute_then(slf, name, request, Amount::Only(1), |cursor| {
            Some(Box::new(FetchOne::only(name, cursor, absent, finish)))
        })
    }

    /// Executes on a new cursor and fetches everything, in one command.
    pub(super) fn all_rows(
        slf: &Bound<'_, Self>,
        name: &'static str,
        request: (&Bound<'_, PyString>, Option<&Bound<'_, PyAny>>, Option<f64>),
    ) -> Operation {
        Self::execute_then(slf, name, request, Amount::All, |cursor| {
            Some(Box::new(FetchAll::executed(name, cursor)))
        })
    }

    pub(super) fn only_value(
        slf: &Bound<'_, Self>,
        name: &'static str,
        request: (&Bound<'_, PyString>, Option<&Bound<'_, PyAny>>, Option<f64>),
        finish: fn(Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    ) -> Operation {
        Self::execute_then(slf, name, request, Amount::Only(1), |cursor| {
            Some(Box::new(FetchOne::scalar(name, cursor, finish)))
        })
    }
}

/// A value that must be a BLOB, or NULL.
pub fn blob(value: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    if value.is_none() || value.is_instance_of::<PyBytes>() {
        return Ok(value.unbind());
    }
    let class = value.get_type();
    Err(PyTypeError::new_err(format!(
        "the value is not a BLOB but '{}'",
        class.name()?
    )))
}
