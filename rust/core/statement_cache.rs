//! Statement cache: prepared statements by SQL text, least recently used out first.
//!
//! Owns which idle statement belongs to which text; the statements themselves live in the Handle. The one that was used
//! last is kept apart, for it is mostly the next one too, and to compare is cheaper than to hash.
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
    last: Option<(Arc<str>, StatementId)>,
    /// All others.
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
            last: None,
            idle: LruCache::unbounded(),
            capacity,
            pins,
        }
    }

    /// Finalizes all of them.
    pub fn clear(&mut self, handle: &mut Handle) {
        let last = self.last.take().into_iter();
        let others = std::iter::from_fn(|| self.idle.pop_lru());
        last.chain(others).for_each(|(_, id)| handle.finalize(id));
    }

    /// The idle statement for `sql`.
    pub fn peek(&self, sql: &Arc<str>) -> Option<StatementId> {
        match &self.last {
            Some((last, id)) if last == sql => Some(*id),
            _ => self.idle.peek(&**sql).copied(),
        }
    }

    /// The idle statement for `sql`, which is the one that was used last from now on.
    pub fn put_first(&mut self, handle: &mut Handle, sql: &Arc<str>) -> Option<StatementId> {
        match &self.last {
            Some((last, id)) if Arc::ptr_eq(last, sql) || last == sql => return Some(*id),
            _ => {}
        }
        let (sql, id) = self.idle.pop_entry(&**sql)?;
        if let Some((sql, before)) = self.last.replace((sql, id))
            && let Some((_, replaced)) = self.idle.push(sql, before)
        {
            handle.finalize(replaced);
        }
        Some(id)
    }

    /// Whether it has one for `sql`.
    pub fn has(&self, sql: &str) -> bool {
        self.idle.contains(sql)
    }

    /// Takes the idle statement for `sql` out of the cache.
    pub fn take(&mut self, sql: &Arc<str>) -> Option<StatementId> {
        let is_last = |(last, _): &mut (Arc<str>, _)| Arc::ptr_eq(last, sql) || *last == *sql;
        match self.last.take_if(is_last) {
            Some((_, id)) => Some(id),
            None => self.idle.pop(&**sql),
        }
    }

    /// Resets a statement and keeps it, or finalizes it if there is no place for it.
    pub fn give_back(&mut self, handle: &mut Handle, sql: &Arc<str>, id: StatementId) {
        let mut statement = handle.statement(id);
        statement.reset();
        statement.clear_bindings();
        if let Some((sql, before)) = self.last.replace((Arc::clone(sql), id))
            && let Some((_, replaced)) = self.idle.push(sql, before)
        {
            handle.finalize(replaced);
        }
        while let Some(oldest) = self.oldest_to_go() {
            handle.finalize(oldest);
        }
    }

    /// Takes out the statement that was not used for longest, if there are more than there is room for.
    fn oldest_to_go(&mut self) -> Option<StatementId> {
        let count = self.idle.len() + usize::from(self.last.is_some());
        if count <= self.capacity || count <= self.capacity + self.pins.count() {
            return None;
        }
        let mut oldest_first = self.idle.iter().rev().map(|(sql, _)| sql);
        if let Some(sql) = oldest_first.find(|sql| !self.pins.contains(sql)) {
            let sql = Arc::clone(sql);
            return self.idle.pop(&sql);
        }
        let last = self.last.take_if(|(sql, _)| !self.pins.contains(sql));
        last.map(|(_, id)| id)
    }
}
