//! Values on their way into and out of callbacks.
//!
//! Owns nothing. As sqlite3: text is str, blobs are bytes, and a callback may return any buffer.
//! Thread: attached.

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyMemoryView, PyString, PyTuple};

use crate::sqlite::{Answer, Arguments, Error, ValueRef};

use super::cached::interned;

/// The arguments of a call.
pub fn arguments<'py>(py: Python<'py>, arguments: &Arguments<'_>) -> PyResult<Bound<'py, PyTuple>> {
    let value = |value: Result<_, Error>| {
        let value = value.map_err(|error| PyMemoryError::new_err(error.message))?;
        to_python(py, value)
    };
    let values: PyResult<Vec<_>> = arguments.iter().map(value).collect();
    PyTuple::new(py, values?)
}

fn to_python<'py>(py: Python<'py>, value: ValueRef<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        ValueRef::Null => py.None().into_bound(py),
        ValueRef::Integer(integer) => PyInt::new(py, integer).into_any(),
        ValueRef::Real(real) => PyFloat::new(py, real).into_any(),
        ValueRef::Text(text) => PyString::from_bytes(py, text)?.into_any(),
        ValueRef::Blob(blob) => PyBytes::new(py, blob).into_any(),
    })
}

/// What a callback has returned.
///
/// # Errors
/// `OverflowError` for an int of more than 64 bits, `TypeError` for what SQLite has no type for.
pub fn answer(value: &Bound<'_, PyAny>) -> PyResult<Answer> {
    if value.is_none() {
        return Ok(Answer::Null);
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract().map(Answer::Integer);
    }
    if value.is_instance_of::<PyFloat>() {
        return value.extract().map(Answer::Real);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Answer::Text(text.to_str()?.as_bytes().to_vec()));
    }
    if let Ok(view) = PyMemoryView::from(value) {
        let bytes = view.call_method0(interned!(value.py(), "tobytes"))?;
        return Ok(Answer::Blob(bytes.extract()?));
    }
    Err(PyTypeError::new_err(format!(
        "a callback can't return '{}' to SQLite",
        value.get_type().name()?
    )))
}
