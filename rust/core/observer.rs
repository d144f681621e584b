//! Where a connection's statements can be watched: start, rows, end, error.
//!
//! Owns nothing; a session calls its observer on the worker's thread. It sees steps of work; what is told to Python
//! of a statement as a whole is counted in a `Tally`.
//! Must not know: Python.

use std::time::Duration;

use super::error::Error;

/// Watches the statements of one connection.
pub trait Observer: Send {
    /// A statement is about to run.
    fn started(&mut self, _sql: &str) {}
    /// Rows of it were read.
    fn rows(&mut self, _sql: &str, _count: usize) {}
    /// One step of work on it ended: its execution, or a fetch.
    fn ended(&mut self, _sql: &str, _took: Duration) {}
    /// It failed.
    fn failed(&mut self, _sql: &str, _error: &Error) {}
}
