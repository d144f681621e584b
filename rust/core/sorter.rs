//! Sorter: what a replica's file is enough for, and what has to go to the server.
//!
//! Owns a read-only handle, on which statements are compiled and never run.
//! Thread: one at a time, of the network runtime.
//! Invariant: a place is never guessed from the text.
//! Must not know: servers, Python.

use super::error::{Error, Result};
use super::options::Options;
use super::pool::QUESTIONS;
use crate::sqlite::{self, Handle, OpenOptions, Statement, StatementKind, code};

/// Where a statement is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It only reads, or is about the connection to the file.
    File,
    /// It writes, or asks about what was written.
    Server,
}

/// PRAGMAs that act without an argument.
const ACTS: [&str; 3] = ["wal_checkpoint", "optimize", "incremental_vacuum"];

/// PRAGMAs with which a connection tunes how it reads.
const TUNES: [&str; 9] = [
    "cache_size",
    "cache_spill",
    "case_sensitive_like",
    "mmap_size",
    "query_only",
    "reverse_unordered_selects",
    "shrink_memory",
    "temp_store",
    "threads",
];

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a PRAGMA is for the file.
fn is_for_file(name: &[u8], has_argument: bool) -> bool {
    if has_argument {
        is_one_of(&QUESTIONS, name) || is_one_of(&TUNES, name)
    } else {
        !is_one_of(&ACTS, name)
    }
}

impl Place {
    fn of(statement: &Statement<'_>) -> Self {
        let is_for_file = match statement.kind() {
            StatementKind::Select => !statement.is_tied(),
            // What is not for the file is not compiled.
            StatementKind::Explain
            | StatementKind::Pragma
            | StatementKind::Attach
            | StatementKind::Detach => true,
            _ => false,
        };
        if is_for_file {
            Self::File
        } else {
            Self::Server
        }
    }
}

/// Tells where statements belong.
#[derive(Debug)]
pub struct Sorter(Handle);

impl Sorter {
    /// Opens the file, and sees whether it is a database that the key opens.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(options: &Options) -> Result<Self> {
        let how = OpenOptions {
            filename: options.filename.clone(),
            read_only: true,
            create: false,
            syncs: false,
            uri: options.uri,
            key: options.key.get(),
        };
        let named = |error: sqlite::Error| {
            let message = if error.primary() == code::NOTADB {
                "file is not a database or the encryption key is wrong"
            } else {
                &error.message
            };
            let message = format!("{message}: {}", options.filename.to_string_lossy());
            Error::from(sqlite::Error::new(error.code, message))
        };
        let mut handle = Handle::open(&how).map_err(named)?;
        handle.check_readable(&how).map_err(named)?;
        Ok(Self(handle))
    }

    /// Where a statement belongs; `None`: it can't be compiled here.
    pub fn place(&mut self, sql: &str) -> Option<Place> {
        self.0.guard_pragmas(Some(is_for_file));
        let prepared = self.0.prepare(sql, false);
        if self.0.guard_pragmas(None) {
            return Some(Place::Server);
        }
        let Some(id) = prepared.ok()?.id else {
            return Some(Place::File);
        };
        let place = Place::of(&self.0.statement(id));
        self.0.finalize(id);
        Some(place)
    }
}
