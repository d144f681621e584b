//! What a connection does, for every backend; no Python.
//!
//! Owns commands and their operations, the local backend with its worker threads, sessions, statements in use,
//! transactions, and waiting for locks.
//! Must not know: Python, event loops.

mod backend;
mod backup;
mod batch;
mod binding;
mod blob;
mod block;
mod busy;
mod channel;
mod command;
mod deadline;
mod dialogue;
mod encryption;
mod error;
mod execute;
mod express;
mod feed;
mod frame_log;
mod front;
mod guest;
mod here;
mod inline;
mod log_files;
mod lookout;
mod mailbox;
mod maintenance;
mod nest;
mod notes;
mod observer;
mod operation;
mod options;
mod parameter_names;
mod pins;
mod pool;
mod pragmas;
mod process;
mod queue;
mod quick;
mod readers;
mod replaced;
mod rows;
mod runtime;
mod service;
mod session;
mod snapshot;
mod sorter;
mod statement_cache;
mod status;
mod steps;
mod sync;
mod tally;
mod threads;
mod transaction;
mod trivia;
mod unheard;
mod wait;
mod wakes;
mod worker;

#[cfg(test)]
mod tests;

pub use backend::Backend;
pub use backup::{BackupName, BackupRequest, Handover};
pub use batch::{Cell, RowBatch, Span};
pub use blob::{BlobName, BlobRequest, Places};
pub use block::{Block, BlockKind};
pub use channel::{Channel, Opaque};
pub use command::{Action, Amount, Bindings, Command, Execute, Outcome, Shared};
pub use deadline::{end_at, timed_out};
pub use dialogue::Asked;
pub use encryption::KeySlot;
pub use error::{Error, Kind, Result};
pub use feed::{ParameterFeed, Parameters};
pub use frame_log::{FrameLog, Mark};
pub use guest::Guest;
pub use here::Look;
pub use lookout::{look_out, this_processor};
pub use nest::{Level, Nest, Told};
pub use notes::{Area, Note, Notes, Severity};
pub use observer::Observer;
pub use operation::{Cancelled, Event, Operation, Shield, Stop};
pub use options::{Begin, ModeChange, ModeEffect, Options, TransactionMode};
pub use parameter_names::parameter_names;
pub use pins::{Pin, Pins};
pub use pool::{
    Condition, Handle, Lifetimes, Limits, Loan, Membership, Opening, Pool, PoolState, Pulled,
    QueueState, Role, Route, Router, UNLENT,
};
pub use process::{Birth, watch_forks};
pub use queue::Queue;
pub use quick::{Attempt, Quick};
pub use replaced::Replacements;
pub use rows::{Next, RowStream};
pub use runtime::{runtime, shut_down};
pub use service::{Reply, Service, Setup, SyncStatus, Synced};
pub use sorter::{Place, Sorter};
pub use status::{Phase, Status};
pub use tally::Tally;
pub use transaction::Transaction;
pub use trivia::is_trivial;
pub use unheard::wake_all as wake_unheard;
pub use wait::{wait_for, wait_for_end};
pub use wakes::{HeldWakes, wake_held};
pub use worker::Local;

// What every backend's values and errors are told apart by.
pub use crate::sqlite::{ALL_CODES, SavepointAction, StatementKind, ValueRef, code};
// What tells the files that only syncs may write.
pub use crate::sqlite::{OFFLINE_NOTE, REPLICA_NOTE};
