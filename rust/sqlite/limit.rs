//! The run-time limits of a handle, by name.
//!
//! Owns the numbers that `sqlite3_limit` knows.
//! Thread: any.
//! Invariant: a number equals SQLite's own constant.
//! Must not know: who sets which limit.

use libsql::ffi;

/// What [`Handle::limit`](super::Handle::limit) can read and lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Limit {
    /// Bytes of a text, a blob or a row.
    Length = ffi::SQLITE_LIMIT_LENGTH,
    /// Bytes of an SQL text.
    SqlLength = ffi::SQLITE_LIMIT_SQL_LENGTH,
    /// Columns of a table, a result or an index.
    Column = ffi::SQLITE_LIMIT_COLUMN,
    /// Depth of an expression.
    ExprDepth = ffi::SQLITE_LIMIT_EXPR_DEPTH,
    /// Terms of a compound select.
    CompoundSelect = ffi::SQLITE_LIMIT_COMPOUND_SELECT,
    /// Instructions of a compiled statement.
    VdbeOp = ffi::SQLITE_LIMIT_VDBE_OP,
    /// Arguments of a function.
    FunctionArg = ffi::SQLITE_LIMIT_FUNCTION_ARG,
    /// Attached databases.
    Attached = ffi::SQLITE_LIMIT_ATTACHED,
    /// Bytes of a LIKE or GLOB pattern.
    LikePatternLength = ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
    /// Highest number of a parameter.
    VariableNumber = ffi::SQLITE_LIMIT_VARIABLE_NUMBER,
    /// Depth of triggers that fire triggers.
    TriggerDepth = ffi::SQLITE_LIMIT_TRIGGER_DEPTH,
    /// Threads that one statement may start for sorting.
    WorkerThreads = ffi::SQLITE_LIMIT_WORKER_THREADS,
}

impl From<Limit> for i32 {
    fn from(limit: Limit) -> Self {
        limit as Self
    }
}
