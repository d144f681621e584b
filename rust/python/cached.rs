//! What is looked up in Python once and kept.
//!
//! Thread: attached to the interpreter.
//! Invariant: no thread lets go of the interpreter while it fills a cell, as `PyOnceLock`'s `get_or_init` and PyO3's `intern!`
//! do. Another might fork then, and whoever needs the cell in the child would wait for ever.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyMapping, PySequence, PyString, PyWeakrefReference};

/// The value of a cell; made at the first use, perhaps by several threads, of which one wins.
///
/// # Errors
/// Those of making it.
pub fn cached<'py, T>(
    py: Python<'py>,
    cell: &'static PyOnceLock<T>,
    make: impl Fn() -> PyResult<T>,
) -> PyResult<&'py T> {
    loop {
        if let Some(value) = cell.get(py) {
            return Ok(value);
        }
        let _ = cell.set(py, make()?);
    }
}

/// An attribute of a module.
///
/// # Errors
/// Those of the import; `AttributeError`.
pub fn cached_attribute<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let value = cached(py, cell, || {
        py.import(module)?.getattr(name).map(Bound::unbind)
    })?;
    Ok(value.bind(py))
}

/// A string that is made once, for names of attributes and the like: `interned!(py, "name")`.
macro_rules! interned {
    ($py:expr, $text:expr) => {{
        static STRING: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::types::PyString>> =
            pyo3::sync::PyOnceLock::new();
        $crate::python::cached::interned_string($py, &STRING, $text)
    }};
}
pub(super) use interned;

/// What `interned!` gives.
pub fn interned_string<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyString>>,
    text: &str,
) -> &'py Bound<'py, PyString> {
    loop {
        if let Some(string) = cell.get(py) {
            return string.bind(py);
        }
        let _ = cell.set(py, PyString::intern(py, text).unbind());
    }
}

/// Fills cells of PyO3's own while there is one thread.
pub fn fill_bindings(py: Python<'_>) {
    let none = py.None().into_bound(py);
    let _ = none.cast::<PySequence>();
    let _ = none.cast::<PyMapping>();
    let _ = PyWeakrefReference::type_object(py);
}
