//! Driving an awaitable of the user's inside one of our own awaits: `init_hook`, async iterables.
//!
//! Owns nothing; what the awaitable yields goes to the loop, as if the caller had awaited it.
//! Thread: the driving loop's.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::cached::interned;
use super::ffi;

/// How far an awaitable came.
pub enum Driven {
    /// It waits; what it yielded is for the loop.
    Yielded(Py<PyAny>),
    Ended(PyResult<Py<PyAny>>),
}

/// What `send` goes to: a coroutine itself, or the iterator of another awaitable.
pub fn begin(awaitable: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = awaitable.py();
    if awaitable.hasattr(interned!(py, "send"))? {
        Ok(awaitable)
    } else {
        awaitable.call_method0(interned!(py, "__await__"))
    }
}

/// Continues it.
pub fn send<'py>(
    coroutine: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coroutine.py();
    if value.is_none() && !coroutine.hasattr(interned!(py, "send"))? {
        ffi::call(
            &coroutine.getattr(interned!(py, "__next__"))?,
            PyTuple::empty(py),
        )
    } else {
        ffi::call(&coroutine.getattr(interned!(py, "send"))?, (value,))
    }
}

/// Tells an end from a wait.
pub fn ended(py: Python<'_>, stepped: PyResult<Bound<'_, PyAny>>) -> Driven {
    match stepped {
        Ok(yielded) => Driven::Yielded(yielded.unbind()),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => Driven::Ended(
            error
                .value(py)
                .getattr(interned!(py, "value"))
                .map(Bound::unbind),
        ),
        Err(error) => Driven::Ended(Err(error)),
    }
}
