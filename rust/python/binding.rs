//! Parameters that go straight from a tuple into a statement.
//!
//! Owns nothing. `parameters.rs` says what may be bound, and what is wrong with the rest; here is only what needs neither it
//! nor code of the user's.
//! Thread: attached; nothing of Python's runs.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};

use crate::sqlite::{Statement, ValueRef};

/// Binds all of a statement's parameters. `false`: it can't be done so, and some may be bound.
pub fn bind(statement: &mut Statement<'_>, parameters: Option<&Bound<'_, PyAny>>) -> bool {
    let wanted = statement.parameter_count();
    let Some(parameters) = parameters.filter(|parameters| !parameters.is_none()) else {
        return wanted == 0;
    };
    let Ok(parameters) = parameters.cast_exact::<PyTuple>() else {
        return false;
    };
    let mut values = parameters.iter_borrowed().zip(1..);
    parameters.len() == wanted && values.all(|(value, index)| bind_one(statement, index, &value))
}

/// Whether they are a tuple of what `bind` binds, which nobody can change.
pub fn is_plain(parameters: &Bound<'_, PyAny>) -> bool {
    let Ok(parameters) = parameters.cast_exact::<PyTuple>() else {
        return false;
    };
    parameters.iter_borrowed().all(|value| {
        value.is_exact_instance_of::<PyInt>()
            || value.is_exact_instance_of::<PyString>()
            || value.is_exact_instance_of::<PyFloat>()
            || value.is_none()
            || value.is_exact_instance_of::<PyBytes>()
            || value.is_exact_instance_of::<PyBool>()
    })
}

/// Values of other classes, and of theirs, may have adapters.
fn bind_one(statement: &mut Statement<'_>, index: usize, value: &Bound<'_, PyAny>) -> bool {
    let bound = if let Ok(integer) = value.cast_exact::<PyInt>() {
        let Ok(integer) = integer.extract() else {
            return false;
        };
        statement.bind(index, ValueRef::Integer(integer))
    } else if let Ok(text) = value.cast_exact::<PyString>() {
        let Ok(text) = text.to_str() else {
            return false;
        };
        statement.bind(index, ValueRef::Text(text.as_bytes()))
    } else if let Ok(real) = value.cast_exact::<PyFloat>() {
        statement.bind(index, ValueRef::Real(real.value()))
    } else if value.is_none() {
        statement.bind(index, ValueRef::Null)
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        statement.bind(index, ValueRef::Blob(bytes.as_bytes()))
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        statement.bind(index, ValueRef::Integer(i64::from(truth.is_true())))
    } else {
        return false;
    };
    bound.is_ok()
}
