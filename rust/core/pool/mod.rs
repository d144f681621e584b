//! Pool: several handles on one database that share their work: one writes, the others read.
//!
//! Owns the queues in which commands wait for any of several handles, which statement goes where, and the commits of
//! many writes together.
//! Threads: `submit` from any; the handles' workers take commands and send on those that are not for them.
//! Invariant: a handle takes a command from its pool only while nothing holds it: no cursor that reads, no
//! transaction, nobody to whom it is lent.
//! Must not know: Python.

mod group;
mod key;
mod member;
mod queue;
mod routes;
mod serving;

use super::command::{Action, Command};
use super::error::Error;

use key::PoolKey;
use queue::PoolQueue;
use routes::Routes;

pub use queue::Limits;
pub use routes::Route;
pub use serving::Role;
pub(super) use serving::{Job, Membership};

/// What the handles of a pool share.
#[derive(Debug, Default)]
pub struct Pool {
    /// For the handle that writes; for the only one of a database in memory.
    writer: PoolQueue,
    readers: PoolQueue,
    routes: Routes,
    key: PoolKey,
    /// There is one handle for everything.
    is_single: bool,
}

impl Pool {
    pub fn new(is_single: bool) -> Self {
        Self {
            is_single,
            ..Self::default()
        }
    }

    /// Queues a command for a handle that may run it. Statements go where they belong; all else to the writer.
    pub fn submit(&self, mut command: Command, limits: Limits) {
        if let Action::Execute(execute) = &command.action {
            let route = self.routes.get(&execute.sql);
            command.route = route.map(|route| route.with(&command));
            let for_readers = match command.route {
                Some(route) => route == Route::Reader,
                // Any of them can find out.
                None => self.readers.is_ready() || !self.writer.is_ready(),
            };
            self.queue(for_readers).submit(command, limits);
        } else {
            self.writer.submit(command, limits);
        }
    }

    /// Queues a command for a reader, or for the writer.
    pub fn submit_to(&self, reader: bool, command: Command, limits: Limits) {
        self.queue(reader).submit(command, limits);
    }

    /// How many commands wait for readers, and for the writer.
    pub fn waiting(&self) -> (usize, usize) {
        (self.readers.waiting(), self.writer.waiting())
    }

    /// Refuses what waits, and what comes.
    pub fn close(&self, why: &Error) {
        self.readers.close(why);
        self.writer.close(why);
    }

    /// Overwrites the key, unless a connection has it still.
    pub fn forget_key(&self) {
        self.key.forget();
    }

    fn queue(&self, reader: bool) -> &PoolQueue {
        if reader && !self.is_single {
            &self.readers
        } else {
            &self.writer
        }
    }
}
