//! Detour: where a connection at a server runs what is not for the server.
//!
//! Owns the trait only; replicas implement it.
//! Thread: the network runtime's.
//! Must not know: what is there.

use std::pin::Pin;
use std::sync::Arc;

use crate::core::{Block, Command, Result, Shared};

/// Something that is waited for.
pub type Turn<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a command finds its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In no transaction.
    Free,
    /// In a block that the detour has begun, and the command takes part in.
    Aside,
    /// In a transaction at the server, or lent by a pool.
    Bound,
}

/// Takes commands out of a connection's queue when their turn has come.
pub trait Detour: Send + Sync {
    /// Opens what it runs commands on, before the connection counts as open.
    fn open<'a>(&'a self, operation: &'a Shared) -> Turn<'a, Result<()>>;
    /// Nobody has heard of the open.
    fn undo_open(&self) -> Turn<'_, ()>;
    /// The connection is closed.
    fn close(&self) -> Turn<'_, ()>;
    /// Runs a command, or has it run; `Some`: it is for the server.
    fn take(&self, command: Command, standing: Standing) -> Turn<'_, Option<Command>>;
    /// Something may have been written and committed; the server's number of that change, if it has told. `is_pooled`:
    /// others will look for it, so that whoever wrote waits until they can see it.
    fn written<'a>(
        &'a self,
        operation: &'a Shared,
        index: Option<u64>,
        is_pooled: bool,
    ) -> Turn<'a, Result<()>>;
    /// Begins a block that only reads. Until it is left, `take` runs what takes part in it.
    fn enter<'a>(&'a self, block: &'a Arc<Block>) -> Turn<'a, Result<()>>;
    /// Ends that block.
    fn leave<'a>(&'a self, block: &'a Arc<Block>, commits: bool) -> Turn<'a, Result<()>>;
}
