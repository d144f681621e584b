//! Command: a message to a backend, and what comes back.
//!
//! Owns the closed list of what a connection can be told to do, as owned data. One enum for every backend.
//! Must not know: Python, threads.

use std::sync::Arc;

use crate::sqlite::Key;

use super::batch::RowBatch;
use super::block::Block;
use super::channel::Opaque;
use super::error::Result;
use super::feed::ParameterFeed;
use super::guest::Guest;
use super::operation::{Operation, Shield};
use super::options::{Begin, ModeChange};
use super::pool::{Loan, Opening, Route};
use super::rows::RowStream;
use super::service::{Reply, Service};

/// An operation as caller and backend share it.
pub type Shared = Arc<Operation<Result<Outcome>, Opaque>>;

/// A message to a backend.
#[derive(Debug)]
pub struct Command {
    pub operation: Shared,
    /// Assignments to `isolation_level` or `autocommit` since the last command, to be applied first.
    pub modes: Vec<ModeChange>,
    /// The transaction block that it takes part in.
    pub block: Option<Arc<Block>>,
    /// Which of the connections that share the handle it comes from.
    pub guest: Option<Arc<Guest>>,
    /// What callbacks run in.
    pub surroundings: Option<Opaque>,
    /// It has been waiting for a block to end.
    pub was_set_aside: bool,
    /// Any handle of a pool may run it that it is for.
    pub is_pooled: bool,
    /// If it comes to a pool's writer it runs there, also if it only reads: its caller has borrowed that, or the readers
    /// can't compile it.
    pub stays_with_writer: bool,
    /// Which of a pool's handles it belongs to; `None`: that is not known, or it is not of a pool.
    pub route: Option<Route>,
    /// What it lends, from when a handle of a pool has taken it on.
    pub loan: Option<Arc<Loan>>,
    /// What has ended when it has.
    pub opening: Option<Box<Opening>>,
    pub action: Action,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    Open,
    Execute(Execute),
    ExecuteMany {
        sql: Arc<str>,
        feed: Arc<ParameterFeed>,
        /// An error leaves nothing of it; else the rows before it stay, as in `sqlite3`.
        is_atomic: bool,
    },
    ExecuteScript(Arc<str>),
    /// Several statements, all of them or none.
    Batch(Vec<Execute>),
    Fetch {
        rows: Arc<RowStream>,
        amount: Amount,
    },
    CloseRows(Arc<RowStream>),
    Begin(Begin),
    Commit,
    Rollback,
    /// Only applies the command's mode changes.
    SetMode,
    /// Begins a transaction block, inside of the command's own.
    Enter(Arc<Block>),
    /// Ends a transaction block.
    Leave {
        block: Arc<Block>,
        commits: bool,
    },
    /// Encrypts the file with another key, or with none.
    Rekey(Option<Key>),
    /// What is no statement.
    Serve(Service),
    /// Rolls back the transaction with this number, if nothing else ran in it.
    UndoBegin(u64),
    /// Closes what an abandoned open had opened.
    UndoOpen,
    Close,
}

/// One statement.
#[derive(Debug)]
pub struct Execute {
    pub sql: Arc<str>,
    pub parameters: Bindings,
    pub rows: Arc<RowStream>,
    /// Rows to read with the first reply.
    pub amount: Amount,
    /// Whether the outcome has to name the declared types of the columns.
    pub wants_decltypes: bool,
}

/// How many rows to read before the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// About this many before anybody asks; fewer if that takes long.
    Ahead(usize),
    /// This many, unless there are fewer.
    Exactly(usize),
    All,
    /// No more than this many; the statement ends with them.
    Only(usize),
}

/// Rows of values for a statement's parameters.
#[derive(Debug)]
pub struct Bindings {
    /// The parameter of each value, without its prefix; `None`: by position.
    pub names: Option<Arc<[Box<str>]>>,
    pub rows: RowBatch,
}

/// What came of a command.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The column names of a statement that returns rows.
    pub columns: Option<Arc<[Box<str>]>>,
    /// Their declared types, if they were wanted; an expression has none.
    pub decltypes: Option<Arc<[Option<Box<str>>]>>,
    /// Rows changed; `None` where PEP 249 says -1.
    pub rowcount: Option<i64>,
    /// The connection's last inserted rowid after a single statement.
    pub lastrowid: Option<i64>,
    /// The transaction that this operation began.
    pub began: Option<u64>,
    /// This command opened the database.
    pub opened: bool,
    /// What a service came to.
    pub reply: Option<Reply>,
    /// The handle of a pool that ran it.
    pub member: Option<u32>,
    /// What it has lent.
    pub loan: Option<Arc<Loan>>,
}

impl Action {
    /// How far a cancellation may reach.
    pub const fn shield(&self) -> Shield {
        match self {
            Self::Commit | Self::Rekey(_) | Self::Leave { commits: true, .. } => Shield::Running,
            Self::Rollback
            | Self::Leave { commits: false, .. }
            | Self::Close
            | Self::CloseRows(_)
            | Self::UndoBegin(_)
            | Self::UndoOpen => Shield::Always,
            Self::Serve(service) => service.shield(),
            Self::Open
            | Self::Execute(_)
            | Self::ExecuteMany { .. }
            | Self::ExecuteScript(_)
            | Self::Batch(_)
            | Self::Fetch { .. }
            | Self::Begin(_)
            | Self::SetMode
            | Self::Enter(_) => Shield::None,
        }
    }

    /// What has to happen though its caller was told that it failed.
    pub fn must_happen(&self) -> Option<Self> {
        match self {
            Self::Rollback => Some(Self::Rollback),
            Self::Close => Some(Self::Close),
            Self::CloseRows(rows) => Some(Self::CloseRows(Arc::clone(rows))),
            Self::UndoBegin(serial) => Some(Self::UndoBegin(*serial)),
            Self::UndoOpen => Some(Self::UndoOpen),
            Self::Leave { block, .. } => Some(Self::Leave {
                block: Arc::clone(block),
                commits: false,
            }),
            Self::Serve(service) => service.must_happen().map(Self::Serve),
            _ => None,
        }
    }

    /// Whether it may carry changed modes: their errors need a caller who hears them.
    pub const fn is_heard(&self) -> bool {
        match self {
            Self::Fetch { .. }
            | Self::CloseRows(_)
            | Self::UndoBegin(_)
            | Self::UndoOpen
            | Self::Leave { .. } => false,
            Self::Serve(service) => service.is_heard(),
            _ => true,
        }
    }

    /// Whether it has to be part of the open transaction block or wait for its end.
    pub const fn is_gated(&self) -> bool {
        match self {
            Self::Execute(_)
            | Self::ExecuteMany { .. }
            | Self::ExecuteScript(_)
            | Self::Batch(_)
            | Self::Fetch { .. }
            | Self::Begin(_)
            | Self::Commit
            | Self::Rollback
            | Self::SetMode
            | Self::Rekey(_)
            | Self::Enter(_) => true,
            Self::Serve(service) => service.is_gated(),
            Self::Open
            | Self::CloseRows(_)
            | Self::UndoBegin(_)
            | Self::UndoOpen
            | Self::Leave { .. }
            | Self::Close => false,
        }
    }
}

impl Command {
    /// Whether it may run while a block is open: it takes part, or the block does not concern it.
    pub fn may_run(&self, innermost: &Block) -> bool {
        if !self.action.is_gated() {
            return true;
        }
        let Some(block) = &self.block else {
            return false;
        };
        // What takes part in a block that is not there is about to be refused; but rows outlive their block.
        let is_refused =
            (block.is_new() || block.is_over()) && !matches!(self.action, Action::Fetch { .. });
        is_refused || block.is_within(innermost)
    }

    /// A command and the operation that follows it.
    pub fn new(action: Action, modes: Vec<ModeChange>, block: Option<Arc<Block>>) -> Self {
        Self {
            operation: Arc::new(Operation::new(action.shield())),
            modes,
            block,
            guest: None,
            surroundings: None,
            was_set_aside: false,
            is_pooled: false,
            stays_with_writer: false,
            route: None,
            loan: None,
            opening: None,
            action,
        }
    }
}
