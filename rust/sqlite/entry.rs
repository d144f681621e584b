//! A statement in the slab of its handle.
//!
//! Owns the `sqlite3_stmt` pointer and what was learnt when it was compiled.
//! Thread: the one that uses the handle.
//! Invariant: the statement exists as long as its entry, and no entry outlives its connection.
//! Must not know: who borrows it.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libsql::ffi;

use super::kind::{Recording, StatementKind};

/// Owns one statement; dropping it finalizes the statement.
pub(super) struct Entry {
    raw: NonNull<ffi::sqlite3_stmt>,
    serial: u32,
    kind: StatementKind,
    recording: Recording,
    pub(super) is_marked: Cell<bool>,
    pub(super) is_brief: Cell<bool>,
    columns: Cell<Option<Columns>>,
}

/// What was read of a statement's columns and tables, and how often it had been compiled again by then.
#[derive(Default)]
struct Columns {
    compiled: c_int,
    has_virtual_tables: Option<bool>,
    names: Option<Arc<[Box<str>]>>,
    decltypes: Option<Arc<[Option<Box<str>>]>>,
}

impl Entry {
    /// # Safety
    ///
    /// `raw` is a fresh statement that nobody else finalizes, and the entry is dropped before its
    /// connection is closed.
    pub(super) unsafe fn new(
        raw: NonNull<ffi::sqlite3_stmt>,
        serial: u32,
        recording: Recording,
    ) -> Self {
        // SAFETY: the statement exists.
        let explain = unsafe { ffi::sqlite3_stmt_isexplain(raw.as_ptr()) };
        // SAFETY: the statement exists.
        let readonly = unsafe { ffi::sqlite3_stmt_readonly(raw.as_ptr()) };
        // SAFETY: the statement exists.
        let columns = unsafe { ffi::sqlite3_column_count(raw.as_ptr()) };
        let kind = recording.kind(explain != 0, readonly != 0, columns != 0);
        let mut entry = Self {
            raw,
            serial,
            kind,
            recording,
            is_marked: Cell::new(false),
            is_brief: Cell::new(false),
            columns: Cell::new(None),
        };
        // VACUUM asks the authorizer nothing, and so do a few that find nothing to do, such as DROP … IF EXISTS. In doubt it
        // is a VACUUM, of which more care is taken.
        if kind == StatementKind::Vacuum && !entry.has_instruction(|name| name == b"Vacuum") {
            entry.kind = StatementKind::Ddl;
        }
        entry
    }

    pub(super) fn raw(&self) -> NonNull<ffi::sqlite3_stmt> {
        self.raw
    }

    pub(super) fn serial(&self) -> u32 {
        self.serial
    }

    pub(super) fn kind(&self) -> StatementKind {
        self.kind
    }

    pub(super) fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The names of the columns; `read` reads them, once for each time that the statement is compiled.
    pub(super) fn columns(&self, read: impl FnOnce() -> Arc<[Box<str>]>) -> Arc<[Box<str>]> {
        let mut known = self.known_columns();
        let names = Arc::clone(known.names.get_or_insert_with(read));
        self.columns.set(Some(known));
        names
    }

    /// Their declared types, likewise.
    pub(super) fn decltypes(
        &self,
        read: impl FnOnce() -> Arc<[Option<Box<str>>]>,
    ) -> Arc<[Option<Box<str>>]> {
        let mut known = self.known_columns();
        let decltypes = Arc::clone(known.decltypes.get_or_insert_with(read));
        self.columns.set(Some(known));
        decltypes
    }

    /// Whether it asks virtual tables, which do in one step whatever they like.
    pub(super) fn has_virtual_tables(&self) -> bool {
        let mut known = self.known_columns();
        let has = *known
            .has_virtual_tables
            .get_or_insert_with(|| self.has_instruction(|name| name == b"VOpen"));
        self.columns.set(Some(known));
        has
    }

    /// Takes out what was read since the statement was last compiled.
    fn known_columns(&self) -> Columns {
        let which = ffi::SQLITE_STMTSTATUS_REPREPARE;
        // SAFETY: the statement exists as long as the entry.
        let compiled = unsafe { ffi::sqlite3_stmt_status(self.raw.as_ptr(), which, 0) };
        let known = self.columns.take();
        let known = known.filter(|known| known.compiled == compiled);
        known.unwrap_or_else(|| Columns {
            compiled,
            ..Columns::default()
        })
    }

    pub(super) fn is_busy(&self) -> bool {
        // SAFETY: the statement exists as long as the entry.
        unsafe { ffi::sqlite3_stmt_busy(self.raw.as_ptr()) != 0 }
    }

    /// Looks for an instruction in the program of the statement, of which a second copy is made for that. In doubt it has it.
    fn has_instruction(&self, is_it: impl Fn(&[u8]) -> bool) -> bool {
        // SAFETY: the statement exists.
        let db = unsafe { ffi::sqlite3_db_handle(self.raw.as_ptr()) };
        // SAFETY: the statement exists.
        let sql = unsafe { ffi::sqlite3_sql(self.raw.as_ptr()) };
        let mut copy = ptr::null_mut();
        // SAFETY: the text ends with NUL, its end is not asked for, and SQLite copies it.
        unsafe { ffi::sqlite3_prepare_v2(db, sql, -1, &raw mut copy, ptr::null_mut()) };
        // SAFETY: null is refused with an error.
        let rc = unsafe { ffi::sqlite3_stmt_explain(copy, 1) };
        // As long as it is not known to explain itself it must not be stepped: it would be
        // executed.
        // SAFETY: null is refused with a zero.
        let explains = rc == ffi::SQLITE_OK && unsafe { ffi::sqlite3_stmt_isexplain(copy) } == 1;
        let mut found = !explains;
        // SAFETY: `explains` is true only for a statement that exists.
        while explains && unsafe { ffi::sqlite3_step(copy) } == ffi::SQLITE_ROW {
            // SAFETY: as above; column 1 is the name of the instruction.
            let opcode = unsafe { ffi::sqlite3_column_text(copy, 1) };
            // SAFETY: null, or ends with NUL and lives until the next step.
            found |=
                !opcode.is_null() && is_it(unsafe { CStr::from_ptr(opcode.cast()) }.to_bytes());
        }
        // SAFETY: made above, not used after this; null is ignored.
        unsafe { ffi::sqlite3_finalize(copy) };
        found
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: `new` took it over. The result only repeats the error of the last step.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// The text of a statement with its values; `None` when it is longer than the handle's limit, or
/// memory ran out.
///
/// # Safety
///
/// The statement exists.
pub(super) unsafe fn expanded_sql(raw: NonNull<ffi::sqlite3_stmt>) -> Option<Vec<u8>> {
    // SAFETY: the caller's promise.
    let text = NonNull::new(unsafe { ffi::sqlite3_expanded_sql(raw.as_ptr()) })?;
    // SAFETY: ends with NUL and is ours.
    let bytes = unsafe { CStr::from_ptr(text.as_ptr()) }.to_bytes().to_vec();
    // SAFETY: SQLite allocated it for us, and this is its last use.
    unsafe { ffi::sqlite3_free(text.as_ptr().cast()) };
    Some(bytes)
}
