//! Session: one open local database and everything that belongs to it.
//!
//! Owns the handle, its statements, the statements that cursors still read from, and the transaction.
//! Thread: whichever worker has claimed it; it moves as one value.
//! Invariant: between two commands no statement is in the middle of a write.
//! Must not know: Python, queues, threads.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sqlite::{self, Handle, OpenOptions, StatementId, StatementKind};

use super::backup::{BackupName, Outgoing};
use super::blob::{BlobName, OpenBlob};
use super::block::Block;
use super::busy::{Line, Wait, Waiter};
use super::channel::{Channel, Opaque};
use super::command::{Action, Outcome, Shared};
use super::deadline;
use super::encryption::KeySlot;
use super::error::{Error, Kind, Result};
use super::guest::Company;
use super::here;
use super::inline::Inline;
use super::log_files;
use super::maintenance::Maintenance;
use super::nest::Nest;
use super::observer::Observer;
use super::operation::{Operation, Stop};
use super::options::{ModeChange, Options, TransactionMode};
use super::pool::Tenure;
use super::replaced::Replaced;
use super::rows::RowStream;
use super::service::Service;
use super::statement_cache::StatementCache;
use super::status::Status;
use super::transaction::Transaction;
use super::trivia::is_trivial;
use super::unheard;

/// One open local database.
pub struct Session {
    pub(super) handle: Handle,
    pub(super) cache: StatementCache,
    pub(super) reading: HashMap<u64, Reading>,
    pub(super) blobs: HashMap<BlobName, OpenBlob>,
    pub(super) backups: HashMap<BackupName, Outgoing>,
    pub(super) transaction: Transaction,
    pub(super) nest: Nest,
    pub(super) company: Company,
    pub(super) wait: Arc<Wait>,
    pub(super) observer: Option<Box<dyn Observer>>,
    /// How often it was opened: an open that nobody heard of is undone only if it was the only one.
    pub(super) opens: u64,
    pub(super) key: KeySlot,
    pub(super) maintenance: Maintenance,
    channel: Option<Arc<Channel>>,
    /// `deserialize` has put a database in memory in the place of the file.
    pub(super) is_in_memory: bool,
    /// What those who share a pool have made of it.
    pub(super) tenure: Tenure,
    /// The last statement was a query that took little time.
    pub(super) was_quick: bool,
    pub(super) inline: Inline,
    pub(super) replaced: Replaced,
}

/// A statement that a cursor has not read to its end.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) statement: StatementId,
    pub(super) sql: Arc<str>,
    pub(super) rows: Arc<RowStream>,
    /// Whose cursor it is.
    pub(super) guest: u64,
}

impl sqlite::Stop for Operation<Result<Outcome>, Opaque> {
    /// SQLite asks while a statement runs on, for longer than those that wait to hear of the last ones should.
    fn stop_requested(&self) -> bool {
        unheard::wake_all();
        here::look(self);
        self.must_stop_running()
    }
}

impl Session {
    /// Opens a database.
    ///
    /// # Errors
    /// SQLite's: no such directory, a directory, no permission, not a database.
    pub fn open(
        options: &Options,
        read_only: bool,
        mode: TransactionMode,
        operation: &Shared,
    ) -> Result<Self> {
        let named = |error: sqlite::Error| {
            let message = format!("{}: {}", error.message, options.filename.to_string_lossy());
            Error::from(sqlite::Error::new(error.code, message))
        };
        let how = OpenOptions {
            filename: options.filename.clone(),
            read_only,
            create: !read_only,
            syncs: options.keeps_log,
            uri: options.uri,
            key: options.key.get(),
        };
        let mut handle = Handle::open(&how).map_err(named)?;
        let path = handle.filename().map(OsString::from_vec).map(PathBuf::from);
        let wait = Wait::new(Line::of(path.clone()), options.timeout);
        handle.set_busy_policy(Box::new(Waiter(Arc::clone(&wait))));
        match handle.check_readable(&how) {
            Ok(()) => {}
            Err(error) if error.primary() == sqlite::code::NOTADB => {
                let message = "file is not a database or the encryption key is wrong";
                return Err(named(sqlite::Error::new(error.code, message)));
            }
            Err(error) => return Err(log_files::explain(named(error), path.as_deref())),
        }
        let maintenance = Maintenance::new(&mut handle, path, options.keeps_log);
        let mut session = Self {
            handle,
            cache: StatementCache::new(options.cached_statements, options.pins.clone()),
            reading: HashMap::new(),
            blobs: HashMap::new(),
            backups: HashMap::new(),
            transaction: Transaction::new(mode, options.is_blocking),
            nest: Nest::default(),
            company: Company::default(),
            wait,
            observer: None,
            opens: 1,
            key: options.key.clone(),
            maintenance,
            channel: None,
            is_in_memory: false,
            tenure: Tenure::default(),
            was_quick: false,
            inline: Inline::default(),
            replaced: Replaced::new(&options.replacements),
        };
        let ready = session.prepare_for(options, operation);
        ready.map_err(|error| {
            log_files::explain_set_up(error, session.handle.filename().as_deref())
        })?;
        session.inline = Inline::new(options.inline_budget, &session.handle);
        Ok(session)
    }

    /// Does what a connection that opens it wants done first.
    pub(super) fn prepare_for(&mut self, options: &Options, operation: &Shared) -> Result<()> {
        self.attach(operation);
        let prepared = self.set_up(options);
        let ready = prepared.and_then(|()| self.keep_transaction_open());
        self.detach(false);
        ready.map_err(|error| explain_stop(operation, error))
    }

    pub(super) fn set_up(&mut self, options: &Options) -> Result<()> {
        let has_pragmas = options.foreign_keys || !options.pragmas.is_empty();
        if has_pragmas && !self.handle.is_autocommit() {
            // Some would do nothing, and others would be rolled back with it.
            let message = "foreign_keys and pragmas can't be set while another connection has a transaction open in this database";
            return Err(Error::operational(message));
        }
        for (switch, value) in &options.switches {
            self.handle.switch(*switch, Some(*value))?;
        }
        self.limit_journal()?;
        if options.foreign_keys {
            self.run_sql("PRAGMA foreign_keys=ON")?;
        }
        options
            .pragmas
            .iter()
            .try_for_each(|pragma| self.run_sql(pragma))
    }

    /// From here on the operation's cancellation stops statements and ends waits for locks.
    pub(super) fn attach(&mut self, operation: &Shared) {
        let stop = Arc::clone(operation) as Arc<dyn sqlite::Stop>;
        self.handle.set_stop(Some(stop));
        self.wait.begin(operation);
    }

    pub(super) fn detach(&mut self, released: bool) {
        self.handle.set_stop(None);
        self.wait.end(released);
    }

    /// Connects it to what callbacks tell.
    pub fn set_channel(&mut self, channel: &Arc<Channel>) {
        self.channel = Some(Arc::clone(channel));
    }

    /// An error that is told later than that of the command, behind rows.
    pub(super) fn with_cause(&self, error: Error) -> Error {
        let cause = self.channel.as_ref().and_then(|channel| channel.cause());
        Error { cause, ..error }
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
        block: Option<&Arc<Block>>,
    ) -> Result<Outcome> {
        let counts = !matches!(
            action,
            Action::Fetch { .. }
                | Action::CloseRows(_)
                | Action::UndoBegin(_)
                | Action::Serve(Service::CloseBlob(_) | Service::FinishBackup(_))
        );
        let leaves = matches!(action, Action::Leave { .. });
        let was_open = !self.handle.is_autocommit();
        let wrote = was_open && self.handle.holds_write_lock();
        self.transaction.ended = false;
        if !was_open {
            self.transaction.note_changes(self.handle.total_changes());
        }
        self.note_command(&action);
        self.attach(operation);

        let admitted = self.nest.admit(block, &action).and(self.apply(modes));
        let admitted = admitted.and_then(|()| self.notice_replacement());
        let result = admitted.and_then(|()| self.dispatch(operation, action));
        if self.handle.take_taint() && !self.handle.is_autocommit() {
            // As SQLite itself does after a write that was interrupted.
            let _ = self.run_once("ROLLBACK");
        }
        let mut result = result.map_err(|error| explain_stop(operation, error));

        let is_open = !self.handle.is_autocommit();
        let error = result.as_ref().err();
        if was_open && !is_open && !leaves {
            self.lose_blocks(error);
        }
        let began = self.transaction.settle(was_open, is_open, counts, error);
        if let Ok(outcome) = &mut result {
            outcome.began = began.filter(|_| !self.nest.has_entered());
        }
        self.detach(wrote && !self.handle.holds_write_lock());
        self.note_logs();
        result
    }

    /// The innermost of the open blocks.
    pub fn innermost(&self) -> Option<&Arc<Block>> {
        self.nest.innermost()
    }

    /// How long a statement waits for a lock.
    pub fn timeout(&self) -> Duration {
        self.wait.timeout()
    }

    /// Undoes what an operation did whose caller had gone before it ended.
    pub fn undo(&mut self) {
        if self.undo_enter() {
            return;
        }
        if let Some(serial) = self.transaction.began.take() {
            // Nobody is left to hear of an error; SQLite has rolled back if it can't do it on request.
            let _ = self.undo_begin(serial);
        }
    }

    /// Publishes what the synchronous properties show.
    pub fn publish(&self, status: &Status) {
        status.publish(
            !self.handle.is_autocommit(),
            self.handle.total_changes(),
            !self.nest.is_empty(),
        );
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
        if self.transaction.is_blocking() && self.transaction.mode == TransactionMode::Always {
            // As sqlite3: a trace and a rollback hook hear of it.
            let _ = self.run_sql("ROLLBACK");
        }
        if !status.is_hurried() && !self.transaction.is_blocking() {
            self.optimize();
        }
        self.handle.close()?;
        Ok(Outcome::default())
    }

    fn dispatch(&mut self, operation: &Shared, action: Action) -> Result<Outcome> {
        if !matches!(action, Action::Execute(_) | Action::CloseRows(_)) {
            unheard::wake_all();
        }
        match action {
            Action::Execute(execute) => self.execute(operation, &execute),
            Action::ExecuteMany {
                sql,
                feed,
                is_atomic,
            } => self.execute_many(operation, &sql, &feed, is_atomic),
            Action::ExecuteScript(script) => self.execute_script(operation, &script),
            Action::Batch(statements) => self.execute_batch(operation, &statements),
            Action::Fetch { rows, amount } => {
                self.fetch(operation, &rows, amount);
                Ok(Outcome::default())
            }
            Action::CloseRows(rows) => {
                self.close_rows(&rows);
                Ok(Outcome::default())
            }
            Action::Begin(begin) => self.begin(operation, begin),
            Action::Commit => self.commit(),
            Action::Rollback => self.rollback(),
            Action::UndoBegin(serial) => self.undo_begin(serial),
            Action::Enter(block) => self.enter(operation, &block),
            Action::Leave { block, commits } => self.leave(&block, commits),
            Action::Rekey(key) => self.rekey(key),
            Action::Serve(service) => self.serve(operation, service),
            // The worker opens and closes; a mode change was applied before.
            Action::Open | Action::UndoOpen | Action::SetMode | Action::Close => {
                Ok(Outcome::default())
            }
        }
    }

    /// Prepares the one statement in `sql`, from the cache if it is there. `None`: only comments.
    pub(super) fn prepare(&mut self, sql: &Arc<str>) -> Result<Option<StatementId>> {
        if let Some(id) = self.cache.take(sql) {
            self.note_change(id);
            return Ok(Some(id));
        }
        unheard::wake_all();
        let prepared = self.compile(sql, true)?;
        let Some(id) = prepared.id else {
            return Ok(None);
        };
        self.follow_busy_timeout(id);
        self.note_change(id);
        if !is_trivial(&sql[prepared.tail..]) {
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
    fn close_rows(&mut self, rows: &Arc<RowStream>) {
        rows.clear();
        rows.end(Ok(()));
        if let Some(reading) = self.reading.remove(&rows.id()) {
            self.give_back(&reading.sql, reading.statement);
        }
    }

    /// Runs a statement that will hardly be run again.
    pub(super) fn run_once(&mut self, sql: &str) -> Result<()> {
        let Some(id) = self.handle.prepare(sql, false)?.id else {
            return Ok(());
        };
        let stepped = self.handle.statement(id).step();
        self.handle.finalize(id);
        Ok(stepped.map(drop)?)
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
                .map_err(|error| self.noted(error).with_sql(sql));
        }
        let started = Instant::now();
        if let Some(observer) = &mut self.observer {
            observer.started(sql);
        }
        let result = work(self).map_err(|error| self.noted(error).with_sql(sql));
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

    /// Applies every change, after the end of a block that is open; the first error is the one reported.
    fn apply(&mut self, modes: &[ModeChange]) -> Result<()> {
        if !self.nest.is_empty() {
            self.nest.postpone(modes);
            return Ok(());
        }
        if !modes.is_empty() {
            // They may have to commit.
            unheard::wake_all();
        }
        let mut applied = Ok(());
        for change in modes {
            applied = applied.and(self.change_mode(*change));
        }
        applied
    }
}

pub(super) fn explain_stop(operation: &Shared, mut error: Error) -> Error {
    // An authorizer or a commit hook that was stopped says no.
    let denies = matches!(
        error.kind,
        Kind::Sqlite(sqlite::code::AUTH | sqlite::code::CONSTRAINT_COMMITHOOK)
    );
    if denies && operation.must_stop_running() && operation.dialogue().has_asked() {
        let sql = error.sql;
        error = sqlite::Error::new(sqlite::code::INTERRUPT, "interrupted").into();
        error.sql = sql;
    }
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
