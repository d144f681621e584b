//! Membership: a handle's place in its pool, and what every kind of handle does with it.
//!
//! Owns when the handle serves, and when it is replaced.
//! Thread: whatever runs the handle's commands; `serve` on any.
//! Invariant: a place is given up once, whatever closed the handle.
//! Must not know: Python, what a handle is a handle of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::super::encryption::KeySlot;
use super::super::error::Error;
use super::super::notes::{Area, Severity};
use super::super::options::TransactionMode;
use super::Pool;
use super::queue::{PoolQueue, Pulled};
use super::retiring::{Condition, Lifetimes, shortened};
use super::serving::Role;
use super::waiting::{Limits, Member};

/// The mode of a handle that nobody has: each statement is a transaction.
pub const UNLENT: TransactionMode = TransactionMode::Autocommit { manual_end: false };

/// A handle of a pool, as its pool sees it.
pub trait Handle: Send + Sync {
    /// Has it look for commands of the pool, soon.
    fn kick(self: Arc<Self>);

    /// Whoever had it has let go of it without a word.
    fn take_back(self: Arc<Self>);

    fn membership(&self) -> Option<&Membership>;
}

/// A handle's place in a pool.
#[derive(Debug)]
pub struct Membership {
    pub(in super::super) pool: Arc<Pool>,
    pub(super) member: Member,
    pub(in super::super) role: Role,
    pub(super) limits: Limits,
    pub(super) lifetimes: Lifetimes,
    /// Tells the queue that this handle is about to do what is not known to be quick. `None`: nothing that it does is.
    pub(super) slows: Option<Waker>,
    /// It is ready for the pool's commands.
    pub(super) serves: AtomicBool,
    is_suspended: AtomicBool,
    /// When it is replaced, if ever; set when it is open.
    pub(super) expires: OnceLock<Option<Instant>>,
    /// It will be looked at when it may have been idle for too long.
    pub(super) is_visited: AtomicBool,
}

struct Slows {
    pool: Weak<Pool>,
    role: Role,
    index: u32,
}

impl Wake for Slows {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.queue_of(self.role).slows(self.index);
        }
    }
}

impl Membership {
    /// Of a handle that is not open yet. `tells_when_slow`: it runs what is in its own `unheard` before it does what may
    /// take long.
    pub fn new(
        pool: &Arc<Pool>,
        (role, index): (Role, u32),
        handle: Weak<dyn Handle>,
        limits: Limits,
        lifetimes: Lifetimes,
        tells_when_slow: bool,
    ) -> Self {
        pool.queue_of(role).mark();
        let slows = || {
            Waker::from(Arc::new(Slows {
                pool: Arc::downgrade(pool),
                role,
                index,
            }))
        };
        Self {
            pool: Arc::clone(pool),
            member: Member { index, handle },
            role,
            limits,
            lifetimes,
            slows: tells_when_slow.then(slows),
            serves: AtomicBool::new(false),
            is_suspended: AtomicBool::new(false),
            expires: OnceLock::new(),
            is_visited: AtomicBool::new(false),
        }
    }

    pub(super) fn queue(&self) -> &PoolQueue {
        self.pool.queue_of(self.role)
    }

    /// The handle's place in the pool.
    pub const fn index(&self) -> u32 {
        self.member.index
    }

    /// What it does there.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The handle is open: it takes commands from now on. `true`: it is to be kicked.
    pub fn serve(&self, is_open: bool) -> bool {
        let longest = self.lifetimes.longest;
        let expires = longest.map(|longest| Instant::now() + shortened(longest));
        let _ = self.expires.set(expires);
        self.serves.store(true, Ordering::Release);
        !self.queue().welcome(self) || !is_open
    }

    /// Whether it may get commands of the pool.
    pub fn serves(&self) -> bool {
        self.serves.load(Ordering::Acquire)
    }

    /// The next commands of the pool. If there are none it is idle, and will be kicked.
    pub fn pull(&self, condition: Condition) -> Pulled {
        self.queue().pull(self, condition)
    }

    /// Its caller is about to hear of a command's end, and it is free then: nobody need open another one.
    pub fn announce(&self) {
        self.queue().expect(self.member.index);
    }

    /// It is closed. `was_announced`: because it was told to retire; `was_lost`: for an error.
    pub fn leave(&self, was_announced: bool, was_lost: bool) {
        if !self.serves.swap(false, Ordering::SeqCst) {
            return;
        }
        if self.pool.is_single() {
            let message = "the database in memory is lost: its only connection is closed";
            self.queue().close_if_open(&Error::operational(message));
        }
        let index = self.member.index;
        let (severity, text) = if was_lost {
            (Severity::Warning, "was closed, for it met an error")
        } else {
            (Severity::Debug, "was closed")
        };
        let text = format!("connection {index} {text}");
        self.pool.notes().add(Area::Pool, severity, text);
        self.queue().left(index, was_announced, was_lost);
    }

    /// It was kicked, and can't run anything now; maybe when it is kicked again.
    pub fn fail(&self, why: &Error) {
        self.queue().put_back(&self.member);
        self.queue().refuse(why);
    }

    /// No handle of the pool takes a command any more.
    pub fn close_pool(&self, why: &Error) {
        self.pool.close(why);
    }

    /// Gives the key of the pool to a handle of it that is about to be opened.
    pub(in super::super) fn give_key(&self, own: &KeySlot) {
        self.pool.key.give(own);
    }

    /// A handle has changed the key of the file.
    pub(in super::super) fn follow_key(&self, own: &KeySlot) {
        self.pool.key.follow(own);
    }

    /// Its borrower has closed the handle, and will open it again.
    pub(in super::super) fn suspend(&self) {
        self.is_suspended.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::SeqCst)
    }

    /// It is open again, or will not be. `true`: it was suspended, and is lent still.
    pub(in super::super) fn resume(&self) -> bool {
        self.is_suspended.swap(false, Ordering::SeqCst)
    }
}
