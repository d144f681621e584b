//! Operation: the awaitable that every public method returns, with the whole coroutine protocol.
//!
//! Owns the state machine between a Work and the loop that drives it: nothing happens before the first `send`,
//! which finds the running loop, lets the Work submit, and suspends in that loop until the Work can go on.
//! Thread: the driving loop's.
//! Invariant: while Python code may run, the machine is out of the object, so a re-entrant call is an error and
//! never a second borrow. Whatever ends the wait early (throw, close, dealloc) abandons the Work.

use std::task::{Context, Waker};

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

use crate::core::Shield;
use crate::wakeup::Ticket;

use super::asyncio::{self, Waiter};
use super::exceptions::is_cancelled;
use super::event_loop::{self, LoopPort, Runtime, Suspended};
use super::ffi::{Coroutine, Sent};
use super::trio::{self, Abort};
use super::work::{Ready, Step, Work};

/// An operation: awaitable, and a coroutine for task groups and nurseries.
#[pyclass(module = "aiolibsql._aiolibsql", weakref)]
pub struct Operation {
    name: &'static str,
    /// `None` while it executes.
    machine: Option<Machine>,
    awaited: bool,
    entered: Entered,
}

/// Its use as an async context manager.
enum Entered {
    No,
    Yes,
    With(Py<PyAny>),
}

struct Machine {
    work: Box<dyn Work>,
    state: State,
    /// The loop had a turn since the await began.
    suspended: bool,
    /// What raises trio's `Cancelled`, once a shielded wait was asked to end.
    raise_cancel: Option<Py<PyAny>>,
}

enum State {
    Idle,
    /// On asyncio, a Waiter was yielded.
    Waiting { port: Py<LoopPort>, ticket: Ticket },
    /// On asyncio, the loop was given a turn; then the value, if there is one already.
    Turn(Option<Py<PyAny>>),
    /// A coroutine of trio's or of the user's is being driven.
    Driving { coroutine: Py<PyAny>, purpose: Purpose },
    Finished,
}

enum Purpose {
    /// trio: is the scope cancelled before anything was submitted?
    Precheck,
    /// trio: asleep until the completion.
    Sleep { port: Py<LoopPort>, ticket: Ticket, abort: Py<Abort> },
    /// trio: a turn for the loop.
    Turn,
    /// trio: the checkpoint after a value that was ready at once.
    Deliver(Py<PyAny>),
    /// The Work's own.
    Delegate,
}

impl Operation {
    pub fn new(work: Box<dyn Work>) -> Self {
        let name = work.name();
        let machine = Machine { work, state: State::Idle, suspended: false, raise_cancel: None };
        Self { name, machine: Some(machine), awaited: false, entered: Entered::No }
    }

    /// An operation that fails, or gives a value, when it is awaited.
    pub fn ready(name: &'static str, value: PyResult<Py<PyAny>>) -> Self {
        Self::new(Box::new(Ready::new(name, value)))
    }

    /// Raises an exception where it waits.
    pub fn throw_into(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<Sent> {
        let mut machine = Self::take(slf)?;
        let sent = machine.throw(slf.py(), error);
        Self::put_back(slf, machine, &sent);
        sent
    }

    fn take(slf: &Bound<'_, Self>) -> PyResult<Machine> {
        let machine = slf.borrow_mut().machine.take();
        machine.ok_or_else(|| PyValueError::new_err("coroutine already executing"))
    }

    fn put_back(slf: &Bound<'_, Self>, machine: Machine, sent: &PyResult<Sent>) {
        let py = slf.py();
        let mut this = slf.borrow_mut();
        if let (Ok(Sent::Return(value)), Entered::Yes) = (sent, &this.entered) {
            this.entered = Entered::With(value.clone_ref(py));
        }
        this.machine = Some(machine);
    }
}

impl Coroutine for Operation {
    fn resume(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent> {
        let mut machine = Self::take(slf)?;
        let sent = machine.send(slf.py(), value);
        Self::put_back(slf, machine, &sent);
        sent
    }
}

#[pymethods]
impl Operation {
    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let mut this = slf.borrow_mut();
        let fresh = matches!(&this.machine, Some(machine) if matches!(machine.state, State::Idle));
        if this.awaited || !fresh {
            return Err(reused());
        }
        this.awaited = true;
        drop(this);
        Ok(slf)
    }

    const fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        as_method(Self::resume(slf, None))
    }

    /// Continue the operation, as `coroutine.send`.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        as_method(Self::resume(slf, Some(value).filter(|value| !value.is_none())))
    }

    /// Raise an exception where the operation waits, as `coroutine.throw`.
    #[pyo3(signature = (typ, val=None, tb=None, /))]
    fn throw(
        slf: &Bound<'_, Self>,
        typ: &Bound<'_, PyAny>,
        val: Option<&Bound<'_, PyAny>>,
        tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        as_method(Self::throw_into(slf, thrown(typ, val, tb)?))
    }

    /// End the operation without a result, as `coroutine.close`.
    pub fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let mut machine = Self::take(slf)?;
        let closed = machine.close(slf.py());
        Self::put_back(slf, machine, &Ok(Sent::Yield(slf.py().None())));
        closed
    }

    fn __aenter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf.borrow_mut().entered = Entered::Yes;
        slf
    }

    #[pyo3(signature = (_exc_type, _exc, _tb, /))]
    fn __aexit__(
        &mut self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc: &Bound<'_, PyAny>,
        _tb: &Bound<'_, PyAny>,
    ) -> Self {
        let exit = match (std::mem::replace(&mut self.entered, Entered::No), &self.machine) {
            (Entered::With(value), Some(machine)) => machine.work.on_exit(py, &value),
            _ => None,
        };
        exit.map_or_else(|| Self::ready("Operation.__aexit__", Ok(py.None())), Self::new)
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    #[getter]
    const fn __qualname__(&self) -> &'static str {
        self.name
    }

    // What `inspect.getcoroutinestate`, and so anyio, looks at. There is no frame, by which trio recognises a
    // coroutine that is not written in Python.
    #[getter]
    const fn cr_frame(&self) -> Option<()> {
        None
    }

    #[getter]
    const fn cr_await(&self) -> Option<()> {
        None
    }

    #[getter]
    const fn cr_running(&self) -> bool {
        self.machine.is_none()
    }

    #[getter]
    fn cr_suspended(&self) -> bool {
        matches!(&self.machine, Some(machine) if !matches!(machine.state, State::Idle | State::Finished))
    }

    fn __repr__(&self) -> String {
        let state = match self.machine.as_ref().map(|machine| &machine.state) {
            None => "running",
            Some(State::Idle) => "not awaited",
            Some(State::Finished) => "finished",
            Some(_) => "suspended",
        };
        format!("<aiolibsql operation {} ({state})>", self.name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Entered::With(value) = &self.entered {
            visit.call(value)?;
        }
        match self.machine.as_ref().map(|machine| &machine.state) {
            Some(State::Waiting { port, .. }) => visit.call(port),
            Some(State::Turn(Some(value))) => visit.call(value),
            Some(State::Driving { coroutine, .. }) => visit.call(coroutine),
            _ => Ok(()),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let Some(mut machine) = self.machine.take() else { return };
        let name = self.name;
        let _ = Python::try_attach(|py| match machine.state {
            State::Finished => {}
            State::Idle => {
                if machine.work.must_be_awaited() && !self.awaited {
                    warn_never_awaited(py, name);
                }
            }
            _ => machine.forget(py),
        });
    }
}

impl Machine {
    fn send(&mut self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent> {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Idle => {
                let port = event_loop::current(py)?;
                if port.get().runtime() == Runtime::Trio && self.work.shield() != Shield::Always {
                    return self.drive(py, trio::checkpoint_if_cancelled(py)?, Purpose::Precheck);
                }
                self.advance(py, port)
            }
            State::Waiting { port, ticket } => {
                // Absent after a resume; present if something else sent first.
                drop(port.get().forget(ticket));
                self.suspended = true;
                self.advance(py, port)
            }
            State::Turn(Some(value)) => Ok(Sent::Return(value)),
            State::Turn(None) => {
                self.suspended = true;
                let port = event_loop::current(py)?;
                self.advance(py, port)
            }
            State::Driving { coroutine, purpose } => {
                let none = py.None().into_bound(py);
                let stepped = coroutine.bind(py).call_method1(intern!(py, "send"), (value.unwrap_or(&none),));
                self.driven(py, coroutine, purpose, stepped)
            }
            State::Finished => Err(reused()),
        }
    }

    fn throw(&mut self, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Idle => {
                // A rollback or a close is submitted even though its task was cancelled before it began.
                if self.work.shield() == Shield::Always {
                    let _ = self.work.poll(py, &mut Context::from_waker(Waker::noop()));
                }
                self.work.abandon(py);
                Err(error)
            }
            State::Waiting { port, ticket } => {
                drop(port.get().forget(ticket));
                self.work.abandon(py);
                Err(error)
            }
            State::Turn(_) => {
                self.work.abandon(py);
                Err(error)
            }
            State::Driving { coroutine, purpose } => {
                let stepped = coroutine.bind(py).call_method1(intern!(py, "throw"), (error.into_value(py),));
                self.driven(py, coroutine, purpose, stepped)
            }
            State::Finished => Err(reused()),
        }
    }

    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        if let State::Driving { coroutine, .. } = &self.state {
            let coroutine = coroutine.clone_ref(py);
            coroutine.call_method0(py, intern!(py, "close"))?;
        }
        self.forget(py);
        Ok(())
    }

    /// Nobody will drive it any more.
    fn forget(&mut self, py: Python<'_>) {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Idle | State::Finished => {}
            State::Waiting { port, ticket }
            | State::Driving { purpose: Purpose::Sleep { port, ticket, .. }, .. } => {
                drop(port.get().forget(ticket));
                self.work.abandon(py);
            }
            State::Turn(_) | State::Driving { .. } => self.work.abandon(py),
        }
    }

    /// Polls the Work until it has to wait, or is through.
    fn advance(&mut self, py: Python<'_>, port: Py<LoopPort>) -> PyResult<Sent> {
        let mut step = self.poll(py, Waker::noop())?;
        if matches!(step, Step::Pending) {
            let (ticket, waker) = port.get().ticket();
            step = self.poll(py, &waker)?;
            if matches!(step, Step::Pending) {
                return self.suspend(py, port, ticket);
            }
        }
        match step {
            Step::Ready(value) if self.suspended => Ok(Sent::Return(value)),
            Step::Ready(value) => self.deliver(py, &port, value),
            Step::Delegate(coroutine) => self.drive(py, coroutine, Purpose::Delegate),
            Step::Yield | Step::Pending => match port.get().runtime() {
                Runtime::Asyncio => {
                    self.state = State::Turn(None);
                    Ok(Sent::Yield(py.None()))
                }
                Runtime::Trio => self.drive(py, trio::checkpoint(py)?, Purpose::Turn),
            },
        }
    }

    fn poll(&mut self, py: Python<'_>, waker: &Waker) -> PyResult<Step> {
        let step = self.work.poll(py, &mut Context::from_waker(waker));
        if let (Err(error), Some(raise_cancel)) = (&step, &self.raise_cancel)
            && is_cancelled(py, error)
        {
            // A COMMIT that gave up its wait for a lock because it was cancelled: now trio may raise.
            raise_cancel.call0(py)?;
        }
        step
    }

    fn suspend(&mut self, py: Python<'_>, port: Py<LoopPort>, ticket: Ticket) -> PyResult<Sent> {
        let shared = self.work.waits_for().cloned();
        match port.get().runtime() {
            Runtime::Asyncio => {
                let event_loop = asyncio::running_loop(py)?
                    .ok_or_else(|| PyRuntimeError::new_err("the event loop stopped running"))?;
                let waiter = Waiter::new(event_loop.unbind(), port.clone_ref(py), ticket, shared);
                let waiter = Py::new(py, waiter)?;
                port.get().suspend(ticket, Suspended::Asyncio(waiter.clone_ref(py)));
                self.state = State::Waiting { port, ticket };
                Ok(Sent::Yield(waiter.into_any()))
            }
            Runtime::Trio => {
                let task = trio::current_task(py)?;
                let abort = Py::new(py, Abort::new(port.clone_ref(py), ticket, shared))?;
                let coroutine = trio::wait(py, &abort)?;
                port.get().suspend(ticket, Suspended::Trio(task));
                self.drive(py, coroutine, Purpose::Sleep { port, ticket, abort })
            }
        }
    }

    /// Gives a value that was ready at once, fairly.
    fn deliver(&mut self, py: Python<'_>, port: &Py<LoopPort>, value: Py<PyAny>) -> PyResult<Sent> {
        if port.get().runtime() == Runtime::Trio {
            return self.drive(py, trio::cancel_shielded_checkpoint(py)?, Purpose::Deliver(value));
        }
        if may_continue(py, port)? {
            return Ok(Sent::Return(value));
        }
        self.state = State::Turn(Some(value));
        Ok(Sent::Yield(py.None()))
    }

    fn drive(&mut self, py: Python<'_>, coroutine: Py<PyAny>, purpose: Purpose) -> PyResult<Sent> {
        let stepped = coroutine.bind(py).call_method1(intern!(py, "send"), (py.None(),));
        self.driven(py, coroutine, purpose, stepped)
    }

    fn driven(
        &mut self,
        py: Python<'_>,
        coroutine: Py<PyAny>,
        purpose: Purpose,
        stepped: PyResult<Bound<'_, PyAny>>,
    ) -> PyResult<Sent> {
        let result = match stepped {
            Ok(yielded) => {
                self.state = State::Driving { coroutine, purpose };
                return Ok(Sent::Yield(yielded.unbind()));
            }
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
                error.value(py).getattr(intern!(py, "value")).map(Bound::unbind)
            }
            Err(error) => Err(error),
        };
        match (purpose, result) {
            (Purpose::Delegate, result) => {
                self.suspended = true;
                self.work.delegated(py, result)?;
            }
            (Purpose::Deliver(value), Ok(_)) => return Ok(Sent::Return(value)),
            (Purpose::Precheck, Ok(_)) => {}
            (Purpose::Turn, Ok(_)) => self.suspended = true,
            (Purpose::Sleep { port, ticket, abort }, Ok(_)) => {
                drop(port.get().forget(ticket));
                self.suspended = true;
                if let Some(raise_cancel) = abort.get().raise_cancel(py) {
                    self.raise_cancel = Some(raise_cancel.clone_ref(py));
                }
                return self.advance(py, port);
            }
            (Purpose::Sleep { port, ticket, .. }, Err(error)) => {
                drop(port.get().forget(ticket));
                self.work.abandon(py);
                return Err(error);
            }
            (_, Err(error)) => {
                self.work.abandon(py);
                return Err(error);
            }
        }
        let port = event_loop::current(py)?;
        self.advance(py, port)
    }
}

/// Whether a ready value may be given without a turn of asyncio's loop.
pub fn may_continue(py: Python<'_>, port: &Py<LoopPort>) -> PyResult<bool> {
    port.get().may_continue(|| {
        let tick = port.getattr(py, intern!(py, "tick"))?;
        match asyncio::running_loop(py)? {
            Some(event_loop) => event_loop.call_method1(intern!(py, "call_soon"), (tick,)).map(drop),
            None => Ok(()),
        }
    })
}

/// What a `send` method returns, or raises at the end.
pub fn as_method(sent: PyResult<Sent>) -> PyResult<Py<PyAny>> {
    match sent? {
        Sent::Yield(value) => Ok(value),
        Sent::Return(value) => Err(PyStopIteration::new_err((value,))),
    }
}

/// The exception of a `throw` in its old form (type, value, traceback) or its new one.
pub fn thrown(
    typ: &Bound<'_, PyAny>,
    val: Option<&Bound<'_, PyAny>>,
    tb: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let val = val.filter(|val| !val.is_none());
    let exception = match val {
        _ if typ.is_instance_of::<pyo3::exceptions::PyBaseException>() => typ.clone(),
        Some(val) if val.is_instance_of::<pyo3::exceptions::PyBaseException>() => val.clone(),
        Some(val) => typ.call1((val,))?,
        None => typ.call0()?,
    };
    if let Some(tb) = tb.filter(|tb| !tb.is_none()) {
        exception.setattr("__traceback__", tb)?;
    }
    Ok(PyErr::from_value(exception))
}

fn warn_never_awaited(py: Python<'_>, name: &str) {
    let message = std::ffi::CString::new(format!("coroutine '{name}' was never awaited")).unwrap_or_default();
    let category = py.get_type::<PyRuntimeWarning>();
    if let Err(error) = PyErr::warn(py, &category, &message, 1) {
        error.write_unraisable(py, None);
    }
}

fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}
