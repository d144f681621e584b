//! Link: the backend of a connection, with the settings that its cursors take over. Transaction blocks share it.
//!
//! Thread: any that is attached. Invariant: its lock is never held while Python code may run.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{
    self, Action, Block, Command, Error, Guest, Local, Look, ModeChange, Opaque, Options, Phase,
    Pin, Shared, Status,
};

use super::adapters::Adapters;
use super::callbacks::{Callbacks, Uses};
use super::common::Common;
use super::converters::Converters;
use super::diagnostics::Watch;
use super::exceptions;
use super::factories::{RowFactory, TextFactory};
use super::home::Home;
use super::logs::{self, Area, Severity};
use super::memory::SharedMemory;
use super::options::Control;
use super::parameters;
use super::quick::Spare;
use super::reentrancy::Reentrancy;
use super::scope;
use super::settings::Settings;

const FORGOTTEN: &str = "was deleted before being closed. Please use 'async with' or '.close()' to close the \
                         connection properly.";

/// What a connection's methods and its cursors work with.
pub struct Link {
    /// What a task's context names the connection by.
    pub(super) id: u64,
    pub(super) backend: Home,
    /// Set if others have the backend too.
    pub(super) guest: Option<Arc<Guest>>,
    /// What they share on this side.
    pub(super) shared: Option<Arc<SharedMemory>>,
    pub(super) callbacks: Arc<Callbacks>,
    pub(super) label: String,
    pub(super) settings: Mutex<Settings>,
    /// There are mode changes in the settings.
    pub(super) has_modes: AtomicBool,
    pub(super) watch: Arc<Watch>,
    /// What its pool has of these.
    pub(super) common: OnceLock<Arc<Common>>,
    pub(super) reported: AtomicBool,
    /// A close was submitted that nobody need wait for.
    pub(super) stopped: AtomicBool,
    /// Room for the rows of a quick query.
    pub spare: Spare,
}

impl Link {
    pub fn new(backend: Home, label: String, settings: Settings) -> Self {
        let with = (backend, Arc::default(), Arc::default());
        Self::make(with, label, settings)
    }

    /// One of several connections to a database in memory.
    pub fn shared(
        shared: Arc<SharedMemory>,
        options: Options,
        label: String,
        settings: Settings,
    ) -> Self {
        let with = (
            Home::Local(Arc::clone(&shared.backend)),
            Arc::clone(&shared.reentrancy),
            Arc::clone(&shared.uses),
        );
        let this = Self {
            guest: Some(Guest::new(options)),
            label: format!("{label} {}", shared.name),
            ..Self::make(with, label, settings)
        };
        let mut all = shared
            .callbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&this.callbacks));
        drop(all);
        Self {
            shared: Some(shared),
            ..this
        }
    }

    fn make(
        (backend, reentrancy, uses): (Home, Arc<Reentrancy>, Arc<Uses>),
        label: String,
        settings: Settings,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let channel = Arc::clone(backend.channel());
        let is_blocking = backend.is_blocking();
        let callbacks = Callbacks::new(channel, reentrancy, uses, is_blocking);
        Self {
            guest: None,
            shared: None,
            callbacks,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            backend,
            label,
            settings: Mutex::new(settings),
            has_modes: AtomicBool::new(false),
            watch: Arc::default(),
            common: OnceLock::new(),
            reported: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            spare: Spare::default(),
        }
    }

    pub const fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }

    /// Queues a command that takes part in a block, with the mode changes since the last one.
    pub fn submit(&self, action: Action, block: Option<Arc<Block>>) -> Shared {
        self.submit_in(action, block, None)
    }

    /// As `submit`; its callbacks run in the context of the caller, who awaits what they return to be awaited.
    pub fn submit_here(&self, py: Python<'_>, action: Action, block: Option<Arc<Block>>) -> Shared {
        self.submit_in(action, block, self.callbacks.surroundings(py))
    }

    /// A command of a blocking connection, for `run_now`.
    pub fn command(&self, py: Python<'_>, action: Action) -> Command {
        self.command_in(action, None, self.callbacks.surroundings(py))
    }

    /// Runs a command on this thread. `false`: the thread has to stop before it has ended.
    pub fn run_now(&self, command: Command, look: Look) -> bool {
        self.backend.run_now(command, look)
    }

    fn command_in(
        &self,
        action: Action,
        block: Option<Arc<Block>>,
        surroundings: Option<Opaque>,
    ) -> Command {
        let modes = self.modes_for(&action);
        let mut command = Command::new(action, modes, block);
        command.guest.clone_from(&self.guest);
        command.surroundings = surroundings;
        command
    }

    fn submit_in(
        &self,
        action: Action,
        block: Option<Arc<Block>>,
        surroundings: Option<Opaque>,
    ) -> Shared {
        let command = self.command_in(action, block, surroundings);
        let shared = Arc::clone(&command.operation);
        if command.surroundings.is_some() {
            shared.dialogue().set_attended(true);
        }
        self.backend.submit(command);
        shared
    }

    /// Queues a command that was made elsewhere.
    pub fn submit_command(&self, command: Command) {
        self.backend.submit(command);
    }

    /// The backend, if it is in this process.
    pub fn local(&self) -> Option<&Arc<Local>> {
        self.backend.local()
    }

    /// Refuses what a server can't do.
    pub fn check_local(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.local().is_some() {
            return Ok(());
        }
        let message = format!("{what}() is not supported by remote databases");
        Err(exceptions::not_supported(py, message))
    }

    /// The mode changes that a command applies first.
    fn modes_for(&self, action: &Action) -> Vec<ModeChange> {
        if !self.has_modes.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut settings = self.settings();
        let modes = settings.modes_for(action);
        self.has_modes
            .store(!settings.modes.is_empty(), Ordering::Release);
        modes
    }

    /// The block that a statement takes part in: its own (by name, or its cursor's), or one inside of that which
    /// the running task is in.
    pub fn membership(
        &self,
        py: Python<'_>,
        own: Option<&Arc<Block>>,
    ) -> PyResult<Option<Arc<Block>>> {
        if !self.status().in_block() {
            return Ok(own.cloned());
        }
        let here = scope::current(py, self.id)?;
        let is_inside = match (own, &here) {
            (Some(own), Some(here)) => here.is_within(own),
            (None, _) => true,
            (Some(_), None) => false,
        };
        Ok(if is_inside { here } else { own.cloned() })
    }

    /// Whether both work on one handle.
    pub fn is_same(&self, other: &Self) -> bool {
        self.backend.is(&other.backend)
    }

    pub const fn backend(&self) -> &Home {
        &self.backend
    }

    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Stops the statement that runs now.
    pub fn interrupt(&self) {
        self.backend.interrupt(self.guest.as_deref());
    }

    /// Keeps a statement prepared until the pin is dropped.
    pub fn pin(&self, sql: Arc<str>) -> Pin {
        self.backend.pin(sql)
    }

    /// How the database is shown.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub fn status(&self) -> &Status {
        match &self.guest {
            Some(guest) => guest.status(),
            None => self.backend.status(),
        }
    }

    pub fn reentrancy(&self) -> &Reentrancy {
        self.callbacks.reentrancy()
    }

    pub const fn settings_lock(&self) -> &Mutex<Settings> {
        &self.settings
    }

    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to change how transactions begin and end in the middle of a block.
    pub fn check_no_block(&self, py: Python<'_>) -> PyResult<()> {
        if self.status().in_block() {
            let message = "isolation_level and autocommit can't be assigned while a transaction block is open";
            return Err(exceptions::programming(py, message));
        }
        Ok(())
    }

    /// Notes an assignment, for the next command to apply.
    pub fn change_control(&self, change: impl FnOnce(&mut Control) -> ModeChange) {
        let mut settings = self.settings();
        let change = change(&mut settings.control);
        settings.modes.push(change);
        self.has_modes.store(true, Ordering::Release);
    }

    pub fn cursor_defaults(&self, py: Python<'_>) -> (RowFactory, usize) {
        let settings = self.settings();
        (settings.row_factory.clone_ref(py), settings.chunk)
    }

    pub fn text_factory_of(&self, py: Python<'_>) -> TextFactory {
        self.settings().text_factory.clone_ref(py)
    }

    /// SQL as the core takes it, and what parameters and values become other ones with.
    pub fn request(&self, sql: &Bound<'_, PyString>) -> PyResult<(Arc<str>, Adapters, Converters)> {
        let py = sql.py();
        let settings = self.settings();
        let text = settings.texts.get(sql).cloned();
        let adapters = settings.adapters.clone_ref(py);
        let converters = settings.converters.clone_ref(py);
        drop(settings);
        let text = match text {
            Some(text) => text,
            None => self.convert_text(sql)?,
        };
        Ok((text, adapters, converters))
    }

    /// The text of a statement that was executed before, and where to, if nothing of Python's has a say in it, and no
    /// other connection.
    pub fn plain_request(&self, sql: &Bound<'_, PyAny>) -> Option<(Arc<str>, &Arc<Local>)> {
        let Home::Local(local) = &self.backend else {
            return None;
        };
        let settings = self.settings();
        let is_plain = self.is_plain(&settings);
        let text = settings.texts.get(sql).filter(|_| is_plain)?;
        Some((Arc::clone(text), local))
    }

    /// Whether nothing of Python's, and no other connection, has a say in what a statement does.
    pub fn is_plain(&self, settings: &Settings) -> bool {
        settings.adapters.are_plain()
            && settings.converters.is_none()
            && self.guest.is_none()
            && !self.callbacks.were_used()
            && !self.has_modes.load(Ordering::Acquire)
            && !self.own_watch().is_on()
            && !self.status().notes().has_some()
    }

    fn convert_text(&self, sql: &Bound<'_, PyString>) -> PyResult<Arc<str>> {
        let text = parameters::sql(sql)?;
        let before = self.settings().texts.put(sql, &text);
        drop(before);
        Ok(text)
    }

    pub fn is_closed(&self) -> bool {
        self.status().phase() == Phase::Closed
    }

    /// Whether it was opened before this process was forked.
    pub fn is_inherited(&self) -> bool {
        self.backend.is_inherited()
    }

    pub fn check_not_closed(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_closed() {
            return Err(exceptions::to_python(py, Error::closed()));
        }
        self.check_not_inherited(py)
    }

    pub fn check_not_inherited(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_inherited() {
            return Err(exceptions::to_python(py, Error::inherited()));
        }
        Ok(())
    }

    pub fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        match self.status().phase() {
            Phase::Unopened => Err(exceptions::to_python(py, Error::not_open())),
            Phase::Open | Phase::Closed | Phase::Retired => self.check_not_closed(py),
        }
    }

    /// Warns of changes that a close threw away, once.
    pub fn report_discarded(&self, py: Python<'_>) -> PyResult<()> {
        // As sqlite3, which says nothing.
        if !self.status().take_discarded() || self.backend.is_blocking() {
            return Ok(());
        }
        self.warn(
            py,
            "was closed with uncommitted changes, which are rolled back",
        )
    }

    /// Logs what the backend has noted. Never fails: it is about operations of the past.
    pub fn write_notes(&self, py: Python<'_>) {
        logs::write_all(py, self.status().notes());
    }

    /// Whether it may have anything open in this process.
    pub fn is_used(&self) -> bool {
        let is_known = self.guest.is_none() || self.is_open();
        self.backend.is_used() && is_known && !self.is_closed()
    }

    pub fn is_open(&self) -> bool {
        self.status().phase() == Phase::Open
    }

    /// The interpreter ends: stops everything.
    pub fn stop(&self) {
        self.backend.stop();
    }

    /// It is about to be closed, so that nobody who lets go of it now leaves it open.
    pub fn set_stopped(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Runs the commands of a blocking connection on this thread, until one has ended or the thread has to stop.
    pub fn serve_here(&self, operation: &Shared, look: Look) -> bool {
        self.backend.serve_here(operation, look)
    }

    /// Waits until a command has ended, or it is too late. `true`: it has.
    pub fn wait_for(&self, operation: &Shared, until: Instant) -> bool {
        if self.backend.is_blocking() {
            self.backend.serve_here(operation, || true)
        } else {
            core::wait_for(operation, until)
        }
    }

    /// Runs what nobody waits for, if it is a blocking connection's.
    pub fn settle(&self) {
        if self.backend.is_blocking() {
            self.backend.settle();
        }
    }

    /// As `settle`, where an object dies.
    pub fn settle_in_destructor(&self) {
        if self.backend.is_blocking() {
            exceptions::in_destructor(|py| {
                py.detach(|| self.backend.settle());
                Ok(())
            });
        }
    }

    /// Whether this thread runs a command of a blocking connection, and is in a callback of it.
    pub fn is_claimed_here(&self) -> bool {
        self.backend.is_claimed_here()
    }

    /// Says that it was left open, once.
    pub fn report_left_open(&self, py: Python<'_>, how: &str) -> PyResult<()> {
        if self.reported.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let of_pool = self.common.get().map_or("", |_| "of a pool ");
        self.warn(py, &format!("{of_pool}{how}"))
    }

    /// Says that a borrower let go of it without a word.
    pub fn report_not_released(&self, py: Python<'_>) -> PyResult<()> {
        let what = "was borrowed from a pool and not released; it is given back, and what was not committed is rolled back";
        let text = format!("{} {what}", self.label);
        logs::write(py, Area::Pool, Severity::Warning, &text);
        self.warn(py, what)
    }

    /// The connection is gone: closes what was left open, and says so.
    pub fn forget(&self) {
        if self.is_inherited() {
            return;
        }
        // A transaction would be lost without a word, for nobody waits for that close.
        let stopped = self.stopped.load(Ordering::Relaxed) && !self.status().in_transaction();
        let forgotten = self.status().phase() == Phase::Open && !stopped;
        if forgotten {
            self.status().hurry();
            drop(self.submit(Action::Close, None));
            self.settle_in_destructor();
        }
        exceptions::in_destructor(|py| {
            if forgotten {
                self.report_left_open(py, FORGOTTEN)
            } else if self.reported.load(Ordering::Relaxed) {
                Ok(())
            } else {
                self.report_discarded(py)
            }
        });
    }

    fn warn(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        let message = if self.backend.is_blocking() {
            let what = what.replace("'async with' or '.close()'", "'.close()'");
            format!("<aiolibsql.dbapi.Connection '{}'> {what}", self.label)
        } else {
            format!("<aiolibsql.Connection '{}'> {what}", self.label)
        };
        let message = CString::new(message).unwrap_or_default();
        PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1)
    }
}
