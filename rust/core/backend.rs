//! Backend: where a connection's data lives, as Connection and Cursor see it.
//!
//! Owns the trait only. The local worker implements it over SQLite; remotes and replicas over the network.
//! Must not know: Python, any backend.

use super::command::Command;
use super::guest::Guest;
use super::status::Status;

/// Runs commands in the order in which they were submitted.
pub trait Backend: Send + Sync {
    /// Queues a command; its operation is completed from another thread, also when it fails.
    fn submit(&self, command: Command);
    /// Tells the running statement, if any, to stop; with a guest, only if it is the guest's. Never queues, never waits.
    fn interrupt(&self, guest: Option<&Guest>);
    /// What the synchronous properties show.
    fn status(&self) -> &Status;
}
