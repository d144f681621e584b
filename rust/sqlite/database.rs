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
use super::key::{Key, wipe_stack};
use super::replicas;

const INHERITED: &str = "a file that was open when this process was forked can't be opened here: close it before the \
                         fork, or use the 'spawn' start method";

// Exported by the cipher library, but missing in the bindings.
unsafe extern "C" {
    fn sqlite3_key(db: *mut ffi::sqlite3, key: *const c_void, length: c_int) -> c_int;
    fn sqlite3_rekey(db: *mut ffi::sqlite3, key: *const c_void, length: c_int) -> c_int;
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
        self.transaction_state() == ffi::SQLITE_TXN_WRITE
    }

    /// What the furthest of all databases has come to.
    pub(super) fn transaction_state(self) -> c_int {
        // SAFETY: the handle is open; no schema means all of them.
        unsafe { ffi::sqlite3_txn_state(self.as_ptr(), ptr::null()) }
    }

    /// One of the counters that SQLite keeps; 0 if it has none of that number.
    pub(super) fn status(self, which: c_int) -> c_int {
        let (mut current, mut highest) = (0, 0);
        // SAFETY: the handle is open, and both places are written to during the call only.
        unsafe {
            ffi::sqlite3_db_status(self.as_ptr(), which, &raw mut current, &raw mut highest, 0)
        };
        current
    }

    /// An operation on the file of the main database.
    ///
    /// # Safety
    ///
    /// What the operation does with its argument is sound.
    pub(super) unsafe fn control_file(self, operation: c_int, argument: *mut c_void) {
        // SAFETY: the handle is open, the name ends with NUL; the rest is the caller's promise.
        unsafe {
            ffi::sqlite3_file_control(self.as_ptr(), c"main".as_ptr(), operation, argument);
        }
    }

    /// The file of the main database, which stays where it is while the handle is open; null if it has none.
    pub(super) fn file(self) -> *mut ffi::sqlite3_file {
        let mut file = ptr::null_mut::<ffi::sqlite3_file>();
        // SAFETY: this operation stores a pointer.
        unsafe { self.control_file(ffi::SQLITE_FCNTL_FILE_POINTER, (&raw mut file).cast()) };
        file
    }

    /// The error that a call which answered `rc` has left in the handle.
    pub(super) fn error(self, rc: c_int) -> Error {
        if rc & 0xff == ffi::SQLITE_NOTADB {
            self.keep_wal(true);
        }
        // SAFETY: the handle is open.
        let extended = unsafe { ffi::sqlite3_extended_errcode(self.as_ptr()) };
        if extended & 0xff != rc & 0xff {
            // A misuse is reported without being stored; what the handle remembers is an older
            // error.
            return Error::of_code(rc);
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
        let error = Error {
            offset: usize::try_from(offset).ok(),
            ..Error::new(extended, message.to_string_lossy())
        };
        replicas::explain(error, self)
    }

    /// The error that the last call has left in the handle, if it failed.
    pub(super) fn last_error(self) -> Option<Error> {
        // SAFETY: the handle is open.
        let rc = unsafe { ffi::sqlite3_errcode(self.as_ptr()) };
        let failed = !matches!(
            rc & 0xff,
            ffi::SQLITE_OK | ffi::SQLITE_ROW | ffi::SQLITE_DONE
        );
        failed.then(|| self.error(rc))
    }

    /// Leaves the WAL alone when a database is closed. With a wrong key the checkpoint that SQLite
    /// makes there would read it wrongly, write the first page so, and delete it.
    pub(super) fn keep_wal(self, keeps: bool) {
        let option = ffi::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let no_answer = ptr::null_mut::<c_int>();
        // SAFETY: the handle is open; this option takes an int and a pointer that may be null.
        unsafe {
            ffi::sqlite3_db_config(self.as_ptr(), option, c_int::from(keeps), no_answer);
        }
    }

    pub(super) fn keeps_wal(self) -> bool {
        let option = ffi::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let mut keeps: c_int = 0;
        // SAFETY: the handle is open; this option takes an int, of which -1 changes nothing, and a pointer.
        unsafe { ffi::sqlite3_db_config(self.as_ptr(), option, -1, &raw mut keeps) };
        keeps != 0
    }

    pub(super) fn set_key(self, key: &Key) -> Result<(), Error> {
        let bytes = key.as_bytes();
        let length = length_of(bytes)?;
        // SAFETY: the handle is open; SQLite derives its own key and keeps nothing of this one.
        let rc = unsafe { sqlite3_key(self.as_ptr(), bytes.as_ptr().cast(), length) };
        wipe_stack();
        self.check(rc)
    }

    /// Writes every page anew, in one transaction; without a key as plain text.
    pub(super) fn change_key(self, key: Option<&Key>) -> Result<(), Error> {
        let bytes = key.map(Key::as_bytes);
        let start = bytes.map_or(ptr::null(), <[u8]>::as_ptr);
        let length = length_of(bytes.unwrap_or_default())?;
        // SAFETY: the handle is open; null stands for no key; SQLite keeps nothing of this one.
        let rc = unsafe { sqlite3_rekey(self.as_ptr(), start.cast(), length) };
        wipe_stack();
        self.check(rc)
    }

    fn check(self, rc: c_int) -> Result<(), Error> {
        if rc == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.error(rc))
        }
    }
}

fn length_of(key: &[u8]) -> Result<c_int, Error> {
    c_int::try_from(key.len()).map_err(|_| Error::new(code::TOOBIG, "key too long"))
}
