//! Block: one `transaction()` or `savepoint()` block, as its members and the backend know it.
//!
//! Owns its place in the nest and how far it has come.
//! Threads: any; the backend opens and ends it, the caller enters and leaves it.
//! Must not know: Python, statements.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::error::Error;
use super::options::Begin;

const NEW: u8 = 0;
const OPEN: u8 = 1;
const LEAVING: u8 = 2;
const ENDED: u8 = 3;

/// What a block asked for; inside of another block each is a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockKind {
    Transaction(Begin),
    /// A snapshot; nothing may write.
    Read,
    Savepoint {
        name: Option<String>,
    },
}

/// One block.
#[derive(Debug)]
pub struct Block {
    kind: BlockKind,
    label: String,
    parent: OnceLock<Option<Arc<Block>>>,
    phase: AtomicU8,
}

impl Block {
    /// `label` names it in messages.
    pub fn new(kind: BlockKind, label: String) -> Arc<Self> {
        Arc::new(Self {
            kind,
            label,
            parent: OnceLock::new(),
            phase: AtomicU8::new(NEW),
        })
    }

    pub const fn kind(&self) -> &BlockKind {
        &self.kind
    }

    /// It is being entered inside of another, or of none. `false`: it was entered before.
    pub fn enter(&self, parent: Option<Arc<Self>>) -> bool {
        self.parent.set(parent).is_ok()
    }

    /// Its end is on the way: from now on no statement takes part by itself. `false`: it is not open.
    pub fn leave(&self) -> bool {
        self.phase
            .compare_exchange(OPEN, LEAVING, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The backend has begun it.
    pub fn set_open(&self) {
        self.phase.store(OPEN, Ordering::SeqCst);
    }

    /// The backend has ended it.
    pub fn set_ended(&self) {
        self.phase.store(ENDED, Ordering::SeqCst);
    }

    /// Whether statements take part in it.
    pub fn is_open(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == OPEN
    }

    /// Whether it is `outer`, or somewhere inside of it.
    pub fn is_within(&self, outer: &Self) -> bool {
        let mut block = Some(self);
        while let Some(inner) = block {
            if std::ptr::eq(inner, outer) {
                return true;
            }
            block = inner.parent.get().and_then(Option::as_deref);
        }
        false
    }

    /// The error of a statement that takes part in it while it is not open.
    pub fn refusal(&self) -> Error {
        let why = if self.phase.load(Ordering::SeqCst) == NEW {
            "was not entered"
        } else {
            "has ended"
        };
        Error::programming(format!("{self} {why}"))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the block of {}", self.label)
    }
}
