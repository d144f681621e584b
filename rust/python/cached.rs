//! What is looked up in Python once and kept.
//!
//! Thread: attached to the interpreter.
//! Invariant: no cell is being filled while Python code runs, for that may fork, and the child would wait for ever for the
//! thread that fills it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyMapping, PySequence, PyWeakrefReference};

/// The value of a cell; made at the first use, perhaps by several threads, of which one wins.
///
/// # Errors
/// Those of making it.
pub fn cached<T>(
    py: Python<'_>,
    cell: &'static PyOnceLock<T>,
    make: impl FnOnce() -> PyResult<T>,
) -> PyResult<&'static T> {
    if let Some(value) = cell.get(py) {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(py, || value))
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

/// Fills cells of PyO3's, which has its own filled while Python code runs.
pub fn fill_bindings(py: Python<'_>) {
    let none = py.None().into_bound(py);
    let _ = none.cast::<PySequence>();
    let _ = none.cast::<PyMapping>();
    let _ = PyWeakrefReference::type_object(py);
}
