//! Completion queue: how a finished operation reaches the loop that waits for it.
//!
//! Owns the tickets of finished operations and the armed flag.
//! Thread: `push` from anywhere; `drain` only on the loop that owns the queue.
//! Invariant: a non-empty queue has a rung bell, so `drain` clears the flag before it takes the queue;
//! the other order loses a wakeup (see the loom test).
//! Must not know: Python, SQLite.

use super::sync::{AtomicBool, Mutex, Ordering};

/// Names one suspension of one operation; never reused, so a late completion finds nobody.
pub type Ticket = u64;

/// What makes the loop's thread look at the queue.
pub trait Bell {
    /// Makes the loop wake up. Called from any thread.
    fn ring(&self);
    /// Takes the ring back. Called by the loop's thread.
    fn silence(&self);
}

/// Tickets on their way from any thread to one loop.
#[derive(Debug)]
pub struct CompletionQueue<B> {
    tickets: Mutex<Vec<Ticket>>,
    armed: AtomicBool,
    bell: B,
}

impl<B: Bell> CompletionQueue<B> {
    /// An empty queue that rings `bell`.
    pub fn new(bell: B) -> Self {
        Self {
            tickets: Mutex::new(Vec::new()),
            armed: AtomicBool::new(false),
            bell,
        }
    }

    /// The bell, for whoever has to listen to it.
    pub const fn bell(&self) -> &B {
        &self.bell
    }

    /// Adds a ticket; rings only if nobody rang since the last drain.
    pub fn push(&self, ticket: Ticket) {
        self.lock().push(ticket);
        self.ring_once();
    }

    /// Moves every ticket into `into`, which keeps its capacity from drain to drain.
    pub fn drain(&self, into: &mut Vec<Ticket>) {
        self.bell.silence();
        // An exchange, which a store of this ordering is to the processor anyway: loom orders a plain store only
        // partly against the pushers' exchanges, and would report wakeups lost that no machine loses.
        self.armed.swap(false, Ordering::SeqCst);
        std::mem::swap(&mut *self.lock(), into);
    }

    /// Puts tickets back that a drain took and could not serve, in front of newer ones.
    pub fn restore(&self, rest: &[Ticket]) {
        self.lock().splice(0..0, rest.iter().copied());
        self.ring_once();
    }

    fn ring_once(&self) {
        if !self.armed.swap(true, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    #[cfg(not(loom))]
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Ticket>> {
        self.tickets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(loom)]
    fn lock(&self) -> loom::sync::MutexGuard<'_, Vec<Ticket>> {
        self.tickets.lock().expect("loom mutexes are not poisoned")
    }
}
