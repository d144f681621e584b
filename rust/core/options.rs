//! What a connection is opened with, and the transaction mode it is in.
//!
//! Owns plain data, already checked by the caller. Must not know: Python.

use std::ffi::CString;
use std::time::Duration;

use crate::sqlite::Switch;

use super::encryption::KeySlot;
use super::pins::Pins;
use super::replaced::Replacements;

/// How to open a database.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Options {
    /// A path, `:memory:`, or a `file:` URI.
    pub filename: CString,
    pub uri: bool,
    /// Neither writes nor creates the file.
    pub read_only: bool,
    pub key: KeySlot,
    /// How long a statement waits for another connection's lock.
    pub timeout: Duration,
    pub cached_statements: usize,
    /// What stays prepared beyond those.
    pub pins: Pins,
    pub foreign_keys: bool,
    /// `PRAGMA name=value`, run in this order when the database is opened.
    pub pragmas: Vec<String>,
    /// Set before the pragmas are run.
    pub switches: Vec<(Switch, bool)>,
    pub mode: TransactionMode,
    /// The log of the main database is somebody else's to write back.
    pub keeps_log: bool,
    /// How often the file became another database.
    pub replacements: Replacements,
    /// Its callers run its commands on their own threads, and it is as forgetful as `sqlite3`: a transaction that
    /// SQLite has rolled back is reported by the error of that statement only.
    pub is_blocking: bool,
    /// Steps of SQLite's virtual machine that a query may take on the thread that waits for it; 0: none runs there.
    pub inline_budget: u32,
}

impl Options {
    /// Those of a handle that several connections share, each of which brings what it wants done when it is opened.
    #[must_use]
    pub fn for_sharing(&self) -> Self {
        Self {
            foreign_keys: false,
            pragmas: Vec::new(),
            switches: Vec::new(),
            mode: TransactionMode::Autocommit { manual_end: true },
            ..self.clone()
        }
    }
}

/// When BEGIN and COMMIT run by themselves; the semantics of the stdlib's `sqlite3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionMode {
    /// `autocommit=True`, or legacy with `isolation_level=None`: SQLite's own mode. `manual_end` tells them
    /// apart: legacy's `commit()` and `rollback()` end a transaction that was begun by hand, `autocommit=True`'s do not.
    Autocommit { manual_end: bool },
    /// Legacy with an isolation level: BEGIN before INSERT, UPDATE, DELETE and REPLACE.
    Implicit(Begin),
    /// `autocommit=False`, PEP 249: a transaction is always open.
    Always,
}

impl TransactionMode {
    /// Whether `commit()` and `rollback()` end a transaction.
    pub fn ends_by_method(self) -> bool {
        self != Self::Autocommit { manual_end: false }
    }

    /// Whether a script is run after a commit.
    pub const fn commits_before_scripts(self) -> bool {
        matches!(
            self,
            Self::Implicit(_) | Self::Autocommit { manual_end: true }
        )
    }
}

/// An assignment to `isolation_level` or `autocommit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    pub mode: TransactionMode,
    pub effect: ModeEffect,
}

/// What `sqlite3` runs at such an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeEffect {
    Nothing,
    /// COMMIT, if a transaction is open.
    Commit,
    /// BEGIN, if none is.
    Begin,
}

/// The kinds of BEGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    Plain,
    /// What `sqlite3` writes where `isolation_level` is an empty string.
    Implicit,
    Deferred,
    Immediate,
    Exclusive,
}

impl Begin {
    /// The statement.
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Plain => "BEGIN",
            Self::Implicit => "BEGIN ",
            Self::Deferred => "BEGIN DEFERRED",
            Self::Immediate => "BEGIN IMMEDIATE",
            Self::Exclusive => "BEGIN EXCLUSIVE",
        }
    }
}
