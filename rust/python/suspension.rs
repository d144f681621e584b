//! Where an operation is between two of its sends.
//!
//! Owns what it holds there, in asyncio or in trio; the machine moves from one to the next.
//! Thread: the driving loop's.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Cancelled, Shared, Shield};
use crate::wakeup::Ticket;

use super::event_loop::LoopPort;
use super::in_flight::InFlight;
use super::trio::Abort;

pub enum State {
    Idle,
    /// Not continued yet, and its value is there without any loop.
    Given(Py<PyAny>),
    /// On asyncio, a Waiter was yielded.
    Waiting {
        port: Py<LoopPort>,
        ticket: Ticket,
    },
    /// On asyncio, the loop was given a turn; then the value, if there is one already.
    Turn {
        port: Py<LoopPort>,
        turn: u64,
        value: Option<Py<PyAny>>,
    },
    /// A coroutine of trio's or of the user's is being driven.
    Driving {
        coroutine: Py<PyAny>,
        purpose: Purpose,
    },
    Finished,
}

pub enum Purpose {
    /// trio: is the scope cancelled before anything was submitted?
    Precheck { port: Py<LoopPort> },
    /// trio: asleep until the completion.
    Sleep {
        port: Py<LoopPort>,
        ticket: Ticket,
        abort: Py<Abort>,
    },
    /// trio: a turn for the loop.
    Turn { port: Py<LoopPort> },
    /// trio: the checkpoint before a result that was there at once.
    Deliver(PyResult<Py<PyAny>>),
    /// The Work's own.
    Delegate { port: Py<LoopPort> },
    /// What a callback of the statement returned to be awaited.
    Callback(InFlight),
}

/// What keeps a suspension from being cancelled.
pub enum Held {
    No,
    /// A cancellation goes to this operation, which may be shielded.
    By(Shared),
    /// It lasts until the operation is through.
    ToTheEnd,
}

impl Held {
    /// The caller was cancelled. Whether it has to wait nevertheless. In a child of the process that waits there is
    /// nothing to cancel, and the operation may be locked for ever.
    pub fn cancel(&self, is_inherited: bool) -> bool {
        match self {
            Self::By(shared) if !is_inherited => {
                shared.shield() != Shield::None && !matches!(shared.cancel(), Cancelled::NeverRan)
            }
            Self::ToTheEnd => !is_inherited,
            Self::By(_) | Self::No => false,
        }
    }
}

impl State {
    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Waiting { port, .. } => visit.call(port),
            Self::Given(value) => visit.call(value),
            Self::Turn { port, value, .. } => {
                visit.call(port)?;
                visit.call(value)
            }
            Self::Driving { coroutine, purpose } => {
                visit.call(coroutine)?;
                match purpose {
                    Purpose::Sleep { port, abort, .. } => {
                        visit.call(port)?;
                        visit.call(abort)
                    }
                    Purpose::Precheck { port }
                    | Purpose::Turn { port }
                    | Purpose::Delegate { port } => visit.call(port),
                    Purpose::Callback(in_flight) => in_flight.traverse(visit),
                    Purpose::Deliver(Ok(value)) => visit.call(value),
                    Purpose::Deliver(Err(_)) => Ok(()),
                }
            }
            Self::Idle | Self::Finished => Ok(()),
        }
    }
}
