//! A handle of a pool, as its worker sees it.
//!
//! Owns what borrowers have made of it, and the methods of sessions that belong to a pool.
//! Thread: the session's worker.
//! Invariant: what a borrower left is gone before the next command of the pool. What can't be undone on the handle is
//! noted, and another handle takes its place.
//! Must not know: Python.

use std::sync::Arc;

use crate::sqlite::{StatementId, code};

use super::super::error::{Error, Kind, Result};
use super::super::options::{ModeChange, ModeEffect, Options, TransactionMode};
use super::super::service::{Reply, Service};
use super::super::session::Session;
use super::membership::UNLENT;
use super::retiring::Why;
use super::routes::Route;

/// What those who share a pool have made of a handle.
#[derive(Debug, Default)]
pub(in super::super) struct Tenure {
    /// Somebody has it.
    pub(in super::super) is_lent: bool,
    /// A borrower has left it otherwise than a new one is.
    pub(super) is_changed: bool,
    /// Limits as they were before that.
    limits_before: Vec<(i32, i32)>,
    /// It met an error after which another handle may do better.
    pub(super) is_broken: bool,
}

impl Tenure {
    /// Why another handle should take its place.
    pub(super) fn fault(&self) -> Option<Why> {
        if self.is_broken {
            return Some(Why::Broken);
        }
        self.is_changed.then_some(Why::Changed)
    }
}

impl Session {
    /// Whether nothing holds it: no cursor that reads, no transaction, nobody to whom it is lent.
    pub(in super::super) fn is_free(&self) -> bool {
        !self.tenure.is_lent
            && self.reading.is_empty()
            && self.blobs.is_empty()
            && self.nest.is_empty()
            && self.handle.is_autocommit()
    }

    /// Lends it, in a transaction mode.
    pub(in super::super) fn acquire(&mut self, mode: TransactionMode) -> Result<()> {
        self.tenure.is_lent = true;
        let effect = if mode == TransactionMode::Always {
            ModeEffect::Begin
        } else {
            ModeEffect::Nothing
        };
        let changed = self.change_mode(ModeChange { mode, effect });
        if changed.is_err() {
            self.tenure.is_lent = false;
        }
        changed
    }

    /// Takes it back, without a transaction, cursors that read, or open BLOBs.
    pub(in super::super) fn release(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.tenure.is_lent) {
            return Ok(());
        }
        for (_, reading) in std::mem::take(&mut self.reading) {
            let released = Error::programming("the connection was given back to its pool");
            reading.rows.end(Err(released));
            self.give_back(&reading.sql, reading.statement);
        }
        let mut closed = self.close_blobs();
        closed = closed.and(self.end_backups_of(self.company.current));
        self.abandon_blocks();
        self.transaction.mode = UNLENT;
        self.transaction.forget_loss();
        if !self.handle.is_autocommit() {
            self.run_sql("ROLLBACK")?;
        }
        self.transaction.ended = true;
        closed
    }

    /// Undoes what nobody will hear of: a loan, or a cursor.
    pub(in super::super) fn undo_for_pool(&mut self, acquires: bool, may_leave_rows: bool) {
        if acquires || may_leave_rows && !self.tenure.is_lent {
            self.tenure.is_lent = true;
            // Nobody is left to hear of an error.
            let _ = self.release();
        }
    }

    /// A statement was compiled: notes if it changes what the next borrower gets.
    pub(in super::super) fn note_change(&mut self, id: StatementId) {
        if self.tenure.is_lent && Route::changes_connection(&self.handle.statement(id)) {
            self.tenure.is_changed = true;
        }
    }

    /// The same of what is no statement.
    pub(in super::super) fn note_service(&mut self, service: &Service) {
        let changes = matches!(
            service,
            Service::Configure(_)
                | Service::Limit { new: Some(_), .. }
                | Service::Switch { new: Some(_), .. }
                | Service::LoadExtension { .. }
                | Service::Deserialize { .. }
        );
        if !self.tenure.is_lent || !changes {
            return;
        }
        self.tenure.is_changed = true;
        if let Service::Limit {
            category,
            new: Some(_),
        } = service
            && !self
                .tenure
                .limits_before
                .iter()
                .any(|(known, _)| known == category)
            && let Ok(Reply::Number(before)) = self.limit(*category, None)
            && let Ok(before) = i32::try_from(before)
        {
            self.tenure.limits_before.push((*category, before));
        }
    }

    /// Notes an error after which another handle may do better: of the file, or of how this one sees it.
    pub(in super::super) fn noted(&mut self, error: Error) -> Error {
        let is_moved = error.kind == Kind::Sqlite(code::READONLY_DBMOVED);
        let of_the_file = [code::IOERR, code::CORRUPT, code::NOTADB];
        let is_of_the_file = error
            .primary_code()
            .is_some_and(|code| of_the_file.contains(&code));
        self.tenure.is_broken |= is_moved || is_of_the_file;
        error
    }

    /// Makes the best of a handle that can't be replaced: limits, switches and pragmas are as it was opened with.
    ///
    /// # Errors
    /// SQLite's; the rest is done all the same.
    pub(super) fn restore(&mut self, options: &Options) -> Result<()> {
        self.tenure.is_changed = false;
        for (category, before) in std::mem::take(&mut self.tenure.limits_before) {
            self.limit(category, Some(before))?;
        }
        self.wait.set_timeout(options.timeout);
        if !options.foreign_keys {
            self.run_sql("PRAGMA foreign_keys=OFF")?;
        }
        self.run_sql("PRAGMA query_only=OFF")?;
        self.set_up(options)
    }

    /// Where a statement belongs.
    ///
    /// # Errors
    /// SQLite's, of a text that it can't compile.
    pub(in super::super) fn route(&mut self, sql: &Arc<str>) -> Result<Route> {
        self.handle.guard_pragmas(Some(Route::allows_pragma));
        let prepared = self.prepare(sql);
        if self.handle.guard_pragmas(None) {
            return Ok(Route::OF_ONE_CONNECTION);
        }
        let Some(id) = prepared? else {
            return Ok(Route::Reader);
        };
        let route = Route::of(&self.handle.statement(id));
        self.give_back(sql, id);
        Ok(route)
    }
}
