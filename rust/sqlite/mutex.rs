//! SQLite's process-wide mutexes, held over a fork.
//!
//! Owns the order in which they are entered. A child has only the thread that forked: a mutex that another thread
//! held at that moment would stay locked in it for ever, and its first `sqlite3_open` would hang.
//! Thread: the forking one.
//! Invariant: they are entered outermost first, so whoever holds one and waits for another still gets it.
//! Must not know: what the mutexes guard.

use std::ffi::{CStr, c_int};
use std::ptr;

use libsql::ffi;

/// Those in use, in the order in which SQLite nests them: opening a shared cache; the list of files and the choice
/// of a temporary name; random numbers, which look up a VFS; the lists of VFSes and of extensions; the counts of
/// the page cache and of the allocator.
const STATIC: [c_int; 7] = [
    ffi::SQLITE_MUTEX_STATIC_OPEN,
    ffi::SQLITE_MUTEX_STATIC_VFS1,
    ffi::SQLITE_MUTEX_STATIC_PRNG,
    ffi::SQLITE_MUTEX_STATIC_MAIN,
    ffi::SQLITE_MUTEX_STATIC_LRU,
    ffi::SQLITE_MUTEX_STATIC_PMEM,
    ffi::SQLITE_MUTEX_STATIC_MEM,
];

/// How the VFS of SQLite3 Multiple Ciphers begins. Its mutex guards the list of open databases, innermost of all,
/// and can be reached in no other way.
#[repr(C)]
struct CipherVfs {
    base: ffi::sqlite3_vfs,
    mutex: *mut ffi::sqlite3_mutex,
}

/// Where the mutexes are.
#[derive(Debug)]
pub(super) struct Mutexes {
    fixed: [*mut ffi::sqlite3_mutex; STATIC.len()],
    cipher: *mut CipherVfs,
}

// SAFETY: SQLite's mutexes are for any thread, and `CipherVfs::mutex` is changed only where there is just one.
unsafe impl Send for Mutexes {}
// SAFETY: as above.
unsafe impl Sync for Mutexes {}

impl Mutexes {
    /// Finds them. SQLite has been initialised.
    pub(super) fn find() -> Self {
        let fixed = STATIC.map(|id| {
            // SAFETY: a static mutex's number; nothing is allocated.
            unsafe { ffi::sqlite3_mutex_alloc(id) }
        });
        // SAFETY: no name means the default VFS.
        let vfs = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        let cipher = if is_cipher_vfs(vfs) {
            vfs.cast()
        } else {
            ptr::null_mut()
        };
        Self { fixed, cipher }
    }

    /// Enters them all. Waits for the threads that are in one; none of these waits for a lock on a file.
    pub(super) fn enter(&self) {
        for mutex in self.fixed {
            // SAFETY: a static mutex, which this thread is not in: no code of SQLite's forks.
            unsafe { ffi::sqlite3_mutex_enter(mutex) };
        }
        // SAFETY: as above.
        unsafe { ffi::sqlite3_mutex_enter(self.cipher_mutex()) };
    }

    /// Leaves them, in the process that forked.
    pub(super) fn leave(&self) {
        // SAFETY: entered by this thread.
        unsafe { ffi::sqlite3_mutex_leave(self.cipher_mutex()) };
        self.leave_fixed();
    }

    /// Leaves them, in the child.
    pub(super) fn leave_in_child(&self) {
        // A recursive mutex remembers who entered it by the number of the thread, which is another one here, so
        // that nobody could ever leave it: it gets a successor.
        if !self.cipher.is_null() {
            // SAFETY: the number of a kind of mutex.
            let fresh = unsafe { ffi::sqlite3_mutex_alloc(ffi::SQLITE_MUTEX_RECURSIVE) };
            // SAFETY: the VFS is there as long as the process, and there is no other thread.
            unsafe { (*self.cipher).mutex = fresh };
        }
        self.leave_fixed();
        // Or parent and child would go on with the same sequence.
        // SAFETY: a length of zero resets the generator.
        unsafe { ffi::sqlite3_randomness(0, ptr::null_mut()) };
    }

    fn leave_fixed(&self) {
        for mutex in self.fixed.into_iter().rev() {
            // SAFETY: entered by this thread or, in the child, by the one that it is the copy of.
            unsafe { ffi::sqlite3_mutex_leave(mutex) };
        }
    }

    /// Null, which SQLite ignores, where the ciphers' VFS is not in use.
    fn cipher_mutex(&self) -> *mut ffi::sqlite3_mutex {
        if self.cipher.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: the VFS is there as long as the process.
        unsafe { (*self.cipher).mutex }
    }
}

/// By its name: the version of `libsql-ffi` that brings it is fixed.
pub(super) fn is_cipher_vfs(vfs: *mut ffi::sqlite3_vfs) -> bool {
    if vfs.is_null() {
        return false;
    }
    // SAFETY: not null, and registered.
    let name = unsafe { (*vfs).zName };
    // SAFETY: every VFS has a name that ends with NUL.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_bytes().starts_with(b"multipleciphers-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::initialize;

    #[test]
    fn the_ciphers_mutex_is_where_it_is_expected() {
        initialize().expect("SQLite starts");
        let mutexes = Mutexes::find();
        assert!(!mutexes.cipher.is_null(), "another VFS is the default one");
        let mutex = mutexes.cipher_mutex();
        assert!(!mutex.is_null());
        // SAFETY: a mutex, if the layout is what we think.
        let tried = unsafe { ffi::sqlite3_mutex_try(mutex) };
        assert_eq!(tried, ffi::SQLITE_OK);
        // SAFETY: entered above.
        unsafe { ffi::sqlite3_mutex_leave(mutex) };
    }

    #[test]
    fn mutexes_can_be_entered_and_left_while_others_open_databases() {
        initialize().expect("SQLite starts");
        let mutexes = Mutexes::find();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    drop(crate::sqlite::tests::memory());
                }
            });
            for _ in 0..2000 {
                mutexes.enter();
                mutexes.leave();
            }
        });
    }
}
