//! Inline: the quick queries that an asynchronous connection runs on the thread that awaits them, where its user wants that.
//!
//! The way to a worker and back costs more than a point SELECT. But a thread that runs a loop must not wait, so what it may
//! run is a query in autocommit mode that took few steps, rows and little time the last time, alone on its connection, and
//! bounded in each way that SQLite has: its steps are counted, a lock that is held and a page that is not in memory end it.
//! Owns what decides that; the attempt itself is that of `quick`.
//! Thread: `attempt_here` and what follows it on the caller's; the rest on a worker.
//! Invariant: an attempt that does not come to its end has not happened. Outside of a transaction, with no other statement
//! active, SQLite's answer to an I/O error undoes nothing.
//! Must not know: Python.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::sqlite::{HASTE, Handle, Statement, StatementId, StatementKind};

use super::command::Amount;
use super::mailbox::Mailbox;
use super::options::TransactionMode;
use super::quick::{Attempt, Limits, MOST_ROWS};
use super::session::Session;
use super::worker::Local;

/// A query that took longer is not run on a loop's thread the next time.
pub(super) const BRIEF: Duration = Duration::from_micros(100);

/// What a session may do on the threads of its callers.
#[derive(Debug, Default)]
pub(super) struct Inline {
    /// Steps; 0: nothing.
    budget: u32,
}

impl Inline {
    pub(super) fn new(budget: u32, handle: &Handle) -> Self {
        let can = budget > 0 && handle.reads_without_waiting();
        Self {
            budget: if can { budget } else { 0 },
        }
    }

    /// A worker has executed a statement: whether it may be run by its caller the next time. `is_whole`: from its beginning
    /// to where it was to end.
    pub(super) fn learn(
        &self,
        statement: &Statement<'_>,
        is_whole: bool,
        (steps, rows, time): (u32, usize, Option<Duration>),
    ) {
        if self.budget == 0 {
            return;
        }
        let is_brief = is_whole
            && steps <= self.budget
            && rows <= MOST_ROWS
            && time.is_some_and(|time| time < BRIEF)
            && statement.kind() == StatementKind::Select
            && !statement.leaves_traces()
            && !statement.has_virtual_tables();
        statement.set_brief(is_brief);
    }
}

impl Local {
    /// Whether a query would be attempted on this thread: a hint.
    pub fn runs_here(&self, sql: &Arc<str>) -> bool {
        if self.is_inherited() || self.pool.get().is_some() {
            return false;
        }
        let mut mailbox = self.lock();
        let session = mailbox.database.session();
        let is_found = session.is_some_and(|session| session.find_brief(sql).is_some());
        is_found && mailbox.queue.is_empty()
    }

    /// Claims the session for a query that may be run on this thread, whatever runs on it.
    pub fn attempt_here<'a>(
        self: &'a Arc<Self>,
        sql: &'a Arc<str>,
        amount: Amount,
    ) -> Option<Attempt<'a>> {
        let limits = Limits {
            hastes: self.inline_budget().div_ceil(HASTE),
            enough: match amount {
                Amount::Only(rows) => rows,
                Amount::Ahead(_) | Amount::Exactly(_) | Amount::All => usize::MAX,
            },
            is_inline: true,
        };
        self.attempt_within(sql, limits, |session| session.find_brief(sql))
    }

    /// A worker that has come meanwhile has left again, or waits on.
    pub(super) fn leave_to_worker(self: &Arc<Self>, mailbox: MutexGuard<'_, Mailbox>) {
        if !mailbox.queue.is_empty() {
            drop(mailbox);
            self.rouse();
        } else if !mailbox.lent && mailbox.wants_rest() {
            self.start(mailbox);
        }
    }
}

impl Session {
    fn find_brief(&mut self, sql: &Arc<str>) -> Option<StatementId> {
        let may = self.inline.budget > 0
            && self.is_plain()
            && self.transaction.mode != TransactionMode::Always
            && self.handle.is_autocommit()
            && self.reading.is_empty()
            && self.blobs.is_empty()
            && self.backups.is_empty()
            && self.handle.can_read_at_once();
        if !may {
            return None;
        }
        let id = self.cache.put_first(&mut self.handle, sql)?;
        self.handle.statement(id).is_brief().then_some(id)
    }

    /// Runs the steps of a quick query within its limits.
    pub(super) fn run_within<T>(
        &mut self,
        limits: Limits,
        work: impl FnOnce(&mut Handle) -> T,
    ) -> T {
        if !limits.is_inline {
            return self.handle.hastily(limits.hastes, work);
        }
        let (result, can_tell) = self.handle.at_once(limits.hastes, work);
        if !can_tell {
            self.inline.budget = 0;
        }
        result
    }
}
