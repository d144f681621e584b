//! The synchronisation primitives of an operation: the standard library's, or loom's under its model checker.
//!
//! Owns nothing. The loom crate under `tests/loom` compiles `operation.rs` with `--cfg loom`.

#[cfg(loom)]
pub use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};
#[cfg(not(loom))]
pub use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};
