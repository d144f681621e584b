//! Statement cache: prepared statements by SQL text, least recently used out first.
//!
//! Owns which idle statement belongs to which text; the statements themselves live in the Handle.
//! Invariant: a cached statement is idle, reset and without bindings; one in use is out of the cache, so a
//! second cursor with the same SQL prepares its own.
//! Must not know: cursors, transactions.

use std::sync::Arc;

use lru::LruCache;

use crate::sqlite::{Handle, StatementId};

use super::pins::Pins;

/// Idle statements of one connection.
#[derive(Debug)]
pub struct StatementCache {
    idle: LruCache<Arc<str>, StatementId>,
    capacity: usize,
    /// What is kept beyond the capacity.
    pins: Pins,
}

impl StatementCache {
    /// A cache for `capacity` statements; 0 caches nothing.
    pub fn new(capacity: usize, pins: Pins) -> Self {
        // Unbounded, because a bounded one allocates all of its capacity at once.
        Self {
            idle: LruCache::unbounded(),
            capacity,
            pins,
        }
    }

    /// Finalizes all of them.
    pub fn clear(&mut self, handle: &mut Handle) {
        while let Some((_, id)) = self.idle.pop_lru() {
            handle.finalize(id);
        }
    }

    /// Whether it has one for `sql`.
    pub fn has(&self, sql: &str) -> bool {
        self.idle.contains(sql)
    }

    /// Takes the idle statement for `sql` out of the cache.
    pub fn take(&mut self, sql: &str) -> Option<StatementId> {
        self.idle.pop(sql)
    }

    /// Resets a statement and keeps it, or finalizes it if there is no place for it.
    pub fn give_back(&mut self, handle: &mut Handle, sql: &Arc<str>, id: StatementId) {
        let mut statement = handle.statement(id);
        statement.reset();
        statement.clear_bindings();
        if let Some((_, replaced)) = self.idle.push(Arc::clone(sql), id) {
            handle.finalize(replaced);
        }
        while self.idle.len() > self.capacity
            && let Some(oldest) = self.oldest_to_go()
        {
            handle.finalize(oldest);
        }
    }

    /// Takes out the statement that was not used for longest, if there are more than there is room for.
    fn oldest_to_go(&mut self) -> Option<StatementId> {
        if self.idle.len() <= self.capacity + self.pins.count() {
            return None;
        }
        let mut oldest_first = self.idle.iter().rev().map(|(sql, _)| sql);
        let sql = Arc::clone(oldest_first.find(|sql| !self.pins.contains(sql))?);
        self.idle.pop(&sql)
    }
}
