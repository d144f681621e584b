//! Running statements: execute, executemany, executescript, fetch.
//!
//! Owns no state; these are the session's methods that step statements.
//! Invariant: a statement is either given back to the cache, or read by exactly one row stream.
//! Must not know: Python.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sqlite::{self, StatementId, StatementKind};

use super::batch::RowBatch;
use super::binding::wrong_count;
use super::command::{Amount, Bindings, Execute, Outcome, Shared};
use super::error::{Error, Result};
use super::feed::{ParameterFeed, Parameters};
use super::operation::Stop;
use super::options::{Begin, TransactionMode};
use super::quick;
use super::rows::RowStream;
use super::session::{Reading, Session, explain_stop};
use super::unheard;

/// Rows that a batch has room for at first.
const FIRST_ALLOCATION: usize = 64;
/// A query that took less than this the last time is taken for quick: it is marked.
const QUICK: Duration = Duration::from_micros(30);
/// Rows in a batch, at most.
const BATCH_ROWS: usize = 512;
/// Bytes of text and blobs in a batch, about.
const BATCH_BYTES: usize = 256 * 1024;
/// Reading ahead stops after this time, so that a slow query shows its first rows.
const READ_AHEAD: Duration = Duration::from_millis(1);

const SAVEPOINT: &str = "SAVEPOINT aiolibsql_executemany";
const RELEASE: &str = "RELEASE aiolibsql_executemany";
const ROLLBACK_TO: &str = "ROLLBACK TO aiolibsql_executemany";

/// How a step of reading ended.
struct Read {
    done: bool,
    rows: usize,
}

impl Session {
    pub(super) fn execute(&mut self, operation: &Shared, execute: &Execute) -> Result<Outcome> {
        let Execute {
            sql,
            parameters,
            rows,
            ..
        } = execute;
        let _timing = rows.timing();
        self.was_quick = false;
        let prepared = self.prepare(sql).map_err(|error| error.with_sql(sql));
        match prepared {
            Ok(Some(id)) if self.handle.statement(id).is_marked() => unheard::wake_if_many(),
            _ => unheard::wake_all(),
        }
        if !self.is_rollback_of_lost(prepared.as_ref())
            && let Err(lost) = self.check_transaction()
        {
            self.give_back_prepared(sql, &prepared);
            return Err(lost);
        }
        let Some(id) = prepared? else {
            rows.end(Ok(()));
            let given = parameters.rows.width();
            if parameters.names.is_none() && given > 0 {
                return Err(wrong_count(0, given));
            }
            return Ok(Outcome::default());
        };
        if self.transaction.is_lost() {
            self.give_back(sql, id);
            return self.rollback();
        }
        if let Err(refused) = self.admit_statement(id) {
            self.give_back(sql, id);
            return Err(refused.with_sql(sql));
        }
        let executed = self.observed(sql, |session| {
            session.with_fresh_snapshot(operation, |session, again| {
                if again {
                    session.handle.statement(id).reset();
                }
                session.start(id, parameters)?;
                session.first_rows(operation, id, execute)
            })
        });
        if executed.is_err() {
            rows.clear();
            rows.end(Ok(()));
            self.give_back(sql, id);
        }
        executed
    }

    /// Reads more rows into a stream. An error becomes the stream's end, behind the rows before it.
    pub(super) fn fetch(&mut self, operation: &Shared, rows: &Arc<RowStream>, amount: Amount) {
        let Some(reading) = self.reading.remove(&rows.id()) else {
            rows.end(Ok(()));
            return;
        };
        let _timing = rows.timing();
        let sql = Arc::clone(&reading.sql);
        let read = self.observed(&sql, |session| {
            let read = session.read(operation, reading.statement, rows, amount, false)?;
            Ok((read.done, read.rows))
        });
        match read {
            Ok(false) => {
                self.reading.insert(rows.id(), reading);
            }
            Ok(true) => {
                self.give_back(&sql, reading.statement);
                rows.end(Ok(()));
            }
            Err(error) => {
                self.give_back(&sql, reading.statement);
                let timed_out = operation.stop() == Some(Stop::TimedOut);
                let error = if timed_out {
                    explain_stop(operation, error)
                } else {
                    error
                };
                rows.end(Err(self.with_cause(error)));
            }
        }
    }

    pub(super) fn execute_many(
        &mut self,
        operation: &Shared,
        sql: &Arc<str>,
        feed: &ParameterFeed,
        is_atomic: bool,
    ) -> Result<Outcome> {
        let prepared = self.prepare(sql).map_err(|error| error.with_sql(sql));
        if let Err(lost) = self.check_transaction() {
            self.give_back_prepared(sql, &prepared);
            return Err(lost);
        }
        let Some(id) = prepared? else {
            return Ok(Outcome {
                rowcount: Some(0),
                ..Outcome::default()
            });
        };
        if self.handle.statement(id).kind() != StatementKind::Dml {
            self.give_back(sql, id);
            return Err(Error::programming(
                "executemany() can only execute DML statements.",
            ));
        }
        if let Err(refused) = self.admit_statement(id) {
            self.give_back(sql, id);
            return Err(refused.with_sql(sql));
        }
        let changed = self.observed(sql, |session| {
            let changed = if is_atomic {
                session.atomically(operation, |session| session.run_rows(operation, id, feed))?
            } else {
                session.begin_implicitly(id)?;
                session.run_rows(operation, id, feed)?
            };
            Ok((changed, 0))
        });
        self.give_back(sql, id);
        Ok(Outcome {
            rowcount: Some(changed?),
            ..Outcome::default()
        })
    }

    pub(super) fn execute_script(
        &mut self,
        operation: &Shared,
        script: &Arc<str>,
    ) -> Result<Outcome> {
        self.check_transaction()?;
        if self.transaction.mode.commits_before_scripts() {
            self.commit()?;
        }
        // SQLite copies a text that does not end with NUL, for each of its statements.
        let script = format!("{script}\0");
        let mut rest = script.as_str();
        while rest.len() > 1 && operation.stop().is_none() {
            let prepared = self
                .compile(rest, false)
                .map_err(|error| error.with_sql(&Arc::from(rest.trim_end_matches('\0'))))?;
            let sql: Arc<str> = Arc::from(rest[..prepared.tail].trim_end_matches('\0'));
            rest = if prepared.tail == 0 {
                ""
            } else {
                &rest[prepared.tail..]
            };
            let Some(id) = prepared.id else { continue };
            let ran = self.observed(&sql, |session| {
                session.with_fresh_snapshot(operation, |session, again| {
                    let mut statement = session.handle.statement(id);
                    if again {
                        statement.reset();
                    }
                    while statement.step()? {}
                    Ok(((), 0))
                })
            });
            self.note_end(id, ran.is_ok());
            self.follow_busy_timeout(id);
            self.note_change(id);
            self.handle.finalize(id);
            ran?;
            self.maintain_overdue();
        }
        match operation.stop() {
            Some(_) => Err(interrupted()),
            None => Ok(Outcome::default()),
        }
    }

    /// Begins the implicit transaction, binds, and leaves the statement ready to step.
    fn start(&mut self, id: StatementId, parameters: &Bindings) -> Result<()> {
        // As sqlite3: the transaction is begun before the parameters are looked at.
        self.begin_implicitly(id)?;
        let places = self.places_of(id, parameters)?;
        self.bind(id, parameters, 0, places.as_deref())
    }

    fn begin_implicitly(&mut self, id: StatementId) -> Result<()> {
        if let TransactionMode::Implicit(begin) = self.transaction.mode
            && self.handle.is_autocommit()
            && self.handle.statement(id).kind() == StatementKind::Dml
        {
            self.run_sql(begin.sql())?;
        }
        Ok(())
    }

    fn first_rows(
        &mut self,
        operation: &Shared,
        id: StatementId,
        execute: &Execute,
    ) -> Result<(Outcome, usize)> {
        let Execute {
            sql,
            rows,
            amount,
            wants_decltypes,
            ..
        } = execute;
        let (amount, wants_decltypes) = (*amount, *wants_decltypes);
        let is_dml = self.handle.statement(id).kind() == StatementKind::Dml;
        // A write with RETURNING runs to its end now: its lock must not depend on who reads the rows when.
        let amount = if is_dml { Amount::All } else { amount };
        let read = self.read(operation, id, rows, amount, true);
        let read = match read {
            Ok(read) => read,
            // Rows came before the error, and SQLite's users see them first.
            Err(error) if rows.is_ready() && !is_dml && operation.stop().is_none() => {
                let outcome = self.outcome(id, None, wants_decltypes);
                self.give_back(sql, id);
                rows.end(Err(self.with_cause(error).with_sql(sql)));
                return Ok((outcome, 0));
            }
            Err(error) => return Err(error),
        };
        self.answer_pragma(id, rows)?;
        let rowcount = (is_dml && read.done).then(|| self.handle.changes());
        let outcome = self.outcome(id, rowcount, wants_decltypes);
        if read.done || matches!(amount, Amount::Only(_)) {
            self.note_end(id, true);
            self.give_back(sql, id);
            rows.end(Ok(()));
        } else {
            let reading = Reading {
                statement: id,
                sql: Arc::clone(sql),
                rows: Arc::clone(rows),
                guest: self.company.current,
            };
            self.reading.insert(rows.id(), reading);
        }
        Ok((outcome, read.rows))
    }

    fn outcome(
        &mut self,
        id: StatementId,
        rowcount: Option<i64>,
        wants_decltypes: bool,
    ) -> Outcome {
        let lastrowid = Some(self.handle.last_insert_rowid());
        let statement = self.handle.statement(id);
        let count = statement.column_count();
        let columns = (count > 0).then(|| statement.column_names());
        let decltypes = (count > 0 && wants_decltypes).then(|| statement.column_decltypes());
        Outcome {
            columns,
            decltypes,
            rowcount,
            lastrowid,
            ..Outcome::default()
        }
    }

    /// COMMIT, ROLLBACK and the RELEASE of an outermost savepoint end the transaction on request, like the methods.
    fn note_end(&mut self, id: StatementId, succeeded: bool) {
        let ends = matches!(
            self.handle.statement(id).kind(),
            StatementKind::Commit | StatementKind::Rollback | StatementKind::Savepoint
        );
        if succeeded && ends && self.handle.is_autocommit() {
            self.transaction.ended = true;
        }
    }

    /// Steps a statement and stores its rows. With the `first` ones the caller waits for the reply anyway.
    fn read(
        &mut self,
        operation: &Shared,
        id: StatementId,
        rows: &RowStream,
        amount: Amount,
        first: bool,
    ) -> Result<Read> {
        // A blocking caller waits for no more than the row that it asks for, as far as that can be.
        let is_blocking = self.transaction.is_blocking();
        let mut statement = self.handle.statement(id);
        let steps_before = statement.steps();
        let mut started = (!is_blocking).then(Instant::now);
        let wanted = match amount {
            Amount::Ahead(count) | Amount::Exactly(count) | Amount::Only(count) => count.max(1),
            Amount::All => usize::MAX,
        };
        let mut batch: Option<RowBatch> = None;
        // What the next batch will need: as much as the last one.
        let mut room = (wanted.min(FIRST_ALLOCATION), 0);
        let mut read = 0_usize;
        let mut bytes = 0;
        let mut is_last = false;
        let ended = loop {
            match statement.step() {
                Ok(true) => {}
                Ok(false) => break Ok(true),
                Err(error) => break Err(error.into()),
            }
            let width = statement.column_count();
            let current = batch.get_or_insert_with(|| RowBatch::with_room(width, room));
            let stored = (0..width).try_for_each(|i| current.push(statement.column(i)?));
            if let Err(error) = stored {
                current.discard_unfinished();
                break Err(error);
            }
            current.finish_row();
            read += 1;
            if read == 1 && !first {
                current.make_room(wanted.min(BATCH_ROWS), BATCH_BYTES);
            }
            if current.len() >= BATCH_ROWS || current.byte_len() >= BATCH_BYTES {
                bytes += current.byte_len();
                room = (current.len(), current.byte_len());
                if let Some(batch) = batch.take() {
                    rows.push(batch);
                }
                if !first {
                    operation.progress();
                }
            }
            if is_last {
                break Ok(false);
            }
            // The first few are too quick for a look at the clock.
            let looks = read >= 4 && read.is_power_of_two()
                || read.is_multiple_of(64)
                || is_blocking && first && read > 1;
            let is_enough = read >= wanted
                || matches!(amount, Amount::Ahead(_))
                    && (bytes >= BATCH_BYTES
                        || looks
                            && started.get_or_insert_with(Instant::now).elapsed() > READ_AHEAD);
            if is_enough && matches!(amount, Amount::Only(_)) {
                break Ok(false);
            }
            // One more step, as sqlite3 does: after its last row a statement is at its end and holds no lock.
            is_last = is_enough;
        };
        if let Some(batch) = batch {
            rows.push(batch);
        }
        let steps = statement.steps().wrapping_sub(steps_before);
        let time = started.map(|started| started.elapsed());
        let is_quick = matches!(ended, Ok(true))
            && if is_blocking {
                first && quick::is_quick(&statement, steps, read)
            } else {
                let is_select = statement.kind() == StatementKind::Select;
                is_select && time.is_some_and(|time| time < QUICK)
            };
        statement.mark(is_quick);
        let has_ended = ended.as_ref().is_ok_and(|done| *done) || matches!(amount, Amount::Only(_));
        let is_whole = first && ended.is_ok() && has_ended;
        self.inline.learn(&statement, is_whole, (steps, read, time));
        self.was_quick = is_quick;
        ended.map(|done| Read { done, rows: read })
    }

    /// Runs `work` so that an error or a cancellation leaves nothing of it.
    fn atomically<T>(
        &mut self,
        operation: &Shared,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if self.handle.is_autocommit() {
            let (begin, keep) = match self.transaction.mode {
                TransactionMode::Implicit(begin) => (begin, true),
                TransactionMode::Autocommit { .. } | TransactionMode::Always => {
                    (Begin::Plain, false)
                }
            };
            // The first row must not be the one that finds out about cursors in the way.
            let begin = if self.reading.is_empty() {
                begin
            } else {
                Begin::Immediate
            };
            self.with_fresh_snapshot(operation, |session, _| session.run_sql(begin.sql()))?;
            let result = work(self).and_then(|value| {
                if !keep {
                    self.run_sql("COMMIT")?;
                }
                Ok(value)
            });
            if result.is_err() && !self.handle.is_autocommit() {
                self.run_sql("ROLLBACK")?;
            }
            return result;
        }
        self.run_sql(SAVEPOINT)?;
        let result = work(self);
        if !self.handle.is_autocommit() {
            if result.is_err() {
                self.run_sql(ROLLBACK_TO)?;
            }
            self.run_sql(RELEASE)?;
        }
        result
    }

    fn run_rows(
        &mut self,
        operation: &Shared,
        id: StatementId,
        feed: &ParameterFeed,
    ) -> Result<i64> {
        let mut changed = 0;
        loop {
            let batch = match feed.take(|| operation.must_stop_running(), || operation.progress()) {
                Parameters::Batch(batch) => batch,
                Parameters::End => return Ok(changed),
                Parameters::Failed => return Err(interrupted()),
            };
            let places = self.places_of(id, &batch)?;
            for row in 0..batch.rows.len() {
                if operation.must_stop_running() {
                    return Err(interrupted());
                }
                self.bind(id, &batch, row, places.as_deref())?;
                let mut statement = self.handle.statement(id);
                while statement.step()? {}
                statement.reset();
                changed += self.handle.changes();
            }
        }
    }

    fn give_back_prepared(&mut self, sql: &Arc<str>, prepared: &Result<Option<StatementId>>) {
        if let Ok(Some(id)) = *prepared {
            self.give_back(sql, id);
        }
    }

    fn is_rollback_of_lost(
        &mut self,
        prepared: std::result::Result<&Option<StatementId>, &Error>,
    ) -> bool {
        match prepared {
            Ok(Some(id)) if self.transaction.is_lost() => {
                let id = *id;
                self.handle.statement(id).kind() == StatementKind::Rollback
            }
            _ => false,
        }
    }
}

fn interrupted() -> Error {
    sqlite::Error::new(sqlite::code::INTERRUPT, "interrupted").into()
}
