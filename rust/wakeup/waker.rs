//! Waker: tells one loop that one suspended operation can be polled again.
//!
//! Owns the ticket of a single suspension. Thread: any.
//! Invariant: a ticket is pushed at most once, however often the waker is called.

use std::task::Wake;

use super::completions::{Bell, CompletionQueue, Ticket};

/// Pushes its ticket to the queue of the loop where the operation sleeps.
#[derive(Debug)]
pub struct TicketWaker<B> {
    queue: std::sync::Arc<CompletionQueue<B>>,
    ticket: Ticket,
    fired: std::sync::atomic::AtomicBool,
}

impl<B: Bell> TicketWaker<B> {
    /// A waker for the suspension named `ticket`.
    pub const fn new(queue: std::sync::Arc<CompletionQueue<B>>, ticket: Ticket) -> Self {
        Self {
            queue,
            ticket,
            fired: std::sync::atomic::AtomicBool::new(false),
        }
    }
}

impl<B: Bell> Wake for TicketWaker<B> {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        if !self.fired.swap(true, std::sync::atomic::Ordering::AcqRel) {
            self.queue.push(self.ticket);
        }
    }
}
