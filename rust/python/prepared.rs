//! PreparedQuery: a statement that stays compiled while somebody holds it.
//!
//! Owns the pin that keeps the statement in the worker's cache; executing it is the connection's business.
//! Thread: any that is attached.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{Amount, Pin};

use super::awaitable::Operation;
use super::connection::Connection;
use super::cursor::FIRST_ROWS;
use super::exceptions;
use super::parameters;
use super::queries;

#[pymethods]
impl Connection {
    #[pyo3(signature = (query, *, raw=false, blob=false))]
    fn prepare(
        slf: &Bound<'_, Self>,
        query: &Bound<'_, PyString>,
        raw: bool,
        blob: bool,
    ) -> PyResult<PreparedQuery> {
        // rapsqlite has two ways to read a value.
        let _ = raw;
        let link = slf.get().link();
        link.check_not_closed(slf.py())?;
        let sql = parameters::sql(query)?;
        Ok(PreparedQuery {
            connection: slf.clone().unbind(),
            query: query.clone().unbind(),
            blob,
            _pin: link.pin(sql),
        })
    }
}

/// A statement that stays compiled.
#[pyclass(frozen, weakref, generic, module = "aiolibsql")]
pub struct PreparedQuery {
    connection: Py<Connection>,
    query: Py<PyString>,
    blob: bool,
    _pin: Pin,
}

#[pymethods]
impl PreparedQuery {
    #[getter]
    fn query(&self, py: Python<'_>) -> Py<PyString> {
        self.query.clone_ref(py)
    }

    #[pyo3(signature = (parameters=None))]
    fn execute(&self, py: Python<'_>, parameters: Option<&Bound<'_, PyAny>>) -> Operation {
        let request = (self.query.bind(py), parameters, None);
        let amount = Amount::Ahead(FIRST_ROWS);
        Connection::execute_then(
            self.connection.bind(py),
            "PreparedQuery.execute",
            request,
            amount,
            |_| None,
        )
    }

    #[pyo3(signature = (parameters=None))]
    fn fetch_all(&self, py: Python<'_>, parameters: Option<&Bound<'_, PyAny>>) -> Operation {
        let request = (self.query.bind(py), parameters, None);
        Connection::all_rows(self.connection.bind(py), "PreparedQuery.fetch_all", request)
    }

    #[pyo3(signature = (parameters=None))]
    fn fetch_one(&self, py: Python<'_>, parameters: Option<&Bound<'_, PyAny>>) -> Operation {
        let absent = |py: Python<'_>| Err(exceptions::no_row(py));
        self.row(py, "PreparedQuery.fetch_one", parameters, absent)
    }

    #[pyo3(signature = (parameters=None))]
    fn fetch_optional(&self, py: Python<'_>, parameters: Option<&Bound<'_, PyAny>>) -> Operation {
        let absent = |py: Python<'_>| Ok(py.None());
        self.row(py, "PreparedQuery.fetch_optional", parameters, absent)
    }

    #[pyo3(signature = (parameters=None))]
    fn fetch_scalar(&self, py: Python<'_>, parameters: Option<&Bound<'_, PyAny>>) -> Operation {
        let finish = if self.blob {
            queries::blob
        } else {
            |value: Bound<'_, PyAny>| Ok(value.unbind())
        };
        self.value(py, "PreparedQuery.fetch_scalar", parameters, finish)
    }

    #[pyo3(signature = (parameters=None))]
    fn fetch_blob(&self, py: Python<'_>, parameters: Option<&Bound<'_, PyAny>>) -> Operation {
        self.value(py, "PreparedQuery.fetch_blob", parameters, queries::blob)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let query = self.query.bind(py).repr()?;
        Ok(format!("<aiolibsql.PreparedQuery {query}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)
    }
}

impl PreparedQuery {
    fn row(
        &self,
        py: Python<'_>,
        name: &'static str,
        parameters: Option<&Bound<'_, PyAny>>,
        absent: fn(Python<'_>) -> PyResult<Py<PyAny>>,
    ) -> Operation {
        let request = (self.query.bind(py), parameters, None);
        let connection = self.connection.bind(py);
        Connection::only_row(connection, name, request, absent, |row| Ok(row.unbind()))
    }

    fn value(
        &self,
        py: Python<'_>,
        name: &'static str,
        parameters: Option<&Bound<'_, PyAny>>,
        finish: fn(Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    ) -> Operation {
        let request = (self.query.bind(py), parameters, None);
        Connection::only_value(self.connection.bind(py), name, request, finish)
    }
}
