//! Driving an awaitable of the user's inside one of our own awaits: `init_hook`, async iterables.
//!
//! Owns nothing; what the awaitable yields goes to the loop, as if the caller had awaited it.
//! Thread: the driving loop's.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;

use super::cached::interned;
use super::ffi::{self, Sent};

/// What `send` goes to: a coroutine itself, or the iterator of another awaitable.
pub fn begin(awaitable: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = awaitable.py();
    if awaitable.hasattr(interned!(py, "send"))? {
        Ok(awaitable)
    } else {
        awaitable.call_method0(interned!(py, "__await__"))
    }
}

/// Continues it by an exception.
pub fn throw(coroutine: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>) -> PyResult<Sent> {
    let py = coroutine.py();
    match ffi::call(&coroutine.getattr(interned!(py, "throw"))?, (error,)) {
        Ok(yielded) => Ok(Sent::Yield(yielded.unbind())),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            let value = error.value(py).getattr(interned!(py, "value"))?;
            Ok(Sent::Return(value.unbind()))
        }
        Err(error) => Err(error),
    }
}
