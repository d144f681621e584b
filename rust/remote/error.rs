//! What can go wrong between us and a server, and what it means for the request that was on its way.
//!
//! Owns the classification: by the code that the server gave and by where the request was when it failed, never by a
//! message. `sql_error` has the table from it to the core's errors.
//! Invariant: no message holds a token, a password or a URL's query.
//! Must not know: Python.

use std::fmt;

/// An error of the remote client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Which family it is of.
    pub kind: Kind,
    /// The server's name for it, or ours in the same style.
    pub code: Option<Box<str>>,
    /// What, then with what.
    pub message: String,
    /// What became of the request.
    pub fate: Fate,
}

/// The families of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A URL or an option, or two that contradict each other; the caller's mistake.
    Usage,
    /// The server can't be reached, or its connection was lost.
    Connect,
    /// Something took longer than its limit.
    Timeout,
    /// The token or password was refused, or does not allow this.
    Auth,
    /// The stream does not exist any more, and with it its transaction.
    Expired,
    /// The statement failed.
    Sql,
    /// The answer is larger than the server sends at once, or than we take.
    TooLarge,
    /// The server refused the request for a reason of its own.
    Server,
    /// The server's answer makes no sense.
    Protocol,
    /// This server can't do it.
    Unsupported,
    /// The client was closed.
    Closed,
}

/// What became of the request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it left this process: it may be repeated.
    NeverSent,
    /// The server said no, and changed nothing for it.
    Refused,
    /// It may have been carried out.
    Unknown,
}

/// Our code for an answer that is larger than we take.
pub const ANSWER_TOO_LARGE: &str = "ANSWER_TOO_LARGE";

/// The remote client's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, fate: Fate, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            fate,
        }
    }

    #[must_use]
    pub fn with_code(mut self, code: impl Into<Box<str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    #[must_use]
    pub fn with_fate(mut self, fate: Fate) -> Self {
        self.fate = fate;
        self
    }

    /// A mistake of the caller's.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, Fate::NeverSent, message)
    }

    /// The server can't be reached.
    pub fn connect(message: impl Into<String>) -> Self {
        Self::new(Kind::Connect, Fate::NeverSent, message)
    }

    /// Its caller had gone before it was sent.
    pub fn turned_away() -> Self {
        Self::connect("the request was not sent: nobody waits for its answer")
    }

    /// The connection ended while a request was on its way.
    pub fn lost(why: &str) -> Self {
        let message = format!(
            "the connection was lost before the answer came, and whether the request was carried out is unknown: {why}"
        );
        Self::new(Kind::Connect, Fate::Unknown, message)
    }

    /// An answer that makes no sense; the request may have been carried out.
    pub fn protocol(what: impl fmt::Display) -> Self {
        let message = format!("the server's answer can't be understood: {what}");
        Self::new(Kind::Protocol, Fate::Unknown, message)
    }

    /// An answer that we did not take; the request may have been carried out.
    pub fn answer_too_large(limit: usize) -> Self {
        let message = format!("the answer is larger than the limit of {limit} bytes");
        Self::new(Kind::TooLarge, Fate::Unknown, message).with_code(ANSWER_TOO_LARGE)
    }

    /// What this server can't do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, Fate::NeverSent, message)
    }

    /// What Hrana 2 lacks.
    pub fn no_cursors() -> Self {
        Self::unsupported("this server speaks Hrana 2 only, which has no cursors")
    }

    /// The stream that a transaction was open on is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Kind::Expired, Fate::Refused, message).with_code("STREAM_EXPIRED")
    }

    /// Whether the same request may be sent again, provided that it does not belong to a lost transaction.
    pub fn may_be_repeated(&self) -> bool {
        match self.fate {
            Fate::NeverSent => matches!(self.kind, Kind::Connect | Kind::Expired),
            Fate::Refused => self.kind == Kind::Expired,
            Fate::Unknown => false,
        }
    }

    pub fn is_auth(&self) -> bool {
        self.kind == Kind::Auth
    }

    /// What a server says of a request: its code decides.
    pub fn from_server(code: Option<&str>, message: impl Into<String>) -> Self {
        let kind = match code {
            Some(
                "STREAM_EXPIRED"
                | "BATON_INVALID"
                | "BATON_REUSED"
                | "BATON_STREAM_CLOSED"
                | "STREAM_NOT_OPEN",
            ) => Kind::Expired,
            Some("RESPONSE_TOO_LARGE" | ANSWER_TOO_LARGE) => Kind::TooLarge,
            Some(code) if code.starts_with("AUTH_") => Kind::Auth,
            _ => Kind::Sql,
        };
        let error = Self::new(kind, Fate::Refused, message);
        match code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
