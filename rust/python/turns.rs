//! Turns: how an operation lets its loop go on with others.
//!
//! Owns nothing; the machine holds where it is. A value that was there at once is given fairly: after a turn of the loop,
//! if there were many of them.
//! Thread: the driving loop's.

use pyo3::prelude::*;

use crate::core::Shield;

use super::event_loop::{LoopPort, Runtime};
use super::ffi::Sent;
use super::machine::Machine;
use super::suspension::{Purpose, State};
use super::trio;

impl Machine {
    /// Lets the loop turn, then goes on.
    pub(super) fn turn(&mut self, py: Python<'_>, port: Py<LoopPort>) -> PyResult<Sent> {
        match port.get().runtime() {
            Runtime::Asyncio => {
                let turn = port.get().turn();
                Ok(self.wait_for_turn(py, port, turn, None))
            }
            Runtime::Trio => self.drive(py, trio::checkpoint(py)?, Purpose::Turn { port }),
        }
    }

    /// A trio run that is ending wakes nobody any more. What runs as late as that (finalizers of async generators,
    /// other system tasks) looks by itself, a few thousand times a second.
    pub(super) fn wait_without_pump(
        &mut self,
        py: Python<'_>,
        port: Py<LoopPort>,
    ) -> PyResult<Sent> {
        trio::wait_for_late_look(py);
        let turn = if self.work.shield() == Shield::None && self.ending.is_none() {
            trio::checkpoint(py)?
        } else {
            trio::cancel_shielded_checkpoint(py)?
        };
        self.drive(py, turn, Purpose::Turn { port })
    }

    /// Gives the result; one that was there at once, fairly.
    pub(super) fn deliver(
        &mut self,
        py: Python<'_>,
        port: &Py<LoopPort>,
        result: PyResult<Py<PyAny>>,
    ) -> PyResult<Sent> {
        if self.had_turn {
            return result.map(Sent::Return);
        }
        if port.get().runtime() == Runtime::Trio {
            // What is shielded had no other point where it could have been cancelled; it is done by now.
            let checkpoint = if self.work.shield() == Shield::Always {
                trio::checkpoint(py)?
            } else {
                trio::cancel_shielded_checkpoint(py)?
            };
            return self.drive(py, checkpoint, Purpose::Deliver(result));
        }
        match (result, port.get().may_continue()) {
            (Ok(value), Err(turn)) => {
                Ok(self.wait_for_turn(py, port.clone_ref(py), turn, Some(value)))
            }
            (result, _) => result.map(Sent::Return),
        }
    }

    /// Lets asyncio's loop turn.
    pub(super) fn wait_for_turn(
        &mut self,
        py: Python<'_>,
        port: Py<LoopPort>,
        turn: u64,
        value: Option<Py<PyAny>>,
    ) -> Sent {
        self.state = State::Turn { port, turn, value };
        Sent::Yield(py.None())
    }
}
