//! Write-ahead logs: how long they are, and writing them back into their databases.
//!
//! Owns SQLite's one slot for what hears of commits to a log: the lengths that it has told since they were last asked
//! for, the user's hook, and the checkpoints that SQLite itself would make there.
//! Thread: the one that uses the handle.
//! Invariant: as long as our hook is installed by itself, no COMMIT makes a checkpoint. A
//! `PRAGMA wal_autocheckpoint = …` takes its place; where the user has a hook too, ours comes back and does what the
//! pragma asks for.
//! Must not know: when a checkpoint is due.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::{Duration, Instant};

use libsql::ffi;

use super::callback::state_of;
use super::error::{Error, code};
use super::handle::Handle;
use super::hook::Hooks;

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

/// A user's hook; gets the name of the database and the pages in its log.
pub type WalHook = Box<dyn FnMut(&CStr, u32) + Send>;

/// What belongs to the slot, shared with C.
#[derive(Default)]
pub(super) struct Wal {
    lengths: RefCell<Vec<WalLength>>,
    hook: RefCell<Option<WalHook>>,
    /// Pages that make a checkpoint due within the COMMIT, as SQLite had it in the slot before us; 0: none.
    autocheckpoint: Cell<Option<c_int>>,
}

impl Wal {
    fn note(&self, schema: &CStr, pages: u32) {
        let mut lengths = self.lengths.borrow_mut();
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

    fn tell(&self, schema: &CStr, pages: u32) {
        if let Some(hook) = self.hook.borrow_mut().as_mut() {
            hook(schema, pages);
        }
    }
}

/// # Safety
///
/// To be called by SQLite only, while the hooks exist.
unsafe extern "C" fn wal_callback(
    context: *mut c_void,
    db: *mut ffi::sqlite3,
    schema: *const c_char,
    pages: c_int,
) -> c_int {
    // SAFETY: SQLite passes the context that it was given.
    let state = unsafe { state_of(context) };
    // SAFETY: the name of a database, which SQLite keeps through this call.
    let schema = unsafe { CStr::from_ptr(schema) };
    let wal = &state.wal;
    let autocheckpoint = wal.autocheckpoint.get();
    let counted = u32::try_from(pages).unwrap_or(0);
    if autocheckpoint.is_none() {
        state.contain((), || wal.note(schema, counted));
    }
    state.contain((), || wal.tell(schema, counted));
    if autocheckpoint.is_some_and(|due| due > 0 && pages >= due) {
        // Its failure is nobody's, as in SQLite's own hook.
        // SAFETY: SQLite passes the handle and one of its databases, and allows this call here.
        unsafe { ffi::sqlite3_wal_checkpoint(db, schema.as_ptr()) };
    }
    ffi::SQLITE_OK
}

impl Hooks {
    /// Puts our callback into the slot that SQLite uses for the checkpoints within a COMMIT; gives what was there.
    fn take_wal_slot(&self) -> *mut c_void {
        let db = self.database.as_ptr();
        // SAFETY: the handle is open; the context outlives it.
        unsafe { ffi::sqlite3_wal_hook(db, Some(wal_callback), self.context()) }
    }

    /// Lets SQLite have the slot, for a checkpoint every so many pages.
    fn leave_wal_slot(&self, pages: c_int) {
        // SAFETY: the handle is open; any number may be set, and 0 empties the slot.
        unsafe { ffi::sqlite3_wal_autocheckpoint(self.database.as_ptr(), pages) };
    }

    /// Whether the checkpoints are ours to make. SQLite tells who has the slot only to who puts another one in.
    fn has_wal(&self) -> bool {
        if self.wal.autocheckpoint.get().is_some() {
            return false;
        }
        let before = self.take_wal_slot();
        if before == self.context() {
            return true;
        }
        self.leave_wal_slot(pages_of(before));
        false
    }

    /// Takes the slot back from SQLite for the user's hook, if there is one: a `PRAGMA wal_autocheckpoint` was
    /// prepared or run.
    pub(super) fn keep_wal_hook(&self) {
        if self.wal.hook.borrow().is_none() {
            return;
        }
        let before = self.take_wal_slot();
        if before != self.context() {
            self.wal.autocheckpoint.set(Some(pages_of(before)));
        }
    }

    fn set_wal_hook(&self, hook: Option<WalHook>) {
        let is_set = hook.is_some();
        self.wal.hook.replace(hook);
        if is_set {
            self.keep_wal_hook();
        } else if let Some(pages) = self.wal.autocheckpoint.take() {
            self.leave_wal_slot(pages);
        }
    }
}

/// What SQLite keeps in the slot for itself is the number of pages; null is none.
fn pages_of(slot: *mut c_void) -> c_int {
    c_int::try_from(slot.addr()).unwrap_or(0)
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
        self.hooks.take_wal_slot();
        self.hooks.wal.autocheckpoint.set(None);
    }

    /// Sets the user's hook: it hears of each COMMIT to a log, whoever makes the checkpoints.
    pub fn set_wal_hook(&mut self, hook: Option<WalHook>) {
        self.hooks.set_wal_hook(hook);
    }

    /// Whether nobody has set `PRAGMA wal_autocheckpoint` since `watch_wals`.
    pub fn is_watching_wals(&self) -> bool {
        self.hooks.has_wal()
    }

    /// Hands out each length that was told since the last call.
    pub fn take_wal_lengths(&mut self, take: impl FnMut(WalLength)) {
        let mut lengths = self.hooks.wal.lengths.borrow_mut();
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

    /// The same, and empties the log if nobody else needs it. Who reads from it is waited for, and nobody writes
    /// meanwhile; who begins to read then does without the log, so the wait ends with those who read now.
    ///
    /// # Errors
    ///
    /// Also `SQLITE_BUSY` if after all that time somebody reads from the log, or writes.
    pub fn truncate_wal(&mut self, schema: &CStr, patience: Duration) -> Result<(), Error> {
        let truncate = ffi::SQLITE_CHECKPOINT_TRUNCATE;
        self.hooks.waits_until.set(Some(Instant::now() + patience));
        let truncated = self.impatiently(|handle| handle.run_checkpoint(schema, truncate));
        self.hooks.waits_until.set(None);
        truncated.map(drop)
    }

    /// Runs something for which no lock is waited.
    pub fn impatiently<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.hooks.is_impatient.set(true);
        let result = work(self);
        self.hooks.is_impatient.set(false);
        result
    }

    /// Runs something of our own, which the user's trace callback and authorizer do not hear of.
    pub(super) fn unobserved<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let was_muted = self.hooks.set_muted(true);
        let result = work(self);
        self.hooks.set_muted(was_muted);
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
