//! The one table from the core's errors to Python's exceptions.
//!
//! Owns nothing; the classes are Python's, in `aiolibsql/exceptions.py`.
//! Invariant: classification is by SQLite's result code, never by a message.

use pyo3::exceptions::{PyBaseException, PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

use crate::core::{Error, Kind};
use crate::sqlite::{self, code};

use super::cached::{cached, interned};
use super::logs::{self, Area, Severity};

pyo3::create_exception!(
    aiolibsql._aiolibsql,
    Abandoned,
    PyException,
    "A shielded operation gave up because its caller was cancelled; the caller sees the cancellation instead."
);

/// The class of an error, most specific first.
fn class_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Closed => "ConnectionClosedError",
        Kind::Programming => "ProgrammingError",
        Kind::Data => "DataError",
        Kind::Operational | Kind::Cancelled => "OperationalError",
        Kind::Timeout => "TimeoutError",
        Kind::PoolTimeout => "PoolTimeout",
        Kind::PoolClosed => "PoolClosed",
        Kind::Connect => "ConnectError",
        Kind::Auth => "AuthError",
        Kind::StreamExpired => "StreamExpiredError",
        Kind::Sync => "SyncError",
        Kind::NotSupported => "NotSupportedError",
        Kind::Internal => "InternalError",
        Kind::Sqlite(extended) => match extended & 0xff {
            code::BUSY | code::LOCKED => "TimeoutError",
            code::INTERNAL | code::NOTFOUND => "InternalError",
            code::ERROR
            | code::PERM
            | code::ABORT
            | code::READONLY
            | code::INTERRUPT
            | code::IOERR
            | code::FULL
            | code::CANTOPEN
            | code::PROTOCOL
            | code::EMPTY
            | code::SCHEMA => "OperationalError",
            code::TOOBIG => "DataError",
            code::CONSTRAINT | code::MISMATCH => "IntegrityError",
            code::MISUSE | code::RANGE => "InterfaceError",
            _ => "DatabaseError",
        },
    }
}

/// The exception for an error, with the attributes that `sqlite3` gives it.
pub fn to_python(py: Python<'_>, error: Error) -> PyErr {
    if error.primary_code() == Some(code::NOMEM) {
        return PyMemoryError::new_err(error.message);
    }
    if error.kind == Kind::Cancelled {
        return Abandoned::new_err(error.message);
    }
    make(py, class_name(error.kind), &error).unwrap_or_else(|failed| failed)
}

/// Runs code of a destructor, which must neither see nor change the exception that is being raised around it.
/// Does nothing where the interpreter is going down.
pub fn in_destructor(work: impl FnOnce(Python<'_>) -> PyResult<()>) {
    let _ = Python::try_attach(|py| {
        let pending = PyErr::take(py);
        if let Err(error) = work(py) {
            error.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

/// Whether an operation failed only because its caller was cancelled.
pub fn is_cancelled(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<Abandoned>(py)
}

/// Whether nothing of a pool came free in time.
pub fn is_pool_timeout(py: Python<'_>, error: &PyErr) -> bool {
    let class = class_of(py, class_name(Kind::PoolTimeout));
    class.is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}

/// A `ProgrammingError`.
pub fn programming(py: Python<'_>, message: impl Into<String>) -> PyErr {
    to_python(py, Error::programming(message))
}

/// A `NotSupportedError`.
pub fn not_supported(py: Python<'_>, message: impl Into<String>) -> PyErr {
    to_python(py, Error::new(Kind::NotSupported, message))
}

/// Tells of an error beside the exception that is being raised, which must not be hidden by it: as a note (Python
/// 3.11 and newer) and in the log.
pub fn add_note(raised: &Bound<'_, PyAny>, error: &PyErr) -> PyResult<()> {
    let py = raised.py();
    let text = format!("aiolibsql: and then, when the block was left: {error}");
    // A caller by hand may give the class alone.
    if raised.is_instance_of::<PyBaseException>() && raised.hasattr(interned!(py, "add_note"))? {
        raised.call_method1(interned!(py, "add_note"), (&text,))?;
    }
    logs::write(py, Area::Transaction, Severity::Warning, &text);
    Ok(())
}

/// `fetch_one` found nothing.
pub fn no_row(py: Python<'_>) -> PyErr {
    let error = Error::operational("the query returned no row");
    make(py, "DatabaseError", &error).unwrap_or_else(|failed| failed)
}

fn class_of<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = cached(py, &MODULE, || {
        py.import("aiolibsql.exceptions").map(Bound::unbind)
    })?;
    module.bind(py).getattr(name)
}

fn make(py: Python<'_>, class: &str, error: &Error) -> PyResult<PyErr> {
    let exception = class_of(py, class)?.call1((&error.message,))?;
    if let Kind::Sqlite(extended) = error.kind {
        exception.setattr("sqlite_errorcode", extended)?;
        exception.setattr("sqlite_errorname", sqlite::code_name(extended))?;
    }
    if let Some(code) = &error.code {
        exception.setattr(interned!(py, "server_code"), &**code)?;
    }
    if let Some(sql) = &error.sql {
        exception.setattr("sql", &**sql)?;
    }
    let raised = PyErr::from_value(exception);
    if let Some(cause) = error.cause.as_ref().and_then(|cause| cause.get::<PyErr>()) {
        raised.set_cause(py, Some(cause.clone_ref(py)));
    }
    Ok(raised)
}

/// Return the exception that an SQLite result code becomes; for the tests of the table.
#[pyfunction]
pub fn _error_for_code(py: Python<'_>, code: i32, message: &str) -> PyErr {
    to_python(py, sqlite::Error::new(code, message).into())
}
