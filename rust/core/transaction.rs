//! Transactions of a session: the stdlib's modes, and what SQLite or a cancellation ended behind their back.
//!
//! Owns the mode, the number of the current transaction, and the report of a lost one.
//! Invariant: a transaction that nobody ended is reported before anything else runs outside of it.
//! Must not know: Python, cursors.

use super::command::{Outcome, Shared};
use super::error::{Error, Result};
use super::options::{Begin, ModeChange, ModeEffect, TransactionMode};
use super::session::Session;

/// The transaction state of one session.
#[derive(Debug)]
pub struct Transaction {
    pub mode: TransactionMode,
    /// Set by whatever ends a transaction on request, while a command runs.
    pub ended: bool,
    /// The transaction that the last command began.
    pub began: Option<u64>,
    serial: u64,
    operations: u64,
    /// The connection's count of changes when it began.
    changes_before: i64,
    lost: Option<Error>,
    /// A lost transaction is nobody's error later on.
    forgives: bool,
}

impl Transaction {
    pub const fn new(mode: TransactionMode, forgives: bool) -> Self {
        Self {
            mode,
            ended: false,
            began: None,
            serial: 0,
            operations: 0,
            changes_before: 0,
            lost: None,
            forgives,
        }
    }

    /// Looks at what a command did to the transaction; gives the number of one that it began.
    pub fn settle(
        &mut self,
        was_open: bool,
        is_open: bool,
        counts: bool,
        error: Option<&Error>,
    ) -> Option<u64> {
        self.began = None;
        if is_open && (!was_open || self.ended) {
            self.serial += 1;
            self.operations = 0;
            if self.mode != TransactionMode::Always {
                self.began = Some(self.serial);
            }
        } else if is_open && counts {
            self.operations += 1;
        } else if was_open && !is_open && !self.ended && !self.forgives {
            let why = error.map_or("SQLite ended it", |error| error.message.as_str());
            self.lost = Some(Error::rolled_back(why));
        }
        self.began
    }

    /// A command is about to run outside of a transaction, and may begin one.
    pub const fn note_changes(&mut self, total: i64) {
        self.changes_before = total;
    }

    /// Whether something may have been changed in it.
    pub const fn is_touched(&self, total_changes: i64) -> bool {
        self.operations > 0 || total_changes != self.changes_before
    }

    /// Whether this is a blocking connection's.
    pub const fn is_blocking(&self) -> bool {
        self.forgives
    }

    /// Of the transaction that was begun last.
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether it is the one with this number, and nothing ran in it.
    pub const fn is_fresh(&self, serial: u64) -> bool {
        self.serial == serial && self.operations == 0
    }

    /// The report of a lost one, once.
    pub const fn take_loss(&mut self) -> Option<Error> {
        self.lost.take()
    }

    pub const fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    pub fn forget_loss(&mut self) {
        self.lost = None;
    }
}

impl Session {
    /// Reports a lost transaction, once; begins the one that PEP 249 mode wants.
    pub(super) fn check_transaction(&mut self) -> Result<()> {
        let lost = self.transaction.take_loss();
        self.keep_transaction_open()?;
        lost.map_or(Ok(()), Err)
    }

    pub(super) fn begin(&mut self, operation: &Shared, begin: Begin) -> Result<Outcome> {
        self.check_transaction()?;
        self.with_fresh_snapshot(operation, |session, _| session.run_sql(begin.sql()))?;
        Ok(Outcome::default())
    }

    pub(super) fn commit(&mut self) -> Result<Outcome> {
        self.check_transaction()?;
        if self.transaction.mode.ends_by_method() && !self.handle.is_autocommit() {
            self.end_with("COMMIT")?;
        }
        Ok(Outcome::default())
    }

    pub(super) fn rollback(&mut self) -> Result<Outcome> {
        self.transaction.forget_loss();
        if self.transaction.mode.ends_by_method() && !self.handle.is_autocommit() {
            self.end_with("ROLLBACK")?;
        }
        self.keep_transaction_open()?;
        Ok(Outcome::default())
    }

    pub(super) fn undo_begin(&mut self, serial: u64) -> Result<Outcome> {
        if self.transaction.is_fresh(serial) && !self.handle.is_autocommit() {
            self.end_with("ROLLBACK")?;
        }
        Ok(Outcome::default())
    }

    pub(super) fn change_mode(&mut self, change: ModeChange) -> Result<()> {
        self.transaction.mode = change.mode;
        match change.effect {
            ModeEffect::Commit if !self.handle.is_autocommit() => self.end_with("COMMIT"),
            ModeEffect::Begin => self.keep_transaction_open(),
            ModeEffect::Nothing | ModeEffect::Commit => Ok(()),
        }
    }

    /// In PEP 249 mode a transaction is always open.
    pub(super) fn keep_transaction_open(&mut self) -> Result<()> {
        if self.transaction.mode == TransactionMode::Always && self.handle.is_autocommit() {
            self.run_sql(Begin::Plain.sql())?;
        }
        Ok(())
    }

    pub(super) fn end_with(&mut self, sql: &str) -> Result<()> {
        self.run_sql(sql)?;
        self.transaction.ended = true;
        self.keep_transaction_open()
    }
}
