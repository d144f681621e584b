//! Exit: what becomes of open connections, and of threads, when the interpreter ends.
//!
//! Owns the list of connections, held weakly, and the count of threads that are inside our code. Ends the network's
//! runtime.
//! Thread: attached; `at_exit` on the one that ends the interpreter, before anything of it is gone.
//! Invariant: a worker thread attaches for a callback only, and is counted while it does; none begins once the
//! interpreter ends, so none is hurt by its end.
//! Must not know: backends.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::core::{Action, Birth, Error};

use super::exceptions;
use super::link::Link;

/// How long the end of the process may be held up.
const BOUND: Duration = Duration::from_secs(1);

/// How long one connection may hold up the others.
const ONE: Duration = Duration::from_millis(100);

/// How long other threads may take to leave our code, at least.
const LEAVING: Duration = Duration::from_millis(100);

const LEFT_OPEN: &str = "was left open at exit; it is closed, and what was not committed is rolled back. Please use \
                         'async with' or '.close()' to close the connection properly.";

static LINKS: Mutex<Vec<Weak<Link>>> = Mutex::new(Vec::new());

/// Threads inside our code with Python's code above or below them.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// The thread that ends the interpreter; it may go on.
static ENDS: OnceLock<ThreadId> = OnceLock::new();
/// The process that counts in `INSIDE`; a child has the count of threads that it does not have.
static COUNTED: OnceLock<Birth> = OnceLock::new();

/// A thread inside our code.
pub struct Inside(());

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps the interpreter from being finalised while this thread is in the middle of something, for a while.
///
/// Before Python 3.14 a daemon thread that comes back to a finalising interpreter is ended by unwinding its stack,
/// which Rust's frames answer with an abort.
///
/// # Errors
/// `ConnectionClosedError` on every other thread once the interpreter ends.
pub fn enter(py: Python<'_>) -> PyResult<Inside> {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let inside = Inside(());
    if IS_ENDING.load(Ordering::SeqCst) && ENDS.get() != Some(&std::thread::current().id()) {
        return Err(exceptions::to_python(py, Error::closed()));
    }
    Ok(inside)
}

/// As `enter`, for a worker thread that is about to call Python. `None`: it must not any more.
pub fn enter_worker() -> Option<Inside> {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let inside = Inside(());
    (!IS_ENDING.load(Ordering::SeqCst)).then_some(inside)
}

/// Whether the interpreter is about to end.
pub fn is_ending() -> bool {
    IS_ENDING.load(Ordering::SeqCst)
}

/// Adds a connection to those that are closed at the end.
pub fn remember(link: &Arc<Link>) {
    let mut links = links();
    if links.len() == links.capacity() {
        links.retain(|link| link.strong_count() > 0);
        // Or a list that stays nearly full would be looked through each time.
        let room = links.len() + 16;
        links.reserve(room);
    }
    links.push(Arc::downgrade(link));
}

fn links() -> MutexGuard<'static, Vec<Weak<Link>>> {
    LINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has everything ended at exit.
///
/// # Errors
/// Python's.
pub fn watch(py: Python<'_>) -> PyResult<()> {
    COUNTED.get_or_init(Birth::now);
    let atexit = py.import("atexit")?;
    let function = wrap_pyfunction!(at_exit, &atexit)?;
    atexit.call_method1("register", (function,)).map(drop)
}

/// Closes one connection after the other: of two that close a file at once neither is the last, whose part it is
/// to remove the -wal file.
fn close(links: &[Arc<Link>], until: Instant) {
    let mut unfinished = Vec::new();
    for link in links {
        // Once more, for a daemon thread may have gone on.
        link.stop();
        let closed = link.submit(Action::Close, None);
        if !link.wait_for(&closed, until.min(Instant::now() + ONE)) {
            unfinished.push((link, closed));
        }
    }
    for (link, closed) in unfinished {
        link.wait_for(&closed, until);
    }
}

/// Closes what was left open, says so, and waits for both within bounds.
#[pyfunction]
fn at_exit(py: Python<'_>) {
    let until = Instant::now() + BOUND;
    let mut left: Vec<_> = links().iter().filter_map(Weak::upgrade).collect();
    left.retain(|link| link.is_used());
    for link in &left {
        link.stop();
    }
    for link in left.iter().filter(|link| link.is_open()) {
        exceptions::in_destructor(|py| link.report_left_open(py, LEFT_OPEN));
    }
    py.detach(|| close(&left, until));
    // Its tasks call no Python, but nothing of them should outlive what they were for.
    let left = until.saturating_duration_since(Instant::now());
    py.detach(|| crate::core::shut_down(left.max(LEAVING)));
    let _ = ENDS.set(std::thread::current().id());
    IS_ENDING.store(true, Ordering::SeqCst);
    if COUNTED.get().is_some_and(Birth::is_inherited) {
        return;
    }
    let until = until.max(Instant::now() + LEAVING);
    while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        py.detach(|| std::thread::sleep(Duration::from_millis(1)));
    }
}
