//! Hrana's messages: what is asked and answered, as protobuf and as JSON.
//!
//! Owns the encodings. Everything a server sends is taken for hostile: what can't be is an error, and nothing is
//! allocated before the bytes for it are there.
//! Must not know: sockets, HTTP.

mod codec;
mod cursor_body;
mod json;
mod json_values;
mod protobuf;
mod request;
mod response;
mod rows;
mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use codec::{Encoding, Protocol};
pub use cursor_body::CursorBody;
pub use request::{Batch, BatchStep, Condition, Request, SocketRequest, Sql, Statement};
pub use response::{
    BatchResult, Column, CursorEvent, Description, Parameter, Response, ServerError, ServerMessage,
    StatementResult,
};
pub use rows::Entries;
pub use value::{Kind as ValueKind, NamedValue, Value};
