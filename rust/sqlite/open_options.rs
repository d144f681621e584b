//! How a database is to be opened.
//!
//! Owns the name and the key that the caller gave.
//! Thread: any; plain data.
//! Invariant: the key does not show in `Debug`.
//! Must not know: what opening involves.

use std::ffi::{CString, c_int};
use std::fmt;
use std::sync::Arc;

use libsql::ffi;

use super::key::Key;

/// How to open a database.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct OpenOptions {
    /// A path, `:memory:`, empty for a temporary database, or a URI if `uri` is set.
    pub filename: CString,
    /// Neither writes nor creates.
    pub read_only: bool,
    /// Creates the file when it is missing.
    pub create: bool,
    /// Writes the file even if it is a replica, for it is opened on behalf of its syncs.
    pub syncs: bool,
    /// Takes a filename that begins with `file:` for a URI.
    pub uri: bool,
    /// The passphrase of an encrypted database.
    pub key: Option<Arc<Key>>,
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

    /// Whether other connections' statements may keep it waiting, as those with whom it shares its pages.
    pub(super) fn shares_cache(&self) -> bool {
        let name = self.filename.as_bytes();
        self.uri && name.windows(6).any(|part| part == b"cache=")
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

    /// The same key for a file as it is on the disk: no lock is waited for or taken, nothing is
    /// recovered and nothing can be written.
    pub(super) fn unlocked(&self, path: &[u8]) -> Self {
        let escape = |byte: &u8| match byte {
            b'%' | b'?' | b'#' => format!("%{byte:02X}").into_bytes(),
            _ => vec![*byte],
        };
        let path: Vec<u8> = path.iter().flat_map(escape).collect();
        let uri = [b"file:", path.as_slice(), b"?immutable=1"].concat();
        Self {
            filename: CString::new(uri).unwrap_or_default(),
            read_only: true,
            create: false,
            syncs: false,
            uri: true,
            key: self.key.clone(),
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("filename", &self.filename)
            .field("read_only", &self.read_only)
            .field("create", &self.create)
            .field("syncs", &self.syncs)
            .field("uri", &self.uri)
            .field("has_key", &self.key.is_some())
            .finish()
    }
}
