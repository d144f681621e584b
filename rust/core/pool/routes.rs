//! Routes: which of a pool's handles a statement goes to.
//!
//! Owns what was learnt about SQL texts from their prepared statements, least recently used out first. A text that is not
//! known goes to a reader, which prepares it and does not run what is not for it.
//! Invariant: a route is never guessed from the text.
//! Must not know: Python, how statements are run.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::sqlite::{Statement, StatementKind};

use super::super::command::Command;
use super::super::error::Error;

/// Texts that are remembered.
const KNOWN: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Where a statement belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It only reads.
    Reader,
    /// It writes, and can be committed together with others.
    Group,
    /// It writes, and is run alone.
    Writer,
    /// It depends on one connection, or would end or begin what others are in. Why.
    Refused(&'static str),
}

/// PRAGMAs that ask about the database and change nothing, with or without an argument.
pub const QUESTIONS: [&str; 14] = [
    "table_info",
    "table_xinfo",
    "table_list",
    "index_info",
    "index_xinfo",
    "index_list",
    "foreign_key_list",
    "foreign_key_check",
    "integrity_check",
    "quick_check",
    "compile_options",
    "function_list",
    "module_list",
    "pragma_list",
];

/// The same, but with an argument they change it, or act on one connection.
const QUESTIONS_ALONE: [&str; 3] = ["encoding", "freelist_count", "journal_mode"];

/// PRAGMAs that act on the file, so that the writer can run them for everybody.
const OF_THE_FILE: [&str; 9] = [
    "user_version",
    "application_id",
    "schema_version",
    "wal_checkpoint",
    "optimize",
    "incremental_vacuum",
    "auto_vacuum",
    "page_size",
    "page_count",
];

/// What only one connection would notice.
const ON_ONE: &str = "it acts on one connection: use pool.write(), or init= for every connection";

impl Route {
    /// Of a PRAGMA that is about one connection.
    pub const OF_ONE_CONNECTION: Self = Self::Refused(ON_ONE);

    /// Whether a PRAGMA is about the database.
    pub fn allows_pragma(name: &[u8], has_argument: bool) -> bool {
        let alone: &[&str] = if has_argument { &[] } else { &QUESTIONS_ALONE };
        let mut known = QUESTIONS.iter().chain(&OF_THE_FILE).chain(alone);
        known.any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a statement changes the connection on which it is run, for what comes after it.
    pub fn changes_connection(statement: &Statement<'_>) -> bool {
        let pragma = statement.pragma_with_argument();
        pragma.is_some_and(|name| !Self::allows_pragma(name.as_bytes(), true))
            || statement.leaves_traces()
            || matches!(
                statement.kind(),
                StatementKind::Attach | StatementKind::Detach
            )
    }

    /// Where a prepared statement belongs.
    pub fn of(statement: &Statement<'_>) -> Self {
        let pragma = statement.pragma();
        Self::of_kind(statement.kind(), statement.is_tied(), pragma)
    }

    /// Where a statement of a kind belongs. `is_tied`: it asks about one connection, or makes what belongs to it.
    /// `pragma`: its name, if it is one that is `allowed`.
    pub fn of_kind(kind: StatementKind, is_tied: bool, pragma: Option<&str>) -> Self {
        const IN_TRANSACTION: &str =
            "a transaction needs a connection of its own: use pool.transaction() or pool.write()";
        if is_tied {
            return Self::Refused(
                "it asks about, or makes, what belongs to one connection: use pool.write()",
            );
        }
        match kind {
            StatementKind::Select | StatementKind::Explain => Self::Reader,
            StatementKind::Dml => Self::Group,
            StatementKind::Ddl | StatementKind::Vacuum => Self::Writer,
            StatementKind::Pragma => match pragma {
                // One of the others with an argument is not compiled.
                Some(name) if QUESTIONS.contains(&name) || QUESTIONS_ALONE.contains(&name) => {
                    Self::Reader
                }
                Some(name) if OF_THE_FILE.contains(&name) => Self::Writer,
                _ => Self::Refused(ON_ONE),
            },
            StatementKind::Begin
            | StatementKind::Commit
            | StatementKind::Rollback
            | StatementKind::Savepoint => Self::Refused(IN_TRANSACTION),
            StatementKind::Attach | StatementKind::Detach | StatementKind::Other => {
                Self::Refused(ON_ONE)
            }
        }
    }

    /// The same for a command: callbacks run in the context of one caller, so a write that may call some is run alone.
    pub(super) const fn with(self, command: &Command) -> Self {
        match self {
            Self::Group if command.surroundings.is_some() => Self::Writer,
            route => route,
        }
    }

    /// The error of a statement that a pool can't run.
    pub fn refusal(why: &str) -> Error {
        Error::programming(format!("a pool can't execute this statement: {why}"))
    }
}

/// The routes of SQL texts.
#[derive(Debug)]
pub(super) struct Routes(Mutex<LruCache<Arc<str>, Route>>);

impl Default for Routes {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KNOWN)))
    }
}

impl Routes {
    pub fn get(&self, sql: &str) -> Option<Route> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(sql).copied()
    }

    pub fn learn(&self, sql: Arc<str>, route: Route) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(sql, route);
    }
}
