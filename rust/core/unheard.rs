//! Unheard: callers whose operations have ended and who were not woken yet.
//!
//! To wake one may be a system call and, where the loop has to share the processor with us, two switches of threads.
//! So commands that are known to be quick follow each other first.
//! Owns the list of a thread that runs commands: a worker's, or that of a blocking connection's caller.
//! Invariant: nobody is in the list while the worker sleeps, waits for a lock, or runs what is not known to be quick.
//! Must not know: Python, sessions.

use std::cell::RefCell;
use std::task::Waker;

/// So many of them are work enough for the loop.
const MOST: usize = 8;

thread_local! {
    static UNHEARD: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Adds a caller.
pub fn add(waker: Waker) {
    UNHEARD.with_borrow_mut(|unheard| unheard.push(waker));
}

pub fn is_empty() -> bool {
    UNHEARD.with_borrow(Vec::is_empty)
}

/// A quick command comes next: wakes them if they are many.
pub fn wake_if_many() {
    if UNHEARD.with_borrow(Vec::len) >= MOST {
        wake_all();
    }
}

/// Wakes them all.
pub fn wake_all() {
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
