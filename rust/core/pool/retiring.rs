//! Retiring: when a handle leaves its pool, and how.
//!
//! Owns the reasons. A handle leaves while nothing holds it: its worker closes the session, and the place is vacant.
//! Thread: the handle's worker; the deadlines' thread wakes it when it may have been idle for too long.
//! Must not know: Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::super::deadline;
use super::super::mailbox::Database;
use super::super::status::Phase;
use super::super::worker::Local;
use super::membership::{Handle, Membership};
use super::places::Places;
use super::serving::Role;

/// How long the connections of a pool live.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lifetimes {
    /// About so long after it was opened a connection is replaced.
    pub longest: Option<Duration>,
    /// So long a connection stays that nobody needs.
    pub idle: Option<Duration>,
}

/// Why a handle leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It met an error that may be its own.
    Broken,
    /// A borrower has changed it.
    Changed,
    Old,
    Unneeded,
}

/// Whether a handle may take commands of its pool.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    /// Something holds it.
    Held,
    /// Nothing does; it may have a reason to leave.
    Free(Option<Why>),
}

/// Wakes a handle that may have been idle for too long.
#[derive(Debug)]
pub(super) struct Visit(pub Weak<dyn Handle>);

impl Wake for Visit {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(handle) = self.0.upgrade() {
            if let Some(pool) = handle.membership() {
                pool.is_visited.store(false, Ordering::SeqCst);
            }
            handle.kick();
        }
    }
}

/// A time that is up to a twentieth shorter, so that what was opened together is not replaced together.
pub(super) fn shortened(time: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    // Each has keys of its own.
    let dice = RandomState::new().hash_one(0_u8) >> 32;
    let part = u32::try_from(dice % 1000).unwrap_or_default();
    time.saturating_sub(time * part / 20_000)
}

impl Membership {
    /// Whether the handle may take a command of the pool. `fault`: why it should leave.
    pub fn condition(&self, is_free: bool, fault: Option<Why>) -> Condition {
        if !is_free {
            return Condition::Held;
        }
        let expires = self.expires.get().copied().flatten();
        let is_old = || expires.is_some_and(|expires| Instant::now() >= expires);
        Condition::Free(fault.or_else(|| is_old().then_some(Why::Old)))
    }

    /// Whether it leaves the pool now, and why. `since`: when it became idle.
    pub(super) fn leaves(
        &self,
        places: &Places,
        why: Option<Why>,
        since: Option<Instant>,
        is_needed: bool,
    ) -> Option<Why> {
        if self.pool.is_single() {
            // It is the database.
            return None;
        }
        let is_writer = self.role == Role::Writer;
        match why {
            // Another one is opened at once.
            Some(Why::Old) if is_writer && !is_needed => None,
            Some(why) => Some(why),
            None if places.are_too_many() => Some(Why::Unneeded),
            None => {
                let longest = self.lifetimes.idle?;
                let is_over = since.is_some_and(|since| since.elapsed() >= longest);
                (is_over && !is_writer && !is_needed && places.may_spare()).then_some(Why::Unneeded)
            }
        }
    }

    /// It becomes idle, or stays so: since when, if that matters. It is looked after then.
    pub(super) fn is_idle_since(&self, since: Option<Instant>) -> Option<Instant> {
        let longest = self.lifetimes.idle.filter(|_| self.role == Role::Reader)?;
        let now = Instant::now();
        let since = since.unwrap_or(now);
        if !self.is_visited.swap(true, Ordering::SeqCst) {
            // One that may not be spared now is asked again later.
            let at = (since + longest).max(now + longest / 4);
            let visit = Waker::from(Arc::new(Visit(self.member.handle.clone())));
            if deadline::wake_at(at, visit).is_err() {
                // It stays open, which harms nobody.
                self.is_visited.store(false, Ordering::SeqCst);
            }
        }
        Some(since)
    }
}

impl Local {
    /// Whether it may take commands of its pool. `None`: it has left.
    pub(super) fn condition(&self, pool: &Membership, database: &Database) -> Option<Condition> {
        match database {
            Database::Open(session) => {
                Some(pool.condition(session.is_free(), session.tenure.fault()))
            }
            Database::Claimed => Some(Condition::Held),
            Database::Unopened if pool.is_suspended() => Some(Condition::Held),
            Database::Unopened | Database::Closed => {
                pool.leave(false, false);
                None
            }
            Database::Poisoned(_) => {
                pool.leave(false, true);
                None
            }
        }
    }

    /// Closes a handle that its pool does not want any more.
    pub(in super::super) fn retire(&self, database: Database, why: Why) -> Database {
        let Database::Open(session) = database else {
            return database;
        };
        // What it knows of the tables' sizes, others know too.
        self.status.hurry();
        let closed = catch_unwind(AssertUnwindSafe(|| session.close(&self.status)));
        // Cursors that have read all their rows are still read from.
        self.status.set_phase(Phase::Retired);
        self.status.publish(false, 0, false);
        if let Some(pool) = self.pool.get() {
            pool.leave(true, why == Why::Broken);
        }
        match closed {
            Ok(_) => Database::Closed,
            Err(panic) => self.poisoned(&*panic),
        }
    }

    /// Undoes what can be of what a borrower has changed.
    pub(in super::super) fn restore(&self, database: Database) -> Database {
        let restored = catch_unwind(AssertUnwindSafe(|| {
            let mut database = database;
            if let Database::Open(session) = &mut database {
                // Nobody is left to hear of an error.
                let _ = session.restore(&self.options);
            }
            database
        }));
        restored.unwrap_or_else(|panic| self.poisoned(&*panic))
    }
}
