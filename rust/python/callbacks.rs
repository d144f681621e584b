//! Callbacks: Python's functions that SQLite calls while a statement runs.
//!
//! Owns a connection's table of them. SQLite holds places in the table only, so that the garbage collector sees every
//! callback through its connection, and can end a cycle.
//! Thread: callbacks run on the worker, attached to the interpreter for the call, in a copy of the context of whoever
//! awaits the statement; nothing of the driver is locked meanwhile. What they return to be awaited, the operation that
//! waits for the statement awaits (`in_flight`), while the worker sleeps.
//! Invariant: a worker attaches only while the interpreter is up, and is counted until it has left.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple, PyType};

use crate::core::{Asked, Channel, Opaque, wake_unheard};
use crate::sqlite::{Failure, code};

use super::blocking;
use super::cached::{cached_attribute, interned};
use super::common::Common;
use super::event_loop::{self, LoopPort};
use super::exceptions;
use super::exit;
use super::ffi;
use super::in_flight::{self, Answer, Question};
use super::reentrancy::Reentrancy;

/// What callbacks raise is reported to `sys.unraisablehook` too.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// What those who share a database have of its callbacks.
#[derive(Debug, Default)]
pub struct Uses {
    /// There was one: from then on statements bring the context of their callers along.
    is_used: AtomicBool,
    /// One of them is `async def`, or has returned something to be awaited.
    awaits: AtomicBool,
}

/// Report the exceptions of callbacks to `sys.unraisablehook` too, as `sqlite3`.
#[pyfunction]
#[pyo3(signature = (enable, /))]
pub fn enable_callback_tracebacks(enable: &Bound<'_, PyAny>) -> PyResult<()> {
    REPORTS.store(enable.is_truthy()?, Ordering::Relaxed);
    Ok(())
}

/// The callbacks of one connection.
pub struct Callbacks {
    table: Mutex<HashMap<u64, Py<PyAny>>>,
    next: AtomicU64,
    /// What those who share the database have of them.
    uses: Arc<Uses>,
    channel: Arc<Channel>,
    reentrancy: Arc<Reentrancy>,
    /// What its pool has of these.
    common: OnceLock<Arc<Common>>,
    /// Statements are run by the threads that wait for them.
    is_blocking: bool,
}

/// Where a statement is awaited.
struct Surroundings {
    context: Option<Py<PyAny>>,
    /// Of its loop, once something was to be awaited.
    port: Option<Py<LoopPort>>,
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
        uses: Arc<Uses>,
        is_blocking: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            next: AtomicU64::new(0),
            uses,
            channel,
            reentrancy,
            common: OnceLock::new(),
            is_blocking,
        })
    }

    /// Its connection becomes one of a pool's; nothing has called it yet.
    pub fn join_pool(&self, common: &Arc<Common>) {
        for (own, common) in [
            (&self.uses.is_used, &common.uses.is_used),
            (&self.uses.awaits, &common.uses.awaits),
        ] {
            common.fetch_or(own.load(Ordering::Acquire), Ordering::Release);
        }
        let _ = self.common.set(Arc::clone(common));
    }

    fn uses(&self) -> &Uses {
        match self.common.get() {
            Some(common) => &common.uses,
            None => &self.uses,
        }
    }

    /// Which code may not await what runs them.
    pub fn reentrancy(&self) -> &Arc<Reentrancy> {
        match self.common.get() {
            Some(common) => &common.reentrancy,
            None => &self.reentrancy,
        }
    }

    /// Adds a callback, and looks whether it will return something to be awaited.
    ///
    /// # Errors
    /// Those of looking.
    pub fn add_callable(self: &Arc<Self>, callable: &Bound<'_, PyAny>) -> PyResult<Callback> {
        if is_async(callable)? {
            self.uses().awaits.store(true, Ordering::Release);
        }
        Ok(self.add(callable.clone().unbind()))
    }

    /// Adds a callback, or an object that one works on.
    pub fn add(self: &Arc<Self>, object: Py<PyAny>) -> Callback {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.uses().is_used.store(true, Ordering::Release);
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

    /// Whether a statement may need its caller while it runs.
    pub fn may_await(&self) -> bool {
        self.uses().awaits.load(Ordering::Acquire)
    }

    /// Whether there was one.
    pub fn were_used(&self) -> bool {
        self.uses().is_used.load(Ordering::Acquire)
    }

    /// What callbacks of a statement run in, which is awaited here.
    pub fn surroundings(&self, py: Python<'_>) -> Option<Opaque> {
        if !self.were_used() {
            return None;
        }
        if self.is_blocking {
            // A blocking caller's own context is that of its thread.
            return Some(Opaque::new(Surroundings {
                context: None,
                port: None,
            }));
        }
        let context = ffi::copy_context(py).ok();
        let port = self.may_await().then(|| event_loop::current(py).ok());
        Some(Opaque::new(Surroundings {
            context: context.map(Bound::unbind),
            port: port.flatten(),
        }))
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
        self.run_in(None, what, work)
    }

    /// As `run`, for what another channel tells of than the one of all callbacks.
    pub fn run_in<T>(
        &self,
        channel: Option<&Channel>,
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
            let channel = channel.unwrap_or(&callbacks.channel);
            let surroundings = channel.surroundings();
            let surroundings = surroundings.as_ref().and_then(Opaque::get::<Surroundings>);
            let context = surroundings.and_then(|of| of.context.as_ref());
            let call = Call {
                callbacks: &callbacks,
                channel,
                context: context.map(|context| context.bind(py)),
                port: surroundings.and_then(|of| of.port.as_ref()),
                was_refused: Cell::new(false),
            };
            // Another loop in the callback would wait for the connection that waits for the callback.
            let _refusal = callbacks.reentrancy().refuse();
            work(&object, &call).map_err(|error| {
                callbacks.report(&object, &error);
                callbacks.failed(py, channel, what, error)
            })
        });
        ran.unwrap_or_else(|| Err(failure(code::ABORT, "the interpreter is going down")))
    }

    /// As `run`, for a callback that no statement's error can tell of: what it raises is reported as unraisable.
    pub fn run_unheard(&self, work: impl FnOnce(&Bound<'_, PyAny>, &Call<'_, '_>) -> PyResult<()>) {
        let ran = self.run("", |object, call| match work(object, call) {
            Err(error) if !call.callbacks.is_blocking => {
                if !exceptions::is_cancelled(object.py(), &error) {
                    error.write_unraisable(object.py(), Some(object));
                }
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
        if !REPORTS.load(Ordering::Relaxed) || exceptions::is_cancelled(py, error) {
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

    fn failed(&self, py: Python<'_>, channel: &Channel, what: &str, error: PyErr) -> Failure {
        if exceptions::is_cancelled(py, &error) {
            return failure(code::INTERRUPT, "interrupted");
        }
        let result = if error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py) {
            code::NOMEM
        } else if error.is_instance_of::<pyo3::exceptions::PyOverflowError>(py) {
            code::TOOBIG
        } else {
            code::ERROR
        };
        channel.fail(Opaque::new(error));
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
    callbacks: &'a Callbacks,
    channel: &'a Channel,
    context: Option<&'a Bound<'py, PyAny>>,
    port: Option<&'a Py<LoopPort>>,
    /// Nobody has awaited what the callback returned, or not to its end.
    was_refused: Cell<bool>,
}

impl<'py> Call<'_, 'py> {
    /// Calls something in the context of the statement's caller. What it returns to be awaited is awaited there.
    pub fn call(
        &self,
        callable: &Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let value = ffi::call_all_in(self.context, callable, arguments)?;
        if is_awaitable(&value)? {
            self.callbacks.uses().awaits.store(true, Ordering::Release);
            self.wait_for(value)
        } else {
            Ok(value)
        }
    }

    /// Whether the callback is without a result because nobody has awaited what it returned, or not to the end.
    pub const fn was_refused(&self) -> bool {
        self.was_refused.get()
    }

    /// Has something awaited by the operation that waits for the statement. The worker keeps no reference to it meanwhile,
    /// so that a task that waits for ever, and that nobody has any more, can be collected.
    fn wait_for(&self, awaitable: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = awaitable.py();
        let reentrancy = Arc::clone(self.callbacks.reentrancy());
        let question = Opaque::new(Question::new(awaitable.unbind(), reentrancy));
        let operation = self.channel.operation();
        // Whoever waits for a blocking statement is in the middle of this call.
        let asked = match operation.filter(|_| !self.callbacks.is_blocking) {
            None => Asked::Nobody(question),
            Some(operation) => {
                let port = self.port;
                py.detach(|| operation.ask(question, || is_gone(port)))
            }
        };
        self.was_refused.set(!matches!(asked, Asked::Answer(_)));
        let stopped = || exceptions::Abandoned::new_err("the statement was stopped");
        match asked {
            Asked::Answer(answer) => match answer.get::<Answer>() {
                Some(Ok(value)) => Ok(value.bind(py).clone()),
                Some(Err(error)) => Err(error.clone_ref(py)),
                None => Err(stopped()),
            },
            Asked::Declined => Err(stopped()),
            Asked::Stopped(question) => {
                in_flight::close(py, &question);
                Err(stopped())
            }
            Asked::Nobody(question) => {
                in_flight::close(py, &question);
                let message = "a callback returned an awaitable, and nobody awaits the statement that called it";
                Err(exceptions::programming(py, message))
            }
        }
    }
}

/// Whether nobody can go on with an operation of this loop. Called on a worker that is counted as inside.
fn is_gone(port: Option<&Py<LoopPort>>) -> bool {
    let has_ended = |port: &Py<LoopPort>| Python::try_attach(|py| port.get().has_ended(py));
    exit::is_ending() || port.is_some_and(|port| has_ended(port).unwrap_or(true))
}

fn is_awaitable(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_value = value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyBool>();
    Ok(!is_value && value.hasattr(interned!(value.py(), "__await__"))?)
}

/// Whether what a callable returns is known to be awaitable before it is called: an `async def` function, an object with
/// an `async def __call__`, a class with such methods.
pub(super) fn is_async(callable: &Bound<'_, PyAny>) -> PyResult<bool> {
    static IS_COROUTINE_FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    const METHODS: [&str; 4] = ["step", "inverse", "value", "finalize"];
    let py = callable.py();
    let check = cached_attribute(py, &IS_COROUTINE_FUNCTION, "inspect", "iscoroutinefunction")?;
    let is_async = |function: &Bound<'_, PyAny>| check.call1((function,))?.is_truthy();
    if callable.is_instance_of::<PyType>() {
        for name in METHODS {
            if let Some(method) = callable.getattr_opt(name)?
                && is_async(&method)?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let call = callable.get_type().getattr(interned!(py, "__call__"))?;
    Ok(is_async(callable)? || is_async(&call)?)
}

fn failure(code: i32, message: &str) -> Failure {
    Failure {
        code,
        message: message.to_owned(),
    }
}
