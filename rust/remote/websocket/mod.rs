//! Hrana over a WebSocket: many streams and many requests on their way over one socket.
//!
//! Owns the socket's tasks, one that reads and one that writes: a server that sends a large answer while it is sent a
//! large request must not have both wait for each other.
//! Must not know: HTTP, except for the handshake.

mod cursor;
mod handshake;
mod sieve;
mod socket;
mod stream;
mod tasks;
mod waiting;

pub use cursor::{OpenedSocket, SocketCursor};
pub use socket::Socket;
pub use stream::SocketStream;
