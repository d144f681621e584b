//! Statement cache: prepared statements by SQL text, least recently used out first.
//!
//! Owns which idle statement belongs to which text; the statements themselves live in the Handle.
//! Invariant: a cached statement is idle, reset and without bindings; one in use is out of the cache, so a
//! second cursor with the same SQL prepares its own.
//! Must not know: cursors, transactions.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::sqlite::{Handle, StatementId};

/// Idle statements of one connection.
#[derive(Debug)]
pub struct StatementCache {
    idle: Option<LruCache<Arc<str>, StatementId>>,
}

impl StatementCache {
    /// A cache for `capacity` statements; 0 caches nothing.
    pub fn new(capacity: usize) -> Self {
        Self {
            idle: NonZeroUsize::new(capacity).map(LruCache::new),
        }
    }

    /// Takes the idle statement for `sql` out of the cache.
    pub fn take(&mut self, sql: &str) -> Option<StatementId> {
        self.idle.as_mut()?.pop(sql)
    }

    /// Resets a statement and keeps it, or finalizes it if there is no place for it.
    pub fn give_back(&mut self, handle: &mut Handle, sql: &Arc<str>, id: StatementId) {
        let mut statement = handle.statement(id);
        statement.reset();
        statement.clear_bindings();
        let leaving = match &mut self.idle {
            Some(idle) => idle.push(Arc::clone(sql), id).map(|(_, id)| id),
            None => Some(id),
        };
        if let Some(id) = leaving {
            handle.finalize(id);
        }
    }
}
