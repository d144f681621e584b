//! One open database connection of SQLite.
//!
//! Owns the `sqlite3` pointer, every statement prepared on it, and the state of its hooks.
//! Thread: any, one at a time. SQLite locks nothing (`NOMUTEX`), so the whole moves between threads
//! as one value.
//! Invariant: nothing that points into the handle leaves it; statements are addressed by id and
//! borrow the handle.
//! Must not know: workers, transactions, how long to wait for a lock.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libsql::ffi;
use slab::Slab;

use super::backup::Backups;
use super::blob::Blobs;
use super::database::Database;
use super::entry::Entry;
use super::error::{Error, code};
use super::files;
use super::hook::{
    Authorizer, BusyHandler, BusyPolicy, CommitHook, Hooks, ProgressHandler, RollbackHook, Stop,
    Tracer, UpdateHook,
};
use super::init::initialize;
use super::key::Key;
use super::kind::AllowsPragma;
use super::nowait;
use super::open_options::OpenOptions;
use super::read_errors;
use super::replicas;
use super::statement::{Statement, StatementId};

/// What [`Handle::prepare`] made of an SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The first statement of the text; `None` when there is none, only blanks and comments.
    pub id: Option<StatementId>,
    /// Where in the text the rest begins that was not read, in bytes.
    pub tail: usize,
}

/// An open connection and all that was prepared on it.
pub struct Handle {
    pub(super) database: Database,
    statements: Slab<Entry>,
    pub(super) blobs: Blobs,
    pub(super) backups: Backups,
    next_serial: u32,
    pub(super) hooks: Hooks,
    /// Something may wait that nobody could tell it not to: a memory map, another file.
    may_wait: bool,
    has_extensions: bool,
    is_closed: bool,
}

// SAFETY: without mutexes SQLite allows a connection on any thread, one at a time. The handle owns
// all that belongs to the connection, lends it only for as long as it is borrowed itself, and what
// it calls back is `Send`. It is not `Sync`.
unsafe impl Send for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("statements", &self.statements.len())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Opens a database. A wrong key shows only at the first statement, or in
    /// [`check_readable`](Self::check_readable).
    pub fn open(options: &OpenOptions) -> Result<Self, Error> {
        initialize()?;
        let (filename, flags) = (options.literal_filename(), options.flags());
        let mut raw = ptr::null_mut();
        files::take_refusal();
        let rc = replicas::opening(options.syncs, || {
            // SAFETY: the name ends with NUL and lives through the call; no VFS means the default one.
            unsafe { ffi::sqlite3_open_v2(filename.as_ptr(), &raw mut raw, flags, ptr::null()) }
        });
        let Some(raw) = NonNull::new(raw) else {
            return Err(Error::new(code::NOMEM, "out of memory"));
        };
        // From here on dropping the handle closes the connection, even one that failed to open.
        // SAFETY: it is the handle below that closes it.
        let database = unsafe { Database::new(raw) };
        let handle = Self {
            database,
            statements: Slab::new(),
            blobs: Blobs::default(),
            backups: Backups::default(),
            next_serial: 0,
            hooks: Hooks::new(database),
            may_wait: options.shares_cache(),
            has_extensions: false,
            is_closed: false,
        };
        if rc != ffi::SQLITE_OK {
            return Err(database.error(rc));
        }
        read_errors::watch(database);
        handle.hooks.install();
        if let Some(key) = &options.key {
            database.set_key(key)?;
        }
        Ok(handle)
    }

    /// Compiles the first statement of a text. `persistent` tells that it will be kept for long.
    ///
    /// SQLite takes a NUL for the end of the text; `tail` then points to it.
    pub fn prepare(&mut self, sql: &str, persistent: bool) -> Result<Prepared, Error> {
        let too_big = || Error::new(code::TOOBIG, "query string is too large");
        let length = c_int::try_from(sql.len()).map_err(|_| too_big())?;
        let flags = if persistent {
            ffi::SQLITE_PREPARE_PERSISTENT.cast_unsigned()
        } else {
            0
        };
        let mut raw = ptr::null_mut();
        let mut tail = ptr::null();
        self.hooks.recorder.start();
        // SAFETY: the text has the length given, and SQLite copies it.
        let rc = unsafe {
            ffi::sqlite3_prepare_v3(
                self.database.as_ptr(),
                sql.as_ptr().cast(),
                length,
                flags,
                &raw mut raw,
                &raw mut tail,
            )
        };
        let recording = self.hooks.recorder.finish();
        let result = if rc == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.database.error(rc))
        };
        if recording.is_busy_timeout() {
            // It has happened already: SQLite executes this pragma while it compiles it.
            self.hooks.install_busy();
        }
        if recording.is_wal_autocheckpoint() {
            self.hooks.keep_wal_hook();
        }
        self.may_wait |= recording.brings_waits();
        let entry = NonNull::new(raw).map(|raw| {
            // SAFETY: SQLite has just made it; the slab is emptied before the connection is closed.
            let entry = || unsafe { Entry::new(raw, self.next_serial, recording) };
            self.hooks.untraced(entry)
        });
        if let Some(failure) = self.hooks.take_failure() {
            return Err(failure);
        }
        result?;
        let tail = tail.addr().saturating_sub(sql.as_ptr().addr());
        let id = entry.map(|entry| self.keep(entry)).transpose()?;
        Ok(Prepared { id, tail })
    }

    /// Refuses to compile PRAGMAs but those that `allows` names, as some act when they are compiled. Tells whether one was
    /// refused since the last call.
    pub fn guard_pragmas(&mut self, allows: Option<AllowsPragma>) -> bool {
        self.hooks.recorder.guard_pragmas(allows)
    }

    fn keep(&mut self, entry: Entry) -> Result<StatementId, Error> {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let key = self.statements.insert(entry);
        let index =
            u32::try_from(key).map_err(|_| Error::new(code::NOMEM, "too many statements"))?;
        Ok(StatementId { index, serial })
    }

    /// Borrows a statement.
    ///
    /// # Panics
    ///
    /// If the statement was finalized.
    pub fn statement(&mut self, id: StatementId) -> Statement<'_> {
        let entry = self
            .statements
            .get(id.index as usize)
            .filter(|entry| entry.serial() == id.serial);
        let entry = entry.unwrap_or_else(|| panic!("{id:?} was finalized"));
        Statement::new(self.database, &self.hooks, entry)
    }

    /// Ends a statement; does nothing if it was finalized before.
    pub fn finalize(&mut self, id: StatementId) {
        let index = id.index as usize;
        if self
            .statements
            .get(index)
            .is_some_and(|entry| entry.serial() == id.serial)
        {
            drop(self.statements.remove(index));
            // A trace callback's panic here has no statement left to report it.
            self.hooks.take_failure();
        }
    }

    /// Whether a write since the last call ended well for SQLite and failed for us. Its transaction has to be rolled back.
    pub fn take_taint(&self) -> bool {
        self.hooks.take_taint()
    }

    /// Whether no transaction is open.
    pub fn is_autocommit(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_get_autocommit(self.database.as_ptr()) != 0 }
    }

    /// Whether this connection keeps others from writing.
    pub fn holds_write_lock(&self) -> bool {
        self.database.holds_write_lock()
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE, without those changed by its triggers.
    pub fn changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_changes64(self.database.as_ptr()) }
    }

    /// Rows changed since the handle was opened, with those changed by triggers.
    pub fn total_changes(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_total_changes64(self.database.as_ptr()) }
    }

    /// Whether a COMMIT would fail because of foreign keys.
    pub fn has_unresolved_foreign_keys(&self) -> bool {
        self.database.status(ffi::SQLITE_DBSTATUS_DEFERRED_FKS) != 0
    }

    /// The rowid of the last INSERT; 0 if there was none.
    pub fn last_insert_rowid(&self) -> i64 {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_last_insert_rowid(self.database.as_ptr()) }
    }

    /// Makes `last_insert_rowid` answer this until the next INSERT.
    pub fn set_last_insert_rowid(&mut self, rowid: i64) {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_set_last_insert_rowid(self.database.as_ptr(), rowid) };
    }

    /// Whether the main database can only be read; `None` if it has none.
    pub fn is_readonly_database(&self) -> Option<bool> {
        // SAFETY: the handle is open, the name ends with NUL.
        let answer = unsafe { ffi::sqlite3_db_readonly(self.database.as_ptr(), c"main".as_ptr()) };
        match answer {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// The absolute path of the main database, as bytes; `None` if it is in memory or temporary.
    pub fn filename(&self) -> Option<Vec<u8>> {
        // SAFETY: the handle is open, the name ends with NUL.
        let name = unsafe { ffi::sqlite3_db_filename(self.database.as_ptr(), c"main".as_ptr()) };
        if name.is_null() {
            return None;
        }
        // SAFETY: ends with NUL and lives as long as the database is attached.
        let name = unsafe { CStr::from_ptr(name) };
        Some(name.to_bytes().to_vec()).filter(|name| !name.is_empty())
    }

    /// Reads a limit and, if a new value is given, sets it; returns what it was. An unknown limit
    /// is -1.
    pub fn limit(&mut self, limit: impl Into<i32>, new: Option<i32>) -> i32 {
        // SAFETY: the handle is open; any number may be asked for, and -1 changes nothing.
        unsafe { ffi::sqlite3_limit(self.database.as_ptr(), limit.into(), new.unwrap_or(-1)) }
    }

    /// How many statements were stepped and neither reset nor stepped to their end. An open BLOB has one.
    pub fn active_statements(&self) -> usize {
        let statements = self.statements.iter();
        let busy = statements.filter(|(_, entry)| entry.is_busy()).count();
        busy + self.blobs.len()
    }

    /// Connects the statements that run from now on to a flag that stops them.
    pub fn set_stop(&mut self, stop: Option<Arc<dyn Stop>>) {
        self.hooks.set_stop(stop);
    }

    /// Calls the user's handler about every `every` steps of SQLite's virtual machine; 0 is the
    /// same as none.
    pub fn set_progress_handler(&mut self, every: u32, handler: Option<ProgressHandler>) {
        self.hooks.set_progress_handler(every, handler);
    }

    /// Runs something in which a statement ends with `SQLITE_INTERRUPT` that needs more than so many times
    /// [`HASTE`](super::HASTE) steps, and with `SQLITE_BUSY` at a lock that is held. No callback of the user's may be installed.
    pub fn hastily<T>(&mut self, hastes: u32, work: impl FnOnce(&mut Self) -> T) -> T {
        // SQLite counts on from the statement's last execution, so the first look may come at once.
        self.hooks.haste.set(Some(hastes));
        let result = self.impatiently(work);
        self.hooks.haste.set(None);
        result
    }

    /// As `hastily`; it fails also where it would have to wait for the disk, or to compile. `false`: a file system can't
    /// tell whether it would.
    pub fn at_once<T>(&mut self, hastes: u32, work: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        self.hooks.compiles_nothing.set(true);
        let result = nowait::without_waiting(|| self.hastily(hastes, work));
        self.hooks.compiles_nothing.set(false);
        result
    }

    /// Whether `at_once` keeps its word, as far as can be told without trying a statement.
    pub fn can_read_at_once(&self) -> bool {
        !self.may_wait
    }

    /// Has the schema read again before the next statement, for the file is another database now.
    ///
    /// # Errors
    ///
    /// SQLite's, such as a lack of memory.
    pub fn forget_schema(&mut self) -> Result<(), Error> {
        self.unobserved(|handle| {
            let prepared = handle.prepare("PRAGMA writable_schema = RESET", false)?;
            let Some(id) = prepared.id else {
                return Ok(());
            };
            let stepped = handle.statement(id).step();
            handle.finalize(id);
            stepped.map(drop)
        })
    }

    /// Whether a library's code may be called, which does what it likes: also in what counts as a query.
    pub fn has_extensions(&self) -> bool {
        self.has_extensions
    }

    /// A library is loaded, or at least begun with.
    pub(super) fn set_has_extensions(&mut self) {
        self.has_extensions = true;
    }

    /// Says who waits for locks. Without a policy and a user's handler a lock that is held is an
    /// error at once.
    pub fn set_busy_policy(&mut self, policy: Box<dyn BusyPolicy>) {
        self.hooks.set_busy_policy(policy);
    }

    /// Lets the user's handler decide instead of the policy; a requested stop still ends the wait.
    pub fn set_busy_handler(&mut self, handler: Option<BusyHandler>) {
        self.hooks.set_busy_handler(handler);
    }

    /// Takes the busy slot back from a `PRAGMA busy_timeout`. Preparing or stepping that pragma
    /// does it by itself.
    pub fn restore_busy_slot(&mut self) {
        self.hooks.install_busy();
    }

    /// Sets the user's authorizer; it is asked about all statements anew, also those that were
    /// prepared before.
    pub fn set_authorizer(&mut self, authorizer: Option<Authorizer>) {
        self.hooks.set_authorizer(authorizer);
    }

    /// Sets the user's trace callback.
    pub fn set_trace(&mut self, tracer: Option<Tracer>) {
        self.hooks.set_trace(tracer);
    }

    /// Sets the user's update hook: SQLite calls it for each row that a statement changes in a table with rowids.
    pub fn set_update_hook(&mut self, hook: Option<UpdateHook>) {
        self.hooks.set_update_hook(hook);
    }

    /// Sets the user's commit hook.
    pub fn set_commit_hook(&mut self, hook: Option<CommitHook>) {
        self.hooks.set_commit_hook(hook);
    }

    /// Sets the user's rollback hook; SQLite does not call it when the connection is closed.
    pub fn set_rollback_hook(&mut self, hook: Option<RollbackHook>) {
        self.hooks.set_rollback_hook(hook);
    }

    /// Encrypts the file with another key, or with none; it must neither be in use nor in WAL mode.
    pub fn change_key(&mut self, key: Option<&Key>) -> Result<(), Error> {
        self.database.change_key(key)
    }

    /// Finalizes all statements and closes the connection; an open transaction is rolled back.
    pub fn close(mut self) -> Result<(), Error> {
        match self.shut_down() {
            ffi::SQLITE_OK => Ok(()),
            rc => Err(Error::new(rc, "cannot close the database")),
        }
    }

    fn shut_down(&mut self) -> c_int {
        if std::mem::replace(&mut self.is_closed, true) {
            return ffi::SQLITE_OK;
        }
        self.backups.clear();
        self.hooks.remove();
        self.blobs.clear();
        self.statements.clear();
        // SAFETY: open until now; the flag above keeps it from being closed twice, and no statement
        // is left.
        unsafe { ffi::sqlite3_close_v2(self.database.as_ptr()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shut_down();
    }
}
