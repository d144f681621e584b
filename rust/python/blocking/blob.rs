//! Blob: what `sqlite3.Blob` is.
//!
//! Owns an asynchronous blob, which does the work.
//! Thread: any that is attached, if its connection allows it.

use pyo3::exceptions::{PyIndexError, PyOverflowError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};

use crate::python::blob::Blob as Inner;
use crate::python::cached::interned;

use super::connection::Connection;
use super::runner;
use super::setup::check_buffer;

/// A BLOB as a file, for code that blocks.
#[pyclass(frozen, weakref, module = "aiolibsql.dbapi")]
pub struct Blob {
    connection: Py<Connection>,
    inner: Py<Inner>,
}

impl Blob {
    pub const fn new(connection: Py<Connection>, inner: Py<Inner>) -> Self {
        Self { connection, inner }
    }

    /// Raises if nothing can be done with it.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.connection.get().usable(py)?;
        self.inner.get().check(py)
    }

    fn ask<'py>(
        &self,
        method: &Bound<'py, PyString>,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<Py<PyAny>> {
        let py = method.py();
        self.check(py)?;
        let link = self.connection.get().usable(py)?;
        let operation = self.inner.bind(py).call_method1(method, arguments)?;
        runner::finish(py, &link, &operation)
    }
}

/// An index that is an int, as C takes it.
fn check_index(key: &Bound<'_, PyAny>) -> PyResult<()> {
    if key.is_instance_of::<PyInt>() && key.extract::<isize>().is_err() {
        let message = "cannot fit 'int' into an index-sized integer";
        return Err(PyIndexError::new_err(message));
    }
    Ok(())
}

#[pymethods]
impl Blob {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn create(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Err(PyTypeError::new_err(
            "cannot create 'aiolibsql.dbapi.Blob' instances",
        ))
    }

    #[pyo3(signature = (length=-1, /))]
    fn read(&self, py: Python<'_>, length: i32) -> PyResult<Py<PyAny>> {
        self.ask(interned!(py, "read"), (length,))
    }

    #[pyo3(signature = (data, /))]
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.check(data.py())?;
        check_buffer(data)?;
        self.ask(interned!(data.py(), "write"), (data,)).map(drop)
    }

    #[pyo3(signature = (offset, origin=0, /))]
    fn seek(&self, py: Python<'_>, offset: i32, origin: i32) -> PyResult<()> {
        self.check(py)?;
        let inner = self.inner.get();
        let base = match origin {
            1 => inner.position(),
            2 => inner.length(),
            _ => 0,
        };
        if i32::try_from(base).map_or(true, |base| base.checked_add(offset).is_none()) {
            let message = "seek offset results in overflow";
            return Err(PyOverflowError::new_err(message));
        }
        self.ask(interned!(py, "seek"), (offset, origin)).map(drop)
    }

    fn tell(&self, py: Python<'_>) -> PyResult<usize> {
        self.check(py)?;
        Ok(self.inner.get().position())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let link = self.connection.get().usable(py)?;
        let operation = self.inner.bind(py).call_method0(interned!(py, "close"))?;
        runner::finish(py, &link, &operation).map(drop)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.check(py)?;
        Ok(self.inner.get().length())
    }

    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.check(key.py())?;
        check_index(key)?;
        self.ask(interned!(key.py(), "__getitem__"), (key,))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.check(key.py())?;
        check_index(key)?;
        check_buffer(value)?;
        self.ask(interned!(key.py(), "set"), (key, value)).map(drop)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.check(key.py())?;
        let what = if key.is_instance_of::<pyo3::types::PySlice>() {
            "Blob object doesn't support slice deletion"
        } else {
            "Blob object doesn't support item deletion"
        };
        Err(PyTypeError::new_err(what))
    }

    fn __contains__(&self, _value: &Bound<'_, PyAny>) -> PyResult<bool> {
        Err(PyTypeError::new_err(
            "argument of type 'Blob' is not iterable",
        ))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        slf.get().check(slf.py())?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*args))]
    fn __exit__(&self, args: &Bound<'_, PyTuple>) -> PyResult<bool> {
        let py = args.py();
        self.check(py)?;
        self.close(py)?;
        Ok(false)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        visit.call(&self.inner)
    }
}
