//! The operation's state word, from the driver's sources.

#[path = "../../../rust/core/operation.rs"]
pub mod operation;
#[allow(unused_imports)]
#[path = "../../../rust/core/sync.rs"]
mod sync;
