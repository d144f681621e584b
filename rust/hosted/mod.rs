//! Connections to databases that a server hosts.
//!
//! Owns the backend above the remote client: commands in, requests out, and what a connection has to know of its
//! transaction in between.
//! Thread: commands come from any; everything that waits runs on the network runtime.
//! Must not know: Python, how requests travel.

mod backend;
mod batch;
mod blocks;
mod closing;
mod counts;
mod detour;
mod errand;
mod group;
mod late;
mod lending;
mod many;
mod options;
mod outbox;
mod pace;
mod pooling;
mod reading;
mod serving;
mod session;
mod statement;
mod statements;
mod token;
mod transaction;

pub use backend::Hosted;
pub use detour::{Detour, Standing, Turn};
pub use options::Options;
pub use pooling::route;
pub use session::{stoppable, stopped};
pub use statement::Statement;
pub use token::token_source;
