//! Mailbox: where a connection's commands wait, and its session between two of them.
//!
//! Owns both, and what is known of the worker, which is started here.
//! Thread: under its lock.
//! Must not know: Python, what commands do.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::command::{Action, Command, Shared};
use super::error::Error;
use super::queue::Queue;
use super::session::Session;
use super::threads;
use super::worker::Local;

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) queue: Queue,
    pub(super) database: Database,
    pub(super) running: Option<Shared>,
    /// See `here`: the thread that has claimed the session, and how many wait for it.
    pub(super) claimant: Option<usize>,
    pub(super) waiting: usize,
    /// Whose it is; 0: there is only one.
    pub(super) runs_for: u64,
    pub(super) lent: bool,
    /// The lent worker waits for the next command.
    pub(super) idle: bool,
}

#[derive(Debug)]
pub(super) enum Database {
    Unopened,
    Open(Box<Session>),
    /// With the worker that runs a command, or with a backup into it.
    Claimed,
    Closed,
    /// A panic was contained; what it left behind is not used again.
    Poisoned(String),
}

impl Database {
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match self {
            Self::Open(session) => Some(session),
            _ => None,
        }
    }
}

impl Mailbox {
    pub(super) const fn new(patience: Duration) -> Self {
        Self {
            queue: Queue::new(patience),
            database: Database::Unopened,
            running: None,
            claimant: None,
            waiting: 0,
            runs_for: 0,
            lent: false,
            idle: false,
        }
    }

    pub(super) const fn is_claimed(&self) -> bool {
        matches!(self.database, Database::Claimed)
    }

    /// Takes the next command, if it is a query that is known to be quick.
    pub(super) fn take_quick(&mut self) -> Option<Command> {
        let command = self.queue.front()?;
        let Action::Execute(execute) = &command.action else {
            return None;
        };
        let is_plain =
            command.surroundings.is_none() && command.guest.is_none() && command.modes.is_empty();
        let session = self.database.session()?;
        if is_plain && session.is_quick(&execute.sql) {
            self.queue.pop()
        } else {
            None
        }
    }

    /// Whether an idle worker is needed, to take care of the database's files.
    pub(super) fn wants_rest(&self) -> bool {
        matches!(&self.database, Database::Open(session) if session.rest().is_some())
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

impl Local {
    /// Whether a command may be queued. Ends it in a child, where nothing that a worker may have held must be touched.
    pub(super) fn accepts(&self, command: &Command) -> bool {
        let guest = command.guest.as_ref();
        let status = guest.map_or(&self.status, |guest| guest.status());
        self.birth.accepts(command, status)
    }

    /// Has a worker run what waits.
    pub(super) fn start(self: &Arc<Self>, mut mailbox: MutexGuard<'_, Mailbox>) {
        mailbox.lent = true;
        mailbox.idle = false;
        drop(mailbox);
        if let Err(error) = threads::lend(Arc::clone(self)) {
            let mut mailbox = self.lock();
            mailbox.lent = false;
            for command in mailbox.queue.drain() {
                if let Some(action) = command.action.must_happen() {
                    // With the next command that finds a worker.
                    mailbox.queue.push(Command::new(action, Vec::new(), None));
                }
                if command.operation.claim() {
                    let message = format!("can't start a worker thread: {error}");
                    drop(command.operation.finish(Err(Error::operational(message))));
                }
            }
        }
    }

    /// Takes the session back that was lent to a backup.
    pub(super) fn take_back(self: &Arc<Self>, session: Box<Session>) {
        self.publish(&session);
        let mut mailbox = self.lock();
        mailbox.put_back(Database::Open(session));
        if self.is_blocking() {
            self.go_on(mailbox);
            return;
        }
        // A worker that is still here looks by itself.
        if self.pool.get().is_some() {
            drop(mailbox);
            self.kick_worker();
        } else if !mailbox.lent && !mailbox.queue.is_empty() {
            self.start(mailbox);
        }
    }
}
