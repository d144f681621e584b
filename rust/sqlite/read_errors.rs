//! Errors of reads, which the VFS of SQLite3 Multiple Ciphers loses.
//!
//! Its `xRead` calls that of the system's VFS, and unless the answer is a short read goes on as if there were no error: what was
//! in the buffer before is taken for the page, and kept. So its tables of methods get an `xRead` that looks whether the system
//! has refused a read. They are changed where they are, for it knows its files, and itself, by addresses.
//! Owns nothing but what was in their place. Thread: any.
//! Invariant: a table is changed before the first file that has it is read.
//! Must not know: encryption, why reads fail.

use std::ffi::{c_int, c_void};
use std::ptr::{self, fn_addr_eq};
use std::sync::OnceLock;

use libsql::ffi;

use super::database::Database;
use super::files::Files;
use super::mutex::is_cipher_vfs;
use super::nowait;

type Read = unsafe extern "C" fn(*mut ffi::sqlite3_file, *mut c_void, c_int, i64) -> c_int;

static READ: OnceLock<Read> = OnceLock::new();

/// Steps between SQLite and the VFS of a database that was just opened.
pub(super) fn watch(database: Database) {
    let mut vfs = ptr::null_mut::<ffi::sqlite3_vfs>();
    // SAFETY: this operation stores a pointer.
    unsafe { database.control_file(ffi::SQLITE_FCNTL_VFS_POINTER, (&raw mut vfs).cast()) };
    if !is_cipher_vfs(vfs) {
        return;
    }
    // SAFETY: null, or the file of the database, which is open.
    let Some(file) = (unsafe { database.file().as_ref() }) else {
        return;
    };
    // One thread after the other: whoever has a file of a table later finds it changed. That lock is held over forks.
    let _changing = Files::lock();
    // SAFETY: null, or a table of the cipher VFS's, which lives as long as the process and is not constant. Who else has a
    // file with it, has been here before, and it stays as it is.
    let Some(methods) = (unsafe { file.pMethods.cast_mut().as_mut() }) else {
        return;
    };
    let ours: Read = watched_read;
    let Some(read) = methods.xRead else { return };
    if !fn_addr_eq(read, ours) && fn_addr_eq(*READ.get_or_init(|| read), read) {
        methods.xRead = Some(ours);
    }
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
