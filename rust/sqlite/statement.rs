//! A prepared statement, for as long as the handle is borrowed.
//!
//! Owns nothing: the pointer is the entry's, in the handle's slab.
//! Thread: the one that uses the handle.
//! Invariant: whatever is read out of a statement borrows it, and all that can invalidate it takes
//! `&mut`.
//! Must not know: caches, cursors, owned values.

use std::ffi::{CStr, c_char, c_int};
use std::sync::Arc;

use libsql::ffi;

use super::database::Database;
use super::entry::{Entry, expanded_sql};
use super::error::{Error, code};
use super::hook::Hooks;
use super::kind::{SavepointAction, StatementKind};
use super::replicas;
use super::value::{ValueRef, value_of};

/// The name of a statement within its handle; never used twice, unlike the place in the slab.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StatementId {
    pub(super) index: u32,
    pub(super) serial: u32,
}

/// A borrowed statement. Dropping it leaves the statement as it is, a row and all.
pub struct Statement<'h> {
    database: Database,
    hooks: &'h Hooks,
    entry: &'h Entry,
}

impl<'h> Statement<'h> {
    /// The handle has to be borrowed mutably for `'h`.
    pub(super) fn new(database: Database, hooks: &'h Hooks, entry: &'h Entry) -> Self {
        Self {
            database,
            hooks,
            entry,
        }
    }
}

impl Statement<'_> {
    fn raw(&self) -> *mut ffi::sqlite3_stmt {
        self.entry.raw().as_ptr()
    }

    /// Runs to the next row, which is true, or to the end, which is false. After an error the
    /// statement wants a reset.
    ///
    /// # Errors
    ///
    /// SQLite's, or `SQLITE_INTERNAL` if a callback panicked, or `SQLITE_INTERRUPT` if a collation had no answer,
    /// whatever the statement had come to.
    pub fn step(&mut self) -> Result<bool, Error> {
        let attaches = self.entry.kind() == StatementKind::Attach;
        let kept_wal = attaches && self.database.keeps_wal();
        if attaches {
            // When its key is wrong, it closes the file before we hear of it.
            self.database.keep_wal(true);
        }
        // SAFETY: the statement exists and the handle is ours alone.
        let step = || unsafe { ffi::sqlite3_step(self.raw()) };
        let rc = if attaches {
            replicas::opening(false, step)
        } else {
            step()
        };
        if attaches {
            self.database.keep_wal(kept_wal);
        }
        let result = match rc {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            _ => Err(self.database.error(rc)),
        };
        if self.touches_busy_timeout() {
            // The step may have compiled it again, and with that set the time-out again.
            self.hooks.install_busy();
        }
        if self.entry.recording().is_wal_autocheckpoint() {
            self.hooks.keep_wal_hook();
        }
        let failure = self.hooks.take_failure();
        if failure.is_some() && result.is_ok() && !self.is_readonly() {
            self.hooks.taint();
        }
        failure.map_or(result, Err)
    }

    /// Puts the statement back to its beginning. The values stay bound.
    pub fn reset(&mut self) {
        // SAFETY: the statement exists. The result only repeats the error of the last step.
        unsafe { ffi::sqlite3_reset(self.raw()) };
        // A trace callback's panic here has no step to report it, and the next one must not.
        self.hooks.take_failure();
    }

    /// Puts the statement back to its beginning, with NULL bound to all parameters.
    pub fn rewind(&mut self) {
        self.reset();
        // SAFETY: the statement exists and does not run.
        unsafe { ffi::sqlite3_clear_bindings(self.raw()) };
    }

    /// How many steps of SQLite's virtual machine it has taken; the count begins anew where it has no more room.
    pub fn steps(&self) -> u32 {
        let which = ffi::SQLITE_STMTSTATUS_VM_STEP;
        // SAFETY: the statement exists.
        unsafe { ffi::sqlite3_stmt_status(self.raw(), which, 0) }.cast_unsigned()
    }

    /// Binds NULL to all parameters, after a reset if the statement is running.
    pub fn clear_bindings(&mut self) {
        if self.is_busy() {
            // A row of `SELECT ?` points into the value bound.
            self.reset();
        }
        // SAFETY: the statement exists and does not run.
        unsafe { ffi::sqlite3_clear_bindings(self.raw()) };
    }

    /// Binds a copy of the value to a parameter, counted from 1.
    ///
    /// # Errors
    ///
    /// `SQLITE_RANGE` if there is no such parameter, `SQLITE_TOOBIG` if the value is too long,
    /// `SQLITE_MISUSE` if the statement has been stepped and not reset.
    pub fn bind(&mut self, index: usize, value: ValueRef<'_>) -> Result<(), Error> {
        let index = c_int::try_from(index)
            .map_err(|_| Error::new(code::RANGE, "column index out of range"))?;
        let raw = self.raw();
        let rc = match value {
            // SAFETY: the statement exists; SQLite checks the index.
            ValueRef::Null => unsafe { ffi::sqlite3_bind_null(raw, index) },
            // SAFETY: as above.
            ValueRef::Integer(value) => unsafe { ffi::sqlite3_bind_int64(raw, index, value) },
            // SAFETY: as above.
            ValueRef::Real(value) => unsafe { ffi::sqlite3_bind_double(raw, index, value) },
            ValueRef::Text(text) => {
                let (pointer, length) = (text.as_ptr().cast::<c_char>(), text.len() as u64);
                let encoding = ffi::SQLITE_UTF8.to_le_bytes()[0];
                // SAFETY: as above; pointer and length are one slice, and SQLite copies it.
                unsafe {
                    ffi::sqlite3_bind_text64(
                        raw,
                        index,
                        pointer,
                        length,
                        ffi::SQLITE_TRANSIENT(),
                        encoding,
                    )
                }
            }
            ValueRef::Blob(blob) => {
                // The pointer of an empty slice is not null; null would bind NULL instead of x''.
                let (pointer, length) = (blob.as_ptr().cast(), blob.len() as u64);
                // SAFETY: as above; pointer and length are one slice, and SQLite copies it.
                unsafe {
                    ffi::sqlite3_bind_blob64(raw, index, pointer, length, ffi::SQLITE_TRANSIENT())
                }
            }
        };
        if rc == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.database.error(rc))
        }
    }

    /// The highest number of a parameter.
    pub fn parameter_count(&self) -> usize {
        // SAFETY: the statement exists.
        let count = unsafe { ffi::sqlite3_bind_parameter_count(self.raw()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The name of a parameter, counted from 1, with its prefix; `None` for a plain `?` or one that
    /// is not there.
    pub fn parameter_name(&self, index: usize) -> Option<&str> {
        let index = c_int::try_from(index).ok()?;
        // SAFETY: the statement exists; SQLite checks the index.
        let name = unsafe { ffi::sqlite3_bind_parameter_name(self.raw(), index) };
        // SAFETY: null or a string that the statement keeps until it is stepped, which needs
        // `&mut`.
        unsafe { text(name) }?.to_str().ok()
    }

    /// How many columns a row has, as last compiled; a step may change it when the schema has
    /// changed.
    pub fn column_count(&self) -> usize {
        // SAFETY: the statement exists.
        let count = unsafe { ffi::sqlite3_column_count(self.raw()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The names of the columns, as last compiled.
    pub fn column_names(&self) -> Arc<[Box<str>]> {
        let name = |index| self.column_name(index).into_boxed_str();
        self.entry
            .columns(|| (0..self.column_count()).map(name).collect())
    }

    /// The declared types of the columns, as last compiled; see [`Self::column_decltype`].
    pub fn column_decltypes(&self) -> Arc<[Option<Box<str>>]> {
        let decltype = |index| self.column_decltype(index).map(String::into_boxed_str);
        self.entry
            .decltypes(|| (0..self.column_count()).map(decltype).collect())
    }

    /// Whether the caller has marked it. A new statement is not.
    pub fn is_marked(&self) -> bool {
        self.entry.is_marked.get()
    }

    /// Sets or clears the caller's mark.
    pub fn mark(&self, is_marked: bool) {
        self.entry.is_marked.set(is_marked);
    }

    /// Whether the caller knows that it may be run at once. A new statement may not.
    pub fn is_brief(&self) -> bool {
        self.entry.is_brief.get()
    }

    /// Sets or clears that.
    pub fn set_brief(&self, is_brief: bool) {
        self.entry.is_brief.set(is_brief);
    }

    /// Whether it asks virtual tables, as far as is known of what it was compiled to last.
    pub fn has_virtual_tables(&self) -> bool {
        self.hooks.untraced(|| self.entry.has_virtual_tables())
    }

    /// The name of a column, counted from 0; empty if there is no such column.
    pub fn column_name(&self, index: usize) -> String {
        let Ok(index) = c_int::try_from(index) else {
            return String::new();
        };
        // SAFETY: the statement exists; SQLite checks the index.
        let name = unsafe { ffi::sqlite3_column_name(self.raw(), index) };
        // SAFETY: null or a string that is copied before the next call.
        unsafe { text(name) }.map(lossy).unwrap_or_default()
    }

    /// The declared type of the table's column behind a column; `None` for an expression.
    pub fn column_decltype(&self, index: usize) -> Option<String> {
        let index = c_int::try_from(index).ok()?;
        // SAFETY: the statement exists; SQLite checks the index.
        let decltype = unsafe { ffi::sqlite3_column_decltype(self.raw(), index) };
        // SAFETY: null or a string that is copied before the next call.
        unsafe { text(decltype) }.map(lossy)
    }

    /// A value of the current row; NULL if there is no row or no such column.
    ///
    /// # Errors
    ///
    /// `SQLITE_NOMEM`.
    #[expect(
        clippy::inline_always,
        reason = "a value that is handed on in memory costs its reader a stall"
    )]
    #[inline(always)]
    pub fn column(&self, index: usize) -> Result<ValueRef<'_>, Error> {
        let Ok(index) = c_int::try_from(index) else {
            return Ok(ValueRef::Null);
        };
        // SAFETY: the statement exists; SQLite checks the index.
        let value = unsafe { ffi::sqlite3_column_value(self.raw(), index) };
        // SAFETY: it stays until the statement is stepped, reset or finalized, which need `&mut`. The handle is ours alone and
        // without mutexes, where SQLite makes no difference between protected and unprotected values.
        unsafe { value_of(value) }
    }

    /// Whether it writes nothing; see `sqlite3_stmt_readonly` for the finer points.
    pub fn is_readonly(&self) -> bool {
        // SAFETY: the statement exists.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw()) != 0 }
    }

    /// Whether it is an EXPLAIN or EXPLAIN QUERY PLAN.
    pub fn is_explain(&self) -> bool {
        self.entry.kind() == StatementKind::Explain
    }

    /// Whether it was stepped and neither reset nor stepped to its end.
    pub fn is_busy(&self) -> bool {
        self.entry.is_busy()
    }

    /// What kind of statement it is.
    pub fn kind(&self) -> StatementKind {
        self.entry.kind()
    }

    /// Whether it makes or drops temporary objects, or calls a function that tells about its connection.
    pub fn is_tied(&self) -> bool {
        self.entry.recording().is_tied()
    }

    /// Whether it makes or drops temporary objects, or loads an extension.
    pub fn leaves_traces(&self) -> bool {
        self.entry.recording().leaves_traces()
    }

    /// Whether it calls a function that writes, though it counts as a query.
    pub fn may_write(&self) -> bool {
        self.entry.recording().may_write()
    }

    /// The name of a pragma that was given an argument, in lower case.
    pub fn pragma_with_argument(&self) -> Option<&str> {
        self.entry.recording().pragma_with_argument()
    }

    /// Its text, without what followed it.
    pub fn sql(&self) -> &str {
        // SAFETY: the statement exists.
        let sql = unsafe { ffi::sqlite3_sql(self.raw()) };
        // SAFETY: the statement keeps its text.
        unsafe { text(sql) }
            .and_then(|sql| sql.to_str().ok())
            .unwrap_or_default()
    }

    /// Its text with the values bound; `None` when that is longer than the handle's limit, or
    /// memory ran out.
    pub fn expanded_sql(&self) -> Option<String> {
        // SAFETY: the statement exists.
        let sql = unsafe { expanded_sql(self.entry.raw()) };
        sql.map(|sql| String::from_utf8_lossy(&sql).into_owned())
    }

    /// Whether it is `PRAGMA busy_timeout`, to be explained or not.
    pub fn touches_busy_timeout(&self) -> bool {
        self.entry.recording().is_busy_timeout()
    }

    /// The text of the milliseconds that a `PRAGMA busy_timeout = …` asks for.
    pub fn busy_timeout_argument(&self) -> Option<&str> {
        self.entry.recording().busy_timeout_argument()
    }

    /// What a SAVEPOINT, RELEASE or ROLLBACK TO does, and to which.
    pub fn savepoint(&self) -> Option<(SavepointAction, &str)> {
        self.entry.recording().savepoint()
    }

    /// The pragma's name in lower case, if the statement is one.
    pub fn pragma(&self) -> Option<&str> {
        if self.entry.kind() == StatementKind::Pragma {
            self.entry.recording().pragma_name()
        } else {
            None
        }
    }
}

fn lossy(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

/// # Safety
///
/// `text` is null, or ends with NUL and lives as long as `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) })
}
