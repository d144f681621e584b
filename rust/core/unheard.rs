//! Unheard: callers whose operations have ended and who were not woken yet.
//!
//! To wake one may be a system call and, where the loop has to share the processor with us, two switches of threads.
//! So commands that are known to be quick follow each other first.
//! Owns the list of a thread that runs commands: a worker's, or that of a blocking connection's caller; and whom to tell
//! that what comes next may take its time.
//! Invariant: nobody is in the list while the worker sleeps, waits for a lock, or runs what is not known to be quick.
//! Must not know: Python, sessions.

use std::cell::RefCell;
use std::task::Waker;

/// So many of them are work enough for the loop.
const MOST: usize = 8;

thread_local! {
    static UNHEARD: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static BEFORE_DELAY: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Adds a caller.
pub fn add(waker: Waker) {
    UNHEARD.with_borrow_mut(|unheard| unheard.push(waker));
}

pub fn is_empty() -> bool {
    UNHEARD.with_borrow(Vec::is_empty)
}

/// Wakes this one, once, before the thread does anything that is not known to be quick.
pub fn before_delay(waker: &Waker) {
    BEFORE_DELAY.with_borrow_mut(|slot| {
        slot.get_or_insert_with(|| waker.clone());
    });
}

/// A quick command comes next: wakes them if they are many.
pub fn wake_if_many() {
    if UNHEARD.with_borrow(Vec::len) >= MOST {
        wake_callers();
    }
}

/// Wakes them all: there may be a delay.
pub fn wake_all() {
    if let Some(waker) = BEFORE_DELAY.take() {
        waker.wake();
    }
    wake_callers();
}

/// Wakes them all, and tells nobody of a delay.
pub fn wake_callers() {
    let mut wakers = UNHEARD.take();
    if wakers.is_empty() {
        return;
    }
    wakers.drain(..).for_each(Waker::wake);
    // Its room is used again.
    UNHEARD.with_borrow_mut(|unheard| {
        if unheard.is_empty() {
            *unheard = wakers;
        }
    });
}
