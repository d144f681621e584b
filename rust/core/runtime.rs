//! The Tokio runtime that every network backend runs on.
//!
//! Owns it, from its first use to the end of the process.
//! Thread: any; its own one runs the tasks.
//! Invariant: a child of a fork never touches its parent's runtime. Its threads are not there, and it shares the
//! parent's epoll descriptor, so even closing a socket of it would take that socket from the parent's poll.
//! Must not know: Python, what runs on it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::error::{Error, Result};

/// Sockets need little work of the processor, and with several threads each request wakes more than one. What takes
/// long, reading many rows, has another thread take its place meanwhile (`block_in_place`).
const THREADS: usize = 1;

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// The runtime, started if there is none.
///
/// # Errors
/// The operating system's, when it has no more threads or files.
pub fn runtime() -> Result<Handle> {
    let mut slot = lock();
    if let Some(runtime) = &*slot {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("aiolibsql-net")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| {
            Error::operational(format!("cannot start the network threads: {error}"))
        })?;
    Ok(slot.insert(runtime).handle().clone())
}

/// Ends the runtime: what runs on it is dropped at its next wait. Gives up after `limit`; never waits where there is none.
pub fn shut_down(limit: Duration) {
    let runtime = lock().take();
    if let Some(runtime) = runtime {
        runtime.shutdown_timeout(limit);
    }
}

/// The runtime, for as long as a fork takes.
pub struct Held(MutexGuard<'static, Option<Runtime>>);

impl Held {
    pub fn take() -> Self {
        Self(lock())
    }

    /// The child begins without one.
    pub fn reset(mut self) {
        std::mem::forget(self.0.take());
    }
}

fn lock() -> MutexGuard<'static, Option<Runtime>> {
    RUNTIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use std::time::{Duration, Instant};

    use super::{Held, runtime, shut_down};

    /// One test for all of it: there is one runtime.
    #[test]
    fn a_child_has_a_runtime_of_its_own_and_the_end_does_not_wait() {
        let first = runtime().unwrap();
        assert_eq!(first.id(), runtime().unwrap().id());
        // What a fork does, seen from the child.
        Held::take().reset();
        let second = runtime().unwrap();
        assert_ne!(first.id(), second.id());
        let (sender, receiver) = std::sync::mpsc::channel();
        second.spawn(async move { sender.send(7).unwrap() });
        assert_eq!(receiver.recv_timeout(Duration::from_secs(5)), Ok(7));
        second.spawn(std::future::pending::<()>());
        let (release, held) = std::sync::mpsc::channel::<()>();
        second.spawn_blocking(move || {
            let _ = held.recv();
        });
        let begin = Instant::now();
        shut_down(Duration::from_millis(100));
        assert!(begin.elapsed() < Duration::from_secs(5));
        drop(release);
        shut_down(Duration::from_secs(60));
    }
}
