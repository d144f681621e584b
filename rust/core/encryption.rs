//! The encryption key of a connection, and its change.
//!
//! Owns the key for as long as the connection may be opened again; closing it takes the key away.
//! Thread: the slot from any, the change on the session's worker.
//! Invariant: the slot holds the key that the file has.
//! Must not know: Python, ciphers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sqlite::{self, Key, ValueRef, code};

use super::command::Outcome;
use super::error::{Error, Result};
use super::session::Session;

/// Where a connection keeps its key.
#[derive(Debug, Clone, Default)]
pub struct KeySlot(Arc<Mutex<Option<Arc<Key>>>>);

impl KeySlot {
    pub fn new(key: Option<Key>) -> Self {
        Self(Arc::new(Mutex::new(key.map(Arc::new))))
    }

    pub fn get(&self) -> Option<Arc<Key>> {
        self.lock().clone()
    }

    /// The last owner of a key overwrites it.
    pub(super) fn set(&self, key: Option<Arc<Key>>) {
        *self.lock() = key;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Key>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Encrypts the file with another key, or with none.
    ///
    /// It is done in one transaction under a rollback journal: in WAL mode the cipher library can't.
    pub(super) fn rekey(&mut self, key: Option<Key>) -> Result<Outcome> {
        let refuse = |why| Err(Error::programming(format!("rekey() is not possible {why}")));
        if self.handle.filename().is_none() || self.is_in_memory {
            return refuse("for a database in memory");
        }
        if !self.handle.is_autocommit() {
            return refuse("inside a transaction: commit or roll back first");
        }
        if self.is_source() {
            return refuse("while backup() copies from this connection");
        }
        if self.handle.active_statements() > 0 {
            return refuse("while a cursor has unread rows or a blob is open: close it first");
        }
        if !self.wait.is_alone() {
            return Err(not_alone());
        }
        let has_wal = self.pragma("PRAGMA main.journal_mode")?.as_deref() == Some("wal");
        if has_wal {
            // Needs the file for itself, so nobody else can have it open.
            let left = self.run_sql("PRAGMA main.journal_mode=DELETE");
            left.map_err(|error| match error.primary_code() {
                Some(code::BUSY | code::LOCKED) => not_alone(),
                _ => error,
            })?;
        }
        let key = key.map(Arc::new);
        let changed = self.handle.change_key(key.as_deref());
        if changed.is_ok() {
            self.key.set(key);
        }
        let restored = if has_wal {
            self.run_sql("PRAGMA main.journal_mode=WAL")
        } else {
            Ok(())
        };
        changed?;
        restored.map_err(|error| Error {
            message: format!(
                "the key was changed, but WAL mode could not be restored: {}",
                error.message
            ),
            ..error
        })?;
        Ok(Outcome::default())
    }

    /// The text that a pragma answers.
    fn pragma(&mut self, sql: &str) -> Result<Option<String>> {
        let Some(id) = self.handle.prepare(sql, false)?.id else {
            return Ok(None);
        };
        let mut statement = self.handle.statement(id);
        let answer = statement.step().and_then(|_| {
            let value = statement.column(0)?;
            Ok(match value {
                ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                _ => None,
            })
        });
        self.handle.finalize(id);
        Ok(answer?)
    }
}

fn not_alone() -> Error {
    let message = "database is locked: rekey() needs all other connections to the file closed";
    sqlite::Error::new(code::BUSY, message).into()
}
