//! Quick: a query that needs few steps, run on the thread that waits for it, without a command: that of a blocking connection,
//! or as `inline` allows it.
//!
//! A command brings along what is for statements that may take long, wait, change something or call somebody. A query
//! that is prepared, and took few steps the last time, does none of that, in a connection where nothing else is going on.
//! So here is only what is left of `here`, `session` and `execute`: claim the session, bind, step, read, reset, put it back.
//! Left out, since it can't matter: the operation (nobody can stop what ends so soon), the transaction's begin and end, its
//! loss, the check for checkpoints, what synchronous properties show; a query changes none of it. Left to the command: an open
//! block, guests, a pool, an observer, a transaction that is to be begun, and whatever waits in the queue.
//! Owns the session while it runs. Thread: the caller's.
//! Invariant: it has run to its end, or nothing has happened: an attempt that meets a lock or an error, or needs more steps
//! or rows, is undone by its reset. The command that follows begins anew, waits, and tells the error.
//! Must not know: Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::sqlite::{self, Statement, StatementId, StatementKind};

use super::batch::RowBatch;
use super::error::{Error, Result};
use super::inline::BRIEF;
use super::mailbox::Database;
use super::options::TransactionMode;
use super::session::Session;
use super::worker::Local;

/// Rows of a quick query, at most.
pub(super) const MOST_ROWS: usize = 16;
/// Steps of SQLite's virtual machine; after twice as many the attempt surely ends.
const MOST_STEPS: u32 = sqlite::HASTE / 2;

/// What came of it.
#[derive(Debug)]
pub struct Quick {
    pub columns: Arc<[Box<str>]>,
    pub lastrowid: i64,
}

/// A session that was claimed for a query, which is prepared and reset.
pub struct Attempt<'a> {
    local: &'a Arc<Local>,
    sql: &'a Arc<str>,
    id: StatementId,
    limits: Limits,
    /// Taken out only for the time that it runs.
    session: Option<Box<Session>>,
}

/// How far an attempt may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Times `HASTE` of SQLite's steps.
    pub hastes: u32,
    /// With so many rows it ends, though there may be more.
    pub enough: usize,
    /// It may neither wait for the disk nor compile.
    pub is_inline: bool,
}

const ALONE: Limits = Limits {
    hastes: 1,
    enough: usize::MAX,
    is_inline: false,
};

impl Local {
    /// Claims the session for a query that was quick the last time. `None`: it takes a command.
    pub fn attempt<'a>(self: &'a Arc<Self>, sql: &'a Arc<str>) -> Option<Attempt<'a>> {
        self.attempt_within(sql, ALONE, |session| session.find_quick(sql))
    }

    pub(super) fn attempt_within<'a>(
        self: &'a Arc<Self>,
        sql: &'a Arc<str>,
        limits: Limits,
        find: impl FnOnce(&mut Session) -> Option<StatementId>,
    ) -> Option<Attempt<'a>> {
        if self.is_inherited() || self.pool.get().is_some() {
            return None;
        }
        let mut mailbox = self.lock();
        if !mailbox.queue.is_empty() {
            return None;
        }
        let id = find(mailbox.database.session()?)?;
        match std::mem::replace(&mut mailbox.database, Database::Claimed) {
            Database::Open(session) => Some(Attempt {
                local: self,
                sql,
                id,
                limits,
                session: Some(session),
            }),
            other => {
                mailbox.database = other;
                None
            }
        }
    }

    /// The end of an attempt, in which nothing has changed that the mailbox follows. Commands may have come.
    fn put_back_quick(self: &Arc<Self>, database: Database) {
        let mut mailbox = self.lock();
        mailbox.database = database;
        if !self.is_blocking() {
            self.leave_to_worker(mailbox);
            return;
        }
        if mailbox.waiting > 0 {
            self.arrived.notify_one();
        }
        let has_commands = !mailbox.queue.is_empty();
        drop(mailbox);
        if has_commands {
            self.settle();
        }
    }
}

impl Attempt<'_> {
    /// Its statement, to bind all of its parameters.
    pub fn statement(&mut self) -> Option<Statement<'_>> {
        let session = self.session.as_mut()?;
        Some(session.handle.statement(self.id))
    }

    /// Runs it to its end. Its rows come in the place of what is in the batch. `None`: it takes a command.
    ///
    /// # Errors
    /// SQLite's, after which it has rolled back the transaction: a command would run outside of that.
    pub fn run(mut self, batch: &mut RowBatch) -> Result<Option<Quick>> {
        let (local, sql, id, limits) = (self.local, self.sql, self.id, self.limits);
        let Some(mut session) = self.session.take() else {
            return Ok(None);
        };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let result = session.run_quick(id, sql, batch, limits);
            (session, result)
        }));
        let (database, result) = match ran {
            Ok((session, result)) => (Database::Open(session), result),
            // The command that follows tells it.
            Err(panic) => (local.poisoned(&*panic), Ok(None)),
        };
        local.put_back_quick(database);
        result
    }
}

impl Drop for Attempt<'_> {
    /// It was not run after all.
    fn drop(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.handle.statement(self.id).rewind();
            self.local.put_back_quick(Database::Open(session));
        }
    }
}

impl Session {
    /// Whether nobody has a say in what a query does but itself.
    pub(super) fn is_plain(&self) -> bool {
        let begins =
            self.transaction.mode == TransactionMode::Always && self.handle.is_autocommit();
        let is_busy = self.observer.is_some()
            || self.has_guests()
            || !self.nest.is_empty()
            || self.transaction.is_lost();
        !begins && !is_busy && !self.is_replaced() && !self.handle.has_extensions()
    }

    fn find_quick(&mut self, sql: &Arc<str>) -> Option<StatementId> {
        if !self.is_plain() {
            return None;
        }
        let id = self.cache.put_first(&mut self.handle, sql)?;
        self.handle.statement(id).is_marked().then_some(id)
    }

    fn run_quick(
        &mut self,
        id: StatementId,
        sql: &Arc<str>,
        batch: &mut RowBatch,
        limits: Limits,
    ) -> Result<Option<Quick>> {
        let was_open = !self.handle.is_autocommit();
        let started = limits.is_inline.then(Instant::now);
        batch.restart(0);
        let read = self.run_within(limits, |handle| {
            let mut statement = handle.statement(id);
            while batch.len() < limits.enough && statement.step()? {
                if batch.len() == MOST_ROWS {
                    return Ok(false);
                }
                let width = statement.column_count();
                if batch.is_empty() {
                    batch.restart(width);
                }
                (0..width).try_for_each(|column| batch.push(statement.column(column)?))?;
                batch.finish_row();
            }
            Ok::<_, Error>(true)
        });
        let mut statement = self.handle.statement(id);
        statement.rewind();
        let is_over = match &read {
            Ok(ended) => !ended,
            Err(error) => error.primary_code() == Some(sqlite::code::INTERRUPT),
        };
        if is_over {
            statement.mark(false);
        }
        if is_over || started.is_some_and(|started| started.elapsed() > BRIEF) {
            statement.set_brief(false);
        }
        let columns = matches!(read, Ok(true)).then(|| statement.column_names());
        if was_open {
            let error = read.err();
            let is_open = !self.handle.is_autocommit();
            self.transaction
                .settle(was_open, is_open, columns.is_some(), error.as_ref());
            self.note_snapshot(sql);
            if let (Some(error), false) = (error, is_open) {
                return Err(self.noted(error).with_sql(sql));
            }
        }
        Ok(columns.map(|columns| Quick {
            columns,
            lastrowid: self.handle.last_insert_rowid(),
        }))
    }
}

/// Whether a statement that has come to its end will be quick the next time too.
pub(super) fn is_quick(statement: &Statement<'_>, steps: u32, rows: usize) -> bool {
    statement.kind() == StatementKind::Select
        && !statement.leaves_traces()
        && !statement.may_write()
        && rows <= MOST_ROWS
        && steps <= MOST_STEPS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use super::super::tests::{blocking, execute, here};
    use super::*;
    use crate::core::{Action, Amount, Cell};
    use crate::sqlite::ValueRef;

    #[test]
    fn a_query_takes_no_command_from_its_second_execution_on() {
        let connection = blocking();
        let sql: Arc<str> = "SELECT 1 AS one".into();
        assert!(connection.attempt(&sql).is_none());
        let action = execute(&sql, &Arc::default(), Amount::Ahead(64));
        here(&connection, action, || false).unwrap();
        for _ in 0..3 {
            let mut rows = RowBatch::default();
            let attempt = connection.attempt(&sql).unwrap();
            let quick = attempt.run(&mut rows).unwrap().unwrap();
            assert_eq!(rows.row(0), [Cell::Integer(1)]);
            assert_eq!(&*quick.columns[0], "one");
        }
    }

    #[test]
    fn what_writes_or_takes_many_steps_or_rows_takes_a_command() {
        let connection = blocking();
        let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT";
        for sql in [
            "CREATE TABLE t (x)",
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET x = 2 RETURNING x",
            "PRAGMA user_version",
            &format!("{numbers} 17) SELECT i FROM n"),
            &format!("{numbers} 200) SELECT count(*) FROM n"),
        ] {
            let sql = Arc::from(sql);
            let action = execute(&sql, &Arc::default(), Amount::Ahead(64));
            here(&connection, action, || false).unwrap();
            assert!(connection.attempt(&sql).is_none(), "{sql}");
        }
    }

    #[test]
    fn a_query_that_is_quick_no_more_leaves_its_session_as_it_was() {
        let connection = blocking();
        let numbers =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ifnull(?, 1))";
        for sql in [
            format!("{numbers} SELECT i FROM n"),
            format!("{numbers} SELECT count(*) FROM n"),
        ] {
            let sql: Arc<str> = sql.into();
            let mut values = RowBatch::new(1, 1);
            values.push(ValueRef::Null).unwrap();
            values.finish_row();
            let mut action = execute(&sql, &Arc::default(), Amount::Ahead(64));
            if let Action::Execute(execute) = &mut action {
                execute.parameters.rows = values;
            }
            here(&connection, action, || false).unwrap();
            // Bound, and not run after all.
            let mut attempt = connection.attempt(&sql).unwrap();
            let bound = attempt.statement().unwrap().bind(1, ValueRef::Integer(-1));
            bound.unwrap();
            drop(attempt);
            let mut rows = RowBatch::default();
            let attempt = connection.attempt(&sql).unwrap();
            assert!(attempt.run(&mut rows).unwrap().is_some());
            assert_eq!(rows.row(0), [Cell::Integer(1)]);
            // It has no end this time.
            let mut attempt = connection.attempt(&sql).unwrap();
            let bound = attempt.statement().unwrap().bind(1, ValueRef::Integer(-1));
            bound.unwrap();
            assert!(attempt.run(&mut rows).unwrap().is_none());
            assert!(connection.attempt(&sql).is_none());
        }
        let rows = Arc::default();
        let action = execute("SELECT 1", &rows, Amount::All);
        here(&connection, action, || false).unwrap();
        assert!(rows.has_ended());
    }
}
