//! The pointer to an open connection, passed around within the handle.
//!
//! Owns nothing; the handle closes what it points at.
//! Thread: the one that uses the handle.
//! Invariant: a [`Database`] is kept only inside a handle, so wherever there is one the connection
//! is open.
//! Must not know: statements, hooks.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::{self, NonNull};

use libsql::ffi;

use super::error::{Error, code};
use super::files;

const INHERITED: &str = "a file that was open when this process was forked can't be opened here: close it before the \
                         fork, or use the 'spawn' start method";

// Exported by the cipher library, but missing in the bindings.
unsafe extern "C" {
    fn sqlite3_key(db: *mut ffi::sqlite3, key: *const c_void, length: c_int) -> c_int;
}

/// An open `sqlite3`. It is copied only into what a `Handle` owns, so wherever there is one, the
/// handle is open.
#[derive(Clone, Copy)]
pub(super) struct Database(NonNull<ffi::sqlite3>);

impl Database {
    /// # Safety
    ///
    /// The connection is not closed before the `Handle` that it is made for is dropped.
    pub(super) unsafe fn new(raw: NonNull<ffi::sqlite3>) -> Self {
        Self(raw)
    }

    pub(super) fn as_ptr(self) -> *mut ffi::sqlite3 {
        self.0.as_ptr()
    }

    pub(super) fn holds_write_lock(self) -> bool {
        // SAFETY: the handle is open; no schema means all of them.
        let state = unsafe { ffi::sqlite3_txn_state(self.as_ptr(), ptr::null()) };
        state == ffi::SQLITE_TXN_WRITE
    }

    /// The error that a call which answered `rc` has left in the handle.
    pub(super) fn error(self, rc: c_int) -> Error {
        // SAFETY: the handle is open.
        let extended = unsafe { ffi::sqlite3_extended_errcode(self.as_ptr()) };
        if extended & 0xff != rc & 0xff {
            // A misuse is reported without being stored; what the handle remembers is an older
            // error.
            // SAFETY: takes any number, returns a static string.
            let text = unsafe { ffi::sqlite3_errstr(rc) };
            // SAFETY: the string is static and ends with NUL.
            let text = unsafe { CStr::from_ptr(text) };
            return Error::new(rc, text.to_string_lossy());
        }
        if extended & 0xff == code::CANTOPEN && files::take_refusal() {
            return Error::new(extended, INHERITED);
        }
        // SAFETY: the handle is open.
        let message = unsafe { ffi::sqlite3_errmsg(self.as_ptr()) };
        // SAFETY: ends with NUL, and lives until the next call on the handle.
        let message = unsafe { CStr::from_ptr(message) };
        // SAFETY: the handle is open.
        let offset = unsafe { ffi::sqlite3_error_offset(self.as_ptr()) };
        Error {
            offset: usize::try_from(offset).ok(),
            ..Error::new(extended, message.to_string_lossy())
        }
    }

    pub(super) fn set_key(self, key: &[u8]) -> Result<(), Error> {
        let length =
            c_int::try_from(key.len()).map_err(|_| Error::new(code::TOOBIG, "key too long"))?;
        // SAFETY: the handle is open; SQLite derives its own key and keeps nothing of this one.
        let rc = unsafe { sqlite3_key(self.as_ptr(), key.as_ptr().cast(), length) };
        if rc == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.error(rc))
        }
    }
}
