//! Reentrancy: code that a connection waits for must not await that connection.
//!
//! Owns the threads on which such code runs just now: the iterable of an `executemany`, callbacks.
//! Thread: any that is attached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use pyo3::prelude::*;

use super::exceptions;

/// Which threads may not await just now.
#[derive(Debug, Default)]
pub struct Reentrancy {
    refused: Mutex<Vec<ThreadId>>,
    /// There are some: this is all that most awaits look at.
    refuses: AtomicBool,
}

/// While it lives, awaits on this thread are refused.
pub struct Refusal<'a> {
    reentrancy: &'a Reentrancy,
    thread: ThreadId,
}

impl Reentrancy {
    /// Refuses awaits on this thread until the guard is dropped.
    pub fn refuse(&self) -> Refusal<'_> {
        let thread = std::thread::current().id();
        self.lock().push(thread);
        self.refuses.store(true, Ordering::Release);
        Refusal {
            reentrancy: self,
            thread,
        }
    }

    /// Raises where an await could never end.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        if !self.refuses.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.lock().contains(&std::thread::current().id()) {
            let message =
                "a callback, or executemany's iterable, can't use the connection that waits for it";
            return Err(exceptions::programming(py, message));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        let mut refused = self.reentrancy.lock();
        let place = refused.iter().rposition(|thread| *thread == self.thread);
        if let Some(place) = place {
            refused.swap_remove(place);
        }
        self.reentrancy
            .refuses
            .store(!refused.is_empty(), Ordering::Release);
    }
}
