//! The callbacks that SQLite makes while it works, and what they are connected to.
//!
//! Owns the state of a handle's slots (authorizer, progress, busy, trace and the hooks) at an
//! address that does not move.
//! Thread: the one that uses the handle; SQLite calls back on the thread that called it.
//! Invariant: no panic enters C. A callback that panics gives the answer that stops the statement,
//! and the panic is remembered until [`Hooks::take_failure`].
//! Must not know: who implements [`Stop`] and [`BusyPolicy`], nor Python.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libsql::ffi;

use super::callback::{
    Authorization, AuthorizerAction, TraceEvent, authorize_callback, busy_callback,
    progress_callback, trace_callback,
};
use super::change_callback::{
    CommitCallback, RollbackCallback, Update, UpdateCallback, commit_callback, rollback_callback,
    update_callback,
};
use super::database::Database;
use super::error::{Error, code};
use super::kind::Recorder;
use super::wal::Wal;

/// Steps of SQLite's virtual machine between two looks at the [`Stop`]: some ten microseconds.
const STOP_INTERVAL: u32 = 500;
/// Steps that a statement has at least, and twice as many at most, which is run hastily.
pub const HASTE: u32 = STOP_INTERVAL;
/// Between two looks at a lock that readers hold.
const SHORT_WAIT: Duration = Duration::from_micros(200);

/// Tells a running statement that nobody waits for it any more; read every 500 steps of it.
pub trait Stop: Send + Sync {
    /// Whether the statement has to end; from then on it must stay true until the handle is given
    /// another `Stop`.
    fn stop_requested(&self) -> bool;
}

/// Decides what happens when another connection holds a lock that a statement needs.
pub trait BusyPolicy: Send {
    /// Waits a while and returns true to try again, or returns false to give up with `SQLITE_BUSY`.
    ///
    /// `attempts` counts the calls for this lock, from 0; `holds_write_lock` tells whether others
    /// may be waiting for us.
    fn on_busy(&mut self, attempts: u32, holds_write_lock: bool) -> bool;
}

/// A user's progress handler; true stops the statement.
pub type ProgressHandler = Box<dyn FnMut() -> bool + Send>;
/// A user's busy handler; gets the number of calls for this lock, returns true to try again.
pub type BusyHandler = Box<dyn FnMut(u32) -> bool + Send>;
/// A user's authorizer.
pub type Authorizer = Box<dyn FnMut(&AuthorizerAction<'_>) -> Authorization + Send>;
/// A user's trace callback.
pub type Tracer = Box<dyn FnMut(&TraceEvent<'_>) + Send>;

/// A user's update hook.
pub type UpdateHook = Box<dyn FnMut(&Update<'_>) + Send>;
/// A user's commit hook; false turns the COMMIT into a ROLLBACK.
pub type CommitHook = Box<dyn FnMut() -> bool + Send>;
/// A user's rollback hook.
pub type RollbackHook = Box<dyn FnMut() + Send>;

struct UserProgress {
    every: u32,
    elapsed: u32,
    handler: ProgressHandler,
}

/// What C's context pointer points at. Shared with C, hence cells; a callback borrows only the one
/// it needs.
pub(super) struct HookState {
    pub(super) database: Database,
    panicked: Cell<bool>,
    /// A collation had no answer, and SQLite goes on with a wrong one: nothing of it may be kept.
    spoiled: Arc<AtomicBool>,
    /// There are collations that may have no answer, so no COMMIT goes unseen.
    guards_commits: Cell<bool>,
    /// A write has come to its end and failed nevertheless: its transaction is not to be kept.
    is_tainted: Cell<bool>,
    is_muted: Cell<bool>,
    pub(super) is_impatient: Cell<bool>,
    /// The statement that runs has to end with the next look at it but so many.
    pub(super) haste: Cell<Option<u32>>,
    /// What SQLite would have to compile again, or read the schema for, fails.
    pub(super) compiles_nothing: Cell<bool>,
    /// Until then even who is impatient waits.
    pub(super) waits_until: Cell<Option<Instant>>,
    pub(super) recorder: Recorder,
    pub(super) wal: Wal,
    /// Steps between two calls of the progress callback, and since the last look at `stop`.
    interval: Cell<u32>,
    since_stop: Cell<u32>,
    stop: RefCell<Option<Arc<dyn Stop>>>,
    progress: RefCell<Option<UserProgress>>,
    busy_policy: RefCell<Option<Box<dyn BusyPolicy>>>,
    busy_handler: RefCell<Option<BusyHandler>>,
    authorizer: RefCell<Option<Authorizer>>,
    tracer: RefCell<Option<Tracer>>,
    updated: RefCell<Option<UpdateHook>>,
    committing: RefCell<Option<CommitHook>>,
    rolled_back: RefCell<Option<RollbackHook>>,
}

impl HookState {
    fn is_stop_requested(&self) -> bool {
        self.stop
            .borrow()
            .as_ref()
            .is_some_and(|stop| stop.stop_requested())
    }

    pub(super) fn on_progress(&self) -> bool {
        if self.panicked.get() {
            return true;
        }
        if let Some(left) = self.haste.get() {
            self.haste.set(Some(left.saturating_sub(1)));
            return left == 0;
        }
        let interval = self.interval.get();
        let since_stop = self.since_stop.get() + interval;
        let looks = since_stop >= STOP_INTERVAL;
        self.since_stop.set(if looks { 0 } else { since_stop });
        if looks && self.is_stop_requested() {
            return true;
        }
        let mut progress = self.progress.borrow_mut();
        let Some(user) = progress.as_mut() else {
            return false;
        };
        user.elapsed = user.elapsed.saturating_add(interval);
        if user.elapsed < user.every {
            return false;
        }
        user.elapsed -= user.every;
        (user.handler)()
    }

    pub(super) fn on_busy(&self, attempts: u32) -> bool {
        if self.is_stop_requested() {
            return false;
        }
        if self.is_impatient.get() {
            let until = self.waits_until.get();
            let waits = until.is_some_and(|until| Instant::now() < until);
            if waits {
                thread::sleep(SHORT_WAIT);
            }
            return waits;
        }
        if let Some(handler) = self.busy_handler.borrow_mut().as_mut() {
            return handler(attempts);
        }
        let holds_write_lock = self.database.holds_write_lock();
        self.busy_policy
            .borrow_mut()
            .as_mut()
            .is_some_and(|policy| policy.on_busy(attempts, holds_write_lock))
    }

    pub(super) fn on_authorize(&self, action: &AuthorizerAction<'_>) -> c_int {
        if self.compiles_nothing.get() || !self.recorder.note(action) {
            return ffi::SQLITE_DENY;
        }
        if self.is_muted.get() {
            return ffi::SQLITE_OK;
        }
        match self
            .authorizer
            .borrow_mut()
            .as_mut()
            .map(|authorizer| authorizer(action))
        {
            None | Some(Authorization::Allow) => ffi::SQLITE_OK,
            Some(Authorization::Deny) => ffi::SQLITE_DENY,
            Some(Authorization::Ignore) => ffi::SQLITE_IGNORE,
        }
    }

    pub(super) fn on_trace(&self, event: &TraceEvent<'_>) {
        if self.is_muted.get() {
            return;
        }
        if let Some(tracer) = self.tracer.borrow_mut().as_mut() {
            tracer(event);
        }
    }

    pub(super) fn on_update(&self, update: &Update<'_>) {
        if let Some(hook) = self.updated.borrow_mut().as_mut() {
            hook(update);
        }
    }

    pub(super) fn on_commit(&self) -> bool {
        if self.spoiled.load(Ordering::Relaxed) {
            return false;
        }
        self.committing
            .borrow_mut()
            .as_mut()
            .is_none_or(|hook| hook())
    }

    pub(super) fn on_rollback(&self) {
        if let Some(hook) = self.rolled_back.borrow_mut().as_mut() {
            hook();
        }
    }

    /// Runs what a callback does, so that a panic in it stays on this side.
    pub(super) fn contain<T>(&self, answer_after_panic: T, callback: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
            self.panicked.set(true);
            // The payload's own drop may panic too.
            std::mem::forget(payload);
            answer_after_panic
        })
    }
}

/// The hooks of one handle. Not a `Box`: that would claim to be the only way to the state, while C
/// has one too.
pub(super) struct Hooks(NonNull<HookState>);

impl Deref for Hooks {
    type Target = HookState;

    fn deref(&self) -> &HookState {
        // SAFETY: made by `new` and freed by `drop` only; nobody ever makes a `&mut` of it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // SAFETY: `new` made it of a `Box`. The handle has removed the callbacks before it drops
        // its hooks.
        let state = unsafe { Box::from_raw(self.0.as_ptr()) };
        drop(state);
    }
}

impl Hooks {
    /// Makes hooks that are not installed yet.
    pub(super) fn new(database: Database) -> Self {
        let state = Box::new(HookState {
            database,
            panicked: Cell::new(false),
            spoiled: Arc::default(),
            guards_commits: Cell::new(false),
            is_tainted: Cell::new(false),
            is_muted: Cell::new(false),
            is_impatient: Cell::new(false),
            haste: Cell::new(None),
            compiles_nothing: Cell::new(false),
            waits_until: Cell::new(None),
            recorder: Recorder::default(),
            wal: Wal::default(),
            interval: Cell::new(STOP_INTERVAL),
            since_stop: Cell::new(0),
            stop: RefCell::new(None),
            progress: RefCell::new(None),
            busy_policy: RefCell::new(None),
            busy_handler: RefCell::new(None),
            authorizer: RefCell::new(None),
            tracer: RefCell::new(None),
            updated: RefCell::new(None),
            committing: RefCell::new(None),
            rolled_back: RefCell::new(None),
        });
        Self(NonNull::from(Box::leak(state)))
    }

    pub(super) fn context(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// Puts our callbacks into the authorizer, progress and busy slots; the trace slot is filled on
    /// demand.
    pub(super) fn install(&self) {
        self.install_authorizer();
        self.install_progress();
        self.install_busy();
    }

    /// Empties all slots: from here on SQLite has no pointer to the state.
    pub(super) fn remove(&self) {
        let db = self.database.as_ptr();
        // SAFETY: the handle is open; no callback means no context.
        unsafe { ffi::sqlite3_wal_hook(db, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_update_hook(db, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_commit_hook(db, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_rollback_hook(db, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_trace_v2(db, 0, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_busy_handler(db, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_progress_handler(db, 0, None, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { ffi::sqlite3_set_authorizer(db, None, std::ptr::null_mut()) };
    }

    /// Also makes SQLite compile every statement again, so that a new authorizer is asked about the
    /// old ones.
    fn install_authorizer(&self) {
        // SAFETY: the handle is open; the context outlives it.
        unsafe {
            ffi::sqlite3_set_authorizer(
                self.database.as_ptr(),
                Some(authorize_callback),
                self.context(),
            )
        };
    }

    fn install_progress(&self) {
        let interval = c_int::try_from(self.interval.get()).unwrap_or(c_int::MAX);
        // SAFETY: the handle is open; the context outlives it.
        unsafe {
            ffi::sqlite3_progress_handler(
                self.database.as_ptr(),
                interval,
                Some(progress_callback),
                self.context(),
            );
        };
    }

    /// Puts our busy callback into its slot, which every `PRAGMA busy_timeout = …` takes for
    /// itself.
    pub(super) fn install_busy(&self) {
        // SAFETY: the handle is open; the context outlives it.
        unsafe {
            ffi::sqlite3_busy_handler(self.database.as_ptr(), Some(busy_callback), self.context())
        };
    }

    pub(super) fn set_stop(&self, stop: Option<Arc<dyn Stop>>) {
        self.stop.replace(stop);
    }

    pub(super) fn set_progress_handler(&self, every: u32, handler: Option<ProgressHandler>) {
        let user = handler.filter(|_| every > 0).map(|handler| UserProgress {
            every,
            elapsed: 0,
            handler,
        });
        let interval = if user.is_some() {
            every.min(STOP_INTERVAL)
        } else {
            STOP_INTERVAL
        };
        self.progress.replace(user);
        self.interval.set(interval);
        self.install_progress();
    }

    pub(super) fn set_busy_policy(&self, policy: Box<dyn BusyPolicy>) {
        self.busy_policy.replace(Some(policy));
    }

    pub(super) fn set_busy_handler(&self, handler: Option<BusyHandler>) {
        self.busy_handler.replace(handler);
    }

    pub(super) fn set_authorizer(&self, authorizer: Option<Authorizer>) {
        self.authorizer.replace(authorizer);
        self.install_authorizer();
    }

    pub(super) fn set_trace(&self, tracer: Option<Tracer>) {
        let mask = if tracer.is_some() {
            ffi::SQLITE_TRACE_STMT | ffi::SQLITE_TRACE_PROFILE
        } else {
            0
        };
        self.tracer.replace(tracer);
        // SAFETY: the handle is open; the context outlives it. An empty mask empties the slot.
        unsafe {
            ffi::sqlite3_trace_v2(
                self.database.as_ptr(),
                mask.cast_unsigned(),
                Some(trace_callback),
                self.context(),
            );
        }
    }

    pub(super) fn set_update_hook(&self, hook: Option<UpdateHook>) {
        let call: Option<UpdateCallback> = hook.as_ref().map(|_| update_callback as UpdateCallback);
        self.updated.replace(hook);
        // SAFETY: the handle is open; the context outlives it.
        unsafe { ffi::sqlite3_update_hook(self.database.as_ptr(), call, self.context()) };
    }

    pub(super) fn set_commit_hook(&self, hook: Option<CommitHook>) {
        self.committing.replace(hook);
        self.install_commit();
    }

    fn install_commit(&self) {
        let is_needed = self.guards_commits.get() || self.committing.borrow().is_some();
        let call = is_needed.then_some(commit_callback as CommitCallback);
        // SAFETY: the handle is open; the context outlives it.
        unsafe { ffi::sqlite3_commit_hook(self.database.as_ptr(), call, self.context()) };
    }

    pub(super) fn set_rollback_hook(&self, hook: Option<RollbackHook>) {
        let call: Option<RollbackCallback> =
            hook.as_ref().map(|_| rollback_callback as RollbackCallback);
        self.rolled_back.replace(hook);
        // SAFETY: the handle is open; the context outlives it.
        unsafe { ffi::sqlite3_rollback_hook(self.database.as_ptr(), call, self.context()) };
    }

    /// What a collation sets that has no answer: its statement fails, and commits nothing.
    pub(super) fn spoiler(&self) -> Arc<AtomicBool> {
        if !self.guards_commits.replace(true) {
            self.install_commit();
        }
        Arc::clone(&self.spoiled)
    }

    /// Whether the user's trace callback and authorizer are kept from what happens; says what was before.
    pub(super) fn set_muted(&self, is_muted: bool) -> bool {
        self.is_muted.replace(is_muted)
    }

    /// Keeps the user's trace callback and authorizer from what we do on our own account.
    pub(super) fn untraced<T>(&self, work: impl FnOnce() -> T) -> T {
        let was_muted = self.is_muted.replace(true);
        let result = work();
        self.is_muted.set(was_muted);
        result
    }

    /// The error for a callback that panicked since the last call, if one did, or for a collation without an answer.
    pub(super) fn take_failure(&self) -> Option<Error> {
        if self.panicked.take() {
            return Some(Error::new(code::INTERNAL, "a callback panicked"));
        }
        self.take_spoiled()
            .then(|| Error::new(code::INTERRUPT, "interrupted"))
    }

    pub(super) fn taint(&self) {
        self.is_tainted.set(true);
    }

    pub(super) fn take_taint(&self) -> bool {
        self.is_tainted.take()
    }

    fn take_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Relaxed) && self.spoiled.swap(false, Ordering::Relaxed)
    }
}
