//! The driver's lock-free parts under loom's scheduler, which tries every interleaving.
//!
//! Owns no logic: `queue` and `state` compile the driver's sources as they stand; `bell` and `caller`
//! stand in for the event loop.

pub mod bell;
pub mod caller;
pub mod queue;
pub mod state;
