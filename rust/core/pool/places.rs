//! Places: how many connections a queue's handles may be, are, and are about to be.
//!
//! Owns these counts and the numbers of places. A place is vacant until somebody who needs a connection opens one, and
//! again when that was closed.
//! Thread: under the queue's lock.
//! Invariant: no more are open or being opened than there may be, but for those that are closed because of that.
//! Must not know: commands, sessions, Python.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// After an open that failed, others are left to serve this long before the next one is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// The places of one queue.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// How many connections there may be.
    size: usize,
    /// So many are kept though nobody needs them.
    least: usize,
    open: usize,
    opening: usize,
    /// Open ones that are about to be closed.
    closing: usize,
    /// Numbers that were used, and are free again.
    free: BTreeSet<u32>,
    next: u32,
    paused_until: Option<Instant>,
}

impl Places {
    /// The first of its places has this number.
    pub fn from(first: u32) -> Self {
        Self {
            next: first,
            ..Self::default()
        }
    }

    pub fn resize(&mut self, size: usize, least: usize) {
        self.size = size;
        self.least = least.min(size);
        self.paused_until = None;
    }

    pub const fn open(&self) -> usize {
        self.open
    }

    pub const fn opening(&self) -> usize {
        self.opening
    }

    /// How many more may be opened.
    pub fn vacant(&self) -> usize {
        let taken = self.open + self.opening;
        let is_paused = taken > 0
            && self
                .paused_until
                .is_some_and(|until| Instant::now() < until);
        if is_paused {
            return 0;
        }
        self.size.saturating_sub(taken)
    }

    /// Whether fewer are open than are kept.
    pub const fn are_few(&self) -> bool {
        self.open + self.opening < self.least
    }

    /// Whether one that nobody needs may be closed.
    pub const fn may_spare(&self) -> bool {
        self.open - self.closing > self.least
    }

    /// Whether more are open than there may be.
    pub const fn are_too_many(&self) -> bool {
        self.open - self.closing > self.size
    }

    /// A connection is about to be opened.
    pub fn take(&mut self) -> Option<u32> {
        if self.vacant() == 0 {
            return None;
        }
        self.opening += 1;
        Some(self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        }))
    }

    /// It was not opened.
    pub fn give_up(&mut self, place: u32) {
        self.opening = self.opening.saturating_sub(1);
        self.free.insert(place);
    }

    /// One that is being opened can't be. `true`: there is no other one, and none on the way.
    pub fn fail(&mut self) -> bool {
        self.paused_until = Some(Instant::now() + PAUSE);
        self.open + self.opening <= 1
    }

    /// It was opened.
    pub fn fill(&mut self) {
        self.opening = self.opening.saturating_sub(1);
        self.open += 1;
        self.paused_until = None;
    }

    /// One is about to be closed.
    pub const fn begin_leaving(&mut self) {
        self.closing += 1;
    }

    /// It is closed.
    pub fn leave(&mut self, place: u32, was_announced: bool) {
        self.open = self.open.saturating_sub(1);
        if was_announced {
            self.closing = self.closing.saturating_sub(1);
        }
        self.free.insert(place);
    }
}
