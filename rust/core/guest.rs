//! Guest: one of several connections that share a handle, which is how a database in memory is known by a name.
//!
//! Owns what each of them has for itself: whether it is open, its transaction mode, its patience. The handle is opened
//! with the first of them and closed with the last, and may be opened again.
//! Threads: any has a guest; the rest the session's worker.
//! Invariant: a guest that leaves takes with it what it began: its block or transaction, its rows, blobs and backups.
//! Must not know: Python, names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::block::Block;
use super::command::{Action, Outcome, Shared};
use super::error::{Error, Result};
use super::mailbox::Database;
use super::options::{ModeChange, Options, TransactionMode};
use super::session::Session;
use super::status::{Phase, Status};
use super::worker::Local;

/// One connection among several to the same handle.
#[derive(Debug)]
pub struct Guest {
    id: u64,
    options: Options,
    mode: Mutex<TransactionMode>,
    /// How often it was opened: an open that nobody heard of is undone only if it was the only one.
    opens: AtomicU64,
    status: Status,
}

impl Guest {
    pub fn new(options: Options) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            mode: Mutex::new(options.mode),
            options,
            opens: AtomicU64::new(0),
            status: Status::default(),
        })
    }

    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// What tells it from the others; never 0.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// How long its commands wait for the block of another one to end.
    pub(super) const fn patience(&self) -> Duration {
        self.options.timeout
    }

    pub(super) const fn mode(&self) -> &Mutex<TransactionMode> {
        &self.mode
    }
}

/// Those that share a handle.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Vec<Weak<Guest>>>);

impl Guests {
    fn add(&self, guest: &Arc<Guest>) {
        let mut guests = self.lock();
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(Arc::downgrade(guest));
    }

    fn remove(&self, gone: &Guest) {
        self.lock()
            .retain(|guest| guest.upgrade().is_some_and(|guest| guest.id != gone.id));
    }

    /// Shows something to each of them.
    pub(super) fn each(&self, show: impl Fn(&Status)) {
        let guests = self.lock();
        guests
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|guest| show(&guest.status));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Guest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session knows of the guests that it has.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Whose command runs; 0: there are no guests.
    pub(super) current: u64,
    count: usize,
    /// Who began the open transaction, and the outermost open block.
    transaction: u64,
    block: u64,
}

impl Local {
    /// Runs the command of a guest.
    pub(super) fn step_for(
        &self,
        guest: &Arc<Guest>,
        database: Database,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
        block: Option<&Arc<Block>>,
    ) -> (Database, Result<Outcome>) {
        match (guest.status.phase(), action) {
            (Phase::Unopened, Action::Open) => self.join(guest, database, operation),
            (Phase::Open, Action::UndoOpen) if guest.opens.load(Ordering::Relaxed) == 1 => {
                self.see_off(guest, database, Phase::Unopened)
            }
            (_, Action::UndoOpen) => (database, Ok(Outcome::default())),
            (Phase::Open, Action::Close) => {
                // What an assignment to `isolation_level` committed in sqlite3 is committed here.
                let (database, applied) = if modes.is_empty() {
                    (database, Ok(Outcome::default()))
                } else {
                    self.step_for(guest, database, operation, Action::Open, modes, None)
                };
                let (database, closed) = self.see_off(guest, database, Phase::Closed);
                (database, applied.and(closed))
            }
            (_, Action::Close) => {
                guest.status.set_phase(Phase::Closed);
                (database, Ok(Outcome::default()))
            }
            (_, Action::Leave { commits: false, .. }) if guest.status.phase() != Phase::Open => {
                (database, Ok(Outcome::default()))
            }
            (Phase::Closed, action) if refuses(&action) => (database, Err(Error::closed())),
            (Phase::Unopened, action) if refuses(&action) => (database, Err(Error::not_open())),
            (_, action) => {
                if matches!(action, Action::Open) {
                    guest.opens.fetch_add(1, Ordering::Relaxed);
                }
                let mut database = database;
                let before = database.session().map(|session| session.receive(guest));
                let (mut database, result) = self.step(database, operation, action, modes, block);
                if let (Some(session), Some(before)) = (database.session(), before) {
                    session.note_owner(guest, before);
                }
                (database, result)
            }
        }
    }

    fn join(
        &self,
        guest: &Arc<Guest>,
        database: Database,
        operation: &Shared,
    ) -> (Database, Result<Outcome>) {
        let (mut database, opened) = match database {
            Database::Unopened => self.step(database, operation, Action::Open, &[], None),
            Database::Open(_) => (database, Ok(Outcome::default())),
            _ => return self.step(database, operation, Action::Open, &[], None),
        };
        let Some(session) = database.session() else {
            return (database, opened);
        };
        session.company.count += 1;
        guest.opens.store(1, Ordering::Relaxed);
        let before = session.receive(guest);
        let ready = session.prepare_for(&guest.options, operation);
        session.note_owner(guest, before);
        self.guests().add(guest);
        match ready {
            Ok(()) => {
                let outcome = Outcome {
                    opened: true,
                    ..Outcome::default()
                };
                (database, Ok(outcome))
            }
            Err(error) => {
                let (database, _) = self.see_off(guest, database, Phase::Unopened);
                (database, Err(error))
            }
        }
    }

    /// A guest leaves; with the last one the database goes.
    pub(super) fn see_off(
        &self,
        guest: &Guest,
        mut database: Database,
        phase: Phase,
    ) -> (Database, Result<Outcome>) {
        self.guests().remove(guest);
        guest.status.set_phase(phase);
        guest.status.publish(false, 0, false);
        let Some(session) = database.session() else {
            return (database, Ok(Outcome::default()));
        };
        let evicted = session.evict(guest);
        session.company.count -= 1;
        if session.company.count > 0 {
            return (database, evicted.map(|()| Outcome::default()));
        }
        let Database::Open(session) = database else {
            return (database, Ok(Outcome::default()));
        };
        let closed = session.close(&guest.status);
        self.set_unopened();
        (Database::Unopened, evicted.and(closed))
    }
}

/// Whether it needs a connection that is open; what ends something does not.
const fn refuses(action: &Action) -> bool {
    action.is_gated() || matches!(action, Action::Open | Action::Leave { .. })
}

/// What a command found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    transaction: u64,
    has_block: bool,
}

impl Session {
    pub(super) const fn has_guests(&self) -> bool {
        self.company.count > 0
    }

    /// A command of this guest is about to run, in the guest's transaction mode.
    fn receive(&mut self, guest: &Guest) -> Found {
        self.company.current = guest.id;
        if self.nest.is_empty() {
            let mode = guest.mode.lock();
            self.transaction.mode = *mode.unwrap_or_else(PoisonError::into_inner);
        }
        Found {
            transaction: self.transaction.serial(),
            has_block: !self.nest.is_empty(),
        }
    }

    fn note_owner(&mut self, guest: &Guest, before: Found) {
        // It may have ended one and begun the next.
        if before.transaction != self.transaction.serial() && !self.handle.is_autocommit() {
            self.company.transaction = guest.id;
        }
        if !before.has_block && !self.nest.is_empty() {
            self.company.block = guest.id;
        }
    }

    /// Ends what a guest has left.
    fn evict(&mut self, guest: &Guest) -> Result<()> {
        self.company.current = guest.id;
        let mine: Vec<_> = self
            .reading
            .extract_if(|_, reading| reading.guest == guest.id)
            .collect();
        for (_, reading) in mine {
            reading.rows.end(Err(Error::closed()));
            self.give_back(&reading.sql, reading.statement);
        }
        let mut evicted = self.close_blobs_of(guest.id);
        evicted = evicted.and(self.end_backups_of(guest.id));
        let none = TransactionMode::Autocommit { manual_end: true };
        if let Some(outermost) = self.nest.outermost().cloned() {
            if self.company.block == guest.id {
                self.transaction.mode = none;
                evicted = evicted.and(self.leave(&outermost, false).map(drop));
            }
        } else if !self.handle.is_autocommit() && self.company.transaction == guest.id {
            if self.handle.holds_write_lock()
                && self.transaction.is_touched(self.handle.total_changes())
            {
                guest.status.set_discarded();
            }
            self.transaction.mode = none;
            evicted = evicted.and(self.end_with("ROLLBACK"));
        }
        evicted
    }
}
