//! Reentrancy: code that a connection waits for must not await that connection.
//!
//! Owns the thread on which such code runs just now: the iterable of an `executemany`.
//! Thread: any that is attached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use pyo3::prelude::*;

use super::exceptions;

/// Which thread may not await just now.
#[derive(Debug, Default)]
pub struct Reentrancy {
    refused: Mutex<Option<ThreadId>>,
    /// There is one: this is all that most awaits look at.
    refuses: AtomicBool,
}

/// While it lives, awaits on this thread are refused.
pub struct Refusal<'a> {
    reentrancy: &'a Reentrancy,
    previous: Option<ThreadId>,
}

impl Reentrancy {
    /// Refuses awaits on this thread until the guard is dropped.
    pub fn refuse(&self) -> Refusal<'_> {
        let previous = self.lock().replace(std::thread::current().id());
        self.refuses.store(true, Ordering::Release);
        Refusal {
            reentrancy: self,
            previous,
        }
    }

    /// Raises where an await could never end.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        let refuses = self.refuses.load(Ordering::Acquire);
        if refuses && *self.lock() == Some(std::thread::current().id()) {
            let message = "executemany's iterable can't use the connection that waits for it";
            return Err(exceptions::programming(py, message));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        *self.reentrancy.lock() = self.previous;
        let refuses = self.previous.is_some();
        self.reentrancy.refuses.store(refuses, Ordering::Release);
    }
}
