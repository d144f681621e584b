//! The completion queue, from the driver's sources.

#[path = "../../../rust/wakeup/completions.rs"]
pub mod completions;
#[allow(unused_imports)]
#[path = "../../../rust/wakeup/sync.rs"]
mod sync;
