//! A thin safe layer over `libsql::ffi`, the C library that libSQL is built on.
//!
//! Owns every SQLite handle of the process with all that was prepared on it, and with `python::ffi`
//! all of the `unsafe`.
//! Thread: any, one at a time; a [`Handle`] is `Send` and not `Sync`.
//! Invariant: no pointer from C leaves this module, and none outlives the `Handle` it came from.
//! Must not know: commands, operations, time-outs, Python.

mod backup;
mod blob;
mod callback;
mod change_callback;
mod config;
mod database;
mod entry;
mod error;
mod extension;
mod files;
mod fork;
mod frames;
mod function;
mod function_callback;
mod handle;
mod hook;
mod image;
mod init;
mod interrupt;
mod journal;
mod key;
mod kind;
mod limit;
mod mutex;
mod nowait;
mod open_options;
mod read_errors;
mod readable;
mod replicas;
mod statement;
mod value;
mod wal;

#[cfg(test)]
mod tests;

pub use backup::{BackupId, BackupStep, BackupTarget};
pub use blob::{BlobId, BlobPlace};
pub use callback::{Authorization, AuthorizerAction, Expanded, TraceEvent};
pub use change_callback::{Change, Update};
pub use config::Switch;
pub use error::{ALL_CODES, Error, code, code_name};
pub use fork::{AtFork, Held, at_fork};
pub use frames::FRAME_HEADER;
pub use function::{
    Aggregate, AggregateFactory, Answer, Arguments, Collation, Failure, FunctionOptions,
    ScalarFunction,
};
pub use handle::{Handle, Prepared};
pub use hook::{
    Authorizer, BusyHandler, BusyPolicy, CommitHook, HASTE, ProgressHandler, RollbackHook, Stop,
    Tracer, UpdateHook,
};
pub use image::Image;
pub use init::{complete, initialize, version};
pub use key::Key;
pub use kind::{SavepointAction, StatementKind};
pub use limit::Limit;
pub use open_options::OpenOptions;
pub use replicas::{OFFLINE_NOTE, REPLICA_NOTE, is_replica};
pub use statement::{Statement, StatementId};
pub use value::{ValueRef, real_text};
pub use wal::{CheckpointMode, Checkpointed, WalHook, WalLength};
