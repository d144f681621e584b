//! Start-up of the SQLite library, and what can be asked without a handle.
//!
//! Owns the once-per-process initialisation.
//! Thread: any; the first caller does the work, the others wait for it.
//! Invariant: no handle is opened before [`initialize`] returned `Ok`.
//! Must not know: handles.

use std::ffi::{CStr, CString};
use std::panic::catch_unwind;
use std::sync::OnceLock;

use futures::FutureExt;
use libsql::ffi;

use super::error::{Error, code};

/// Prepares the SQLite library for use; every call after the first is free.
///
/// The `libsql` crate calls `sqlite3_config` when its first `Database` is made and asserts that
/// this worked, which it does only before anything else used the library. So one such database is
/// made here, before our first handle.
///
/// # Errors
///
/// When the library was initialised behind our back, or was compiled without thread support. Every
/// later call repeats the error: without the initialisation a later `libsql::Database` would panic.
pub fn initialize() -> Result<(), Error> {
    static INITIALIZED: OnceLock<Result<(), Error>> = OnceLock::new();
    INITIALIZED.get_or_init(initialize_once).clone()
}

fn initialize_once() -> Result<(), Error> {
    // SAFETY: has no arguments and reads a compile-time constant.
    let threadsafe = unsafe { ffi::sqlite3_threadsafe() };
    if threadsafe == 0 {
        return Err(Error::new(
            code::MISUSE,
            "SQLite was compiled without thread support",
        ));
    }
    // A local `build` has no await in it. Polling once instead of `block_on` because the latter
    // panics when it is called inside another executor of the same thread.
    let built = catch_unwind(|| {
        libsql::Builder::new_local(":memory:")
            .build()
            .now_or_never()
    });
    match built {
        Ok(Some(Ok(_database))) => Ok(()),
        Ok(Some(Err(error))) => Err(Error::new(
            code::ERROR,
            format!("cannot initialise libSQL: {error}"),
        )),
        Ok(None) => Err(Error::new(
            code::INTERNAL,
            "cannot initialise libSQL: it did not finish at once",
        )),
        Err(_) => Err(Error::new(
            code::MISUSE,
            "cannot initialise libSQL: SQLite was already in use",
        )),
    }
}

/// The version of the SQLite that is linked in, as `"3.47.0"`.
pub fn version() -> &'static str {
    // SAFETY: has no arguments and returns a static string.
    let version = unsafe { ffi::sqlite3_libversion() };
    // SAFETY: the string is static and ends with NUL.
    let version = unsafe { CStr::from_ptr(version) };
    version.to_str().unwrap_or_default()
}

/// Tells whether the text ends with a complete statement; no parser runs, so this says nothing
/// about its syntax.
///
/// A text with a NUL in it is judged up to the NUL, as SQLite itself would read it.
pub fn complete(sql: &str) -> bool {
    let text = sql.split('\0').next().unwrap_or_default();
    let Ok(text) = CString::new(text) else {
        return false;
    };
    // `sqlite3_complete` asks for the library to be initialised.
    if initialize().is_err() {
        return false;
    }
    // SAFETY: the text ends with NUL and lives through the call.
    let answer = unsafe { ffi::sqlite3_complete(text.as_ptr()) };
    answer == 1
}
