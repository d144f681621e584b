//! Signals: Ctrl-C while a statement runs or waits.
//!
//! Owns the exception that a signal's handler has raised, until the method can raise it.
//! Thread: whichever runs a statement; handlers run on the main one only.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::python::cached::cached;
use crate::python::ffi;

thread_local! {
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Lets the handlers of signals run that came in the meantime. Whether one of them has raised an exception.
pub fn look() -> bool {
    let raised = Python::try_attach(|py| check(py).err()).flatten();
    let has_raised = raised.is_some();
    raised.into_iter().for_each(raise_later);
    has_raised
}

/// Runs the handlers of signals that have come.
///
/// # Errors
/// What one of them has raised.
pub fn check(py: Python<'_>) -> PyResult<()> {
    static NOTHING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // Python's own check lets the cyclic collector run first, from 3.12 on, and what a handler raises in a callback of the
    // collector's, or in a destructor, is lost. A function is asked for signals before that.
    let nothing = cached(py, &NOTHING, || {
        py.eval(c"lambda: None", None, None).map(Bound::unbind)
    })?;
    ffi::call(nothing.bind(py), ()).map(drop)
}

/// Keeps an exception that is not about the statement in whose callback it was raised.
pub fn raise_later(error: PyErr) {
    let before = RAISED.replace(Some(error));
    drop(before);
}

/// Takes the exception out.
pub fn take() -> Option<PyErr> {
    RAISED.take()
}
