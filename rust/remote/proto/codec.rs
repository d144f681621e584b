//! Which of Hrana's encodings a server speaks, and the way to the right one.
//!
//! Owns nothing.
//! Must not know: transports.

use super::super::error::{Error, Result};
use super::request::{Batch, Request, SocketRequest};
use super::response::{CursorAnswer, PipelineAnswer, Response, ServerError, ServerMessage};
use super::rows::{Entries, Fault};
use super::{json, protobuf};

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// A version of Hrana.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Has neither cursors nor `get_autocommit`.
    Two,
    Three,
}

/// What a server and we agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    pub encoding: Encoding,
    pub version: Version,
}

impl Protocol {
    pub const PROTOBUF: Self = Self {
        encoding: Encoding::Protobuf,
        version: Version::Three,
    };
    pub const JSON_3: Self = Self {
        encoding: Encoding::Json,
        version: Version::Three,
    };
    pub const JSON_2: Self = Self {
        encoding: Encoding::Json,
        version: Version::Two,
    };

    /// # Errors
    /// `Unsupported` for what an old server does not know.
    pub fn check(self, requests: &[Request]) -> Result<()> {
        if self.version < Version::Three && requests.contains(&Request::GetAutocommit) {
            return Err(Error::unsupported(
                "this server speaks Hrana 2 only, and can't say whether a transaction is open",
            ));
        }
        Ok(())
    }

    pub fn has_cursors(self) -> bool {
        self.version >= Version::Three
    }
}

/// A refused answer as an error.
fn refuse(fault: Fault) -> Error {
    Error::protocol(fault)
}

impl Encoding {
    /// # Errors
    /// `Usage` for a value that this encoding can't carry.
    pub fn pipeline(self, baton: Option<&str>, requests: &[Request]) -> Result<Vec<u8>> {
        match self {
            Self::Protobuf => Ok(protobuf::encode_pipeline(baton, requests)),
            Self::Json => json::encode_pipeline(baton, requests),
        }
    }

    /// # Errors
    /// `Usage` for a value that this encoding can't carry.
    pub fn cursor(self, baton: Option<&str>, batch: &Batch) -> Result<Vec<u8>> {
        match self {
            Self::Protobuf => Ok(protobuf::encode_cursor(baton, batch)),
            Self::Json => json::encode_cursor(baton, batch),
        }
    }

    /// # Errors
    /// None in practice.
    pub fn hello(self, token: Option<&str>) -> Result<Vec<u8>> {
        match self {
            Self::Protobuf => Ok(protobuf::encode_hello(token)),
            Self::Json => json::encode_hello(token),
        }
    }

    /// # Errors
    /// `Usage` for a value that this encoding can't carry.
    pub fn message(self, id: i32, request: &SocketRequest<'_>) -> Result<Vec<u8>> {
        match self {
            Self::Protobuf => Ok(protobuf::encode_message(id, request)),
            Self::Json => json::encode_message(id, request),
        }
    }

    /// # Errors
    /// `Protocol` for what can't be.
    pub fn read_pipeline(self, body: &[u8]) -> Result<PipelineAnswer> {
        match self {
            Self::Protobuf => protobuf::decode_pipeline(body),
            Self::Json => json::decode_pipeline(body),
        }
        .map_err(refuse)
    }

    /// # Errors
    /// `Protocol` for what can't be.
    pub fn read_message(self, message: &[u8]) -> Result<ServerMessage> {
        match self {
            Self::Protobuf => protobuf::decode_message(message),
            Self::Json => json::decode_message(message),
        }
        .map_err(refuse)
    }

    /// Which request is answered by a message that begins so; `None`: it does not say.
    pub fn request_of(self, front: &[u8]) -> Option<i32> {
        match self {
            Self::Protobuf => protobuf::request_of(front),
            Self::Json => json::request_of(front),
        }
    }

    /// # Errors
    /// `Protocol` for what can't be.
    pub fn read_answer(self, message: &[u8]) -> Result<Response> {
        match self {
            Self::Protobuf => protobuf::decode_answer(message),
            Self::Json => json::decode_answer(message),
        }
        .map_err(refuse)
    }

    /// Adds what a cursor yielded; whether it ends there.
    ///
    /// # Errors
    /// `Protocol` for what can't be.
    pub fn read_fetched(self, message: &[u8], entries: &mut Entries) -> Result<bool> {
        match self {
            Self::Protobuf => protobuf::decode_fetched(message, entries),
            Self::Json => json::decode_fetched(message, entries),
        }
        .map_err(refuse)
    }

    /// # Errors
    /// `Protocol` for what can't be.
    pub(super) fn read_cursor_answer(self, bytes: &[u8]) -> Result<CursorAnswer> {
        match self {
            Self::Protobuf => protobuf::decode_cursor_answer(bytes),
            Self::Json => json::decode_cursor_answer(bytes),
        }
        .map_err(refuse)
    }

    /// # Errors
    /// `Protocol` for what can't be.
    pub(super) fn read_entry(self, bytes: &[u8], entries: &mut Entries) -> Result<()> {
        match self {
            Self::Protobuf => protobuf::decode_entry(bytes, entries),
            Self::Json => json::decode_entry(bytes, entries),
        }
        .map_err(refuse)
    }

    /// The error in the body of a refusal, if it holds one.
    pub fn read_error(self, body: &[u8]) -> Option<ServerError> {
        let error = match self {
            Self::Protobuf => <ServerError as prost::Message>::decode(body).ok()?,
            Self::Json => serde_json::from_slice(body).ok()?,
        };
        (!error.message.is_empty()).then_some(error)
    }
}
