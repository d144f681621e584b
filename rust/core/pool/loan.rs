//! Loan: a handle of a pool that somebody has.
//!
//! Owns the right to it, from the moment when the handle took the request of its borrower on, which may not have heard
//! of it yet. Whoever lets go of it without a word has given it back.
//! Threads: made on the handle's worker, ended on any.
//! Invariant: it is counted for as long as it is not over, and the handle hears of its end before anything else
//! of the pool.
//! Must not know: Python.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::Pool;
use super::membership::{Handle, Membership};
use super::serving::Role;

/// What a borrower has of a connection.
#[derive(Debug)]
pub struct Loan {
    pool: Arc<Pool>,
    handle: Weak<dyn Handle>,
    role: Role,
    index: u32,
    is_over: AtomicBool,
}

impl Loan {
    /// The queue has counted it.
    pub(super) fn new(membership: &Membership) -> Self {
        membership.pool.lent.fetch_add(1, Ordering::SeqCst);
        Self {
            pool: Arc::clone(&membership.pool),
            handle: Weak::clone(&membership.member.handle),
            role: membership.role,
            index: membership.member.index,
            is_over: AtomicBool::new(false),
        }
    }

    /// The place of the connection in its pool.
    pub const fn index(&self) -> u32 {
        self.index
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// It is counted no more; the handle is still to hear of it. `false`: it was over.
    pub fn end(&self) -> bool {
        let ended = !self.is_over.swap(true, Ordering::SeqCst);
        if ended {
            self.pool.take_back(self.role);
        }
        ended
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.end()
            && let Some(handle) = self.handle.upgrade()
        {
            handle.take_back();
        }
    }
}
