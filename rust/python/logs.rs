//! Logs: how something reaches the loggers of Python's `logging`.
//!
//! Owns the names of areas; the loggers are in `aiolibsql/_logs.py`. What happens on threads of our own is noted by the core, and written here by the next operation.
//! Thread: attached to the interpreter. Invariant: no lock is held, for a handler is Python code.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::cached::cached_attribute;
use super::ffi;

use crate::core::Notes;
pub use crate::core::{Area, Severity};

/// Writes a text. Never fails: it is not what the caller has asked for.
pub fn write(py: Python<'_>, area: Area, severity: Severity, message: &str) {
    static WRITE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let area = match area {
        Area::Query => "query",
        Area::Transaction => "transaction",
        Area::File => "file",
        Area::Pool => "pool",
        Area::Remote => "remote",
        Area::Replica => "replica",
    };
    // As `logging` numbers them.
    let level = match severity {
        Severity::Debug => 10,
        Severity::Info => 20,
        Severity::Warning => 30,
    };
    let written = cached_attribute(py, &WRITE, "aiolibsql._logs", "write")
        .and_then(|write| ffi::call(write, (area, level, message)));
    if let Err(error) = written {
        error.write_unraisable(py, None);
    }
}

/// Writes what was noted.
pub fn write_all(py: Python<'_>, notes: &Notes) {
    if notes.has_some() {
        for note in notes.take() {
            write(py, note.area, note.level, &note.text);
        }
    }
}
