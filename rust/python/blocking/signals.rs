//! Signals: Ctrl-C while a statement runs or waits.
//!
//! Owns the exception that a signal's handler has raised, until the method can raise it.
//! Thread: whichever runs a statement; handlers run on the main one only.

use std::cell::RefCell;

use pyo3::prelude::*;

thread_local! {
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Lets the handlers of signals run that came in the meantime. Whether one of them has raised an exception.
pub fn look() -> bool {
    let raised = Python::try_attach(|py| py.check_signals().err()).flatten();
    let has_raised = raised.is_some();
    raised.into_iter().for_each(raise_later);
    has_raised
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
