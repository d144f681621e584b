//! The synchronisation primitives of this layer: the standard library's, or loom's under its model checker.
//!
//! Owns nothing. The loom crate under `tests/loom` compiles these sources with `--cfg loom`.

#[cfg(loom)]
pub use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
pub use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
