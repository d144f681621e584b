//! What kind of statement an SQL text was, learnt from SQLite while it compiled the text.
//!
//! Owns the [`Recorder`] that listens to the authorizer's questions during one of our own prepares.
//! Thread: the one that uses the handle.
//! Invariant: the text itself is never looked at, so comments, `WITH` and odd spelling cannot
//! mislead it.
//! Must not know: the user's authorizer.
//!
//! SQLite may compile more than the text: connecting a virtual table for the first time prepares
//! that table's own statements (rtree its INSERTs, fts4 a PRAGMA) inside ours. The order of the
//! rules in [`Recording::kind`] sees to these.

use std::cell::{Cell, RefCell};

use libsql::ffi;

use super::callback::AuthorizerAction;

/// What a prepared statement does, as far as a connection has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// Reads only: SELECT, VALUES, WITH … SELECT.
    Select,
    /// INSERT, UPDATE, DELETE, REPLACE, with or without WITH and RETURNING.
    Dml,
    /// BEGIN in all its forms.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, but not ROLLBACK TO.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint,
    /// PRAGMA.
    Pragma,
    /// ATTACH.
    Attach,
    /// DETACH.
    Detach,
    /// VACUUM, VACUUM INTO.
    Vacuum,
    /// CREATE, DROP, ALTER, REINDEX, ANALYZE.
    Ddl,
    /// EXPLAIN or EXPLAIN QUERY PLAN of anything.
    Explain,
    /// None of these; no such statement is known.
    Other,
}

/// A set of things that the authorizer was asked about.
#[derive(Debug, Clone, Copy, Default)]
struct Events(u16);

impl Events {
    const SELECT: Self = Self(1);
    const DML: Self = Self(1 << 1);
    const DDL: Self = Self(1 << 2);
    const PRAGMA: Self = Self(1 << 3);
    const BEGIN: Self = Self(1 << 4);
    const COMMIT: Self = Self(1 << 5);
    const ROLLBACK: Self = Self(1 << 6);
    const SAVEPOINT: Self = Self(1 << 7);
    const ATTACH: Self = Self(1 << 8);
    const DETACH: Self = Self(1 << 9);
    const PRAGMA_FIRST: Self = Self(1 << 10);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The pragma of a statement.
#[derive(Debug)]
struct Pragma {
    /// Its name in lower case.
    name: Box<str>,
    has_argument: bool,
    /// What `PRAGMA busy_timeout` is set to. No other argument is kept: it may be an encryption
    /// key.
    busy_timeout: Option<Box<str>>,
}

/// What a statement does with a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavepointAction {
    Set,
    Release,
    RollBackTo,
}

/// What was heard during one prepare.
#[derive(Debug, Default)]
pub(super) struct Recording {
    events: Events,
    pragma: Option<Pragma>,
    savepoint: Option<(SavepointAction, Box<str>)>,
    is_tied: bool,
    leaves_traces: bool,
    may_write: bool,
}

impl Recording {
    /// Whether it makes, drops or changes temporary objects, or calls a function that tells about its connection.
    pub(super) const fn is_tied(&self) -> bool {
        self.is_tied
    }

    /// Whether it makes or drops temporary objects, or loads an extension.
    pub(super) const fn leaves_traces(&self) -> bool {
        self.leaves_traces
    }

    /// Whether it calls a function that writes, though it counts as a query.
    pub(super) const fn may_write(&self) -> bool {
        self.may_write
    }

    /// The name of a pragma that was given an argument.
    pub(super) fn pragma_with_argument(&self) -> Option<&str> {
        let pragma = self.pragma.as_ref().filter(|pragma| pragma.has_argument);
        pragma.map(|pragma| &*pragma.name)
    }

    pub(super) fn savepoint(&self) -> Option<(SavepointAction, &str)> {
        let (action, name) = self.savepoint.as_ref()?;
        Some((*action, name))
    }

    pub(super) fn pragma_name(&self) -> Option<&str> {
        self.pragma.as_ref().map(|pragma| &*pragma.name)
    }

    pub(super) fn is_busy_timeout(&self) -> bool {
        self.pragma_name() == Some("busy_timeout")
    }

    pub(super) fn is_wal_autocheckpoint(&self) -> bool {
        self.pragma_name() == Some("wal_autocheckpoint")
    }

    /// Whether reads go to a memory map from then on, or to another file.
    pub(super) fn brings_waits(&self) -> bool {
        self.pragma_name() == Some("mmap_size") || self.events.has(Events::ATTACH)
    }

    pub(super) fn busy_timeout_argument(&self) -> Option<&str> {
        self.pragma.as_ref()?.busy_timeout.as_deref()
    }

    /// Tells the kind of the statement that came out of the prepare.
    pub(super) fn kind(
        &self,
        is_explain: bool,
        is_readonly: bool,
        has_columns: bool,
    ) -> StatementKind {
        let events = self.events;
        let only = [
            (Events::BEGIN, StatementKind::Begin),
            (Events::COMMIT, StatementKind::Commit),
            (Events::ROLLBACK, StatementKind::Rollback),
            (Events::SAVEPOINT, StatementKind::Savepoint),
            (Events::ATTACH, StatementKind::Attach),
            (Events::DETACH, StatementKind::Detach),
            (Events::DDL, StatementKind::Ddl),
        ];
        if is_explain {
            return StatementKind::Explain;
        }
        if let Some((_, kind)) = only.into_iter().find(|(event, _)| events.has(*event)) {
            return kind;
        }
        // A pragma asks about itself before anything else. A table that asks about a pragma of its
        // own first is followed by the INSERT, UPDATE or DELETE that it was connected for.
        let is_dml = events.has(Events::DML) && !is_readonly;
        if events.has(Events::PRAGMA_FIRST) && !is_dml {
            return StatementKind::Pragma;
        }
        if is_dml {
            return StatementKind::Dml;
        }
        match (is_readonly, events.has(Events::SELECT), has_columns) {
            (true, true, _) => StatementKind::Select,
            // Of the statements that write and return nothing only VACUUM should be left here; the
            // entry makes sure. VACUUM INTO may have a SELECT in its expression.
            (false, _, false) => StatementKind::Vacuum,
            // REINDEX where there is no index.
            (true, false, false) => StatementKind::Ddl,
            _ => StatementKind::Other,
        }
    }
}

/// Listens to the authorizer's questions, but only between `start` and `finish`.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    is_on: Cell<bool>,
    events: Cell<Events>,
    pragma: RefCell<Option<Pragma>>,
    savepoint: RefCell<Option<(SavepointAction, Box<str>)>>,
    is_tied: Cell<bool>,
    leaves_traces: Cell<bool>,
    may_write: Cell<bool>,
    /// Which PRAGMAs may be compiled, for some act at that; and whether one was refused.
    allows_pragma: Cell<Option<AllowsPragma>>,
    has_refused: Cell<bool>,
}

/// Whether a PRAGMA of this name may be compiled, with an argument or without.
pub type AllowsPragma = fn(&[u8], bool) -> bool;

/// Functions that tell about the connection that they run on.
const OF_THE_CONNECTION: [&[u8]; 3] = [b"last_insert_rowid", b"changes", b"total_changes"];

/// That of full-text tables of version 3 and 4, which writes in a SELECT.
const WRITES: &[u8] = b"optimize";

impl Recorder {
    pub(super) fn guard_pragmas(&self, allows: Option<AllowsPragma>) -> bool {
        self.allows_pragma.set(allows);
        self.has_refused.replace(false)
    }

    pub(super) fn start(&self) {
        self.is_on.set(true);
        self.events.set(Events::default());
        self.pragma.replace(None);
        self.savepoint.replace(None);
        self.is_tied.set(false);
        self.leaves_traces.set(false);
        self.may_write.set(false);
    }

    pub(super) fn finish(&self) -> Recording {
        self.is_on.set(false);
        Recording {
            events: self.events.take(),
            pragma: self.pragma.take(),
            savepoint: self.savepoint.take(),
            is_tied: self.is_tied.take(),
            leaves_traces: self.leaves_traces.take(),
            may_write: self.may_write.take(),
        }
    }

    /// Takes note of one question; cheap, for there is one for every column that a statement reads. `false`: it is not
    /// to be compiled.
    pub(super) fn note(&self, asked: &AuthorizerAction<'_>) -> bool {
        if !self.is_on.get() {
            return true;
        }
        let (action, first, second) = (asked.code, asked.first, asked.second);
        if action == ffi::SQLITE_PRAGMA
            && self.events.get().0 == 0
            && let (Some(allows), Some(name)) = (self.allows_pragma.get(), first)
            && !allows(name, second.is_some())
        {
            self.has_refused.set(true);
            return false;
        }
        // What a trigger does is not what the statement says, and ALTER looks through the schema of temporary objects.
        let is_schema = || first.is_some_and(|table| table.starts_with(b"sqlite_temp_"));
        if is_change(action)
            && asked.database == Some(b"temp")
            && asked.accessor.is_none()
            && !is_schema()
        {
            self.is_tied.set(true);
        }
        self.record(action, first, second);
        true
    }

    fn record(&self, action: i32, first: Option<&[u8]>, second: Option<&[u8]>) {
        let heard = self.events.get();
        let event = match action {
            ffi::SQLITE_FUNCTION => {
                let is_tied = second.is_some_and(|name| {
                    OF_THE_CONNECTION
                        .iter()
                        .any(|of| name.eq_ignore_ascii_case(of))
                });
                self.is_tied.set(self.is_tied.get() || is_tied);
                if second.is_some_and(|name| name.eq_ignore_ascii_case(b"load_extension")) {
                    self.leaves_traces.set(true);
                }
                if second.is_some_and(|name| name.eq_ignore_ascii_case(WRITES)) {
                    self.may_write.set(true);
                }
                return;
            }
            ffi::SQLITE_READ | ffi::SQLITE_RECURSIVE => return,
            ffi::SQLITE_SELECT => Events::SELECT,
            ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => Events::DML,
            ffi::SQLITE_TRANSACTION => match first {
                Some(b"BEGIN") => Events::BEGIN,
                Some(b"COMMIT") => Events::COMMIT,
                _ => Events::ROLLBACK,
            },
            ffi::SQLITE_SAVEPOINT => {
                let action = match first {
                    Some(b"BEGIN") => SavepointAction::Set,
                    Some(b"RELEASE") => SavepointAction::Release,
                    _ => SavepointAction::RollBackTo,
                };
                let name = second.map(lossy).unwrap_or_default();
                self.savepoint
                    .replace(Some((action, name.into_boxed_str())));
                Events::SAVEPOINT
            }
            ffi::SQLITE_ATTACH => Events::ATTACH,
            ffi::SQLITE_DETACH => Events::DETACH,
            ffi::SQLITE_PRAGMA if heard.0 == 0 => {
                self.pragma.replace(first.map(|name| pragma(name, second)));
                Events::PRAGMA.with(Events::PRAGMA_FIRST)
            }
            ffi::SQLITE_PRAGMA => Events::PRAGMA,
            ffi::SQLITE_CREATE_TEMP_INDEX
            | ffi::SQLITE_CREATE_TEMP_TABLE
            | ffi::SQLITE_CREATE_TEMP_TRIGGER
            | ffi::SQLITE_CREATE_TEMP_VIEW
            | ffi::SQLITE_DROP_TEMP_INDEX
            | ffi::SQLITE_DROP_TEMP_TABLE
            | ffi::SQLITE_DROP_TEMP_TRIGGER
            | ffi::SQLITE_DROP_TEMP_VIEW => {
                self.is_tied.set(true);
                self.leaves_traces.set(true);
                Events::DDL
            }
            // What is left creates, drops, alters, reindexes or analyzes. A code that a later
            // SQLite adds lands here too, which keeps such a statement out of everything that is
            // only for plain DML.
            _ => Events::DDL,
        };
        self.events.set(heard.with(event));
    }
}

/// Whether it changes a table, or makes or drops one, in the database that is named with it.
const fn is_change(action: i32) -> bool {
    matches!(
        action,
        ffi::SQLITE_INSERT
            | ffi::SQLITE_UPDATE
            | ffi::SQLITE_DELETE
            | ffi::SQLITE_CREATE_TABLE
            | ffi::SQLITE_CREATE_VIEW
            | ffi::SQLITE_CREATE_VTABLE
            | ffi::SQLITE_DROP_VTABLE
    )
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pragma(name: &[u8], argument: Option<&[u8]>) -> Pragma {
    let name = lossy(name).to_ascii_lowercase().into_boxed_str();
    let busy_timeout = argument
        .filter(|_| &*name == "busy_timeout")
        .map(|bytes| lossy(bytes).into_boxed_str());
    Pragma {
        name,
        has_argument: argument.is_some(),
        busy_timeout,
    }
}
