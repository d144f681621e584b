//! Backups: copying a database page by page into another handle, while the source goes on being used.
//!
//! Owns the backups of one source handle, and each one's target until it has ended: SQLite writes into the target
//! whenever the source is written, so both have to be on the same thread.
//! Thread: the one that uses the source's handle.
//! Invariant: a target is used by nobody else from the first step to the end, and a backup ends before its source is
//! closed.
//! Must not know: where a target comes from and goes back to, who asks for steps.

use std::ffi::{CStr, CString, c_int};
use std::fmt;
use std::ptr::NonNull;

use libsql::ffi;
use slab::Slab;

use super::error::{Error, code};
use super::handle::Handle;
use super::replicas;
use super::statement::StatementId;

/// Pages that are copied between two looks at whether to go on; a megabyte, as pages usually are.
const SLICE: c_int = 256;

/// What a database is copied into. Dropping it gives it back.
pub trait BackupTarget: Send {
    fn handle(&mut self) -> &mut Handle;
}

/// The name of a backup within its source; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupId {
    index: usize,
    serial: u64,
}

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupStep {
    /// SQLite's: `OK`, `DONE`, `BUSY`, `LOCKED`, or an error that ends it.
    pub code: i32,
    /// Pages still to be copied.
    pub remaining: i32,
    /// Pages of the source.
    pub total: i32,
}

/// The backups of a handle.
#[derive(Default)]
pub(super) struct Backups {
    running: Slab<Backup>,
    next_serial: u64,
}

struct Backup {
    /// Until it has ended.
    raw: Option<NonNull<ffi::sqlite3_backup>>,
    serial: u64,
    schema: CString,
    target: Option<Box<dyn BackupTarget>>,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Backup {
    /// Ends it; what it has not finished is rolled back in the target.
    fn end(&mut self) -> c_int {
        let Some(raw) = self.raw.take() else {
            return ffi::SQLITE_OK;
        };
        // SAFETY: not ended before, as it was there; both handles are open, for the source owns this and this the
        // target.
        unsafe { ffi::sqlite3_backup_finish(raw.as_ptr()) }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        // The target goes after this.
        self.end();
    }
}

impl Backups {
    /// Ends all of them.
    pub(super) fn clear(&mut self) {
        self.running.clear();
    }

    fn get(&mut self, id: BackupId) -> Result<&mut Backup, Error> {
        self.running
            .get_mut(id.index)
            .filter(|backup| backup.serial == id.serial)
            .ok_or_else(|| Error::new(code::MISUSE, "the backup has ended"))
    }
}

impl Handle {
    /// Whether a database of this handle is being copied.
    pub fn is_in_backup(&self) -> bool {
        !self.backups.running.is_empty()
    }

    /// Begins to copy a database over the main database of the target. Locks nothing yet.
    ///
    /// # Errors
    ///
    /// `SQLITE_ERROR` if there is no such database, or the target is being read or written.
    pub fn start_backup(
        &mut self,
        schema: &CStr,
        mut target: Box<dyn BackupTarget>,
    ) -> Result<BackupId, Error> {
        let destination = target.handle().database;
        // SAFETY: both handles are open, and the names end with NUL. From here on the source's handle owns the
        // target, so that both are on one thread until the end.
        let raw = unsafe {
            ffi::sqlite3_backup_init(
                destination.as_ptr(),
                c"main".as_ptr(),
                self.database.as_ptr(),
                schema.as_ptr(),
            )
        };
        let Some(raw) = NonNull::new(raw) else {
            let error = destination.last_error();
            return Err(error.unwrap_or_else(|| Error::new(code::NOMEM, "out of memory")));
        };
        let serial = self.backups.next_serial;
        self.backups.next_serial += 1;
        let index = self.backups.running.insert(Backup {
            raw: Some(raw),
            serial,
            schema: schema.into(),
            target: Some(target),
        });
        Ok(BackupId { index, serial })
    }

    /// Copies some pages, or with `None` all that are left, without waiting for locks. Nothing else may be written to
    /// the source meanwhile. `stop` is asked now and then; it leaves the step unfinished.
    ///
    /// # Errors
    ///
    /// `SQLITE_MISUSE` if it has ended.
    pub fn step_backup(
        &mut self,
        id: BackupId,
        pages: Option<u32>,
        stop: impl Fn() -> bool,
    ) -> Result<BackupStep, Error> {
        let ended = || Error::new(code::MISUSE, "the backup has ended");
        let raw = self.backups.get(id)?.raw.ok_or_else(ended)?;
        let mut left = pages;
        self.set_patience(id, false);
        let snapshot = self.hold_snapshot(id);
        let code = loop {
            let slice = left.map_or(SLICE, |left| c_int::try_from(left).unwrap_or(SLICE));
            let slice = slice.min(SLICE);
            // SAFETY: the backup has not ended, and its source is open.
            let rc = unsafe { ffi::sqlite3_backup_step(raw.as_ptr(), slice) };
            left = left.map(|left| left.saturating_sub(slice.unsigned_abs()));
            if rc != ffi::SQLITE_OK || left == Some(0) || stop() {
                break rc;
            }
        };
        if let Some(statement) = snapshot {
            self.finalize(statement);
        }
        self.set_patience(id, true);
        // SAFETY: as above.
        let remaining = unsafe { ffi::sqlite3_backup_remaining(raw.as_ptr()) };
        // SAFETY: as above.
        let total = unsafe { ffi::sqlite3_backup_pagecount(raw.as_ptr()) };
        Ok(BackupStep {
            code,
            remaining,
            total,
        })
    }

    /// Ends a backup and gives the target back: as it was, if the last step was not `DONE`.
    ///
    /// # Errors
    ///
    /// What ended the backup before it was through.
    pub fn finish_backup(&mut self, id: BackupId) -> Result<Option<Box<dyn BackupTarget>>, Error> {
        self.backups.get(id)?;
        let mut backup = self.backups.running.remove(id.index);
        let rc = backup.end();
        let mut target = backup.target.take();
        match rc & 0xff {
            // The last step has told.
            code::OK | code::BUSY | code::LOCKED => Ok(target),
            _ => {
                let error = Error::of_code(rc);
                Err(match &mut target {
                    Some(target) => replicas::explain(error, target.handle().database),
                    None => error,
                })
            }
        }
    }

    /// Keeps the source as it is through the slices of a step, so that others who write can't make it begin anew.
    /// Where that fails, the step says why, or does without.
    fn hold_snapshot(&mut self, id: BackupId) -> Option<StatementId> {
        let schema = self.backups.get(id).ok()?.schema.to_str().ok()?;
        let sql = format!("PRAGMA \"{}\".schema_version", schema.replace('"', "\"\""));
        self.unobserved(|handle| {
            let id = handle.prepare(&sql, false).ok()?.id?;
            let stepped = handle.statement(id).step();
            if stepped.is_err() {
                handle.finalize(id);
            }
            stepped.ok().map(|_| id)
        })
    }

    fn set_patience(&mut self, id: BackupId, is_patient: bool) {
        self.hooks.is_impatient.set(!is_patient);
        if let Ok(backup) = self.backups.get(id)
            && let Some(target) = &mut backup.target
        {
            target.handle().hooks.is_impatient.set(!is_patient);
        }
    }
}
