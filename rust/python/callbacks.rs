//! Callbacks: Python's functions that SQLite calls while a statement runs.
//!
//! Owns a connection's table of them. SQLite holds places in the table only, so that the garbage collector sees every
//! callback through its connection, and can end a cycle.
//! Thread: callbacks run on the worker, attached to the interpreter for the call, in a copy of the context of whoever
//! awaits the statement; nothing of the driver is locked meanwhile.
//! Invariant: a worker attaches only while the interpreter is up, and is counted until it has left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::core::{Channel, Opaque, wake_unheard};
use crate::sqlite::{Failure, code};

use super::blocking;
use super::cached::cached_attribute;
use super::exceptions;
use super::exit;
use super::ffi;
use super::reentrancy::Reentrancy;

/// What callbacks raise is reported to `sys.unraisablehook` too.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// Report the exceptions of callbacks to `sys.unraisablehook` too, as `sqlite3`.
#[pyfunction]
#[pyo3(signature = (enable, /))]
pub fn enable_callback_tracebacks(enable: bool) {
    REPORTS.store(enable, Ordering::Relaxed);
}

/// The callbacks of one connection.
pub struct Callbacks {
    table: Mutex<HashMap<u64, Py<PyAny>>>,
    next: AtomicU64,
    /// There was one: from then on statements bring the context of their callers along.
    is_used: Arc<AtomicBool>,
    channel: Arc<Channel>,
    reentrancy: Arc<Reentrancy>,
    /// Statements are run by the threads that wait for them.
    is_blocking: bool,
}

/// A callback's place in its table. SQLite has it, or what SQLite calls.
pub struct Callback {
    callbacks: Weak<Callbacks>,
    id: u64,
}

impl Callbacks {
    pub fn new(
        channel: Arc<Channel>,
        reentrancy: Arc<Reentrancy>,
        is_used: Arc<AtomicBool>,
        is_blocking: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            next: AtomicU64::new(0),
            is_used,
            channel,
            reentrancy,
            is_blocking,
        })
    }

    /// Adds a callback, or an object that one works on.
    pub fn add(self: &Arc<Self>, object: Py<PyAny>) -> Callback {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.is_used.store(true, Ordering::Release);
        self.table().insert(id, object);
        Callback {
            callbacks: Arc::downgrade(self),
            id,
        }
    }

    /// Whether statements are run by the threads that wait for them.
    pub const fn is_blocking(&self) -> bool {
        self.is_blocking
    }

    /// The context that callbacks of a statement run in, which is awaited here.
    pub fn surroundings(&self, py: Python<'_>) -> Option<Opaque> {
        if !self.is_used.load(Ordering::Acquire) {
            return None;
        }
        // A blocking caller's own context is that of its thread.
        let context = (!self.is_blocking)
            .then(|| ffi::copy_context(py).ok())
            .flatten();
        Some(Opaque::new(context.map(Bound::unbind)))
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.table.try_lock() {
            Ok(table) => table.values().try_for_each(|object| visit.call(object)),
            Err(_) => Ok(()),
        }
    }

    /// Drops all of them; what SQLite still calls fails. In a child a worker of the parent's may hold the table for ever.
    pub fn clear(&self) {
        let table = self
            .table
            .try_lock()
            .map(|mut table| std::mem::take(&mut *table));
        drop(table);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Py<PyAny>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Callback {
    /// Works with the object on the worker. What it raises becomes the cause of the statement's error, which says
    /// `what`.
    pub fn run<T>(
        &self,
        what: &str,
        work: impl FnOnce(&Bound<'_, PyAny>, &Call<'_, '_>) -> PyResult<T>,
    ) -> Result<T, Failure> {
        let gone = || failure(code::ABORT, "the callback is gone");
        let callbacks = self.callbacks.upgrade().ok_or_else(gone)?;
        // It may wait for the interpreter, and take its time.
        wake_unheard();
        let inside = exit::enter_worker();
        if inside.is_none() {
            return Err(failure(code::ABORT, "the interpreter is going down"));
        }
        let ran = Python::try_attach(|py| {
            let object = callbacks
                .table()
                .get(&self.id)
                .map(|object| object.clone_ref(py));
            let object = object.ok_or_else(gone)?.into_bound(py);
            let surroundings = callbacks.channel.surroundings();
            let context = surroundings
                .as_ref()
                .and_then(|context| context.get::<Option<Py<PyAny>>>())
                .and_then(Option::as_ref);
            let call = Call {
                context: context.map(|context| context.bind(py)),
                is_blocking: callbacks.is_blocking,
            };
            // Another loop in the callback would wait for the connection that waits for the callback.
            let _refusal = callbacks.reentrancy.refuse();
            work(&object, &call).map_err(|error| {
                callbacks.report(&object, &error);
                callbacks.failed(py, what, error)
            })
        });
        ran.unwrap_or_else(|| Err(failure(code::ABORT, "the interpreter is going down")))
    }

    /// As `run`, for a callback that no statement's error can tell of: what it raises is reported as unraisable.
    pub fn run_unheard(&self, work: impl FnOnce(&Bound<'_, PyAny>, &Call<'_, '_>) -> PyResult<()>) {
        let ran = self.run("", |object, call| match work(object, call) {
            Err(error) if !call.is_blocking => {
                error.write_unraisable(object.py(), Some(object));
                Ok(())
            }
            result => result,
        });
        drop(ran);
    }
}

impl Callbacks {
    /// After `enable_callback_tracebacks(True)`. Ctrl-C and the like go to whoever blocks.
    fn report(&self, object: &Bound<'_, PyAny>, error: &PyErr) {
        let py = object.py();
        if self.is_blocking && !error.is_instance_of::<PyException>(py) {
            blocking::raise_later(error.clone_ref(py));
            return;
        }
        if !REPORTS.load(Ordering::Relaxed) {
            return;
        }
        // Of an aggregate its class, which has a name.
        let shown = if object.is_callable() {
            object.clone()
        } else {
            object.get_type().into_any()
        };
        error.clone_ref(py).write_unraisable(py, Some(&shown));
    }

    fn failed(&self, py: Python<'_>, what: &str, error: PyErr) -> Failure {
        let result = if error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py) {
            code::NOMEM
        } else if error.is_instance_of::<pyo3::exceptions::PyOverflowError>(py) {
            code::TOOBIG
        } else {
            code::ERROR
        };
        self.channel.fail(Opaque::new(error));
        // As sqlite3 has it.
        let is_too_big = self.is_blocking && result == code::TOOBIG;
        failure(
            result,
            if is_too_big {
                "string or blob too big"
            } else {
                what
            },
        )
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(callbacks) = self.callbacks.upgrade() {
            let object = callbacks.table().remove(&self.id);
            drop(object);
        }
    }
}

/// How a callback calls Python.
pub struct Call<'a, 'py> {
    context: Option<&'a Bound<'py, PyAny>>,
    is_blocking: bool,
}

impl<'py> Call<'_, 'py> {
    /// Calls something in the context of the statement's caller.
    pub fn call(
        &self,
        callable: &Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        ffi::call_all_in(self.context, callable, arguments)
    }
}

/// Refuses an `async def` function, whose coroutine nobody would await.
pub fn refuse_coroutine_function(callable: &Bound<'_, PyAny>) -> PyResult<()> {
    static IS_COROUTINE_FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = callable.py();
    let check = cached_attribute(py, &IS_COROUTINE_FUNCTION, "inspect", "iscoroutinefunction")?;
    if check.call1((callable,))?.is_truthy()? {
        let message = "async def callbacks are not supported yet";
        return Err(exceptions::not_supported(py, message));
    }
    Ok(())
}

fn failure(code: i32, message: &str) -> Failure {
    Failure {
        code,
        message: message.to_owned(),
    }
}
