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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use super::super::tests::{execute, options, wait};
    use super::*;
    use crate::core::{Action, Backend as _, Cell, Command, Options, RowBatch};
    use crate::sqlite::{AtFork, at_fork};

    const FREE: TransactionMode = TransactionMode::Autocommit { manual_end: true };

    fn run(connection: &Arc<Local>, action: Action) {
        let command = Command::new(action, Vec::new(), None);
        let operation = Arc::clone(&command.operation);
        connection.submit(command);
        wait(&operation).unwrap();
    }

    fn opened(budget: u32) -> Arc<Local> {
        let nothing: fn() = || {};
        // SQLite's reads are watched from then on.
        at_fork(AtFork {
            before: nothing,
            after_in_parent: nothing,
            after_in_child: nothing,
        })
        .unwrap();
        let connection = Local::new(Options {
            inline_budget: budget,
            ..options(FREE)
        });
        run(&connection, Action::Open);
        connection
    }

    /// Until a worker was quick enough, and away from the session.
    fn becomes_known(connection: &Arc<Local>, sql: &Arc<str>, amount: Amount) -> bool {
        (0..100).any(|_| {
            run(connection, execute(sql, &Arc::default(), amount));
            std::thread::sleep(Duration::from_millis(1));
            connection.runs_here(sql)
        })
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn query_that_was_quick_runs_on_this_thread() {
        let connection = opened(1000);
        let sql: Arc<str> = "SELECT 1 UNION ALL SELECT 2".into();
        assert!(!connection.runs_here(&sql));
        for (amount, rows) in [(Amount::All, 2), (Amount::Only(1), 1)] {
            assert!(becomes_known(&connection, &sql, amount));
            let mut batch = RowBatch::default();
            let attempt = connection.attempt_here(&sql, amount).unwrap();
            assert!(attempt.run(&mut batch).unwrap().is_some());
            assert_eq!(batch.len(), rows);
            assert_eq!(batch.row(0), [Cell::Integer(1)]);
        }
        run(&connection, Action::Close);
        assert!(!connection.runs_here(&sql));
    }

    #[test]
    fn without_a_budget_or_beyond_it_nothing_does() {
        let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60) SELECT count(*) FROM n";
        for (budget, sql) in [(0, "SELECT 1"), (100, long), (4000, "PRAGMA user_version")] {
            let connection = opened(budget);
            let sql = Arc::from(sql);
            for _ in 0..10 {
                run(&connection, execute(&sql, &Arc::default(), Amount::All));
                assert!(connection.attempt_here(&sql, Amount::All).is_none());
            }
            run(&connection, Action::Close);
        }
    }

    #[test]
    fn commands_that_come_during_an_attempt_are_run_after_it() {
        let connection = opened(1000);
        let sql: Arc<str> = "SELECT 1".into();
        if !becomes_known(&connection, &sql, Amount::All) {
            // The system has no reads that don't wait.
            return;
        }
        for _ in 0..20 {
            let attempt = connection.attempt_here(&sql, Amount::All);
            let rows = Arc::default();
            let command = Command::new(execute("SELECT 2", &rows, Amount::All), Vec::new(), None);
            let operation = Arc::clone(&command.operation);
            connection.submit(command);
            assert!(attempt.is_none() || !operation.is_done());
            drop(attempt);
            wait(&operation).unwrap();
            assert!(becomes_known(&connection, &sql, Amount::All));
        }
        run(&connection, Action::Close);
    }
}
