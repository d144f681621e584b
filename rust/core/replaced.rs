//! Replaced: a file that is another database now, which SQLite was not told of.
//!
//! A replica's file follows another log where its server has lost the old one, or names another database. Its pages are
//! then changed like any others, and the number by which SQLite knows a changed schema may be the same by chance: a
//! statement would read the pages of whatever is in the old table's place.
//! Owns how often that has happened, and whether a session has heard of it.
//! Thread: any that syncs; the worker's.
//! Invariant: in a snapshot the old schema stays, for so does the database.
//! Must not know: who replaces it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Result;
use super::session::Session;

/// Shared by whoever replaces a file and those who read it.
#[derive(Debug, Clone, Default)]
pub struct Replacements(Arc<AtomicU64>);

impl Replacements {
    /// It was replaced.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a session knows of them.
#[derive(Debug)]
pub(super) struct Replaced {
    all: Replacements,
    known: u64,
}

impl Replaced {
    pub(super) fn new(all: &Replacements) -> Self {
        Self {
            known: all.count(),
            all: all.clone(),
        }
    }
}

impl Session {
    /// Whether its schema may be that of a database that is gone.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.known != self.replaced.all.count()
    }

    /// Has the schema read again after a replacement.
    pub(super) fn notice_replacement(&mut self) -> Result<()> {
        if self.is_replaced() && !self.handle.is_in_snapshot() {
            let known = self.replaced.all.count();
            self.handle.forget_schema()?;
            self.replaced.known = known;
        }
        Ok(())
    }
}
