//! Status: what a connection's synchronous properties show.
//!
//! Owns atomics that the backend writes after each command and anyone reads without waiting.
//! Must not know: Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use super::notes::Notes;

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
    notes: Arc<Notes>,
}

impl Status {
    /// One whose notes others write too.
    pub fn with(notes: Arc<Notes>) -> Self {
        Self {
            notes,
            ..Self::default()
        }
    }

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

    /// As `publish`, of a statement that knows nothing of transactions: its connection may have begun one meanwhile.
    pub fn publish_changes(&self, total_changes: i64) {
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

    /// What whoever operates the program should know of.
    pub const fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// Whether changes were thrown away that nobody has been told of.
    pub fn take_discarded(&self) -> bool {
        self.discarded.swap(false, Ordering::SeqCst)
    }
}
