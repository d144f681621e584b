//! What PyO3 does not offer: the C slots of the coroutine protocol, and the collector's bookkeeping.
//!
//! Owns thin safe wrappers of the C API; besides `rust/sqlite` the only `unsafe` of the project.
//! Thread: attached to the interpreter.
//! Must not know: connections, operations, rows.

mod call;
mod collector;
mod slots;

pub use call::{call, next};
pub use collector::untrack;
pub use slots::{Coroutine, Sent, install};
