//! What a blocking connection can do besides statements: callbacks, limits, switches, images, extensions, blobs.
//!
//! Owns the signatures of `sqlite3`; the asynchronous connection within does the work, and its operation is brought to its
//! end here.
//! Thread: attached, but for the time that SQLite takes. Callbacks run on the thread whose statement calls them.

use std::ops::RangeInclusive;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyMemoryView, PyString, PyTuple};

use crate::python::backup::_Backup;
use crate::python::blob::Blob as InnerBlob;
use crate::python::cached::{cached_attribute, interned};
use crate::python::exceptions;
use crate::python::parameters::check_contiguous;

use super::blob::Blob;
use super::connection::Connection;
use super::runner;

/// SQLITE_LIMIT_SQL_LENGTH.
const SQL_LENGTH: i32 = 1;

/// What a function may take; -1: any number.
const ARGUMENTS: RangeInclusive<i32> = -1..=127;

/// Refuses an `async def` function: nobody could await what it returns.
fn refuse_async(callable: &Bound<'_, PyAny>) -> PyResult<()> {
    static IS_COROUTINE_FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = callable.py();
    let check = cached_attribute(py, &IS_COROUTINE_FUNCTION, "inspect", "iscoroutinefunction")?;
    if check.call1((callable,))?.is_truthy()? {
        let message = "an async def callback needs a connection of aiolibsql itself: a blocking one can't await it";
        return Err(exceptions::not_supported(py, message));
    }
    Ok(())
}

/// As `refuse_async`, for the methods of a class.
fn refuse_async_methods(class: &Bound<'_, PyAny>) -> PyResult<()> {
    for method in ["step", "finalize", "value", "inverse"] {
        if let Some(method) = class.getattr_opt(method)? {
            refuse_async(&method)?;
        }
    }
    Ok(())
}

/// Refuses a buffer whose bytes do not follow each other.
pub fn check_buffer(data: &Bound<'_, PyAny>) -> PyResult<()> {
    PyMemoryView::from(data).map_or(Ok(()), |view| check_contiguous(&view))
}

impl Connection {
    fn ask<'py>(
        &self,
        method: &Bound<'py, PyString>,
        arguments: impl IntoPyObject<
            'py,
            Target = PyTuple,
            Output = Bound<'py, PyTuple>,
            Error: Into<PyErr>,
        >,
    ) -> PyResult<Py<PyAny>> {
        let py = method.py();
        let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
        self.delegate(py, method, arguments, None)
    }

    fn ask_with<'py>(
        &self,
        method: &Bound<'py, PyString>,
        arguments: impl IntoPyObject<
            'py,
            Target = PyTuple,
            Output = Bound<'py, PyTuple>,
            Error: Into<PyErr>,
        >,
        keywords: &[(&str, Bound<'py, PyAny>)],
    ) -> PyResult<Py<PyAny>> {
        let py = method.py();
        let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
        let given = PyDict::new(py);
        for (name, value) in keywords {
            given.set_item(name, value)?;
        }
        self.delegate(py, method, arguments, Some(&given))
    }
}

#[pymethods]
impl Connection {
    /// The parts of `backup`, which is written in Python; `_finish` brings their operations to their ends.
    fn _backup<'py>(&self, target: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let py = target.py();
        self.usable(py)?;
        target.get().usable(py)?;
        let parts = (self.inner(py)?, target.get().inner(py)?, name);
        py.get_type::<_Backup>().call1(parts)
    }

    fn on_query<'py>(&self, callback: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.link(callback.py())?.own_watch().add_hook(&callback)?;
        Ok(callback)
    }

    #[getter]
    fn _label(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.link(py)?.label().to_owned())
    }

    fn off_query(&self, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        let link = self.link(callback.py())?;
        link.own_watch().remove_hook(callback)
    }

    fn _finish(&self, operation: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = operation.py();
        runner::finish(py, &*self.link(py)?, operation)
    }

    #[pyo3(signature = (name, narg, func, *, deterministic=None))]
    fn create_function<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        narg: i32,
        func: &Bound<'py, PyAny>,
        deterministic: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async(func)?;
        let is_deterministic = deterministic.map_or(Ok(false), PyAnyMethods::is_truthy)?;
        let method = interned!(py, "create_function");
        self.ask(method, (name, narg, func, is_deterministic))
    }

    fn create_aggregate<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        n_arg: i32,
        aggregate_class: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async_methods(aggregate_class)?;
        let method = interned!(py, "create_aggregate");
        self.ask(method, (name, n_arg, aggregate_class))
    }

    #[pyo3(signature = (name, num_params, aggregate_class, /))]
    fn create_window_function<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        num_params: i32,
        aggregate_class: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async_methods(aggregate_class)?;
        if !ARGUMENTS.contains(&num_params) {
            let message = "Error creating window function";
            return Err(exceptions::programming(py, message));
        }
        let method = interned!(py, "create_window_function");
        self.ask(method, (name, num_params, aggregate_class))
    }

    #[pyo3(signature = (name, callback, /))]
    fn create_collation<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        callback: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async(callback)?;
        self.ask(interned!(py, "create_collation"), (name, callback))
    }

    fn set_authorizer<'py>(
        &self,
        py: Python<'py>,
        authorizer_callback: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async(authorizer_callback)?;
        self.ask(interned!(py, "set_authorizer"), (authorizer_callback,))
    }

    fn set_trace_callback<'py>(
        &self,
        py: Python<'py>,
        trace_callback: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async(trace_callback)?;
        self.ask(interned!(py, "set_trace_callback"), (trace_callback,))
    }

    fn set_progress_handler<'py>(
        &self,
        py: Python<'py>,
        progress_handler: &Bound<'py, PyAny>,
        n: i32,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        refuse_async(progress_handler)?;
        self.ask(interned!(py, "set_progress_handler"), (progress_handler, n))
    }

    #[pyo3(signature = (category, /))]
    fn getlimit(&self, py: Python<'_>, category: i32) -> PyResult<Py<PyAny>> {
        self.ask(interned!(py, "getlimit"), (category,))
    }

    #[pyo3(signature = (category, limit, /))]
    fn setlimit(&self, py: Python<'_>, category: i32, limit: i32) -> PyResult<Py<PyAny>> {
        let before = self.ask(interned!(py, "setlimit"), (category, limit))?;
        if category == SQL_LENGTH {
            self.set_longest_sql(limit);
        }
        Ok(before)
    }

    #[pyo3(signature = (op, /))]
    fn getconfig(&self, py: Python<'_>, op: i32) -> PyResult<Py<PyAny>> {
        self.ask(interned!(py, "getconfig"), (op,))
    }

    #[pyo3(signature = (op, enable=None, /))]
    fn setconfig<'py>(
        &self,
        py: Python<'py>,
        op: i32,
        enable: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let enable = enable.map_or(Ok(true), PyAnyMethods::is_truthy)?;
        self.ask(interned!(py, "setconfig"), (op, enable))
    }

    #[pyo3(signature = (enable, /))]
    fn enable_load_extension<'py>(
        &self,
        py: Python<'py>,
        enable: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        self.ask(
            interned!(py, "enable_load_extension"),
            (enable.is_truthy()?,),
        )
        .map(drop)
    }

    #[pyo3(signature = (name, /, *, entrypoint=None))]
    fn load_extension<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        entrypoint: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let entrypoint = entrypoint.unwrap_or_else(|| py.None().into_bound(py));
        let method = interned!(py, "load_extension");
        self.ask_with(method, (name,), &[("entrypoint", entrypoint)])
    }

    #[pyo3(signature = (*, name="main"))]
    fn serialize(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        let name = PyString::new(py, name).into_any();
        self.ask_with(interned!(py, "serialize"), (), &[("name", name)])
    }

    #[pyo3(signature = (data, /, *, name="main"))]
    fn deserialize<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        name: &str,
    ) -> PyResult<Py<PyAny>> {
        self.usable(py)?;
        check_buffer(data)?;
        let name = PyString::new(py, name).into_any();
        self.ask_with(interned!(py, "deserialize"), (data,), &[("name", name)])
    }

    #[pyo3(signature = (table, column, row, /, *, readonly=false, name="main"))]
    fn blobopen(
        slf: &Bound<'_, Self>,
        table: &str,
        column: &str,
        row: i64,
        readonly: bool,
        name: &str,
    ) -> PyResult<Blob> {
        let py = slf.py();
        let keywords = [
            (
                "readonly",
                readonly.into_pyobject(py)?.to_owned().into_any(),
            ),
            ("name", PyString::new(py, name).into_any()),
        ];
        let this = slf.get();
        let opened = this.ask_with(interned!(py, "blobopen"), (table, column, row), &keywords)?;
        let inner = opened.bind(py).cast::<InnerBlob>()?.clone().unbind();
        Ok(Blob::new(slf.clone().unbind(), inner))
    }
}
