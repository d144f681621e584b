//! Replicas that are written offline: a file with everything, whose changes a sync exchanges with those of a server.
//!
//! Owns the file's log while it is open, what is known of the server's, and the exchange of frames between the two.
//! Thread: commands run on the core's workers; syncs on the network runtime.
//! Invariant: a frame goes to the server only after all that the server has, and into the file only after all that the
//! file has: where both have gone on, neither is touched.
//! Must not know: Python.

mod backend;
mod exchange;
mod live;
mod note;
mod protocol;

pub use backend::Offline;
