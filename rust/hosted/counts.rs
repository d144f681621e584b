//! Counts: what a connection's statements have changed, which no server counts for it.
//!
//! Owns `total_changes` and the last inserted rowid. A stream that was opened anew does not know of the one before it.
//! Thread: the network runtime's, also of statements whose session has gone on without them.
//! Must not know: streams.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::core::{Execute, Outcome};
use crate::remote::{Column, StatementResult};

use super::statement::Statement;

/// What was changed.
#[derive(Debug, Default)]
pub struct Counts {
    changes: AtomicI64,
    rowid: AtomicI64,
}

impl Counts {
    pub fn changes(&self) -> i64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Notes what a statement changed; how many rows.
    pub fn add(&self, result: &StatementResult) -> i64 {
        let changed = i64::try_from(result.affected_row_count).unwrap_or(i64::MAX);
        self.changes.fetch_add(changed, Ordering::Relaxed);
        if let Some(rowid) = result.last_insert_rowid.filter(|rowid| *rowid != 0) {
            self.rowid.store(rowid, Ordering::Relaxed);
        }
        changed
    }

    /// What a statement came to, whose rows are all there.
    pub fn take(
        &self,
        execute: &Execute,
        read: &Statement,
        mut result: StatementResult,
    ) -> Outcome {
        let rowcount = read.is_dml().then(|| self.add(&result));
        let outcome = self.outcome(&result.columns, rowcount, execute.wants_decltypes);
        execute.rows.push(std::mem::take(&mut result.rows));
        execute.rows.end(Ok(()));
        outcome
    }

    pub fn outcome(
        &self,
        columns: &[Column],
        rowcount: Option<i64>,
        wants_decltypes: bool,
    ) -> Outcome {
        let has_columns = !columns.is_empty();
        let name = |column: &Column| column.name.clone().unwrap_or_default().into_boxed_str();
        let decltype = |column: &Column| column.decltype.clone().map(String::into_boxed_str);
        Outcome {
            columns: has_columns.then(|| columns.iter().map(name).collect()),
            decltypes: (has_columns && wants_decltypes)
                .then(|| columns.iter().map(decltype).collect()),
            rowcount,
            lastrowid: Some(self.rowid.load(Ordering::Relaxed)),
            ..Outcome::default()
        }
    }
}
