//! The functions that SQLite calls, and what they hand on.
//!
//! Owns the translation of C's arguments into [`AuthorizerAction`] and [`TraceEvent`]; the answers
//! come from `hook`.
//! Thread: the one that uses the handle.
//! Invariant: what a callback is given is borrowed and cannot leave it.
//! Must not know: which callbacks are installed.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use libsql::ffi;

use super::entry::expanded_sql;
use super::hook::HookState;

/// One question to the authorizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorizerAction<'a> {
    /// SQLite's number of the action, such as 20 for reading a column.
    pub code: i32,
    /// Depends on the action: a table, an index, a pragma…
    pub first: Option<&'a [u8]>,
    /// Depends on the action: a column, a pragma's argument…
    pub second: Option<&'a [u8]>,
    /// The database: main, temp or the name of an attached one.
    pub database: Option<&'a [u8]>,
    /// The innermost trigger or view on whose behalf this happens.
    pub accessor: Option<&'a [u8]>,
}

/// The answer of an authorizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// Go on.
    Allow,
    /// The statement fails.
    Deny,
    /// A column reads as NULL, a write does not happen.
    Ignore,
}

/// What the trace callback is told.
#[derive(Debug)]
pub enum TraceEvent<'a> {
    /// A statement, or a trigger of one, starts to run. The text of a trigger is a comment that
    /// names it.
    Statement {
        /// The text with its parameters unexpanded.
        sql: &'a [u8],
        /// The text with the values bound.
        expanded: Expanded<'a>,
    },
    /// A statement ended.
    Profile {
        /// The text with its parameters unexpanded.
        sql: &'a [u8],
        /// The text with the values bound.
        expanded: Expanded<'a>,
        /// From its first step to its end.
        elapsed: Duration,
    },
}

/// A statement's text with its parameters replaced by their values, made only when asked for.
#[derive(Debug)]
pub struct Expanded<'a> {
    raw: NonNull<ffi::sqlite3_stmt>,
    comment: Option<&'a [u8]>,
    // Keeps it inside the callback, where the statement certainly exists.
    scope: PhantomData<&'a ffi::sqlite3_stmt>,
}

impl Expanded<'_> {
    /// Makes the text; `None` when it is longer than the handle's limit, or memory ran out.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self.comment {
            Some(comment) => Some(comment.to_vec()),
            // SAFETY: SQLite passed the statement to the callback that this value cannot leave.
            None => unsafe { expanded_sql(self.raw) },
        }
    }
}

/// # Safety
///
/// `context` is what `Hooks::context` gave to SQLite, and the hooks still exist.
pub(super) unsafe fn state_of<'a>(context: *mut c_void) -> &'a HookState {
    // SAFETY: the caller's promise; the state is only ever shared, never borrowed mutably.
    unsafe { &*context.cast::<HookState>() }
}

/// # Safety
///
/// `text` is null, or ends with NUL and lives as long as `'a`.
pub(super) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_bytes())
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn progress_callback(context: *mut c_void) -> c_int {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    c_int::from(state.contain(true, || state.on_progress()))
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn busy_callback(context: *mut c_void, attempts: c_int) -> c_int {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    let attempts = u32::try_from(attempts).unwrap_or(0);
    c_int::from(state.contain(false, || state.on_busy(attempts)))
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn authorize_callback(
    context: *mut c_void,
    code: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    accessor: *const c_char,
) -> c_int {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    let action = AuthorizerAction {
        code,
        // SAFETY: null or a string that SQLite keeps through this call.
        first: unsafe { bytes(first) },
        // SAFETY: as above.
        second: unsafe { bytes(second) },
        // SAFETY: as above.
        database: unsafe { bytes(database) },
        // SAFETY: as above.
        accessor: unsafe { bytes(accessor) },
    };
    state.contain(ffi::SQLITE_DENY, || state.on_authorize(&action))
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
pub(super) unsafe extern "C" fn trace_callback(
    kind: c_uint,
    context: *mut c_void,
    statement: *mut c_void,
    detail: *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    let Some(raw) = NonNull::new(statement.cast::<ffi::sqlite3_stmt>()) else {
        return 0;
    };
    let event = match kind.cast_signed() {
        ffi::SQLITE_TRACE_STMT => {
            // SAFETY: for this event the detail is the SQL text, or the comment for a trigger.
            let sql = unsafe { bytes(detail.cast()) }.unwrap_or_default();
            let comment = sql.starts_with(b"--").then_some(sql);
            TraceEvent::Statement {
                sql,
                expanded: Expanded {
                    raw,
                    comment,
                    scope: PhantomData,
                },
            }
        }
        ffi::SQLITE_TRACE_PROFILE => {
            // SAFETY: for this event the detail points to the nanoseconds.
            let nanoseconds = unsafe { detail.cast::<i64>().read() };
            // SAFETY: SQLite passes a statement that exists.
            let sql = unsafe { ffi::sqlite3_sql(raw.as_ptr()) };
            // SAFETY: null or the text that the statement keeps.
            let sql = unsafe { bytes(sql) }.unwrap_or_default();
            let elapsed = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
            TraceEvent::Profile {
                sql,
                expanded: Expanded {
                    raw,
                    comment: None,
                    scope: PhantomData,
                },
                elapsed,
            }
        }
        _ => return 0,
    };
    state.contain((), || state.on_trace(&event));
    0
}
