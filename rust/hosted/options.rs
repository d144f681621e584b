//! How a connection to a database at a server is opened.
//!
//! Owns nothing but the choices.
//! Must not know: Python.

use std::sync::Arc;
use std::time::Duration;

use crate::core::TransactionMode;
use crate::remote::Remote;

use super::detour::Detour;

/// How to open a connection at a server.
pub struct Options {
    pub remote: Arc<Remote>,
    /// How long a statement waits for a block to end.
    pub timeout: Duration,
    pub mode: TransactionMode,
    /// Its callers wait on their own threads.
    pub is_blocking: bool,
    /// Where some of its commands are run instead.
    pub detour: Option<Arc<dyn Detour>>,
}
