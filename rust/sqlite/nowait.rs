//! Reading files: without waiting for the disk, and so that no error is lost.
//!
//! Owns whether the thread's reads may wait, how many there may be, and whether one has failed. SQLite reads files through a
//! table of system calls, one of which is replaced here, as in `files.rs`.
//! Thread: any; what one sets is for itself only, for SQLite reads on the thread that has called it.
//! Invariant: a read that would have to wait, or brings less than was asked for, is an I/O error and never a short read:
//! SQLite would take what is missing for zeroes, and keep the page.
//! Must not know: why nobody may wait.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::transmute;
use std::sync::OnceLock;

use libsql::ffi;

use super::files::{SystemCall, replace, system_call};

/// Reads of a statement that must not wait, at most.
const MOST_READS: u32 = 64;

type Read = unsafe extern "C" fn(c_int, *mut c_void, usize, i64) -> isize;
type Sleep = unsafe extern "C" fn(*mut ffi::sqlite3_vfs, c_int) -> c_int;

/// What SQLite would call itself.
struct Originals {
    read: Read,
    sleep: Sleep,
}

static ORIGINALS: OnceLock<Originals> = OnceLock::new();

thread_local! {
    static HERE: Here = const {
        Here {
            is_on: Cell::new(false),
            left: Cell::new(0),
            is_unable: Cell::new(false),
            has_failed: Cell::new(false),
        }
    };
}

struct Here {
    /// Reads don't wait.
    is_on: Cell<bool>,
    left: Cell<u32>,
    /// A file system could not tell.
    is_unable: Cell<bool>,
    has_failed: Cell<bool>,
}

/// While it lives, this thread's reads don't wait.
struct Refusal;

impl Refusal {
    fn begin() -> Self {
        HERE.with(|here| {
            here.is_on.set(true);
            here.left.set(MOST_READS);
            here.is_unable.set(false);
        });
        Self
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        HERE.with(|here| here.is_on.set(false));
    }
}

/// Runs something in which this thread waits for no disk. `false`: a file system can't tell whether it would have to wait.
pub(super) fn without_waiting<T>(work: impl FnOnce() -> T) -> (T, bool) {
    let refusal = Refusal::begin();
    let result = work();
    drop(refusal);
    (result, !HERE.with(|here| here.is_unable.get()))
}

/// Whether the system has reads that don't wait, and SQLite is watched.
pub(super) fn is_possible() -> bool {
    cfg!(target_os = "linux") && ORIGINALS.get().is_some()
}

/// Whether this thread must not wait now.
pub(super) fn is_on() -> bool {
    HERE.with(|here| here.is_on.get())
}

/// Whether a read of this thread has failed since this was last asked.
pub(super) fn take_failure() -> bool {
    HERE.with(|here| here.has_failed.take())
}

/// What a call fails with that would have to wait.
pub(super) fn refuse() -> c_int {
    let why = rustix::io::Errno::AGAIN.raw_os_error();
    errno::set_errno(errno::Errno(why));
    -1
}

/// Steps between SQLite and the system. No connection is open yet.
pub(super) fn watch(vfs: *mut ffi::sqlite3_vfs) {
    let read = system_call(vfs, c"pread");
    // SAFETY: null, or the default VFS, which stays registered; nobody else uses it yet.
    let table = unsafe { vfs.as_mut() };
    let (Some(read), Some(table)) = (read, table) else {
        return;
    };
    let Some(sleep) = table.xSleep else { return };
    ORIGINALS.get_or_init(|| Originals {
        // SAFETY: what SQLite's table has under that name, and the type it calls it with.
        read: unsafe { transmute::<SystemCall, Read>(read) },
        sleep,
    });
    // SAFETY: a function is a function pointer; SQLite casts it back.
    let read = unsafe { transmute::<Read, SystemCall>(guarded_read) };
    replace(vfs, c"pread", read);
    table.xSleep = Some(guarded_sleep);
}

unsafe extern "C" fn guarded_read(
    descriptor: c_int,
    into: *mut c_void,
    length: usize,
    offset: i64,
) -> isize {
    let read = if is_on() {
        // SAFETY: SQLite's own arguments.
        unsafe { read_at_once(descriptor, into, length, offset) }
    } else if let Some(originals) = ORIGINALS.get() {
        // SAFETY: as above.
        unsafe { (originals.read)(descriptor, into, length, offset) }
    } else {
        -1
    };
    // After an interruption SQLite tries again.
    if read < 0 && errno::errno().0 != rustix::io::Errno::INTR.raw_os_error() {
        HERE.with(|here| here.has_failed.set(true));
    }
    read
}

/// # Safety
///
/// The descriptor is open, and the buffer has that length and is nobody else's.
#[cfg(target_os = "linux")]
unsafe fn read_at_once(descriptor: c_int, into: *mut c_void, length: usize, offset: i64) -> isize {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    let left = HERE.with(|here| here.left.replace(here.left.get().saturating_sub(1)));
    let (Ok(place), true) = (u64::try_from(offset), left > 0) else {
        return refuse() as isize;
    };
    // SAFETY: the caller's promise.
    let file = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    // SAFETY: as above.
    let buffer = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), length) };
    let mut buffers = [std::io::IoSliceMut::new(buffer)];
    match preadv2(file, &mut buffers, place, ReadWriteFlags::NOWAIT) {
        // Less is what is in memory of it, or the file's end, which looks the same.
        Ok(read) if read == length => read.cast_signed(),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => refuse() as isize,
        Err(_) => {
            HERE.with(|here| here.is_unable.set(true));
            refuse() as isize
        }
    }
}

/// # Safety
///
/// None.
#[cfg(not(target_os = "linux"))]
unsafe fn read_at_once(_: c_int, _: *mut c_void, _: usize, _: i64) -> isize {
    refuse() as isize
}

/// SQLite sleeps where it finds a log in the middle of a change.
unsafe extern "C" fn guarded_sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    match ORIGINALS.get() {
        // SAFETY: SQLite's own arguments.
        Some(originals) if !is_on() => unsafe { (originals.sleep)(vfs, microseconds) },
        _ => 0,
    }
}
