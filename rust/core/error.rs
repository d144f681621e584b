//! The one error type of the core, for every backend.
//!
//! Owns the classification: by SQLite result code where there is one, by `Kind` where the driver itself
//! refuses. `python/exceptions.rs` has the only table from it to Python.
//! Must not know: Python.

use std::sync::Arc;

use crate::sqlite;

use super::channel::Opaque;

/// Why an operation failed.
#[derive(Debug, Clone)]
pub struct Error {
    /// Which family of exception this becomes.
    pub kind: Kind,
    /// What, then with what.
    pub message: String,
    /// The SQL that was running.
    pub sql: Option<Arc<str>>,
    /// Why a callback of the user's failed, if that is why.
    pub cause: Option<Opaque>,
    /// A server's name for it.
    pub code: Option<Arc<str>>,
}

/// The families of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQLite's own, classified by its extended result code.
    Sqlite(i32),
    /// The connection or cursor was closed, or never opened.
    Closed,
    /// The caller broke the rules of the API.
    Programming,
    /// A value does not fit.
    Data,
    /// The database could not do it.
    Operational,
    /// A per-call time limit passed.
    Timeout,
    /// No connection of the pool came free in time.
    PoolTimeout,
    /// The pool was closed.
    PoolClosed,
    /// A server can't be reached, or its connection was lost.
    Connect,
    /// A server refused the token or password, or they do not allow this.
    Auth,
    /// A server forgot a stream, and with it its transaction.
    StreamExpired,
    /// A replica can't be brought up to date.
    Sync,
    /// The backend can't do this.
    NotSupported,
    /// The caller's cancellation ended it; nobody but a shielded caller sees this.
    Cancelled,
    /// A panic, contained.
    Internal,
}

/// The core's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a family.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            sql: None,
            cause: None,
            code: None,
        }
    }

    pub fn closed() -> Self {
        Self::new(Kind::Closed, "Connection closed")
    }

    pub fn not_open() -> Self {
        Self::new(
            Kind::Closed,
            "no active connection: await the connection, or use async with, before using it",
        )
    }

    pub fn pool_not_open() -> Self {
        Self::new(
            Kind::Closed,
            "the pool is not open: await it, or use async with, before using it",
        )
    }

    pub fn inherited() -> Self {
        let message = "this connection was opened before a fork and can't be used in the child: open one there";
        Self::new(Kind::Operational, message)
    }

    pub fn programming(message: impl Into<String>) -> Self {
        Self::new(Kind::Programming, message)
    }

    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data, message)
    }

    pub fn operational(message: impl Into<String>) -> Self {
        Self::new(Kind::Operational, message)
    }

    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Kind::Timeout, message)
    }

    pub fn pool_timeout(message: impl Into<String>) -> Self {
        Self::new(Kind::PoolTimeout, message)
    }

    pub fn pool_closed() -> Self {
        Self::new(Kind::PoolClosed, "the pool is closed")
    }

    /// What only replicas do.
    pub fn no_replica() -> Self {
        let message =
            "syncs are not supported by databases that are no replicas: sync_url makes one";
        Self::new(Kind::NotSupported, message)
    }

    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "the operation was cancelled")
    }

    /// A transaction is gone that nobody ended.
    pub fn rolled_back(why: &str) -> Self {
        Self::operational(format!("the transaction was rolled back: {why}"))
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The same error, naming the statement it came from.
    #[must_use]
    pub fn with_sql(mut self, sql: &Arc<str>) -> Self {
        self.sql.get_or_insert_with(|| Arc::clone(sql));
        self
    }

    /// SQLite's primary result code, if it is SQLite's error.
    pub const fn primary_code(&self) -> Option<i32> {
        match self.kind {
            Kind::Sqlite(extended) => Some(extended & 0xff),
            _ => None,
        }
    }
}

impl From<sqlite::Error> for Error {
    fn from(error: sqlite::Error) -> Self {
        Self::new(Kind::Sqlite(error.code), error.message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
