//! The key that the connections of a pool have in common.
//!
//! Owns a copy of it, which a connection is given when it is opened, for the file may have another key by then than the
//! one that the pool was made with.
//! Threads: any.
//! Invariant: it is the key that the file has.
//! Must not know: Python, ciphers.

use std::sync::OnceLock;

use super::super::encryption::KeySlot;

/// Where a pool keeps its key.
#[derive(Debug, Default)]
pub(super) struct PoolKey(OnceLock<KeySlot>);

impl PoolKey {
    /// A connection joins; the first one brings the key.
    pub fn join(&self, own: &KeySlot) {
        self.0.get_or_init(|| {
            let slot = KeySlot::default();
            slot.set(own.get());
            slot
        });
    }

    /// A connection is about to be opened.
    pub fn give(&self, own: &KeySlot) {
        if let Some(slot) = self.0.get() {
            own.set(slot.get());
        }
    }

    /// A connection has changed it.
    pub fn follow(&self, own: &KeySlot) {
        if let Some(slot) = self.0.get() {
            slot.set(own.get());
        }
    }

    /// Nothing will be opened any more.
    pub fn forget(&self) {
        if let Some(slot) = self.0.get() {
            slot.set(None);
        }
    }
}
