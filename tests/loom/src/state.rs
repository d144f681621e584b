//! The operation's state word and its dialogue, from the driver's sources.

#[path = "../../../rust/core/dialogue.rs"]
pub mod dialogue;
#[path = "../../../rust/core/operation.rs"]
pub mod operation;
#[allow(unused_imports)]
#[path = "../../../rust/core/sync.rs"]
mod sync;
