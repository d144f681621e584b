//! The functions that SQLite calls when rows change and transactions end.
//!
//! Owns the translation of C's arguments into [`Update`]; the answers come from `hook`.
//! Thread: the one that uses the handle.
//! Invariant: what a callback is given is borrowed and cannot leave it.
//! Must not know: which callbacks are installed.

use std::ffi::{c_char, c_int, c_void};

use libsql::ffi;

use super::callback::{bytes, state_of};

/// A row that is changed, in a table with rowids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    pub change: Change,
    /// The name of the database: main, temp or that of an attached one.
    pub database: &'a [u8],
    pub table: &'a [u8],
    /// Of an UPDATE, the one after it.
    pub rowid: i64,
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Insert,
    Update,
    Delete,
}

pub(super) type UpdateCallback =
    unsafe extern "C" fn(*mut c_void, c_int, *const c_char, *const c_char, i64);
pub(super) type CommitCallback = unsafe extern "C" fn(*mut c_void) -> c_int;
pub(super) type RollbackCallback = unsafe extern "C" fn(*mut c_void);

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn update_callback(
    context: *mut c_void,
    change: c_int,
    database: *const c_char,
    table: *const c_char,
    rowid: i64,
) {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    let change = match change {
        ffi::SQLITE_INSERT => Change::Insert,
        ffi::SQLITE_DELETE => Change::Delete,
        _ => Change::Update,
    };
    let update = Update {
        change,
        // SAFETY: a string that SQLite keeps through this call.
        database: unsafe { bytes(database) }.unwrap_or_default(),
        // SAFETY: as above.
        table: unsafe { bytes(table) }.unwrap_or_default(),
        rowid,
    };
    state.contain((), || state.on_update(&update));
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn commit_callback(context: *mut c_void) -> c_int {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    c_int::from(!state.contain(false, || state.on_commit()))
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn rollback_callback(context: *mut c_void) {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    state.contain((), || state.on_rollback());
}
