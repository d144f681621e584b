//! Operations under asyncio, uvloop, and anyio over them.
//!
//! Owns the Waiter, which speaks the protocol of asyncio's futures for one suspension, and the registry of ports.
//! Thread: the loop's.
//! Invariant: a Waiter calls its task back exactly once: when it is resumed, or after a cancel that it accepted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::core::Error;
use crate::wakeup::Ticket;

use super::cached::{cached_attribute, interned};
use super::event_loop::LoopPort;
use super::exceptions;
use super::ffi;
use super::suspension::Held;

/// What a suspended operation yields to its task.
#[pyclass(module = "aiolibsql._aiolibsql", name = "_Waiter")]
pub struct Waiter {
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
    event_loop: Option<Py<PyAny>>,
    port: Option<Py<LoopPort>>,
    ticket: Ticket,
    held: Arc<Held>,
    callback: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
    state: State,
    message: Option<Py<PyAny>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Resumed,
    Cancelled,
}

impl Waiter {
    pub fn new(event_loop: Py<PyAny>, port: Py<LoopPort>, ticket: Ticket, held: Held) -> Self {
        Self {
            blocking: true,
            event_loop: Some(event_loop),
            port: Some(port),
            ticket,
            held: Arc::new(held),
            callback: None,
            state: State::Waiting,
            message: None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.state != State::Waiting
    }

    fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self
            .event_loop
            .as_ref()
            .ok_or_else(|| PyRuntimeError::new_err("this wait has ended"))?;
        Ok(event_loop.bind(py).clone())
    }
}

#[pymethods]
impl Waiter {
    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop(py)
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(&mut self, callback: Py<PyAny>, context: Option<Py<PyAny>>) {
        self.callback = Some((callback, context));
    }

    fn remove_done_callback(
        &mut self,
        py: Python<'_>,
        callback: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let matches = match &self.callback {
            Some((own, _)) => own.bind(py).eq(callback)?,
            None => false,
        };
        if matches {
            self.callback = None;
        }
        Ok(usize::from(matches))
    }

    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let (held, ticket, port) = {
            let this = slf.borrow();
            if this.state != State::Waiting {
                return Ok(false);
            }
            (
                Arc::clone(&this.held),
                this.ticket,
                this.port.as_ref().map(|port| port.clone_ref(py)),
            )
        };
        let is_inherited = port.as_ref().is_some_and(|port| port.get().is_inherited());
        // A shielded wait answers False: the task remembers the request and is cancelled when it resumes.
        if held.cancel(is_inherited) {
            return Ok(false);
        }
        if let Some(port) = port {
            drop(port.get().forget(ticket));
        }
        {
            let mut this = slf.borrow_mut();
            this.state = State::Cancelled;
            // anyio tells its own cancellations by the message.
            this.message = msg;
        }
        schedule(slf)?;
        Ok(true)
    }

    fn done(&self) -> bool {
        self.is_done()
    }

    fn cancelled(&self) -> bool {
        self.state == State::Cancelled
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match self.state {
            State::Resumed => Ok(()),
            State::Cancelled => {
                let class = cancelled_error(py)?;
                let error = match &self.message {
                    Some(message) => class.call1((message,))?,
                    None => class.call0()?,
                };
                Err(PyErr::from_value(error))
            }
            State::Waiting => Err(PyRuntimeError::new_err("the operation has not finished")),
        }
    }

    fn exception(&self, py: Python<'_>) -> PyResult<()> {
        self.result(py)
    }

    fn __await__(slf: Py<Self>) -> PyResult<()> {
        drop(slf);
        Err(PyRuntimeError::new_err(
            "a wait of aiolibsql belongs to the task that yielded it",
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.port)?;
        visit.call(&self.message)?;
        if let Some((callback, context)) = &self.callback {
            visit.call(callback)?;
            visit.call(context)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.event_loop = None;
        self.port = None;
        self.callback = None;
        self.message = None;
    }
}

/// Wakes the task of a waiter whose operation can go on: at once, in this turn of the loop.
pub fn resume(waiter: &Bound<'_, Waiter>, turn: &mut Turn) -> PyResult<()> {
    let py = waiter.py();
    let mut this = waiter.borrow_mut();
    if this.is_done() {
        return Ok(());
    }
    if matches!(turn, Turn::Unknown) {
        let event_loop = this.event_loop(py)?;
        drop(this);
        *turn = Turn::new(&event_loop)?;
        this = waiter.borrow_mut();
    }
    this.state = State::Resumed;
    let Turn::Direct { done } = turn else {
        drop(this);
        return schedule(waiter);
    };
    let callback = this.callback.take();
    drop(this);
    let Some((callback, context)) = callback else {
        return Ok(());
    };
    let context = context.as_ref().map(|context| context.bind(py));
    ffi::call_in(context, callback.bind(py), done.bind(py)).map(drop)
}

/// How the tasks are woken that one turn of the loop wakes.
#[derive(Default)]
pub enum Turn {
    #[default]
    Unknown,
    /// In the next turn.
    Next,
    /// Stepped here, and given a future that is done, with None: a task asks what woke it for its result, and knows
    /// how to ask a future fast.
    Direct { done: Py<PyAny> },
}

impl Turn {
    /// In debug mode the loop measures and names each callback; with a current task (a nested loop) a step inside a
    /// step is forbidden.
    fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let debug = event_loop.call_method0(interned!(py, "get_debug"))?;
        if debug.is_truthy()? || !current_task(py)?.call1((event_loop,))?.is_none() {
            return Ok(Self::Next);
        }
        let done = event_loop.call_method0(interned!(py, "create_future"))?;
        done.call_method1(interned!(py, "set_result"), (py.None(),))?;
        Ok(Self::Direct {
            done: done.unbind(),
        })
    }
}

/// Wakes the task of a waiter in the next turn of its loop.
pub fn resume_soon(waiter: &Bound<'_, Waiter>) -> PyResult<()> {
    if waiter.borrow().is_done() {
        return Ok(());
    }
    waiter.borrow_mut().state = State::Resumed;
    schedule(waiter)
}

fn schedule(waiter: &Bound<'_, Waiter>) -> PyResult<()> {
    let py = waiter.py();
    let Some((callback, context)) = waiter.borrow_mut().callback.take() else {
        return Ok(());
    };
    let event_loop = waiter.borrow().event_loop(py)?;
    let options = PyDict::new(py);
    if let Some(context) = context {
        options.set_item(interned!(py, "context"), context)?;
    }
    event_loop
        .call_method(
            interned!(py, "call_soon"),
            (callback, waiter),
            Some(&options),
        )
        .map(drop)
}

/// The running loop, if asyncio's.
pub fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let running = cached_attribute(py, &GET, "asyncio", "_get_running_loop")?.call0()?;
    Ok((!running.is_none()).then_some(running))
}

/// The task that runs in the loop, or None.
pub fn running_task(py: Python<'_>, event_loop: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    match event_loop {
        Some(event_loop) => current_task(py)?.call1((event_loop,)).map(Bound::unbind),
        None => Ok(py.None()),
    }
}

fn current_task(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    cached_attribute(py, &CURRENT, "asyncio", "current_task")
}

fn cancelled_error(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    cached_attribute(py, &CLASS, "asyncio", "CancelledError")
}

/// Whether an exception is a cancellation.
///
/// # Errors
/// Those of importing asyncio.
pub fn is_cancellation(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    Ok(error.is_instance(py, cancelled_error(py)?))
}

/// By the address of their loops.
static PORTS: Mutex<Option<HashMap<usize, Py<LoopPort>>>> = Mutex::new(None);

fn ports() -> MutexGuard<'static, Option<HashMap<usize, Py<LoopPort>>>> {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The port of the running asyncio loop; made and registered with the loop at first use.
///
/// # Errors
/// `RuntimeError` where no loop runs, or where the loop can't watch a descriptor.
pub fn current_port(py: Python<'_>) -> PyResult<Py<LoopPort>> {
    let event_loop = running_loop(py)?.ok_or_else(|| no_loop(py))?;
    let key = event_loop.as_ptr() as usize;
    let known = ports()
        .as_ref()
        .and_then(|ports| ports.get(&key))
        .map(|port| port.clone_ref(py));
    // The address of a dead loop may be another loop's now.
    if let Some(port) = known
        && !port.get().is_inherited()
        && port
            .get()
            .event_loop(py)
            .is_some_and(|alive| alive.is(&event_loop))
    {
        return Ok(port);
    }
    let port = Py::new(py, LoopPort::of_asyncio(&event_loop)?)?;
    watch(&event_loop, &port)?;
    let replaced = ports()
        .get_or_insert_default()
        .insert(key, port.clone_ref(py));
    drop(replaced);
    forget_dead_loops(py)?;
    Ok(port)
}

/// asyncio does not let a child go on with a loop that ran when it was forked, so what is awaited there is the parent's.
fn no_loop(py: Python<'_>) -> PyErr {
    let is_copy = |port: &Py<LoopPort>| {
        let event_loop = port.get().event_loop(py)?;
        let running = event_loop.call_method0(interned!(py, "is_running")).ok()?;
        running.is_truthy().ok()
    };
    if inherited(py).iter().any(|port| is_copy(port) == Some(true)) {
        return exceptions::to_python(py, Error::inherited());
    }
    PyRuntimeError::new_err(
        "no running event loop: await this under asyncio, uvloop, trio or anyio",
    )
}

/// Has a loop drain its port whenever the descriptor is readable.
fn watch(event_loop: &Bound<'_, PyAny>, port: &Py<LoopPort>) -> PyResult<()> {
    let py = event_loop.py();
    let drain = port.getattr(py, interned!(py, "drain"))?;
    let reader = (port.get().fd(), drain);
    let added = event_loop.call_method1(interned!(py, "add_reader"), &reader);
    match added {
        Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
            let (descriptor, drain) = reader;
            let pump = py.import(interned!(py, "aiolibsql._pump"))?;
            pump.call_method1(interned!(py, "listen"), (event_loop, descriptor, drain))?;
            Ok(())
        }
        added => added.map(drop),
    }
}

/// The ports that belong to the parent of this process.
pub fn inherited(py: Python<'_>) -> Vec<Py<LoopPort>> {
    ports()
        .iter()
        .flatten()
        .filter(|(_, port)| port.get().is_inherited())
        .map(|(_, port)| port.clone_ref(py))
        .collect()
}

/// Closes the descriptors of loops that will not run again.
fn forget_dead_loops(py: Python<'_>) -> PyResult<()> {
    let known: Vec<_> = ports()
        .iter()
        .flatten()
        .map(|(key, port)| (*key, port.clone_ref(py)))
        .collect();
    for (key, port) in known {
        let is_dead = match port.get().event_loop(py) {
            Some(event_loop) => event_loop
                .call_method0(interned!(py, "is_closed"))?
                .is_truthy()?,
            None => true,
        };
        if is_dead {
            let removed = ports().as_mut().and_then(|ports| ports.remove(&key));
            drop(removed);
        }
    }
    Ok(())
}
