//! The Tokio runtime that every network backend runs on.
//!
//! Owns it, from its first use to the end of the process.
//! Thread: any; its own two run the tasks.
//! Invariant: a child of a fork never touches its parent's runtime. Its threads are not there, and it shares the
//! parent's epoll descriptor, so even closing a socket of it would take that socket from the parent's poll.
//! Must not know: Python, what runs on it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::error::{Error, Result};

/// Sockets need little work of the processor; what takes long, reading rows, is shared by two.
const THREADS: usize = 2;

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
