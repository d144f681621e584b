//! Row and text factories: what a row, and a text in it, becomes.
//!
//! Owns the choice; `convert.rs` applies it. Must not know: cursors.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use super::row::Row;

/// What a row becomes.
#[derive(Debug)]
pub enum RowFactory {
    Tuple,
    Row,
    /// `callable(cursor, tuple)`.
    Call(Py<PyAny>),
}

/// What a text becomes.
#[derive(Debug)]
pub enum TextFactory {
    Str,
    Bytes,
    ByteArray,
    /// `callable(bytes)`.
    Call(Py<PyAny>),
}

impl RowFactory {
    /// Reads the value of a `row_factory` attribute. The stdlib's `Row` stands for ours.
    pub fn new(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = value.py();
        if value.is_none() {
            return Ok(Self::Tuple);
        }
        if value.is(py.get_type::<Row>()) || value.is(&py.import("sqlite3")?.getattr("Row")?) {
            return Ok(Self::Row);
        }
        if !value.is_callable() {
            return Err(PyTypeError::new_err(
                "row_factory must be None, Row, or a callable(cursor, row)",
            ));
        }
        Ok(Self::Call(value.clone().unbind()))
    }

    /// As `new`; what can't be called is an error when it is, as in `sqlite3`.
    pub fn unchecked(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if value.is_none() || value.is_callable() {
            Self::new(value)
        } else {
            Ok(Self::Call(value.clone().unbind()))
        }
    }

    pub fn to_python(&self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Self::Tuple => py.None(),
            Self::Row => py.get_type::<Row>().into_any().unbind(),
            Self::Call(callable) => callable.clone_ref(py),
        }
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Tuple => Self::Tuple,
            Self::Row => Self::Row,
            Self::Call(callable) => Self::Call(callable.clone_ref(py)),
        }
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Self::Call(callable) = self {
            visit.call(callable)
        } else {
            Ok(())
        }
    }
}

impl TextFactory {
    /// Reads the value of a `text_factory` attribute.
    pub fn new(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = value.py();
        if value.is(py.get_type::<PyString>()) {
            Ok(Self::Str)
        } else if value.is(py.get_type::<PyBytes>()) {
            Ok(Self::Bytes)
        } else if value.is(py.get_type::<PyByteArray>()) {
            Ok(Self::ByteArray)
        } else if value.is_callable() {
            Ok(Self::Call(value.clone().unbind()))
        } else {
            Err(PyTypeError::new_err(
                "text_factory must be str, bytes, bytearray, or a callable(bytes)",
            ))
        }
    }

    /// As `new`; what can't be called is an error when it is, as in `sqlite3`.
    pub fn unchecked(value: &Bound<'_, PyAny>) -> Self {
        Self::new(value).unwrap_or_else(|_| Self::Call(value.clone().unbind()))
    }

    pub fn to_python(&self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Self::Str => py.get_type::<PyString>().into_any().unbind(),
            Self::Bytes => py.get_type::<PyBytes>().into_any().unbind(),
            Self::ByteArray => py.get_type::<PyByteArray>().into_any().unbind(),
            Self::Call(callable) => callable.clone_ref(py),
        }
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Str => Self::Str,
            Self::Bytes => Self::Bytes,
            Self::ByteArray => Self::ByteArray,
            Self::Call(callable) => Self::Call(callable.clone_ref(py)),
        }
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Self::Call(callable) = self {
            visit.call(callable)
        } else {
            Ok(())
        }
    }
}
