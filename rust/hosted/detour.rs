//! Detour: where a connection at a server runs what is not for the server.
//!
//! Owns the trait only; replicas implement it.
//! Thread: the network runtime's.
//! Must not know: what is there.

use std::pin::Pin;

use crate::core::{Command, Result, Shared};

/// Something that is waited for.
pub type Turn<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes commands out of a connection's queue when their turn has come.
pub trait Detour: Send + Sync {
    /// Opens what it runs commands on, before the connection counts as open.
    fn open<'a>(&'a self, operation: &'a Shared) -> Turn<'a, Result<()>>;
    /// Nobody has heard of the open.
    fn undo_open(&self) -> Turn<'_, ()>;
    /// The connection is closed.
    fn close(&self) -> Turn<'_, ()>;
    /// Runs a command, or has it run; `Some`: it is for the server. `is_free`: no transaction is open there.
    fn take(&self, command: Command, is_free: bool) -> Turn<'_, Option<Command>>;
    /// Something may have been written and committed; the server's number of that change, if it tells. `is_pooled`: others
    /// will look for it, so that whoever wrote waits until they can see it.
    fn written(&self, index: Option<u64>, is_pooled: bool) -> Turn<'_, Result<()>>;
}
