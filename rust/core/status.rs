//! Status: what a connection's synchronous properties show.
//!
//! Owns atomics that the backend writes after each command and anyone reads without waiting.
//! Must not know: Python.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether a connection can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Unopened = 0,
    Open = 1,
    Closed = 2,
    /// A pool has closed it; what was read of it before is as good as ever.
    Retired = 3,
}

/// A connection's published state.
#[derive(Debug, Default)]
pub struct Status {
    phase: AtomicU8,
    in_transaction: AtomicBool,
    total_changes: AtomicI64,
    in_block: AtomicBool,
    discarded: AtomicBool,
    hurried: AtomicBool,
    has_warning: AtomicBool,
    warning: Mutex<Option<String>>,
}

impl Status {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Unopened,
            1 => Phase::Open,
            3 => Phase::Retired,
            _ => Phase::Closed,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Acquire)
    }

    pub fn total_changes(&self) -> i64 {
        self.total_changes.load(Ordering::Acquire)
    }

    pub fn publish(&self, in_transaction: bool, total_changes: i64, in_block: bool) {
        // The end of the operation, which the caller sees first, orders these.
        self.in_block.store(in_block, Ordering::Release);
        self.in_transaction.store(in_transaction, Ordering::Release);
        self.total_changes.store(total_changes, Ordering::Release);
    }

    /// Whether a transaction block is open.
    pub fn in_block(&self) -> bool {
        self.in_block.load(Ordering::Acquire)
    }

    /// A close threw uncommitted changes away.
    pub fn set_discarded(&self) {
        self.discarded.store(true, Ordering::SeqCst);
    }

    /// The next close has to be quick: nobody asked for it, or the process ends.
    pub fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
    }

    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::SeqCst)
    }

    /// Leaves a text for whoever operates the program; the last one stays.
    pub fn warn(&self, warning: String) {
        *self.warning.lock().unwrap_or_else(PoisonError::into_inner) = Some(warning);
        self.has_warning.store(true, Ordering::SeqCst);
    }

    /// Whether there is a text that nobody has been told.
    pub fn has_warning(&self) -> bool {
        self.has_warning.load(Ordering::Acquire)
    }

    /// A text that nobody has been told.
    pub fn take_warning(&self) -> Option<String> {
        let has_warning = self.has_warning.load(Ordering::Acquire);
        if !has_warning || !self.has_warning.swap(false, Ordering::SeqCst) {
            return None;
        }
        self.warning
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether changes were thrown away that nobody has been told of.
    pub fn take_discarded(&self) -> bool {
        self.discarded.swap(false, Ordering::SeqCst)
    }
}
