//! What PyO3 does not offer: the C slots of the coroutine protocol, guarded calls, and objects that are made in place.
//!
//! Owns thin safe wrappers of the C API; besides `rust/sqlite` the only `unsafe` of the project.
//! Thread: attached to the interpreter.
//! Must not know: connections, operations, rows.

mod call;
mod objects;
mod slots;

pub use call::{call, call_all_in, call_in, call_with, copy_context, next, send};
pub use objects::{CollectorPause, Elements, NewList, ascii, tuple};
pub use slots::{Coroutine, Sent, Steps, install, install_iteration};
