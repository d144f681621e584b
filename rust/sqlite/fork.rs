//! Fork: what runs before and after each `fork` of this process.
//!
//! Owns the registration with the C library, and what SQLite needs over a fork: its mutexes and its files.
//! Why not `os.register_at_fork`: between its functions other Python code runs, which may have to wait for the
//! mutexes while the forking thread waits for the interpreter. These run inside `fork` itself, whoever calls it.
//! Thread: the forking one, which is the only one of the child.
//! Must not know: what else is held over a fork.

use std::ffi::c_int;
use std::sync::{MutexGuard, OnceLock};

use super::error::{Error, code};
use super::files::{self, Files};
use super::init::initialize;
use super::mutex::Mutexes;

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> c_int;
}

/// What to call around a fork.
#[derive(Debug, Clone, Copy)]
pub struct AtFork {
    pub before: fn(),
    pub after_in_parent: fn(),
    pub after_in_child: fn(),
}

/// SQLite's process-wide state, standing still.
#[derive(Debug)]
pub struct Held {
    mutexes: &'static Mutexes,
    files: MutexGuard<'static, Files>,
}

static AT_FORK: OnceLock<AtFork> = OnceLock::new();
static MUTEXES: OnceLock<Mutexes> = OnceLock::new();

/// Has functions called around every fork from now on, and watches SQLite's files. The first call counts.
///
/// # Errors
/// SQLite's, when it can't be initialised; `NOMEM`, when there is no room for the functions.
pub fn at_fork(functions: AtFork) -> Result<(), Error> {
    initialize()?;
    if AT_FORK.set(functions).is_err() {
        return Ok(());
    }
    MUTEXES.get_or_init(Mutexes::find);
    files::watch();
    // SAFETY: functions that live as long as the process and do not unwind.
    let failed = unsafe { pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    if failed == 0 {
        Ok(())
    } else {
        Err(Error::new(code::NOMEM, "no memory to watch for forks"))
    }
}

impl Held {
    /// Waits until no other thread is in the middle of a change. None of them waits for the interpreter, or for a
    /// lock on a file.
    pub fn take() -> Option<Self> {
        let mutexes = MUTEXES.get()?;
        mutexes.enter();
        // SQLite opens files while it is in its mutexes, so these come first.
        Some(Self {
            mutexes,
            files: Files::lock(),
        })
    }

    pub fn release(self) {
        drop(self.files);
        self.mutexes.leave();
    }

    pub fn release_in_child(mut self) {
        self.files.inherit();
        drop(self.files);
        self.mutexes.leave_in_child();
    }
}

unsafe extern "C" fn before() {
    if let Some(functions) = AT_FORK.get() {
        (functions.before)();
    }
}

unsafe extern "C" fn in_parent() {
    if let Some(functions) = AT_FORK.get() {
        (functions.after_in_parent)();
    }
}

unsafe extern "C" fn in_child() {
    if let Some(functions) = AT_FORK.get() {
        (functions.after_in_child)();
    }
}
