//! Runner: brings a command, or a Work, to its end on the calling thread.
//!
//! Owns nothing. Thread: attached, but for the time that SQLite takes.
//! Invariant: a thread that is in a callback of a connection is refused, for it would wait for itself.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::core::{Action, Cancelled, Event, Outcome, Shared};
use crate::python::awaitable::Operation;
use crate::python::exceptions;
use crate::python::exit;
use crate::python::link::Link;
use crate::python::work::{Step, Work};

use super::signals;

/// Runs a command.
///
/// # Errors
/// The command's; what the handler of a signal raises meanwhile, which stops it.
pub fn run(py: Python<'_>, link: &Link, action: Action) -> PyResult<Outcome> {
    let _inside = exit::enter(py)?;
    refuse_recursion(py, link)?;
    link.write_notes(py);
    let command = link.command(py, action);
    let shared = Arc::clone(&command.operation);
    if !py.detach(|| link.run_now(command, signals::look)) {
        stop(py, link, &shared);
    }
    if let Some(raised) = signals::take() {
        return Err(raised);
    }
    loop {
        match shared.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Event::Finished(result)) => {
                return result.map_err(|error| exceptions::to_python(py, error));
            }
            Poll::Ready(Event::Progress) => {}
            Poll::Pending => return Err(unfinished()),
        }
    }
}

/// Brings the operation that a method of an asynchronous connection has returned to its end.
///
/// # Errors
/// What awaiting it would raise; what the handler of a signal raises meanwhile.
pub fn finish(py: Python<'_>, link: &Link, operation: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let _inside = exit::enter(py)?;
    let mut work = Operation::take_work(operation.cast()?)?;
    refuse_recursion(py, link)?;
    let finished = drive(py, link, &mut *work);
    if finished.is_err() {
        work.abandon(py);
        py.detach(|| link.settle());
    }
    finished
}

fn drive(py: Python<'_>, link: &Link, work: &mut dyn Work) -> PyResult<Py<PyAny>> {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match work.poll(py, &mut context)? {
            Step::Ready(value) => return Ok(value),
            Step::Yield => {}
            Step::Pending => match work.waits_for().cloned() {
                Some(shared) => wait(py, link, &shared)?,
                None => return Err(unfinished()),
            },
            Step::Delegate(..) => {
                let message = "a blocking connection can't await";
                return Err(exceptions::not_supported(py, message));
            }
        }
    }
}

/// Runs the connection's commands until this one has ended.
fn wait(py: Python<'_>, link: &Link, shared: &Shared) -> PyResult<()> {
    if !py.detach(|| link.serve_here(shared, signals::look)) {
        stop(py, link, shared);
    }
    signals::take().map_or(Ok(()), Err)
}

/// The handler of a signal has raised while this thread waited for its turn. What has to happen still does.
fn stop(py: Python<'_>, link: &Link, shared: &Shared) {
    while matches!(shared.cancel(), Cancelled::Shielded)
        && !py.detach(|| link.serve_here(shared, signals::look))
    {}
}

/// Raises in a callback of the connection.
///
/// # Errors
/// `ProgrammingError`.
pub fn refuse_recursion(py: Python<'_>, link: &Link) -> PyResult<()> {
    if link.is_claimed_here() {
        let message = "a callback can't use the connection whose statement has called it";
        return Err(exceptions::programming(py, message));
    }
    Ok(())
}

fn unfinished() -> PyErr {
    PyRuntimeError::new_err("an operation of a blocking connection has not ended")
}
