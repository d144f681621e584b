//! The passphrase of an encrypted database.
//!
//! Owns the bytes, and what must be overwritten when SQLite has seen them.
//! Thread: any; plain data, shared by reference.
//! Invariant: a key neither shows in `Debug` nor stays in memory after its last owner.
//! Must not know: who uses it.

use std::fmt;
use std::ptr;

/// A passphrase; overwritten when it is dropped, and never copied but into SQLite.
pub struct Key(Box<[u8]>);

impl Key {
    /// The cipher pads a passphrase to this many bytes, and takes no notice of what is behind them.
    pub const LONGEST: usize = 32;

    /// Takes a copy.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(bytes: &mut [u8]) {
    for byte in bytes {
        // Volatile, or the compiler leaves out a write that nobody reads.
        // SAFETY: a valid reference.
        unsafe { ptr::write_volatile(byte, 0) };
    }
}

/// Overwrites the part of the stack that the call before has left: the cipher library pads the
/// passphrase there and derives its own key from it, and clears neither.
#[inline(never)]
pub(super) fn wipe_stack() {
    wipe(&mut [0xff; 16 * 1024]);
}
