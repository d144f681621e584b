//! Pragmas that ask SQLite for something that is ours.
//!
//! Owns no state; the answers are the session's.
//! Must not know: Python.

use std::time::Duration;

use crate::sqlite::{StatementId, ValueRef};

use super::batch::RowBatch;
use super::error::Result;
use super::maintenance;
use super::rows::RowStream;
use super::session::Session;

impl Session {
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

    /// Replaces the row of a pragma whose setting we have taken over.
    ///
    /// `PRAGMA busy_timeout` is SQLite's own and 0 while our busy handler is installed, and
    /// `PRAGMA wal_autocheckpoint` is 0 while checkpoints are ours.
    pub(super) fn answer_pragma(&mut self, id: StatementId, rows: &RowStream) -> Result<()> {
        let is_checkpoint = match self.handle.statement(id).pragma() {
            Some("busy_timeout") => false,
            Some("wal_autocheckpoint") => true,
            _ => return Ok(()),
        };
        if rows.available() == 0 || is_checkpoint && !self.handle.is_watching_wals() {
            return Ok(());
        }
        let value = if is_checkpoint {
            i64::from(maintenance::DUE)
        } else {
            i64::try_from(self.wait.timeout().as_millis()).unwrap_or(i64::MAX)
        };
        let mut answer = RowBatch::new(1, 1);
        answer.push(ValueRef::Integer(value))?;
        answer.finish_row();
        rows.clear();
        rows.push(answer);
        Ok(())
    }
}
