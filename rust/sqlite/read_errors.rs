//! Errors of reads, which the VFS of SQLite3 Multiple Ciphers loses.
//!
//! Its `xRead` calls that of the system's VFS, and unless the answer is a short read goes on as if there were no error: what was
//! in the buffer before is taken for the page, and kept. So the files that it opens get a table of methods in which `xRead`
//! looks whether the system has refused a read.
//! Owns these tables, one for each version of SQLite's. Thread: any.
//! Must not know: encryption, why reads fail.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use libsql::ffi;

use super::nowait;

type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    *const c_char,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;
type Read = unsafe extern "C" fn(*mut ffi::sqlite3_file, *mut c_void, c_int, i64) -> c_int;

static OPEN: OnceLock<Open> = OnceLock::new();
static READ: OnceLock<Read> = OnceLock::new();
static TABLES: [OnceLock<ffi::sqlite3_io_methods>; 4] = [const { OnceLock::new() }; 4];

/// Steps between SQLite and its default VFS. No connection is open yet.
pub(super) fn watch(vfs: *mut ffi::sqlite3_vfs) {
    // SAFETY: null, or the default VFS, which stays registered; nobody else uses it yet.
    let Some(table) = (unsafe { vfs.as_mut() }) else {
        return;
    };
    if let Some(open) = table.xOpen {
        OPEN.get_or_init(|| open);
        table.xOpen = Some(watched_open);
    }
}

unsafe extern "C" fn watched_open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let Some(open) = OPEN.get() else {
        return ffi::SQLITE_CANTOPEN;
    };
    // SAFETY: SQLite's own arguments.
    let rc = unsafe { open(vfs, name, file, flags, flags_out) };
    // SAFETY: SQLite's own, filled in by the VFS.
    if rc == ffi::SQLITE_OK
        && let Some(file) = unsafe { file.as_mut() }
        && let Some(table) = watched(file.pMethods)
    {
        file.pMethods = table;
    }
    rc
}

/// The same methods with a `xRead` that loses nothing; `None`: they stay as they are.
fn watched(methods: *const ffi::sqlite3_io_methods) -> Option<&'static ffi::sqlite3_io_methods> {
    // SAFETY: null, or a table of the VFS's, which lives as long as the process.
    let methods = unsafe { methods.as_ref() }?;
    let read = methods.xRead?;
    let place = TABLES.get(usize::try_from(methods.iVersion).ok()?)?;
    let is_ours = std::ptr::fn_addr_eq(*READ.get_or_init(|| read), read);
    is_ours.then(|| {
        place.get_or_init(|| ffi::sqlite3_io_methods {
            xRead: Some(watched_read),
            ..*methods
        })
    })
}

unsafe extern "C" fn watched_read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    let Some(read) = READ.get() else {
        return ffi::SQLITE_IOERR_READ;
    };
    nowait::take_failure();
    // SAFETY: SQLite's own arguments.
    let rc = unsafe { read(file, into, length, offset) };
    if rc == ffi::SQLITE_OK && nowait::take_failure() {
        return ffi::SQLITE_IOERR_READ;
    }
    rc
}
