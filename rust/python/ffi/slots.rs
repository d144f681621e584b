//! The `am_send` and `tp_iternext` slots, which `await` uses instead of calling `send`.
//!
//! PyO3 has no `am_send`, and its `__next__` makes an exception object for each result. `install` replaces both
//! slots of a class that PyO3 has made; the methods of the same names stay as they are.
//! Thread: attached to the interpreter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use pyo3::{PyClass, ffi};

/// What a coroutine answers to a `send`.
#[derive(Debug)]
pub enum Sent {
    /// For the event loop.
    Yield(Py<PyAny>),
    /// The result of the await.
    Return(Py<PyAny>),
}

/// A class with the coroutine protocol.
pub trait Coroutine: PyClass {
    /// Continues until the next suspension or the end.
    ///
    /// # Errors
    /// Whatever the await raises.
    fn resume(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent>;
}

/// Puts the C slots into a class.
pub fn install<T: Coroutine>(class: &Bound<'_, PyType>) {
    let class = class.as_type_ptr();
    // SAFETY: a live heap type that nobody else uses yet.
    let asynchronous = unsafe { (*class).tp_as_async };
    // SAFETY: PyO3 makes classes with PyType_FromSpec, whose types have this struct inside; null is left alone.
    if let Some(methods) = unsafe { asynchronous.as_mut() } {
        methods.am_send = Some(am_send::<T>);
    }
    // SAFETY: as above; the field is a plain function pointer.
    unsafe { (*class).tp_iternext = Some(iternext::<T>) };
}

fn resume<T: Coroutine>(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> PyResult<Sent> {
    // SAFETY: the interpreter passes a live object, borrowed for the call.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    // SAFETY: as above; null, or None, stands for "nothing was sent".
    let value =
        unsafe { Bound::from_borrowed_ptr_or_opt(py, value) }.filter(|value| !value.is_none());
    let object = object
        .cast_into::<T>()
        .map_err(|_| PyRuntimeError::new_err("not a coroutine of this class"))?;
    catch_unwind(AssertUnwindSafe(|| T::resume(&object, value.as_ref()))).unwrap_or_else(|_| {
        Err(PyRuntimeError::new_err(
            "a panic in a coroutine of aiolibsql",
        ))
    })
}

unsafe extern "C" fn am_send<T: Coroutine>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    Python::attach(|py| {
        let (status, pointer) = match resume::<T>(py, object, value) {
            Ok(Sent::Yield(value)) => (ffi::PySendResult::PYGEN_NEXT, value.into_ptr()),
            Ok(Sent::Return(value)) => (ffi::PySendResult::PYGEN_RETURN, value.into_ptr()),
            Err(error) => {
                error.restore(py);
                (ffi::PySendResult::PYGEN_ERROR, std::ptr::null_mut())
            }
        };
        // SAFETY: the interpreter passes a place for the result.
        unsafe { *result = pointer };
        status
    })
}

unsafe extern "C" fn iternext<T: Coroutine>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    Python::attach(|py| {
        match resume::<T>(py, object, std::ptr::null_mut()) {
            Ok(Sent::Yield(value)) => return value.into_ptr(),
            // No exception set stands for StopIteration(None).
            Ok(Sent::Return(value)) if value.is_none(py) => {}
            Ok(Sent::Return(value)) => set_stop_iteration(value.bind(py)),
            Err(error) => error.restore(py),
        }
        std::ptr::null_mut()
    })
}

fn set_stop_iteration(value: &Bound<'_, PyAny>) {
    let py = value.py();
    // SAFETY: a static exception class of the interpreter.
    let class = unsafe { ffi::PyExc_StopIteration };
    // A tuple would be unpacked into arguments, and an exception taken for the instance itself.
    if value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<pyo3::exceptions::PyBaseException>()
    {
        pyo3::exceptions::PyStopIteration::new_err((value.clone().unbind(),)).restore(py);
    } else {
        // SAFETY: both are live objects, and the interpreter is attached.
        unsafe { ffi::PyErr_SetObject(class, value.as_ptr()) };
    }
}
