//! Reentrancy: code that a connection waits for must not await that connection.
//!
//! Owns which such code runs just now: on threads the iterable of an `executemany` and plain callbacks, and in tasks the
//! awaitables of callbacks, which are told by a context variable that the tasks they start inherit.
//! Thread: any that is attached.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::cached::{cached, interned};
use super::exceptions;

/// What may not await just now.
#[derive(Debug, Default)]
pub struct Reentrancy {
    refused: Mutex<Refused>,
    /// There is something: this is all that most awaits look at.
    refuses: AtomicBool,
}

#[derive(Debug, Default)]
struct Refused {
    threads: Vec<ThreadId>,
    callbacks: Vec<u64>,
}

/// While it lives, awaits on this thread are refused.
pub struct Refusal<'a> {
    reentrancy: &'a Reentrancy,
    thread: ThreadId,
}

impl Reentrancy {
    /// Refuses awaits on this thread until the guard is dropped.
    pub fn refuse(&self) -> Refusal<'_> {
        let thread = std::thread::current().id();
        self.change(|refused| refused.threads.push(thread));
        Refusal {
            reentrancy: self,
            thread,
        }
    }

    /// Refuses awaits of what runs inside of a callback, until its end. Returns what the callback is known by.
    pub fn begin_callback(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let callback = NEXT.fetch_add(1, Ordering::Relaxed);
        self.change(|refused| refused.callbacks.push(callback));
        callback
    }

    pub fn end_callback(&self, callback: u64) {
        self.change(|refused| refused.callbacks.retain(|other| *other != callback));
    }

    /// Raises where an await could never end.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        if !self.refuses.load(Ordering::Acquire) {
            return Ok(());
        }
        let refused = self.lock();
        let mut is_refused = refused.threads.contains(&std::thread::current().id());
        let callbacks = refused.callbacks.clone();
        drop(refused);
        if !is_refused && !callbacks.is_empty() {
            is_refused = current(py)?.iter().any(|own| callbacks.contains(own));
        }
        if is_refused {
            let message =
                "a callback, or executemany's iterable, can't use the connection that waits for it";
            return Err(exceptions::programming(py, message));
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Refused)) {
        let mut refused = self.lock();
        change(&mut refused);
        let is_empty = refused.threads.is_empty() && refused.callbacks.is_empty();
        self.refuses.store(!is_empty, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        self.reentrancy.change(|refused| {
            let place = refused
                .threads
                .iter()
                .rposition(|thread| *thread == self.thread);
            if let Some(place) = place {
                refused.threads.swap_remove(place);
            }
        });
    }
}

/// Does something inside of a callback: tasks that are started meanwhile are inside of it too.
///
/// # Errors
/// Python's, of context variables.
pub fn inside<T>(py: Python<'_>, callback: u64, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let mut callbacks = current(py)?;
    callbacks.push(callback);
    let variable = variable(py)?;
    let before = variable.call_method1(interned!(py, "set"), (callbacks,))?;
    let result = work();
    variable.call_method1(interned!(py, "reset"), (before,))?;
    result
}

/// The callbacks that the running code is inside of.
fn current(py: Python<'_>) -> PyResult<Vec<u64>> {
    let callbacks = variable(py)?.call_method0(interned!(py, "get"))?;
    if callbacks.is_none() {
        return Ok(Vec::new());
    }
    callbacks.extract()
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let variable = cached(py, &VARIABLE, || {
        let default = [("default", py.None())];
        py.import("contextvars")?
            .getattr("ContextVar")?
            .call(
                ("aiolibsql.callbacks",),
                Some(&pyo3::types::IntoPyDict::into_py_dict(default, py)?),
            )
            .map(Bound::unbind)
    })?;
    Ok(variable.bind(py))
}
