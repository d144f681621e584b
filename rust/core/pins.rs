//! Pins: the SQL whose statements stay compiled, for as long as somebody wants them.
//!
//! Owns how often each text is pinned. Its lock is held for a look-up.
//! Thread: pinned and unpinned from any, asked by the worker that has the session.
//! Must not know: statements, Python.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::process::Birth;

/// The pinned texts of one connection.
#[derive(Debug, Clone, Default)]
pub struct Pins(Arc<Mutex<HashMap<Arc<str>, usize>>>);

/// Keeps one text pinned until it is dropped.
#[derive(Debug)]
pub struct Pin {
    pins: Pins,
    sql: Arc<str>,
    birth: Birth,
}

impl Pins {
    pub fn pin(&self, sql: Arc<str>) -> Pin {
        *self.lock().entry(Arc::clone(&sql)).or_default() += 1;
        Pin {
            pins: self.clone(),
            sql,
            birth: Birth::now(),
        }
    }

    /// How many texts are pinned.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    pub fn contains(&self, sql: &str) -> bool {
        self.lock().contains_key(sql)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // A worker of the parent may have held the lock at the fork.
        if self.birth.is_inherited() {
            return;
        }
        let mut counts = self.pins.lock();
        if let Some(count) = counts.get_mut(&self.sql) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.sql);
            }
        }
    }
}
