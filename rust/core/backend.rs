//! Backend: where a connection's data lives, as Connection and Cursor see it.
//!
//! Owns the trait, and what is the same in all backends that run their commands on other threads than the callers'. The
//! local worker implements it over SQLite; remotes and replicas over the network.
//! Must not know: Python, any backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{Command, Shared};
use super::guest::Guest;
use super::here::Look;
use super::process::Birth;
use super::status::Status;
use super::wait::wait_for_end;

/// So long a thread waits before it looks whether it must stop.
const LOOK: Duration = Duration::from_millis(100);

/// Runs commands in the order in which they were submitted.
pub trait Backend: Send + Sync {
    /// Queues a command; its operation is completed from another thread, also when it fails.
    fn submit(&self, command: Command);
    /// Tells the running statement, if any, to stop; with a guest, only if it is the guest's. Never queues, never waits.
    fn interrupt(&self, guest: Option<&Guest>);
    /// What the synchronous properties show.
    fn status(&self) -> &Status;
    /// The process that it belongs to: that of its first command.
    fn birth(&self) -> &Birth;
    /// How long a statement waits for locks, unless it was told otherwise since.
    fn timeout(&self) -> Duration;
    /// The process ends: stops what runs and refuses what waits.
    fn stop(&self);

    /// Whether its callers wait for its commands on their own threads.
    fn is_blocking(&self) -> bool;
    /// Runs a command to its end, seen from this thread. `false`: `look` says that this thread must stop before.
    fn run_now(&self, command: Command, look: Look) -> bool {
        let operation = Arc::clone(&command.operation);
        self.submit(command);
        self.serve_here(&operation, look)
    }
    /// As `run_now`, for a command that was submitted.
    fn serve_here(&self, operation: &Shared, look: Look) -> bool {
        while !wait_for_end(operation, Instant::now() + LOOK) {
            if look() {
                return false;
            }
        }
        true
    }
    /// Runs what nobody waits for, if it is run on callers' threads.
    fn settle(&self) {}
    /// Whether this thread runs a command of it, and is in a callback.
    fn is_claimed_here(&self) -> bool {
        false
    }

    /// Whether it was used before this process was forked. Until its first command nobody shares it.
    fn is_inherited(&self) -> bool {
        self.birth().is_inherited()
    }
    /// Whether a command was ever submitted, in this process.
    fn is_used(&self) -> bool {
        self.birth().is_marked() && !self.is_inherited()
    }
}
