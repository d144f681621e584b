//! Calls of code that may run for long: the user's, and tasks that are resumed.
//!
//! Why not PyO3's: before Python 3.14 a daemon thread that wants to go on after the interpreter began to finalise is
//! ended by `pthread_exit`, which unwinds its stack. Rust's frames on it would abort the process. Here the
//! unwinding stops at a guard that sleeps until the process has ended.
//! Thread: attached to the interpreter.

use std::ffi::c_int;
use std::ptr;
use std::time::Duration;

use pyo3::ffi::PySendResult;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyTuple};

use super::slots::Sent;

// As PyO3 declares them, but for the ABI: only through this one may be unwound.
unsafe extern "C-unwind" {
    fn PyObject_Call(
        callable: *mut pyo3::ffi::PyObject,
        arguments: *mut pyo3::ffi::PyObject,
        keywords: *mut pyo3::ffi::PyObject,
    ) -> *mut pyo3::ffi::PyObject;
    fn PyObject_VectorcallDict(
        callable: *mut pyo3::ffi::PyObject,
        arguments: *const *mut pyo3::ffi::PyObject,
        count: usize,
        keywords: *mut pyo3::ffi::PyObject,
    ) -> *mut pyo3::ffi::PyObject;
    fn PyIter_Send(
        iterator: *mut pyo3::ffi::PyObject,
        value: *mut pyo3::ffi::PyObject,
        result: *mut *mut pyo3::ffi::PyObject,
    ) -> c_int;
    fn PyIter_Next(iterator: *mut pyo3::ffi::PyObject) -> *mut pyo3::ffi::PyObject;
}

/// Dropped only when the thread is being ended.
struct StaysHere;

impl Drop for StaysHere {
    fn drop(&mut self) {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// Calls something.
///
/// # Errors
/// What it raises.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl IntoPyObject<
        'py,
        Target = PyTuple,
        Output = Bound<'py, PyTuple>,
        Error: Into<PyErr>,
    >,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = arguments.into_pyobject(callable.py()).map_err(Into::into)?;
    call_with(callable, &arguments, None)
}

/// As `call`, with keywords.
///
/// # Errors
/// What it raises.
pub fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let keywords = keywords.map_or(ptr::null_mut(), Bound::as_ptr);
    let guard = StaysHere;
    // SAFETY: all are live, or there are no keywords, and the interpreter is attached.
    let result = unsafe { PyObject_Call(callable.as_ptr(), arguments.as_ptr(), keywords) };
    std::mem::forget(guard);
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// Calls something with one argument in a context, as `contextvars.Context.run`.
///
/// # Errors
/// What it raises; `RuntimeError` where the context is entered already.
pub fn call_in<'py>(
    context: Option<&Bound<'py, PyAny>>,
    callable: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let arguments = [argument.as_ptr()];
    entered(py, context, || {
        let guard = StaysHere;
        // SAFETY: all are live, the interpreter is attached, there is one argument, and there are no keywords.
        let result = unsafe {
            PyObject_VectorcallDict(callable.as_ptr(), arguments.as_ptr(), 1, ptr::null_mut())
        };
        std::mem::forget(guard);
        // SAFETY: a new reference, or null with an exception set.
        unsafe { Bound::from_owned_ptr_or_err(py, result) }
    })
}

/// As `call_in`, with any number of arguments.
///
/// # Errors
/// As `call_in`.
pub fn call_all_in<'py>(
    context: Option<&Bound<'py, PyAny>>,
    callable: &Bound<'py, PyAny>,
    arguments: Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    entered(callable.py(), context, || call(callable, arguments))
}

fn entered<'py, T>(
    py: Python<'py>,
    context: Option<&Bound<'py, PyAny>>,
    work: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let Some(context) = context else {
        return work();
    };
    // SAFETY: a live object; what is no context is refused.
    if unsafe { pyo3::ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let result = work();
    // SAFETY: the context was entered above.
    if unsafe { pyo3::ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    result
}

/// A copy of the current context, as `contextvars.copy_context`.
///
/// # Errors
/// `MemoryError`.
pub fn copy_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the interpreter is attached.
    let context = unsafe { pyo3::ffi::PyContext_CopyCurrent() };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, context) }
}

/// Continues a coroutine, or another iterator that `await` would drive.
///
/// # Errors
/// What it raises.
pub fn send(coroutine: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Sent> {
    let py = coroutine.py();
    let mut result = ptr::null_mut();
    let guard = StaysHere;
    // SAFETY: both are live, the interpreter is attached, and there is a place for the result.
    let status = unsafe { PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) };
    std::mem::forget(guard);
    // SAFETY: a new reference, or null with an exception set.
    let result = unsafe { Bound::from_owned_ptr_or_err(py, result) }?.unbind();
    Ok(if status == PySendResult::PYGEN_NEXT as c_int {
        Sent::Yield(result)
    } else {
        Sent::Return(result)
    })
}

/// Takes the next item of an iterator.
///
/// # Errors
/// What it raises.
pub fn next<'py>(iterator: &Bound<'py, PyIterator>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = iterator.py();
    let guard = StaysHere;
    // SAFETY: a live iterator, and the interpreter is attached.
    let item = unsafe { PyIter_Next(iterator.as_ptr()) };
    std::mem::forget(guard);
    // SAFETY: a new reference; or null, with an exception set unless it is the end.
    let item = unsafe { Bound::from_owned_ptr_or_opt(py, item) };
    match (item, PyErr::take(py)) {
        (None, Some(error)) => Err(error),
        (item, _) => Ok(item),
    }
}
