//! The remote client: Hrana 3 over HTTP and over WebSockets.
//!
//! Owns everything between a URL and rows. A [`Remote`] is one server; its [`Stream`]s are database connections there.
//! Thread: the runtime's; everything here that waits needs a Tokio context.
//! Must not know: Python, SQLite, what a connection of ours is; of the core it uses values and errors only.

mod aside;
mod auth;
mod connect;
mod error;
mod gate;
mod http;
mod native;
mod object;
mod options;
mod proto;
mod server;
mod sql_error;
mod stream;
mod tls;
mod url;
mod websocket;

#[cfg(test)]
mod tests;

pub use auth::{Attendance, Credentials, Secret, TokenFuture, TokenSource};
pub use connect::Socket;
pub use error::{ANSWER_TOO_LARGE, Error, Fate, Kind, Result};
pub use gate::Gate;
pub use http::{Answer, Messenger};
pub use object::Object;
pub use options::{Options, Token};
pub use proto::{
    Batch, BatchResult, BatchStep, Column, Condition, CursorEvent, Description, NamedValue,
    Parameter, Request, Response, ServerError, Sql, Statement, StatementResult, Value, ValueKind,
};
pub use server::Remote;
pub use stream::{Continuity, Cursor, Stream};
pub use url::{Target, Transport};
