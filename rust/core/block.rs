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
const OVER: u8 = 3;

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
        self.change(OPEN, LEAVING)
    }

    /// It will not be used, however far its beginning has come.
    pub fn give_up(&self) {
        if !self.change(NEW, LEAVING) {
            self.leave();
        }
    }

    /// The backend has begun it.
    pub fn set_open(&self) {
        // It may have been given up meanwhile; then its end is on the way.
        self.change(NEW, OPEN);
    }

    /// The backend has ended it.
    pub fn set_over(&self) {
        self.phase.store(OVER, Ordering::SeqCst);
    }

    /// Whether statements of tasks that carry it take part in it.
    pub fn is_open(&self) -> bool {
        self.phase() == OPEN
    }

    /// Whether the backend has ended it.
    pub fn is_over(&self) -> bool {
        self.phase() == OVER
    }

    /// Whether the backend has not begun it.
    pub fn is_new(&self) -> bool {
        self.phase() == NEW
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.phase
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
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
        let why = if self.is_new() {
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
