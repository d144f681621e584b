//! How a database is to be opened.
//!
//! Owns the name and the key that the caller gave.
//! Thread: any; plain data.
//! Invariant: the key neither shows in `Debug` nor stays in memory after the options.
//! Must not know: what opening involves.

use std::ffi::{CString, c_int};
use std::fmt;
use std::ptr;

use libsql::ffi;

/// How to open a database.
#[derive(Clone)]
pub struct OpenOptions {
    /// A path, `:memory:`, empty for a temporary database, or a URI if `uri` is set.
    pub filename: CString,
    /// Neither writes nor creates.
    pub read_only: bool,
    /// Creates the file when it is missing.
    pub create: bool,
    /// Takes a filename that begins with `file:` for a URI.
    pub uri: bool,
    /// The passphrase of an encrypted database; overwritten when the options are dropped.
    pub key: Option<Vec<u8>>,
}

impl OpenOptions {
    pub(super) fn flags(&self) -> c_int {
        let access = match (self.read_only, self.create) {
            (true, _) => ffi::SQLITE_OPEN_READONLY,
            (false, true) => ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE,
            (false, false) => ffi::SQLITE_OPEN_READWRITE,
        };
        let uri = if self.uri { ffi::SQLITE_OPEN_URI } else { 0 };
        access | uri | ffi::SQLITE_OPEN_NOMUTEX | ffi::SQLITE_OPEN_EXRESCODE
    }

    /// libSQL is compiled to take every name that begins with `file:` for a URI; without `uri` it
    /// means a file of that name.
    pub(super) fn literal_filename(&self) -> CString {
        let name = self.filename.as_bytes();
        if self.uri || !name.starts_with(b"file:") {
            return self.filename.clone();
        }
        CString::new([b"./", name].concat()).unwrap_or_else(|_| self.filename.clone())
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("filename", &self.filename)
            .field("read_only", &self.read_only)
            .field("create", &self.create)
            .field("uri", &self.uri)
            .field("has_key", &self.key.is_some())
            .finish()
    }
}

impl Drop for OpenOptions {
    fn drop(&mut self) {
        for byte in self.key.iter_mut().flatten() {
            // Volatile, or the compiler leaves out a write that nobody reads.
            // SAFETY: a valid reference.
            unsafe { ptr::write_volatile(byte, 0) };
        }
    }
}
