//! Hooks: authorizer, trace, progress and busy handlers, and what hears of changes and ends of transactions.
//!
//! Owns what SQLite calls for them; the Python objects are in the connection's table of callbacks.
//! Thread: the methods on any that is attached; what SQLite calls, on the worker.

use std::ffi::{CStr, c_int};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::Error;
use crate::sqlite::{Authorization, AuthorizerAction, Change, Handle, TraceEvent, Update};

use super::awaitable::Operation;
use super::callbacks::{Call, Callback};
use super::connection::Connection;

const INSERT: c_int = 18;
const DELETE: c_int = 9;
const UPDATE: c_int = 23;

const DENY: i64 = 1;
const IGNORE: i64 = 2;

fn text<'py>(py: Python<'py>, bytes: Option<&[u8]>) -> PyResult<Bound<'py, PyAny>> {
    match bytes {
        Some(bytes) => Ok(PyString::from_bytes(py, bytes)?.into_any()),
        None => Ok(py.None().into_bound(py)),
    }
}

fn authorize(
    authorizer: &Bound<'_, PyAny>,
    call: &Call<'_, '_>,
    action: &AuthorizerAction<'_>,
) -> PyResult<Authorization> {
    let py = authorizer.py();
    let arguments = (
        action.code,
        text(py, action.first)?,
        text(py, action.second)?,
        text(py, action.database)?,
        text(py, action.accessor)?,
    );
    let answer = call.call(authorizer, arguments.into_pyobject(py)?)?;
    Ok(match answer.extract::<i64>()? {
        0 => Authorization::Allow,
        IGNORE => Authorization::Ignore,
        DENY => Authorization::Deny,
        other => {
            let message = format!("an authorizer returns SQLITE_OK, _DENY or _IGNORE, not {other}");
            return Err(pyo3::exceptions::PyValueError::new_err(message));
        }
    })
}

fn trace(tracer: &Bound<'_, PyAny>, call: &Call<'_, '_>, event: &TraceEvent<'_>) -> PyResult<()> {
    let TraceEvent::Statement { sql, expanded } = event else {
        return Ok(());
    };
    let py = tracer.py();
    // Too long with its values in it: without them.
    let sql = expanded.to_bytes().unwrap_or_else(|| sql.to_vec());
    let sql = PyString::from_bytes(py, &sql)?;
    call.call(tracer, PyTuple::new(py, [sql])?).map(drop)
}

fn hear_of_update(
    hook: &Bound<'_, PyAny>,
    call: &Call<'_, '_>,
    update: &Update<'_>,
) -> PyResult<()> {
    let py = hook.py();
    let change = match update.change {
        Change::Insert => INSERT,
        Change::Update => UPDATE,
        Change::Delete => DELETE,
    };
    let (database, table) = (Some(update.database), Some(update.table));
    let arguments = (change, text(py, database)?, text(py, table)?, update.rowid);
    call.call(hook, arguments.into_pyobject(py)?).map(drop)
}

/// Whether a callback without arguments returns something true.
fn is_true(callback: &Callback, arguments: Option<u32>) -> Option<bool> {
    let answer = callback.run(
        "user-defined callback raised exception",
        |callable, call| {
            let arguments = PyTuple::new(callable.py(), arguments)?;
            call.call(callable, arguments)?.is_truthy()
        },
    );
    answer.ok()
}

#[pymethods]
impl Connection {
    fn set_authorizer(
        slf: &Bound<'_, Self>,
        authorizer_callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, authorizer_callback)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle.set_authorizer(callback.map(|callback| {
                Box::new(move |action: &AuthorizerAction<'_>| {
                    let what = "user-defined authorizer raised exception";
                    let answer =
                        callback.run(what, |authorizer, call| authorize(authorizer, call, action));
                    answer.unwrap_or(Authorization::Deny)
                }) as _
            }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_authorizer", work))
    }

    fn set_trace_callback(
        slf: &Bound<'_, Self>,
        trace_callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, trace_callback)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle.set_trace(callback.map(|callback| {
                Box::new(move |event: &TraceEvent<'_>| {
                    if matches!(event, TraceEvent::Statement { .. }) {
                        callback.run_unheard(|tracer, call| trace(tracer, call, event));
                    }
                }) as _
            }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_trace_callback", work))
    }

    fn set_progress_handler(
        slf: &Bound<'_, Self>,
        handler: Option<&Bound<'_, PyAny>>,
        n: &Bound<'_, PyAny>,
    ) -> PyResult<Operation> {
        // rapsqlite has them the other way round.
        let (handler, n) = match handler {
            Some(first) if !first.is_callable() => (Some(n).filter(|n| !n.is_none()), first),
            _ => (handler, n),
        };
        let Ok(every) = n.extract::<i64>() else {
            let message = "set_progress_handler takes a callable and a number of steps";
            return Err(PyTypeError::new_err(message));
        };
        let every = u32::try_from(every.clamp(0, i64::from(i32::MAX))).unwrap_or(0);
        let callback = Self::callback(slf, handler)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            let handler = callback
                .map(|callback| Box::new(move || is_true(&callback, None).unwrap_or(true)) as _);
            handle.set_progress_handler(every, handler);
            Ok(())
        };
        Ok(Self::configure(
            slf,
            "Connection.set_progress_handler",
            work,
        ))
    }

    fn set_busy_handler(
        slf: &Bound<'_, Self>,
        handler: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, handler)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle.set_busy_handler(callback.map(|callback| {
                Box::new(move |calls: u32| is_true(&callback, Some(calls)).unwrap_or(false)) as _
            }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_busy_handler", work))
    }

    fn set_update_hook(
        slf: &Bound<'_, Self>,
        callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, callback)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle.set_update_hook(callback.map(|callback| {
                Box::new(move |update: &Update<'_>| {
                    callback.run_unheard(|hook, call| hear_of_update(hook, call, update));
                }) as _
            }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_update_hook", work))
    }

    fn set_commit_hook(
        slf: &Bound<'_, Self>,
        callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, callback)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle
                .set_commit_hook(callback.map(|callback| {
                    Box::new(move || is_true(&callback, None) == Some(false)) as _
                }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_commit_hook", work))
    }

    fn set_wal_hook(
        slf: &Bound<'_, Self>,
        callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, callback)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle.set_wal_hook(callback.map(|callback| {
                Box::new(move |name: &CStr, pages: u32| {
                    callback.run_unheard(|hook, call| {
                        let name = text(hook.py(), Some(name.to_bytes()))?;
                        let arguments = (name, pages).into_pyobject(hook.py())?;
                        call.call(hook, arguments).map(drop)
                    });
                }) as _
            }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_wal_hook", work))
    }

    fn set_rollback_hook(
        slf: &Bound<'_, Self>,
        callback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Operation> {
        let callback = Self::callback(slf, callback)?;
        let work = move |handle: &mut Handle| -> Result<(), Error> {
            handle.set_rollback_hook(callback.map(|callback| {
                Box::new(move || {
                    callback.run_unheard(|hook, call| {
                        call.call(hook, PyTuple::empty(hook.py())).map(drop)
                    });
                }) as _
            }));
            Ok(())
        };
        Ok(Self::configure(slf, "Connection.set_rollback_hook", work))
    }
}
