//! Gauges: what a pool tells to whoever watches it.
//!
//! Owns the counts of a queue that only grow, and how a moment is shown.
//! Thread: the counts under the queue's lock, but for those that are atomic.
//! Must not know: Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::queue::PoolQueue;

/// What has happened at a queue since it was made.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub acquired: u64,
    /// Commands that did not find a handle at once, and how long they waited in all.
    pub queued: u64,
    pub waited: Duration,
    /// Waits that ended without a connection; the thread of deadlines counts too.
    pub timeouts: Arc<AtomicU64>,
    pub opened: u64,
    pub failed: u64,
    pub closed: u64,
    pub lost: u64,
    /// Commits of several writes, and these.
    pub groups: u64,
    pub grouped: u64,
}

/// A queue and its handles at one moment.
#[derive(Debug, Default, Clone, Copy)]
pub struct QueueState {
    pub open: usize,
    pub opening: usize,
    pub idle: usize,
    pub lent: usize,
    pub waiting: usize,
    pub acquired: u64,
    pub queued: u64,
    pub waited: Duration,
    pub timeouts: u64,
    pub opened: u64,
    pub failed: u64,
    pub closed: u64,
    pub lost: u64,
    pub groups: u64,
    pub grouped: u64,
}

/// A pool at one moment.
#[derive(Debug, Default, Clone, Copy)]
pub struct PoolState {
    pub writer: QueueState,
    pub readers: QueueState,
    /// Statements that the pool was given.
    pub statements: u64,
}

impl PoolState {
    /// Of both queues at the same moment.
    pub(super) fn of(writer: &PoolQueue, readers: &PoolQueue, statements: &AtomicU64) -> Self {
        let (writer, readers) = PoolQueue::states(writer, readers);
        Self {
            writer,
            readers,
            statements: statements.load(Ordering::Relaxed),
        }
    }

    /// A gauge of the whole pool.
    pub fn sum<T: std::ops::Add<Output = T>>(&self, of: impl Fn(&QueueState) -> T) -> T {
        of(&self.writer) + of(&self.readers)
    }
}
