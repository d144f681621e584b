//! Mailbox: what a local backend guards with its lock: the commands, and the session between two of them.
//!
//! Owns both, and who has claimed the session. Thread: any, under the lock.
//! Must not know: Python, how commands are run.

use std::time::Duration;

use super::command::Shared;
use super::queue::Queue;
use super::session::Session;

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) queue: Queue,
    pub(super) database: Database,
    pub(super) running: Option<Shared>,
    /// See `here`: the thread that has claimed the session, and how many wait for it.
    pub(super) claimant: Option<usize>,
    pub(super) waiting: usize,
    pub(super) lent: bool,
    /// The lent worker waits for the next command.
    pub(super) idle: bool,
}

#[derive(Debug)]
pub(super) enum Database {
    Unopened,
    Open(Box<Session>),
    /// With the worker that runs a command.
    Claimed,
    Closed,
    /// A panic was contained; what it left behind is not used again.
    Poisoned(String),
}

impl Mailbox {
    pub(super) const fn new(patience: Duration) -> Self {
        Self {
            queue: Queue::new(patience),
            database: Database::Unopened,
            running: None,
            claimant: None,
            waiting: 0,
            lent: false,
            idle: false,
        }
    }

    pub(super) const fn is_claimed(&self) -> bool {
        matches!(self.database, Database::Claimed)
    }

    /// Takes the database back from the worker that ran a command.
    pub(super) fn put_back(&mut self, database: Database) {
        match &database {
            Database::Open(session) => self
                .queue
                .follow(session.innermost().cloned(), session.timeout()),
            _ => self.queue.follow(None, Duration::ZERO),
        }
        self.database = database;
    }
}
