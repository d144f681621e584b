//! In flight: what a callback returned to be awaited, while the operation that waits for the statement awaits it.
//!
//! Owns the question from the moment when it is heard, the answer to it, and what has to happen before an exception that is
//! no answer gets on: the statement stops first.
//! Thread: the driving loop's; a `Question` is made on the worker.
//! Invariant: a question that was heard is answered or declined, whatever ends its operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pyo3::exceptions::{PyException, PyGeneratorExit};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyWeakrefReference;

use crate::core::{Error, Opaque, Shared, Shield};
use crate::wakeup::Ticket;

use super::asyncio;
use super::cached::{cached_attribute, interned};
use super::delegate;
use super::event_loop::{LoopPort, Runtime, Suspended};
use super::exceptions;
use super::ffi::Sent;
use super::machine::Machine;
use super::reentrancy::{self, Reentrancy};
use super::suspension::{Purpose, State};
use super::trio;
use super::work::Resume;

/// What a worker asks: to await this.
pub struct Question {
    awaitable: Py<PyAny>,
    reentrancy: Arc<Reentrancy>,
}

/// What it came to.
pub type Answer = PyResult<Py<PyAny>>;

/// A question that was heard.
pub struct InFlight {
    port: Py<LoopPort>,
    operation: Shared,
    question: Opaque,
    /// What it is known by to those who would wait for its connection.
    callback: u64,
    ticket: Ticket,
    stopper: Option<Stopper>,
    was_stopped: Arc<AtomicBool>,
}

/// What a stop of the statement cancels.
enum Stopper {
    /// asyncio's task, and how many cancellations of it were on their way before.
    Task(Py<PyAny>, usize),
    /// A scope of trio's around the awaitable alone.
    Scope(Py<PyAny>),
}

/// How an awaitable has ended.
enum Ended {
    Answer(Answer),
    /// The statement was told to stop meanwhile; it has its own error for that.
    Stopped,
    /// A cancellation, or the end of the program.
    Leave(PyErr),
}

/// An exception that is raised once its operation is through.
pub struct Ending {
    operation: Shared,
    error: PyErr,
}

impl Question {
    pub const fn new(awaitable: Py<PyAny>, reentrancy: Arc<Reentrancy>) -> Self {
        Self {
            awaitable,
            reentrancy,
        }
    }
}

/// Ends a coroutine that nobody will continue, which would complain if it never ran.
pub fn close(py: Python<'_>, question: &Opaque) {
    let Some(question) = question.get::<Question>() else {
        return;
    };
    let awaitable = question.awaitable.bind(py);
    let closed = awaitable
        .getattr_opt(interned!(py, "close"))
        .and_then(|close| close.map_or(Ok(()), |close| close.call0().map(drop)));
    if let Err(error) = closed {
        error.write_unraisable(py, Some(awaitable));
    }
}

impl InFlight {
    /// Hears what an operation asks.
    fn hear(py: Python<'_>, port: &Py<LoopPort>, operation: &Shared) -> Option<Self> {
        let (ticket, alarm) = port.get().ticket();
        let question = operation.dialogue().hear(&alarm)?;
        let callback = question
            .get::<Question>()
            .map_or(0, |question| question.reentrancy.begin_callback());
        Some(Self {
            port: port.clone_ref(py),
            operation: Arc::clone(operation),
            question,
            callback,
            ticket,
            stopper: None,
            was_stopped: Arc::default(),
        })
    }

    fn begin<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let awaitable = match self.question.get::<Question>() {
            Some(question) => question.awaitable.bind(py).clone(),
            None => py.None().into_bound(py),
        };
        let (stopper, coroutine) = match self.port.get().runtime() {
            Runtime::Trio => {
                static WITHIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                let scope = trio::cancel_scope(py)?;
                let within = cached_attribute(py, &WITHIN, "aiolibsql._pump", "within")?;
                let coroutine = within.call1((&scope, awaitable))?;
                (Some(Stopper::Scope(scope)), coroutine)
            }
            Runtime::Asyncio => {
                let event_loop = self.port.get().event_loop(py);
                let task = asyncio::running_task(py, event_loop.as_ref())?;
                let stopper = if task.is_none(py) {
                    None
                } else {
                    let before = cancellations(task.bind(py), interned!(py, "cancelling"))?;
                    Some(Stopper::Task(task, before))
                };
                (stopper, delegate::begin(awaitable)?)
            }
        };
        if let Some(stopper) = &stopper {
            let (Stopper::Task(target, _) | Stopper::Scope(target)) = stopper;
            // Or the loop would keep a task that waits for ever and that nobody else has any more.
            // A task of another library may refuse that, and is then not stopped.
            if let Ok(target) = PyWeakrefReference::new(target.bind(py)) {
                let noted = Suspended::InFlight(target.unbind(), Arc::clone(&self.was_stopped));
                self.port.get().suspend(self.ticket, noted);
            }
        }
        self.stopper = stopper;
        Ok(coroutine)
    }

    pub fn drive(
        &self,
        coroutine: &Bound<'_, PyAny>,
        how: Resume,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Sent> {
        reentrancy::inside(coroutine.py(), self.callback, || how.call(coroutine, value))
    }

    fn ended(&self, py: Python<'_>, result: Answer) -> PyResult<Ended> {
        drop(self.port.get().forget(self.ticket));
        let was_stopped = self.was_stopped.load(Ordering::SeqCst);
        match (&self.stopper, &result) {
            (Some(Stopper::Scope(scope)), Ok(_)) => {
                let caught = scope.getattr(py, interned!(py, "cancelled_caught"))?;
                if caught.is_truthy(py)? {
                    return Ok(Ended::Stopped);
                }
            }
            (Some(Stopper::Task(task, before)), _) if was_stopped => {
                let left = cancellations(task.bind(py), interned!(py, "uncancel"))?;
                if let Err(error) = &result
                    && asyncio::is_cancellation(py, error)?
                    && left <= *before
                {
                    return Ok(Ended::Stopped);
                }
            }
            _ => {}
        }
        Ok(match result {
            Err(error) if !error.is_instance_of::<PyException>(py) => Ended::Leave(error),
            result => Ended::Answer(result),
        })
    }

    /// Where its loop is.
    pub fn port(&self, py: Python<'_>) -> Py<LoopPort> {
        self.port.clone_ref(py)
    }

    fn answer(self, answer: Answer) {
        self.operation.dialogue().answer(Opaque::new(answer));
    }

    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.port)?;
        if let Some(question) = self.question.get::<Question>() {
            visit.call(&question.awaitable)?;
        }
        match &self.stopper {
            Some(Stopper::Task(target, _) | Stopper::Scope(target)) => visit.call(target),
            None => Ok(()),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        drop(self.port.get().forget(self.ticket));
        if let Some(question) = self.question.get::<Question>() {
            question.reentrancy.end_callback(self.callback);
        }
        // Says nothing to a worker that was answered.
        self.operation.dialogue().decline();
    }
}

/// asyncio's count of a task's cancellations, by one of the methods that tell it; before Python 3.11 there is none.
fn cancellations(
    task: &Bound<'_, PyAny>,
    method: &Bound<'_, pyo3::types::PyString>,
) -> PyResult<usize> {
    match task.getattr_opt(method)? {
        Some(method) => method.call0()?.extract(),
        None => Ok(0),
    }
}

impl Machine {
    /// Whether the operation that it waits for asks something.
    pub(super) fn is_asked(&self) -> bool {
        let operation = self.work.waits_for();
        operation.is_some_and(|operation| operation.dialogue().asks())
    }

    /// Begins to await what the operation asks for. `None`: there was nothing, or it has ended already.
    pub(super) fn begin_callback(
        &mut self,
        py: Python<'_>,
        port: &Py<LoopPort>,
    ) -> PyResult<Option<Sent>> {
        let heard = self
            .work
            .waits_for()
            .and_then(|operation| InFlight::hear(py, port, operation));
        let Some(mut in_flight) = heard else {
            return Ok(None);
        };
        if in_flight.operation.must_stop_running() {
            close(py, &in_flight.question);
            return Ok(None);
        }
        let coroutine = match in_flight.begin(py) {
            Ok(coroutine) => coroutine,
            Err(error) => {
                close(py, &in_flight.question);
                in_flight.answer(Err(error));
                return Ok(None);
            }
        };
        let none = py.None();
        let result = match in_flight.drive(&coroutine, Resume::Send, none.bind(py)) {
            Ok(Sent::Yield(yielded)) => {
                let coroutine = coroutine.unbind();
                let purpose = Purpose::Callback(in_flight);
                self.state = State::Driving { coroutine, purpose };
                return Ok(Some(Sent::Yield(yielded)));
            }
            Ok(Sent::Return(value)) => Ok(value),
            Err(error) => Err(error),
        };
        if let Some(sent) = self.end_callback(py, in_flight, result)? {
            return Ok(Some(sent));
        }
        // One that never waits must not keep the loop from turning.
        match port.get().may_continue() {
            Ok(()) => Ok(None),
            Err(_) => self.turn(py, port.clone_ref(py)).map(Some),
        }
    }

    /// Gives the result of what was in flight to the worker. An exception that is no result gets on when the statement has
    /// stopped.
    pub(super) fn end_callback(
        &mut self,
        py: Python<'_>,
        in_flight: InFlight,
        result: Answer,
    ) -> PyResult<Option<Sent>> {
        if self.is_inherited() {
            // The callback has forked, and this is the child.
            std::mem::forget(in_flight);
            self.state = State::Finished;
            return Err(exceptions::to_python(py, Error::inherited()));
        }
        match in_flight.ended(py, result) {
            Ok(Ended::Answer(answer)) => in_flight.answer(answer),
            Err(error) => in_flight.answer(Err(error)),
            Ok(Ended::Stopped) => drop(in_flight),
            Ok(Ended::Leave(error)) => {
                let port = in_flight.port(py);
                return self.leave(py, &port, error, Some(in_flight)).map(Some);
            }
        }
        Ok(None)
    }

    /// An exception ends the wait, unless the Work has something to finish first. If the operation has a question
    /// `in_flight`, or had one while it was shielded, it ends before.
    pub(super) fn leave(
        &mut self,
        py: Python<'_>,
        port: &Py<LoopPort>,
        error: PyErr,
        in_flight: Option<InFlight>,
    ) -> PyResult<Sent> {
        let is_close = error.is_instance_of::<PyGeneratorExit>(py);
        let has_asked = |operation: &&Shared| {
            operation.shield() != Shield::None && operation.dialogue().has_asked()
        };
        let operation = match &in_flight {
            Some(in_flight) => Some(Arc::clone(&in_flight.operation)),
            None => self.work.waits_for().filter(has_asked).cloned(),
        };
        let deferred = if is_close {
            Err(error)
        } else {
            self.work.defer(py, error)
        };
        let error = match deferred {
            Ok(()) => {
                drop(in_flight);
                return self.advance(py, port);
            }
            Err(error) => error,
        };
        self.work.leaves(py, &error);
        self.work.abandon(py);
        drop(in_flight);
        match operation.filter(|_| !is_close) {
            Some(operation) => {
                self.ending = Some(Ending { operation, error });
                self.advance(py, port)
            }
            None => Err(error),
        }
    }

    /// Waits, whatever comes, until the operation is through that an exception leaves. `None`: there is no such exception.
    pub(super) fn wait_for_end(
        &mut self,
        py: Python<'_>,
        port: &Py<LoopPort>,
    ) -> PyResult<Option<Sent>> {
        let Some(ending) = self.ending.take() else {
            return Ok(None);
        };
        let (ticket, waker) = port.get().ticket();
        match ending.operation.poll_end(&Context::from_waker(&waker)) {
            Poll::Ready(()) => Err(ending.error),
            Poll::Pending => {
                self.ending = Some(ending);
                if port.get().is_retired() {
                    return self.wait_without_pump(py, port.clone_ref(py)).map(Some);
                }
                self.suspend(py, port.clone_ref(py), ticket).map(Some)
            }
        }
    }
}
