//! Hrana over HTTP/1.1: one TCP connection for each stream, kept alive between its requests.
//!
//! Owns connections and batons.
//! Must not know: WebSockets.

mod connection;
mod cursor;
mod messenger;
mod patience;
mod refusal;
mod stream;

pub use cursor::{HttpCursor, OpenedHttp};
pub use messenger::{Answer, Messenger};
pub use stream::HttpStream;
