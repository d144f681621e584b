//! Machine: the state machine between a Work and the loop that drives it.
//!
//! Owns where an operation sleeps: in a Waiter on asyncio, or in a coroutine of trio's that is driven here.
//! Thread: the driving loop's.
//! Invariant: whatever ends the wait early (throw, close, dealloc) forgets the ticket and abandons the Work.

use std::sync::Arc;
use std::task::{Context, Waker};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Birth, Error, Shield};
use crate::wakeup::Ticket;

use super::asyncio::Waiter;
use super::cached::interned;
use super::event_loop::{self, LoopPort, Runtime, Suspended};
use super::exceptions::{self, is_cancelled};
use super::ffi::{self, Sent};
use super::in_flight::Ending;
use super::suspension::{Held, Purpose, State};
use super::trio::{self, Abort};
use super::work::{Ready, Resume, Step, Work};

/// A Work on its way.
pub struct Machine {
    pub work: Box<dyn Work>,
    pub state: State,
    /// The loop had a turn since the await began, or needs none.
    pub(super) had_turn: bool,
    /// What raises trio's `Cancelled`, once a shielded wait was asked to end.
    raise_cancel: Option<Py<PyAny>>,
    /// What is raised when the operation is through.
    pub(super) ending: Option<Ending>,
    birth: Birth,
}

impl Machine {
    pub fn new(work: Box<dyn Work>) -> Self {
        Self {
            work,
            state: State::Idle,
            had_turn: false,
            raise_cancel: None,
            ending: None,
            birth: Birth::now(),
        }
    }

    /// Whether it was made before this process was forked.
    pub fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }

    /// Whether nobody has continued it.
    pub const fn is_fresh(&self) -> bool {
        matches!(self.state, State::Idle | State::Given(_))
    }

    /// In a child of the process that made it: lets go of everything without touching it, for a worker thread may
    /// have been in the middle of it. `false`: it is this process's, or finished.
    pub fn leave_to_parent(&mut self) -> bool {
        if !self.birth.is_inherited() || matches!(self.state, State::Finished) {
            return false;
        }
        let name = self.work.name();
        let left = std::mem::replace(self, Self::new(Box::new(Ready::spent(name))));
        std::mem::forget(left);
        self.state = State::Finished;
        true
    }

    pub fn send(&mut self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent> {
        if self.leave_to_parent() {
            return Err(exceptions::to_python(py, Error::inherited()));
        }
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Idle if value.is_some() => {
                self.state = State::Idle;
                let message = "can't send non-None value to a just-started coroutine";
                Err(PyTypeError::new_err(message))
            }
            State::Idle => {
                let port = match event_loop::current(py) {
                    Ok(port) => port,
                    Err(error) => {
                        self.give_up(py);
                        return Err(error);
                    }
                };
                match port.get().runtime() {
                    // A whole turn comes before what only this await can take.
                    Runtime::Trio if self.work.takes_at_once() => {
                        return self.drive(py, trio::checkpoint(py)?, Purpose::Turn { port });
                    }
                    Runtime::Trio if self.work.shield() != Shield::Always => {
                        let check = trio::checkpoint_if_cancelled(py)?;
                        return self.drive(py, check, Purpose::Precheck { port });
                    }
                    Runtime::Asyncio if self.work.takes_at_once() => {
                        if let Err(turn) = port.get().may_continue() {
                            return Ok(self.wait_for_turn(py, port, turn, None));
                        }
                        self.had_turn = true;
                    }
                    Runtime::Trio | Runtime::Asyncio => {}
                }
                self.advance(py, &port)
            }
            State::Waiting { port, ticket } => {
                // Absent after a resume; present if something else sent first.
                if let Some(early) = port.get().forget(ticket) {
                    drop(early);
                } else {
                    port.get().woke();
                }
                self.had_turn = true;
                self.advance(py, &port)
            }
            State::Given(value) => Ok(Sent::Return(value)),
            State::Turn { port, turn, value } => {
                port.get().turned(turn);
                if self.work.will_wait() {
                    // A statement that is executed here after all; its rows may be taken with it.
                    port.get().woke();
                }
                self.had_turn = true;
                match value {
                    Some(value) => Ok(Sent::Return(value)),
                    None => self.advance(py, &port),
                }
            }
            State::Driving { coroutine, purpose } => {
                let none = py.None().into_bound(py);
                let value = value.unwrap_or(&none);
                let stepped = self.resume(&purpose, coroutine.bind(py), Resume::Send, value);
                self.driven(py, coroutine, purpose, stepped)
            }
            State::Finished => Err(reused()),
        }
    }

    pub fn throw(&mut self, py: Python<'_>, error: PyErr) -> PyResult<Sent> {
        if self.leave_to_parent() {
            return Err(error);
        }
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Idle => {
                self.give_up(py);
                Err(error)
            }
            State::Waiting { port, ticket } => {
                drop(port.get().forget(ticket));
                self.defer(py, &port, error)
            }
            State::Turn { port, turn, .. } => {
                // It has turned for the others too.
                port.get().turned(turn);
                self.work.leaves(py, &error);
                self.work.abandon(py);
                Err(error)
            }
            State::Given(_) => {
                self.work.abandon(py);
                Err(error)
            }
            State::Driving { coroutine, purpose } => {
                let error = error.into_value(py).into_bound(py).into_any();
                let stepped = self.resume(&purpose, coroutine.bind(py), Resume::Throw, &error);
                self.driven(py, coroutine, purpose, stepped)
            }
            State::Finished => Err(reused()),
        }
    }

    /// Ends before it began. A rollback or a close is submitted all the same.
    fn give_up(&mut self, py: Python<'_>) {
        if self.work.shield() == Shield::Always {
            let _ = self.work.poll(py, &mut Context::from_waker(Waker::noop()));
        }
        self.work.abandon(py);
    }

    pub fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.leave_to_parent() {
            return Ok(());
        }
        let driven = match &self.state {
            State::Driving { coroutine, .. } => Some(coroutine.clone_ref(py)),
            _ => None,
        };
        let closed = driven.map(|coroutine| coroutine.call_method0(py, interned!(py, "close")));
        self.forget(py);
        closed.transpose().map(drop)
    }

    /// Nobody will drive it any more.
    pub fn forget(&mut self, py: Python<'_>) {
        let left = std::mem::replace(&mut self.state, State::Finished);
        match &left {
            State::Idle | State::Given(_) | State::Finished => return,
            State::Waiting { port, ticket }
            | State::Driving {
                purpose: Purpose::Sleep { port, ticket, .. },
                ..
            } => drop(port.get().forget(*ticket)),
            State::Turn { port, turn, .. } => port.get().turned(*turn),
            State::Driving { .. } => {}
        }
        // What an exception leaves was abandoned before.
        if self.ending.take().is_none() {
            self.work.abandon(py);
        }
    }

    /// An exception ends the wait, unless there is something to finish first.
    fn defer(&mut self, py: Python<'_>, port: &Py<LoopPort>, error: PyErr) -> PyResult<Sent> {
        if self.ending.is_some() {
            return self.advance(py, port);
        }
        self.leave(py, port, error, None)
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.work.traverse(visit)?;
        visit.call(&self.raise_cancel)?;
        self.state.traverse(visit)
    }

    /// Goes on until it has to wait, or is through.
    pub(super) fn advance(&mut self, py: Python<'_>, port: &Py<LoopPort>) -> PyResult<Sent> {
        loop {
            let sent = if self.ending.is_some() {
                self.wait_for_end(py, port)?
            } else if self.is_asked() {
                self.begin_callback(py, port)?
            } else {
                self.poll_on(py, port)?
            };
            if let Some(sent) = sent {
                return Ok(sent);
            }
        }
    }

    /// Polls the Work until it has to wait, or is through. `None`: the operation asks something.
    fn poll_on(&mut self, py: Python<'_>, port: &Py<LoopPort>) -> PyResult<Option<Sent>> {
        // What had its turn first was likely to be there at once.
        let waits = !self.had_turn && self.work.will_wait();
        let looks_out = match waits.then(|| port.get().may_look_out(py)).transpose() {
            Ok(looks_out) => looks_out.unwrap_or(false),
            Err(error) => {
                self.give_up(py);
                return Err(error);
            }
        };
        let mut ticket = (waits && !looks_out).then(|| port.get().ticket());
        let mut step = match &ticket {
            Some((_, waker)) => self.poll(py, waker),
            None => self.poll(py, Waker::noop()),
        };
        if looks_out
            && let (Ok(Step::Pending), Some(operation)) = (&step, self.work.waits_for())
            && port.get().look_out(py, operation)
        {
            step = self.poll(py, Waker::noop());
        }
        if matches!(step, Ok(Step::Pending)) && ticket.is_none() {
            let (_, waker) = ticket.insert(port.get().ticket());
            step = self.poll(py, waker);
        }
        if let (Ok(Step::Pending), Some((ticket, _))) = (&step, &ticket) {
            if self.is_asked() {
                return Ok(None);
            }
            if port.get().is_retired() {
                return self.wait_without_pump(py, port.clone_ref(py)).map(Some);
            }
            return self.suspend(py, port.clone_ref(py), *ticket).map(Some);
        }
        let sent = match step {
            Ok(Step::Ready(value)) => self.deliver(py, port, Ok(value)),
            Err(error) => self.deliver(py, port, Err(error)),
            Ok(Step::Delegate(coroutine, yielded)) => {
                let port = port.clone_ref(py);
                let purpose = Purpose::Delegate { port };
                self.state = State::Driving { coroutine, purpose };
                Ok(Sent::Yield(yielded))
            }
            Ok(Step::Yield | Step::Pending) => self.turn(py, port.clone_ref(py)),
        };
        sent.map(Some)
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

    pub(super) fn suspend(
        &mut self,
        py: Python<'_>,
        port: Py<LoopPort>,
        ticket: Ticket,
    ) -> PyResult<Sent> {
        let held = match (&self.ending, self.work.waits_for()) {
            (Some(_), _) => Held::ToTheEnd,
            (None, Some(shared)) => Held::By(Arc::clone(shared)),
            (None, None) => Held::No,
        };
        match port.get().runtime() {
            Runtime::Asyncio => {
                let event_loop = port
                    .get()
                    .event_loop(py)
                    .ok_or_else(|| PyRuntimeError::new_err("the event loop is gone"))?;
                let waiter = Waiter::new(event_loop.unbind(), port.clone_ref(py), ticket, held);
                let waiter = Py::new(py, waiter)?;
                port.get()
                    .suspend(ticket, Suspended::Asyncio(waiter.clone_ref(py)));
                self.state = State::Waiting { port, ticket };
                Ok(Sent::Yield(waiter.into_any()))
            }
            Runtime::Trio => {
                let task = trio::current_task(py)?;
                let abort = Py::new(py, Abort::new(port.clone_ref(py), ticket, held))?;
                let coroutine = trio::wait(py, &abort)?;
                port.get().suspend(ticket, Suspended::Trio(task));
                self.drive(
                    py,
                    coroutine,
                    Purpose::Sleep {
                        port,
                        ticket,
                        abort,
                    },
                )
            }
        }
    }

    fn resume(
        &mut self,
        purpose: &Purpose,
        coroutine: &Bound<'_, PyAny>,
        how: Resume,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Sent> {
        match purpose {
            Purpose::Delegate { .. } => self.work.drive(coroutine, how, value),
            Purpose::Callback(in_flight) => in_flight.drive(coroutine, how, value),
            _ => how.call(coroutine, value),
        }
    }

    pub(super) fn drive(
        &mut self,
        py: Python<'_>,
        coroutine: Py<PyAny>,
        purpose: Purpose,
    ) -> PyResult<Sent> {
        let stepped = ffi::send(coroutine.bind(py), py.None().bind(py));
        self.driven(py, coroutine, purpose, stepped)
    }

    fn driven(
        &mut self,
        py: Python<'_>,
        coroutine: Py<PyAny>,
        purpose: Purpose,
        stepped: PyResult<Sent>,
    ) -> PyResult<Sent> {
        let result = match stepped {
            Ok(Sent::Yield(yielded)) => {
                self.state = State::Driving { coroutine, purpose };
                return Ok(Sent::Yield(yielded));
            }
            Ok(Sent::Return(value)) => Ok(value),
            Err(error) => Err(error),
        };
        let port = match (purpose, result) {
            (Purpose::Delegate { port }, result) => {
                self.had_turn = true;
                self.work.delegated(py, result)?;
                port
            }
            (Purpose::Callback(in_flight), result) => {
                self.had_turn = true;
                let port = in_flight.port(py);
                if let Some(sent) = self.end_callback(py, in_flight, result)? {
                    return Ok(sent);
                }
                port
            }
            (Purpose::Deliver(result), Ok(_)) => return result.map(Sent::Return),
            (Purpose::Precheck { port }, Ok(_)) => port,
            (Purpose::Turn { port }, Ok(_)) => {
                self.had_turn = true;
                port
            }
            (
                Purpose::Sleep {
                    port,
                    ticket,
                    abort,
                },
                Ok(_),
            ) => {
                drop(port.get().forget(ticket));
                self.had_turn = true;
                if let Some(raise_cancel) = abort.get().raise_cancel(py) {
                    self.raise_cancel = Some(raise_cancel.clone_ref(py));
                }
                port
            }
            (Purpose::Sleep { port, ticket, .. }, Err(error)) => {
                drop(port.get().forget(ticket));
                return self.defer(py, &port, error);
            }
            (Purpose::Precheck { port }, Err(error)) => return self.defer(py, &port, error),
            (_, Err(error)) => {
                self.work.leaves(py, &error);
                self.work.abandon(py);
                return Err(error);
            }
        };
        self.advance(py, &port)
    }
}

/// The error of a second await.
pub fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}
