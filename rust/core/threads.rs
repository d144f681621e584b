//! Worker threads, lent to connections that have commands.
//!
//! Owns the idle ones. There is no cap: hundreds of statements that wait for a lock must not keep its holder
//! from its COMMIT. Thousands of idle connections cost no threads.
//! Invariant: an idle thread is in the list exactly while it may be given a connection.
//! Must not know: Python, what a connection does.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::worker::Local;

/// How long an idle thread waits for a connection before it ends.
const IDLE: Duration = Duration::from_secs(2);

static IDLE_THREADS: Mutex<Vec<Arc<Desk>>> = Mutex::new(Vec::new());

/// Where an idle thread waits to be given a connection.
#[derive(Debug, Default)]
struct Desk {
    connection: Mutex<Option<Arc<Local>>>,
    given: Condvar,
}

/// Lends a thread to a connection.
///
/// # Errors
/// The operating system's, when it has no more threads.
pub fn lend(connection: Arc<Local>) -> io::Result<()> {
    if let Some(desk) = idle_threads().pop() {
        *lock(&desk.connection) = Some(connection);
        desk.given.notify_one();
        return Ok(());
    }
    std::thread::Builder::new()
        .name("aiolibsql-worker".into())
        .spawn(move || work(connection))
        .map(drop)
}

fn work(mut connection: Arc<Local>) {
    let desk = Arc::<Desk>::default();
    loop {
        connection.serve();
        drop(connection);
        idle_threads().push(Arc::clone(&desk));
        match wait(&desk) {
            Some(next) => connection = next,
            None => return,
        }
    }
}

fn wait(desk: &Arc<Desk>) -> Option<Arc<Local>> {
    let (mut given, _) = desk
        .given
        .wait_timeout_while(lock(&desk.connection), IDLE, |given| given.is_none())
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(connection) = given.take() {
        return Some(connection);
    }
    drop(given);
    let mut idle = idle_threads();
    let before = idle.len();
    idle.retain(|other| !Arc::ptr_eq(other, desk));
    let was_idle = idle.len() < before;
    drop(idle);
    // Taken from the list between the time-out and here: its connection is on the way.
    if was_idle {
        return None;
    }
    let mut given = desk
        .given
        .wait_while(lock(&desk.connection), |given| given.is_none())
        .unwrap_or_else(PoisonError::into_inner);
    given.take()
}

/// The list, for as long as a fork takes.
pub struct Held(MutexGuard<'static, Vec<Arc<Desk>>>);

impl Held {
    pub fn take() -> Self {
        Self(idle_threads())
    }

    /// In the child there is none of them.
    pub fn reset(mut self) {
        std::mem::forget(std::mem::take(&mut *self.0));
    }
}

fn idle_threads() -> MutexGuard<'static, Vec<Arc<Desk>>> {
    lock(&IDLE_THREADS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
