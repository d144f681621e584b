//! How a completion reaches the event loop that waits for it.
//!
//! Owns the wakeup file descriptor, the queue of finished operations and the wakers that feed it.
//! Threads: wakers run anywhere; `drain` runs only on the loop that owns the queue.
//! Invariant: a non-empty queue has a readable descriptor.
//! Must not know: Python, SQLite, commands.

mod completions;
#[cfg(not(loom))]
mod fd;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;
mod waker;

pub use completions::{Bell, CompletionQueue, Ticket};
#[cfg(not(loom))]
pub use fd::WakeupFd;
pub use waker::TicketWaker;
