//! Replicas: a file in this process that follows a database at a server.
//!
//! Owns what keeps the file up to date, and the choice between the file and the server for each command: reads are the
//! file's, writes and transactions the server's. One that is written offline has all of it in the file, and its syncs carry
//! changes both ways.
//! Thread: commands come from any; syncs run on the network runtime.
//! Must not know: Python, how frames are applied (the libsql crate does), how requests travel.

mod asking;
mod backend;
mod connector;
mod files;
mod live;
mod offline;
mod router;
mod site;
mod sync;

pub use backend::{Options, Replica};
pub use offline::Offline;
