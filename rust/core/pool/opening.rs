//! Opening: a connection of a pool that is being opened, by the task that needs it.
//!
//! Owns a place of the pool until the connection serves, or is not to come. A pool has no task of its own, for it
//! belongs to no loop; so whoever waits is asked to open a connection, and another one if he gives up.
//! Thread: any.
//! Invariant: a place that nobody opens a connection for is vacant again, once what was opened of it is closed.
//! Must not know: Python, how connections are opened.

use std::sync::Arc;

use super::super::command::Shared;
use super::super::error::Error;
use super::Pool;
use super::serving::Role;

/// The right to open a connection, and the duty.
#[derive(Debug)]
pub struct Opening {
    pool: Arc<Pool>,
    role: Role,
    index: u32,
    /// What the opener waits for himself.
    caller: Option<Shared>,
    has_ended: bool,
}

impl Opening {
    pub(super) const fn new(
        pool: Arc<Pool>,
        role: Role,
        index: u32,
        caller: Option<Shared>,
    ) -> Self {
        Self {
            pool,
            role,
            index,
            caller,
            has_ended: false,
        }
    }

    pub const fn role(&self) -> Role {
        self.role
    }

    /// The place that it will have.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// It is open.
    ///
    /// # Errors
    /// The pool was closed meanwhile, and it has to be.
    pub fn opened(mut self) -> Result<(), Self> {
        let queue = self.pool.queue_of(self.role);
        if !queue.opened(self.index, self.caller.as_ref()) {
            return Err(self);
        }
        self.has_ended = true;
        self.pool.look_for_drain();
        Ok(())
    }

    /// It could not be opened. If there is no other one, those who wait besides the opener get the error.
    pub fn fail(&self, error: &Error) {
        let queue = self.pool.queue_of(self.role);
        queue.failed(error, self.caller.as_ref());
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.has_ended {
            let queue = self.pool.queue_of(self.role);
            queue.given_up(self.index, self.caller.as_ref());
            self.pool.look_for_drain();
        }
    }
}
