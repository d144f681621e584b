//! Outbox: statements that go out with the next one, in one request: BEGIN, and the SAVEPOINTs of blocks.
//!
//! Owns them, and how they and the statement behind them become a batch in which each runs only if the one before it did.
//! Invariant: outside of a transaction the first of them is a BEGIN.
//! Must not know: when they are due.

use crate::core::{Begin, Level, Result};
use crate::remote::{self, Batch, BatchResult, Condition, Statement, StatementResult};

/// What goes out before the next statement.
#[derive(Debug, Default)]
pub struct Outbox(Vec<String>);

impl Outbox {
    pub fn push(&mut self, sql: impl Into<String>) {
        self.0.push(sql.into());
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes back a statement that was not sent, with all after it. `false`: it is not here.
    pub fn take_back(&mut self, sql: &str) -> bool {
        match self.0.iter().position(|own| own == sql) {
            Some(place) => {
                self.0.truncate(place);
                true
            }
            None => false,
        }
    }

    /// Begins a batch with everything that is here.
    pub fn begin_batch(&mut self) -> Chain {
        let mut chain = Chain::default();
        for sql in &self.0 {
            chain.push(Statement::new(&**sql).without_rows());
        }
        chain.waited = std::mem::take(&mut self.0);
        chain
    }

    /// Takes back everything that a batch began with, of which the server ran nothing.
    pub fn put_back(&mut self, mut waited: Vec<String>) {
        waited.append(&mut self.0);
        self.0 = waited;
    }
}

/// How several statements are one.
#[derive(Debug)]
pub struct Frame {
    pub begin: String,
    /// `None`: what it began stays open.
    pub commit: Option<String>,
    pub undo: Vec<String>,
}

impl Frame {
    /// In a transaction of their own.
    pub fn transaction() -> Self {
        Self {
            begin: "BEGIN".to_owned(),
            commit: Some("COMMIT".to_owned()),
            undo: vec!["ROLLBACK".to_owned()],
        }
    }

    /// In a transaction of their own that stays open after them.
    pub fn beginning(begin: Begin) -> Self {
        Self {
            begin: begin.sql().trim_end().to_owned(),
            commit: None,
            ..Self::transaction()
        }
    }

    /// Inside of a transaction.
    pub fn savepoint(name: &str) -> Self {
        Self::nested(|verb| format!("{verb} {name}"))
    }

    fn nested(sql: impl Fn(&str) -> String) -> Self {
        Self {
            begin: sql("SAVEPOINT"),
            commit: Some(sql("RELEASE")),
            undo: vec![sql("ROLLBACK TO"), sql("RELEASE")],
        }
    }

    /// As a block that is entered.
    pub fn of(level: &Level) -> Self {
        if level.is_transaction() {
            Self::transaction()
        } else {
            Self::nested(|verb| level.sql(verb).unwrap_or_default())
        }
    }
}

/// A batch in which each statement runs only if the one before it succeeded.
#[derive(Debug, Default)]
pub struct Chain {
    pub batch: Batch,
    /// The place of the last one that was added.
    pub last: Option<u32>,
    /// What of it was in the outbox.
    pub waited: Vec<String>,
}

impl Chain {
    /// Adds a statement; its place.
    pub fn push(&mut self, statement: Statement) -> u32 {
        let step = self.batch.push(self.last.map(Condition::ok), statement);
        self.last = Some(step);
        step
    }

    /// Adds what commits it, if this is all of it, and what undoes it if something in it has failed.
    pub fn end_with(&mut self, commit: Option<&str>, undo: &[String]) {
        if let Some(commit) = commit {
            self.push(Statement::new(commit).without_rows());
        }
        let failed = self.last.map(|last| !Condition::ok(last));
        for sql in undo {
            // After an error that rolled back there is nothing to undo.
            let has_transaction = !Condition::is_autocommit();
            let both = failed.iter().cloned().chain([has_transaction]).collect();
            let statement = Statement::new(&**sql).without_rows();
            self.batch.push(Some(Condition::all(both)), statement);
        }
    }
}

/// What the last statement of a chain came to.
///
/// # Errors
/// That of the first one that failed; `Operational` if the server says nothing of the last.
pub fn last_result(mut result: BatchResult, last: Option<u32>) -> Result<StatementResult> {
    let mut of_last = None;
    while let Some((place, step)) = result.steps.pop_first() {
        match step {
            Ok(result) if Some(place) == last => of_last = Some(result),
            Ok(_) => {}
            Err(error) => return Err(remote::Error::from(error).into()),
        }
    }
    of_last.ok_or_else(|| remote::Error::protocol("an answer is missing in a batch").into())
}
