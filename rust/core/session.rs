//! Session: one open local database and everything that belongs to it.
//!
//! Owns the handle, its statements, the statements that cursors still read from, and the transaction.
//! Thread: whichever worker has claimed it; it moves as one value.
//! Invariant: between two commands no statement is in the middle of a write.
//! Must not know: Python, queues, threads.

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sqlite::{self, Handle, OpenOptions, StatementId, StatementKind};

use super::busy::{Line, Wait, Waiter};
use super::command::{Action, Outcome, Shared};
use super::deadline;
use super::error::{Error, Result};
use super::observer::Observer;
use super::operation::{Operation, Stop};
use super::options::{ModeChange, Options};
use super::rows::RowStream;
use super::statement_cache::StatementCache;
use super::status::Status;
use super::transaction::Transaction;

/// One open local database.
pub struct Session {
    pub(super) handle: Handle,
    pub(super) cache: StatementCache,
    pub(super) reading: HashMap<u64, Reading>,
    pub(super) transaction: Transaction,
    pub(super) wait: Arc<Wait>,
    pub(super) observer: Option<Box<dyn Observer>>,
}

/// A statement that a cursor has not read to its end.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) statement: StatementId,
    pub(super) sql: Arc<str>,
    pub(super) rows: Arc<RowStream>,
}

impl sqlite::Stop for Operation<Result<Outcome>> {
    fn stop_requested(&self) -> bool {
        self.must_stop_running()
    }
}

impl Session {
    /// Opens a database.
    ///
    /// # Errors
    /// SQLite's: no such directory, a directory, no permission, not a database.
    pub fn open(options: &Options) -> Result<Self> {
        let named = |error: sqlite::Error| {
            let message = format!("{}: {}", error.message, options.filename.to_string_lossy());
            Error::from(sqlite::Error::new(error.code, message))
        };
        let mut handle = Handle::open(&OpenOptions {
            filename: options.filename.clone(),
            read_only: false,
            create: true,
            uri: options.uri,
            key: None,
        })
        .map_err(named)?;
        let path = handle
            .filename()
            .map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes)));
        let wait = Wait::new(Line::of(path), options.timeout);
        handle.set_busy_policy(Box::new(Waiter(Arc::clone(&wait))));
        match handle.quick_check_readable() {
            // Locked by another connection: it is a database, so whoever uses it first waits for the lock.
            Ok(()) => {}
            Err(error) if matches!(error.primary(), sqlite::code::BUSY | sqlite::code::LOCKED) => {}
            Err(error) if error.primary() == sqlite::code::NOTADB => {
                let message = "file is not a database or the encryption key is wrong";
                return Err(named(sqlite::Error::new(error.code, message)));
            }
            Err(error) => return Err(named(error)),
        }
        let mut session = Self {
            handle,
            cache: StatementCache::new(options.cached_statements),
            reading: HashMap::new(),
            transaction: Transaction::new(options.mode),
            wait,
            observer: None,
        };
        if options.foreign_keys {
            session.run_sql("PRAGMA foreign_keys=ON")?;
        }
        for pragma in &options.pragmas {
            session.run_sql(pragma)?;
        }
        session.keep_transaction_open()?;
        Ok(session)
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    /// The statement's, or the refusal of the command.
    pub fn run(
        &mut self,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
    ) -> Result<Outcome> {
        let counts = !matches!(
            action,
            Action::Fetch { .. } | Action::CloseRows(_) | Action::UndoBegin(_)
        );
        let was_open = !self.handle.is_autocommit();
        let wrote = was_open && self.handle.holds_write_lock();
        self.transaction.ended = false;
        if !was_open {
            self.transaction.note_changes(self.handle.total_changes());
        }
        self.handle
            .set_stop(Some(Arc::clone(operation) as Arc<dyn sqlite::Stop>));
        self.wait.begin(operation);

        let result = self
            .apply(modes)
            .and_then(|()| self.dispatch(operation, action));
        let mut result = result.map_err(|error| explain_stop(operation, error));

        self.handle.set_stop(None);
        let began = self.transaction.settle(
            was_open,
            !self.handle.is_autocommit(),
            counts,
            result.as_ref().err(),
        );
        if let Ok(outcome) = &mut result {
            outcome.began = began;
        }
        self.wait.end(wrote && !self.handle.holds_write_lock());
        result
    }

    /// Undoes what an operation did whose caller had gone before it ended.
    pub fn undo(&mut self) {
        if let Some(serial) = self.transaction.began.take() {
            // Nobody is left to hear of an error; SQLite has rolled back if it can't do it on request.
            let _ = self.undo_begin(serial);
        }
    }

    /// Publishes what the synchronous properties show.
    pub fn publish(&self, status: &Status) {
        status.publish(!self.handle.is_autocommit(), self.handle.total_changes());
    }

    /// Closes the database; an open transaction is rolled back.
    ///
    /// # Errors
    /// SQLite's, as when the disk is full; the database is closed all the same.
    pub fn close(mut self, status: &Status) -> Result<Outcome> {
        let touched = self.transaction.is_touched(self.handle.total_changes());
        if !self.handle.is_autocommit() && self.handle.holds_write_lock() && touched {
            status.set_discarded();
        }
        for (_, reading) in self.reading.drain() {
            reading.rows.end(Err(Error::closed()));
        }
        self.handle.close()?;
        Ok(Outcome::default())
    }

    fn dispatch(&mut self, operation: &Shared, action: Action) -> Result<Outcome> {
        match action {
            Action::Execute(execute) => self.execute(operation, execute),
            Action::ExecuteMany {
                sql,
                feed,
                replaces,
            } => {
                self.close_rows(replaces.as_ref());
                self.execute_many(operation, &sql, &feed)
            }
            Action::ExecuteScript { script, replaces } => {
                self.close_rows(replaces.as_ref());
                self.execute_script(operation, &script)
            }
            Action::Fetch { rows, amount } => {
                self.fetch(operation, &rows, amount);
                Ok(Outcome::default())
            }
            Action::CloseRows(rows) => {
                self.close_rows(Some(&rows));
                Ok(Outcome::default())
            }
            Action::Begin(begin) => self.begin(begin),
            Action::Commit => self.commit(),
            Action::Rollback => self.rollback(),
            Action::UndoBegin(serial) => self.undo_begin(serial),
            // The worker opens and closes; a mode change was applied before.
            Action::Open | Action::UndoOpen | Action::SetMode | Action::Close => {
                Ok(Outcome::default())
            }
        }
    }

    /// Prepares the one statement in `sql`, from the cache if it is there. `None`: only comments.
    pub(super) fn prepare(&mut self, sql: &Arc<str>) -> Result<Option<StatementId>> {
        if let Some(id) = self.cache.take(sql) {
            return Ok(Some(id));
        }
        let prepared = self.handle.prepare(sql, true)?;
        let Some(id) = prepared.id else {
            return Ok(None);
        };
        self.follow_busy_timeout(id);
        if self.has_statement(&sql[prepared.tail..]) {
            self.handle.finalize(id);
            return Err(Error::programming(
                "You can only execute one statement at a time.",
            ));
        }
        Ok(Some(id))
    }

    /// Puts a statement back that no cursor reads from any more.
    pub(super) fn give_back(&mut self, sql: &Arc<str>, id: StatementId) {
        // A PRAGMA acts when it is prepared, so each execution needs its own.
        if self.handle.statement(id).kind() == StatementKind::Pragma {
            self.handle.finalize(id);
        } else {
            self.cache.give_back(&mut self.handle, sql, id);
        }
    }

    /// Ends the rows of one execution.
    pub(super) fn close_rows(&mut self, rows: Option<&Arc<RowStream>>) {
        let Some(rows) = rows else { return };
        rows.clear();
        rows.end(Ok(()));
        if let Some(reading) = self.reading.remove(&rows.id()) {
            self.give_back(&reading.sql, reading.statement);
        }
    }

    /// Runs one of our own statements.
    pub(super) fn run_sql(&mut self, sql: &str) -> Result<()> {
        let sql: Arc<str> = Arc::from(sql);
        let Some(id) = self.prepare(&sql)? else {
            return Ok(());
        };
        let mut statement = self.handle.statement(id);
        let stepped = loop {
            match statement.step() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.give_back(&sql, id);
        Ok(stepped?)
    }

    /// Calls the observer around a step of work on a statement.
    pub(super) fn observed<T>(
        &mut self,
        sql: &Arc<str>,
        work: impl FnOnce(&mut Self) -> Result<(T, usize)>,
    ) -> Result<T> {
        if self.observer.is_none() {
            return work(self)
                .map(|(value, _)| value)
                .map_err(|error| error.with_sql(sql));
        }
        let started = Instant::now();
        if let Some(observer) = &mut self.observer {
            observer.started(sql);
        }
        let result = work(self).map_err(|error| error.with_sql(sql));
        if let Some(observer) = &mut self.observer {
            match &result {
                Ok((_, rows)) => {
                    observer.rows(sql, *rows);
                    observer.ended(sql, started.elapsed());
                }
                Err(error) => observer.failed(sql, error),
            }
        }
        result.map(|(value, _)| value)
    }

    fn apply(&mut self, modes: &[ModeChange]) -> Result<()> {
        modes
            .iter()
            .try_for_each(|change| self.change_mode(*change))
    }

    fn has_statement(&mut self, mut rest: &str) -> bool {
        while !rest.trim_start().is_empty() {
            match self.handle.prepare(rest, false) {
                Ok(prepared) if prepared.id.is_none() && prepared.tail > 0 => {
                    rest = &rest[prepared.tail..];
                }
                Ok(prepared) if prepared.id.is_none() => return false,
                Ok(prepared) => {
                    prepared
                        .id
                        .into_iter()
                        .for_each(|id| self.handle.finalize(id));
                    return true;
                }
                Err(_) => return true,
            }
        }
        false
    }

    /// The value of a `PRAGMA busy_timeout` becomes our timeout, for it was meant to say how long we wait.
    pub(super) fn follow_busy_timeout(&mut self, id: StatementId) {
        let statement = self.handle.statement(id);
        let milliseconds = statement
            .busy_timeout_argument()
            .and_then(|text| text.trim().parse::<i64>().ok());
        if let Some(milliseconds) = milliseconds {
            self.wait
                .set_timeout(Duration::from_millis(milliseconds.max(0).unsigned_abs()));
        }
    }
}

pub(super) fn explain_stop(operation: &Shared, error: Error) -> Error {
    if !matches!(
        error.primary_code(),
        Some(sqlite::code::INTERRUPT | sqlite::code::BUSY)
    ) {
        return error;
    }
    match operation.stop() {
        Some(Stop::TimedOut) => Error {
            sql: error.sql,
            ..deadline::timed_out()
        },
        Some(Stop::Cancelled) => Error {
            sql: error.sql,
            ..Error::cancelled()
        },
        Some(Stop::Interrupted) | None => error,
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}
