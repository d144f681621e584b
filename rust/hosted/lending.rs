//! Lending: what a borrower of a pool's connection gets, and leaves.
//!
//! Owns what is known of that, in the session.
//! Invariant: what a borrower left is gone before the next command of the pool. What he may have changed of the
//! connection at the server goes with the stream, and the next statement takes a new one.
//! Must not know: pools.

use crate::core::{
    Error, ModeChange, ModeEffect, Nest, Outcome, Result, Route, StatementKind, TransactionMode,
    UNLENT,
};

use super::session::Session;
use super::statement::Statement;

/// What those who share a pool have made of a session.
#[derive(Default)]
pub struct Tenure {
    /// Somebody has it.
    is_lent: bool,
    /// A borrower may have left it otherwise than a new one is.
    is_changed: bool,
}

impl Session {
    /// Whether nothing holds it: no cursor that reads, no transaction, nobody to whom it is lent.
    pub(super) fn is_free(&self) -> bool {
        !self.tenure.is_lent
            && self.readings.is_empty()
            && self.late.is_empty()
            && self.nest.is_empty()
            && !self.is_in_transaction()
    }

    /// Lends it, in a transaction mode.
    pub(super) async fn acquire(&mut self, mode: TransactionMode) -> Result<Outcome> {
        self.tenure.is_lent = true;
        let effect = if mode == TransactionMode::Always {
            ModeEffect::Begin
        } else {
            ModeEffect::Nothing
        };
        self.change_mode(ModeChange { mode, effect }).await?;
        Ok(Outcome::default())
    }

    /// Takes it back, without a transaction or cursors that read.
    pub(super) async fn release(&mut self) -> Result<Outcome> {
        if !std::mem::take(&mut self.tenure.is_lent) {
            return Ok(Outcome::default());
        }
        self.take_late();
        let open: Vec<u64> = self.readings.keys().copied().collect();
        for id in open {
            let released = Error::programming("the connection was given back to its pool");
            self.end_reading(id, released).await;
        }
        self.nest = Nest::default();
        self.transaction.mode = UNLENT;
        self.transaction.forget_loss();
        let ended = if self.is_in_transaction() {
            self.end_with("ROLLBACK").await
        } else {
            Ok(())
        };
        if std::mem::take(&mut self.tenure.is_changed) || ended.is_err() {
            self.let_go();
        }
        self.transaction.ended = true;
        ended.map(|()| Outcome::default())
    }

    /// Undoes what nobody will hear of: a loan, or a cursor.
    pub(super) async fn undo_for_pool(&mut self, acquires: bool, may_leave_rows: bool) {
        if acquires || may_leave_rows && !self.tenure.is_lent {
            self.tenure.is_lent = true;
            // Nobody is left to hear of an error.
            let _ = self.release().await;
        }
    }

    /// Notes if a statement changes what the next borrower gets.
    pub(super) fn note_change(&mut self, read: &Statement, sql: &str) {
        let changes = match read.kind {
            StatementKind::Pragma => {
                let pragma = Statement::pragma_name(sql);
                pragma.is_none_or(|(name, has_argument)| {
                    has_argument && !Route::allows_pragma(name.as_bytes(), true)
                })
            }
            StatementKind::Attach | StatementKind::Detach | StatementKind::Other => true,
            _ => false,
        };
        self.tenure.is_changed |= self.tenure.is_lent && changes;
    }
}
