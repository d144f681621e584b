//! Tally: what one execution has cost, for whoever asked to be told.
//!
//! Owns two counts of a `RowStream`. The backend adds to them, whether the statement succeeds or not; they are read when it has
//! ended, on any thread.
//! Must not know: Python, who asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a statement kept its backend busy, and the rows that came of it.
#[derive(Debug, Default)]
pub struct Tally {
    nanoseconds: AtomicU64,
    rows: AtomicU64,
}

/// Adds the time of its life to a tally.
#[derive(Debug)]
pub struct Timing<'a> {
    tally: &'a Tally,
    began: Instant,
}

impl Tally {
    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// It is executed again, from the beginning: only what takes time counts twice.
    pub(super) fn restart(&self) {
        self.rows.store(0, Ordering::Relaxed);
    }

    pub(super) const fn since(&self, began: Instant) -> Timing<'_> {
        Timing { tally: self, began }
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let took = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tally.nanoseconds.fetch_add(took, Ordering::Relaxed);
    }
}
