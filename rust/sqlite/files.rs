//! Files: which ones SQLite has open, and which it may not open after a fork.
//!
//! Owns the device and inode of every open file, databases and what belongs to them, by its descriptor; and those
//! that were open at a fork. SQLite opens and closes files through a table of system calls, three of which are
//! replaced here, so nothing escapes: ATTACH, VACUUM INTO, URIs.
//! Why: SQLite's record of its locks on a file is inherited too. A child that opens such a file finds it locked by
//! itself, takes no real locks, and its commits are lost.
//! Thread: any.
//! Must not know: forking; connections.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libsql::ffi;
use rustix::fs::{FileType, Stat};

use super::nowait;
use super::replicas;

pub(super) type SystemCall = unsafe extern "C" fn();
type Open = unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int;
type Close = unsafe extern "C" fn(c_int) -> c_int;
type Look = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;

/// Device and inode.
type File = (u64, u64);

/// What SQLite would call itself.
struct Originals {
    open: Open,
    close: Close,
    stat: Look,
    lstat: Option<Look>,
}

/// The files of this process.
#[derive(Debug)]
pub(super) struct Files {
    open: BTreeMap<c_int, File>,
    /// Open at a fork, in a process that this one descends from.
    inherited: BTreeSet<File>,
}

static ORIGINALS: OnceLock<Originals> = OnceLock::new();
static FILES: Mutex<Files> = Mutex::new(Files {
    open: BTreeMap::new(),
    inherited: BTreeSet::new(),
});
/// Whether there is any inherited file; a process that was not forked need not look.
static FORBIDS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// SQLite was refused a file since this was last asked.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

impl Files {
    /// Keeps the list as it is for the time of a fork.
    pub(super) fn lock() -> MutexGuard<'static, Self> {
        FILES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This is the child: what is open is the parent's.
    pub(super) fn inherit(&mut self) {
        self.inherited.extend(self.open.values());
        FORBIDS.store(!self.inherited.is_empty(), Ordering::SeqCst);
    }
}

/// Whether SQLite was refused a file on this thread since the last call.
pub(super) fn take_refusal() -> bool {
    REFUSED.take()
}

/// Steps between SQLite and the system. SQLite has been initialised and has no file open yet.
pub(super) fn watch() {
    // SAFETY: no name means the default VFS.
    let vfs = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    let (Some(open), Some(close), Some(stat)) = (
        system_call(vfs, c"open"),
        system_call(vfs, c"close"),
        system_call(vfs, c"stat"),
    ) else {
        return;
    };
    let lstat = system_call(vfs, c"lstat");
    ORIGINALS.get_or_init(|| Originals {
        // SAFETY: what SQLite's table has under that name, and the type it calls it with.
        open: unsafe { transmute::<SystemCall, Open>(open) },
        // SAFETY: as above.
        close: unsafe { transmute::<SystemCall, Close>(close) },
        // SAFETY: as above; the structure is only passed on.
        stat: unsafe { transmute::<SystemCall, Look>(stat) },
        // SAFETY: as above.
        lstat: lstat.map(|lstat| unsafe { transmute::<SystemCall, Look>(lstat) }),
    });
    // SAFETY: a function is a function pointer; SQLite casts it back.
    let open = unsafe { transmute::<Open, SystemCall>(guarded_open) };
    // SAFETY: as above.
    let close = unsafe { transmute::<Close, SystemCall>(noted_close) };
    // SAFETY: as above.
    let stat = unsafe { transmute::<Look, SystemCall>(guarded_stat) };
    replace(vfs, c"open", open);
    replace(vfs, c"close", close);
    replace(vfs, c"stat", stat);
    if lstat.is_some() {
        // SAFETY: as above.
        let lstat = unsafe { transmute::<Look, SystemCall>(guarded_lstat) };
        replace(vfs, c"lstat", lstat);
    }
    nowait::watch(vfs);
}

pub(super) fn system_call(vfs: *mut ffi::sqlite3_vfs, name: &CStr) -> Option<SystemCall> {
    // SAFETY: the default VFS, which is registered.
    let get = unsafe { (*vfs).xGetSystemCall }?;
    // SAFETY: the name ends with NUL.
    unsafe { get(vfs, name.as_ptr()) }
}

pub(super) fn replace(vfs: *mut ffi::sqlite3_vfs, name: &CStr, by: SystemCall) {
    // SAFETY: the default VFS, which is registered.
    if let Some(set) = unsafe { (*vfs).xSetSystemCall } {
        // SAFETY: the name ends with NUL, and the function has the type that SQLite calls under it.
        unsafe { set(vfs, name.as_ptr(), Some(by)) };
    }
}

unsafe extern "C" fn guarded_open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let Some(originals) = ORIGINALS.get() else {
        return refuse();
    };
    if nowait::is_on() {
        return nowait::refuse();
    }
    // SAFETY: a path of SQLite's, which ends with NUL.
    if replicas::refuses(unsafe { CStr::from_ptr(path) }, flags) {
        return denied();
    }
    // SAFETY: SQLite's own arguments.
    let descriptor = unsafe { (originals.open)(path, flags, mode) };
    if descriptor < 0 {
        return descriptor;
    }
    // SAFETY: just opened, and closed by nobody before SQLite has it.
    let opened = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let Some(file) = rustix::fs::fstat(opened).ok().and_then(|stat| file(&stat)) else {
        return descriptor;
    };
    let mut files = Files::lock();
    if files.inherited.contains(&file) {
        drop(files);
        // SAFETY: opened above. This process has no lock on the file that it could lose by this.
        unsafe { (originals.close)(descriptor) };
        return refuse();
    }
    files.open.insert(descriptor, file);
    descriptor
}

unsafe extern "C" fn noted_close(descriptor: c_int) -> c_int {
    // Before the number can be another file's.
    Files::lock().open.remove(&descriptor);
    // SAFETY: SQLite's own argument.
    ORIGINALS
        .get()
        .map_or(-1, |originals| unsafe { (originals.close)(descriptor) })
}

/// SQLite looks for a file among those it has open, and waits for their mutexes, before it opens one.
unsafe extern "C" fn guarded_stat(path: *const c_char, into: *mut c_void) -> c_int {
    let Some(originals) = ORIGINALS.get() else {
        return refuse();
    };
    // SAFETY: a path of SQLite's, which ends with NUL.
    let name = unsafe { CStr::from_ptr(path) };
    if FORBIDS.load(Ordering::SeqCst) && is_inherited(|| rustix::fs::stat(name)) {
        return refuse();
    }
    if replicas::hides(name) {
        return denied();
    }
    // SAFETY: SQLite's own arguments.
    unsafe { (originals.stat)(path, into) }
}

/// SQLite completes the path of a database with this, before it looks among the shared caches.
unsafe extern "C" fn guarded_lstat(path: *const c_char, into: *mut c_void) -> c_int {
    let Some(lstat) = ORIGINALS.get().and_then(|originals| originals.lstat) else {
        return refuse();
    };
    // SAFETY: a path of SQLite's, which ends with NUL.
    let name = unsafe { CStr::from_ptr(path) };
    if FORBIDS.load(Ordering::SeqCst) && is_inherited(|| rustix::fs::lstat(name)) {
        return refuse();
    }
    // SAFETY: SQLite's own arguments.
    unsafe { lstat(path, into) }
}

fn is_inherited(look: impl FnOnce() -> rustix::io::Result<Stat>) -> bool {
    let file = look().ok().and_then(|stat| file(&stat));
    file.is_some_and(|file| Files::lock().inherited.contains(&file))
}

fn refuse() -> c_int {
    REFUSED.set(true);
    denied()
}

fn denied() -> c_int {
    errno::set_errno(errno::Errno(rustix::io::Errno::ACCESS.raw_os_error()));
    -1
}

/// A regular file's identity; nobody locks directories and devices.
#[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
fn file(stat: &Stat) -> Option<File> {
    FileType::from_raw_mode(stat.st_mode)
        .is_file()
        .then_some((stat.st_dev as u64, stat.st_ino as u64))
}
