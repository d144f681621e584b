//! A handle of a pool, as its worker sees it.
//!
//! Owns no state; these are the methods of sessions that belong to a pool.
//! Thread: the session's worker.
//! Invariant: what a borrower left is gone before the next command of the pool.
//! Must not know: Python.

use std::sync::Arc;

use super::super::error::{Error, Result};
use super::super::options::{ModeChange, ModeEffect, TransactionMode};
use super::super::session::Session;
use super::routes::Route;

/// The mode of a handle that nobody has: each statement is a transaction.
pub(super) const UNLENT: TransactionMode = TransactionMode::Autocommit { manual_end: false };

impl Session {
    /// Whether nothing holds it: no cursor that reads, no transaction, nobody to whom it is lent.
    pub(in super::super) fn is_free(&self) -> bool {
        !self.is_lent
            && self.reading.is_empty()
            && self.blobs.is_empty()
            && self.nest.is_empty()
            && self.handle.is_autocommit()
    }

    /// Lends it, in a transaction mode.
    pub(in super::super) fn acquire(&mut self, mode: TransactionMode) -> Result<()> {
        self.is_lent = true;
        let effect = if mode == TransactionMode::Always {
            ModeEffect::Begin
        } else {
            ModeEffect::Nothing
        };
        let changed = self.change_mode(ModeChange { mode, effect });
        if changed.is_err() {
            self.is_lent = false;
        }
        changed
    }

    /// Takes it back, without a transaction, cursors that read, or open BLOBs.
    pub(in super::super) fn release(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_lent) {
            return Ok(());
        }
        for (_, reading) in std::mem::take(&mut self.reading) {
            let released = Error::programming("the connection was given back to its pool");
            reading.rows.end(Err(released));
            self.give_back(&reading.sql, reading.statement);
        }
        let closed = self.close_blobs();
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
        if acquires || may_leave_rows && !self.is_lent {
            self.is_lent = true;
            // Nobody is left to hear of an error.
            let _ = self.release();
        }
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
