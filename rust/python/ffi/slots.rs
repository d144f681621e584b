//! The `am_send` and `tp_iternext` slots, which `await` uses instead of calling `send`; and those of `async for`.
//!
//! PyO3 has no `am_send`, and its `__next__` makes an exception object for each result. `install` replaces both
//! slots of a class that PyO3 has made; the methods of the same names stay as they are. `install_iteration` does so
//! for an iterator whose steps are awaits of itself: they are taken once for each row.
//! Thread: attached to the interpreter.

use std::marker::PhantomData;
use std::ptr;

use pyo3::impl_::trampoline::{MethodDef, binaryfunc, unaryfunc};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyTuple, PyType};
use pyo3::{Borrowed, PyClass, ffi};

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

/// An asynchronous iterator that is also what its `__anext__` returns.
pub trait Steps: Coroutine + PyClass<Frozen = True> + Sync {
    /// Whether an await of it is suspended, so that it can't be awaited once more.
    fn is_waiting(&self) -> bool;

    /// The error of a second await.
    fn waits_already() -> PyErr;
}

/// Puts the C slots of `async for` into a class.
pub fn install_iteration<T: Steps>(class: &Bound<'_, PyType>) {
    install::<T>(class);
    // SAFETY: a live heap type that nobody else uses yet.
    let asynchronous = unsafe { (*class.as_type_ptr()).tp_as_async };
    // SAFETY: as in `install`.
    if let Some(methods) = unsafe { asynchronous.as_mut() } {
        methods.am_aiter = Some(itself);
        methods.am_anext = Some(itself);
        methods.am_await = Some(am_await::<T>);
    }
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
    unsafe { (*class).tp_iternext = Some(unaryfunc::<Next<T>>) };
}

/// The interpreter's calls go through PyO3's own trampolines: they know that the thread is attached, which
/// `Python::attach` would look up at many times the cost of a row.
struct Resume<T>(PhantomData<T>);

impl<T: Coroutine> MethodDef<binaryfunc::Func> for Resume<T> {
    const METH: binaryfunc::Func = resume::<T>;
}

struct Next<T>(PhantomData<T>);

impl<T: Coroutine> MethodDef<unaryfunc::Func> for Next<T> {
    const METH: unaryfunc::Func = next::<T>;
}

struct Refuse<T>(PhantomData<T>);

impl<T: Steps> MethodDef<unaryfunc::Func> for Refuse<T> {
    const METH: unaryfunc::Func = refuse::<T>;
}

/// Set in the pointer to a result that was returned; one that was yielded has it clear, as objects are aligned.
const RETURNED: usize = 1;

unsafe fn send<'py, T: Coroutine>(
    py: Python<'py>,
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> PyResult<Sent> {
    // SAFETY: the interpreter passes a live object, borrowed for the call.
    let object = unsafe { Borrowed::from_ptr(py, object) };
    // SAFETY: the slots of a class are called with its instances only.
    let object: Borrowed<'_, 'py, T> = unsafe { object.cast_unchecked() };
    // SAFETY: as above; null, or None, stands for "nothing was sent".
    let value = unsafe { Borrowed::from_ptr_or_opt(py, value) };
    T::resume(&object, value.as_deref().filter(|value| !value.is_none()))
}

unsafe fn resume<T: Coroutine>(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: this function's own contract.
    Ok(match unsafe { send::<T>(py, object, value) }? {
        Sent::Yield(value) => value.into_ptr(),
        Sent::Return(value) => value.into_ptr().map_addr(|address| address | RETURNED),
    })
}

unsafe fn next<T: Coroutine>(
    py: Python<'_>,
    object: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: this function's own contract.
    match unsafe { send::<T>(py, object, ptr::null_mut()) }? {
        Sent::Yield(value) => Ok(value.into_ptr()),
        Sent::Return(value) => {
            // No exception set stands for StopIteration(None).
            if !value.is_none(py) {
                set_stop_iteration(value.bind(py));
            }
            Ok(ptr::null_mut())
        }
    }
}

unsafe fn refuse<T: Steps>(
    _py: Python<'_>,
    _object: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    Err(T::waits_already())
}

unsafe extern "C" fn am_send<T: Coroutine>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter is attached and passes live objects.
    let sent = unsafe { binaryfunc::<Resume<T>>(object, value) };
    let value = sent.map_addr(|address| address & !RETURNED);
    // SAFETY: the interpreter passes a place for the result.
    unsafe { *result = value };
    if value.is_null() {
        ffi::PySendResult::PYGEN_ERROR
    } else if value == sent {
        ffi::PySendResult::PYGEN_NEXT
    } else {
        ffi::PySendResult::PYGEN_RETURN
    }
}

unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes a live object.
    unsafe { ffi::Py_NewRef(object) }
}

unsafe extern "C" fn am_await<T: Steps>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls its slots attached.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: it passes a live object, borrowed for the call.
    let this = unsafe { Borrowed::from_ptr(py, object) };
    // SAFETY: the slots of a class are called with its instances only.
    let this: Borrowed<'_, '_, T> = unsafe { this.cast_unchecked() };
    if this.get().is_waiting() {
        // SAFETY: attached, and a live object.
        return unsafe { unaryfunc::<Refuse<T>>(object) };
    }
    // SAFETY: a live object.
    unsafe { ffi::Py_NewRef(object) }
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
