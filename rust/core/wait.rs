//! Waiting on a thread of its own for an operation to end, without an event loop.
//!
//! Thread: any; it sleeps. Must not know: Python, what the operation is.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use super::command::Shared;
use super::operation::Event;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Sleeps until an operation has ended, whose result stays, or it is too late. `true`: it has.
pub fn wait_for_end(operation: &Shared, until: Instant) -> bool {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let context = Context::from_waker(&waker);
    while operation.poll_end(&context).is_pending() {
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::park_timeout(left),
            _ => return false,
        }
    }
    true
}

/// Sleeps until an operation has ended, whose result is thrown away, or it is too late. `true`: it has.
pub fn wait_for(operation: &Shared, until: Instant) -> bool {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match operation.poll(&mut context) {
            Poll::Ready(Event::Finished(_)) => return true,
            Poll::Ready(Event::Progress) => {}
            Poll::Pending => match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::park_timeout(left),
                _ => return false,
            },
        }
    }
}
