//! Write-ahead logs: how long they are, and writing them back into their databases.
//!
//! Owns the lengths that SQLite's hook has told since they were last asked for.
//! Thread: the one that uses the handle.
//! Invariant: as long as our hook is installed, no COMMIT makes a checkpoint. A
//! `PRAGMA wal_autocheckpoint = …` takes its place.
//! Must not know: when a checkpoint is due.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};

use libsql::ffi;

use super::error::{Error, code};
use super::handle::Handle;

/// The log of one database of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalLength {
    /// `main`, or the name of an attached database.
    pub schema: CString,
    /// Since its last restart, by whichever connection.
    pub pages: u32,
}

/// What a checkpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// In the log.
    pub pages: u32,
    /// Of these, in the database.
    pub written: u32,
}

/// The lengths, shared with C.
#[derive(Debug, Default)]
pub(super) struct WalLengths(RefCell<Vec<WalLength>>);

impl WalLengths {
    pub(super) fn note(&self, schema: &CStr, pages: c_int) {
        let pages = u32::try_from(pages).unwrap_or(0);
        let mut lengths = self.0.borrow_mut();
        match lengths
            .iter_mut()
            .find(|length| length.schema.as_c_str() == schema)
        {
            Some(length) => length.pages = pages,
            None => lengths.push(WalLength {
                schema: schema.into(),
                pages,
            }),
        }
    }
}

/// How far a checkpoint goes, and for whom it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum CheckpointMode {
    /// As far as readers let it, waiting for nobody.
    Passive = ffi::SQLITE_CHECKPOINT_PASSIVE,
    /// All of the log.
    Full = ffi::SQLITE_CHECKPOINT_FULL,
    /// All of it, so that the next writer begins it anew.
    Restart = ffi::SQLITE_CHECKPOINT_RESTART,
    /// The same, and empties the file.
    Truncate = ffi::SQLITE_CHECKPOINT_TRUNCATE,
}

impl Handle {
    /// Lets commits tell the length of the log, in place of SQLite's checkpoints within them.
    pub fn watch_wals(&mut self) {
        self.hooks.install_wal();
    }

    /// Whether nobody has set `PRAGMA wal_autocheckpoint` since `watch_wals`.
    pub fn is_watching_wals(&self) -> bool {
        self.hooks.has_wal()
    }

    /// Hands out each length that was told since the last call.
    pub fn take_wal_lengths(&mut self, take: impl FnMut(WalLength)) {
        let mut lengths = self.hooks.wal_lengths.0.borrow_mut();
        if !lengths.is_empty() {
            lengths.drain(..).for_each(take);
        }
    }

    /// Writes back what no reader needs to find in the log; waits for nobody.
    ///
    /// # Errors
    ///
    /// `SQLITE_LOCKED` if this connection itself reads or writes; `SQLITE_BUSY` if another one is
    /// making a checkpoint.
    pub fn checkpoint(&mut self, schema: &CStr) -> Result<Checkpointed, Error> {
        self.run_checkpoint(schema, ffi::SQLITE_CHECKPOINT_PASSIVE)
    }

    /// The same, and empties the log if nobody else needs it; waits for nobody.
    ///
    /// # Errors
    ///
    /// Also `SQLITE_BUSY` if somebody reads from the log, or writes.
    pub fn truncate_wal(&mut self, schema: &CStr) -> Result<(), Error> {
        let truncate = ffi::SQLITE_CHECKPOINT_TRUNCATE;
        self.impatiently(|handle| handle.run_checkpoint(schema, truncate))
            .map(drop)
    }

    /// Runs something for which no lock is waited.
    pub fn impatiently<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.hooks.is_impatient.set(true);
        let result = work(self);
        self.hooks.is_impatient.set(false);
        result
    }

    /// Makes a checkpoint, waiting for others as its mode says. The pages are counted also if it is
    /// `SQLITE_BUSY`; `None`: the database has no log.
    ///
    /// # Errors
    ///
    /// `SQLITE_LOCKED` if this connection itself reads or writes; `SQLITE_INTERRUPT`.
    pub fn checkpoint_as(
        &mut self,
        schema: &CStr,
        mode: CheckpointMode,
    ) -> Result<(bool, Option<Checkpointed>), Error> {
        let (rc, pages, written) = self.call_checkpoint(schema, mode as c_int);
        if !matches!(rc & 0xff, code::OK | code::BUSY) {
            return Err(self.database.error(rc));
        }
        let counted = u32::try_from(pages).ok().zip(u32::try_from(written).ok());
        let counted = counted.map(|(pages, written)| Checkpointed { pages, written });
        Ok((rc & 0xff == code::BUSY, counted))
    }

    fn run_checkpoint(&mut self, schema: &CStr, mode: c_int) -> Result<Checkpointed, Error> {
        let (rc, pages, written) = self.call_checkpoint(schema, mode);
        if rc != code::OK {
            return Err(self.database.error(rc));
        }
        // -1 where there is no log.
        Ok(Checkpointed {
            pages: u32::try_from(pages).unwrap_or(0),
            written: u32::try_from(written).unwrap_or(0),
        })
    }

    fn call_checkpoint(&mut self, schema: &CStr, mode: c_int) -> (c_int, c_int, c_int) {
        let db = self.database.as_ptr();
        let (mut pages, mut written) = (-1, -1);
        // SAFETY: the handle is open; the name ends with NUL and is only read; the numbers are ours.
        let rc = unsafe {
            ffi::sqlite3_wal_checkpoint_v2(
                db,
                schema.as_ptr(),
                mode,
                &raw mut pages,
                &raw mut written,
            )
        };
        (rc, pages, written)
    }

    /// Whether a statement or a transaction of this connection holds a snapshot.
    pub fn is_in_snapshot(&self) -> bool {
        self.database.transaction_state() != ffi::SQLITE_TXN_NONE
    }
}
