//! The local backend: a queue of commands, the session they run on, and the thread that is lent to both.
//!
//! Owns the queue and, between two commands, the session. A worker thread claims the session to run a command
//! and puts it back after; it stays for a short while when the queue is empty, then serves another connection.
//! Threads: `submit` and `interrupt` from any; `serve` on a lent worker.
//! Invariant: at most one worker is lent to a connection, and one is whenever commands wait.
//! Must not know: Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::block::Block;
use super::channel::Channel;
use super::command::{Action, Command, Shared};
use super::error::Error;
use super::guest::{Guest, Guests};
use super::lookout::linger;
use super::mailbox::{Database, Mailbox};
use super::options::{ModeChange, Options, TransactionMode};
use super::pins::Pin;
use super::pool::{Job, Loan, Membership};
use super::process::Birth;
use super::session::Session;
use super::status::{Phase, Status};
use super::unheard;

/// How long a worker waits for a connection's next command.
const LINGER: Duration = Duration::from_millis(200);

/// A connection to a database in this process.
#[derive(Debug)]
pub struct Local {
    pub(super) options: Options,
    pub(super) status: Status,
    channel: Arc<Channel>,
    /// The connections that share it, if it is one for several.
    guests: Guests,
    /// The transaction mode that was asked for last; a later open begins with it.
    mode: Mutex<TransactionMode>,
    pub(super) birth: Birth,
    mailbox: Mutex<Mailbox>,
    /// How many commands have come, for a worker that looks out for the next.
    pub(super) commands: AtomicU32,
    pub(super) arrived: Condvar,
    /// See `is_quick()`.
    is_quick: AtomicBool,
    /// The pool that it is a handle of.
    pub(super) pool: OnceLock<Membership>,
}

impl Local {
    /// Keeps a statement prepared until the pin is dropped.
    pub fn pin(&self, sql: Arc<str>) -> Pin {
        self.options.pins.pin(sql)
    }

    /// How long a statement waits for locks, unless it was told otherwise since.
    pub const fn timeout(&self) -> Duration {
        self.options.timeout
    }

    pub fn is_encrypted(&self) -> bool {
        self.options.key.get().is_some()
    }

    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            mode: Mutex::new(options.mode),
            mailbox: Mutex::new(Mailbox::new(options.timeout)),
            options,
            status: Status::default(),
            guests: Guests::default(),
            channel: Arc::default(),
            birth: Birth::default(),
            commands: AtomicU32::new(0),
            arrived: Condvar::new(),
            is_quick: AtomicBool::new(false),
            pool: OnceLock::new(),
        })
    }

    /// Steps that a query may take on the thread that waits for it; 0: none runs there.
    pub const fn inline_budget(&self) -> u32 {
        self.options.inline_budget
    }

    /// The lent worker has commands.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Whether its callers run its commands on their own threads.
    pub const fn is_blocking(&self) -> bool {
        self.options.is_blocking
    }

    /// How statements and callbacks talk.
    pub const fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Whether it was used before this process was forked. Until its first command nobody shares it.
    pub fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }

    /// Runs commands until none has come for a while. Called on a lent thread.
    pub(super) fn serve(&self) {
        let mut mailbox = self.lock();
        let mut lookout = None;
        loop {
            if matches!(mailbox.database, Database::Claimed) {
                // Whoever has it, a backup or the express thread, starts a worker after if there is need.
                mailbox.lent = false;
                drop(mailbox);
                unheard::wake_all();
                return;
            }
            let Some(job) = self.next_job(&mut mailbox) else {
                if !unheard::is_empty() {
                    drop(mailbox);
                    unheard::wake_all();
                    mailbox = self.lock();
                    continue;
                }
                let Database::Open(session) = &mailbox.database else {
                    mailbox.lent = false;
                    return;
                };
                if let Some(processor) = lookout.take() {
                    let seen = self.commands.load(Ordering::Relaxed);
                    drop(mailbox);
                    linger(processor, || self.commands.load(Ordering::Relaxed) != seen);
                    mailbox = self.lock();
                    continue;
                }
                let rest = session.rest();
                mailbox.idle = true;
                let (guard, waited) = self
                    .arrived
                    .wait_timeout(mailbox, rest.unwrap_or(LINGER))
                    .unwrap_or_else(PoisonError::into_inner);
                mailbox = guard;
                let is_kicked = !std::mem::replace(&mut mailbox.idle, false);
                let is_over = waited.timed_out() && !is_kicked && mailbox.queue.is_empty();
                if is_over && !mailbox.is_claimed() {
                    if rest.is_some() {
                        mailbox = self.maintain(mailbox);
                        continue;
                    }
                    mailbox.lent = false;
                    return;
                }
                continue;
            };
            let operation = job.operation();
            mailbox = self.run_job(mailbox, job);
            lookout = operation.lookout();
        }
    }

    /// Claims the session for a job, and puts it back after.
    pub(super) fn run_job<'a>(
        &'a self,
        mut mailbox: MutexGuard<'a, Mailbox>,
        job: Job,
    ) -> MutexGuard<'a, Mailbox> {
        let database = std::mem::replace(&mut mailbox.database, Database::Claimed);
        mailbox.running = Some(job.operation());
        mailbox.runs_for = job.guest();
        drop(mailbox);
        let database = match job {
            Job::One(command) => self.run_contained(database, command),
            Job::Group(group, commands) => self.run_group(database, &group, commands),
            Job::Retire(_, why) => self.retire(database, why),
            Job::Restore(_) => self.restore(database),
        };
        let mut mailbox = self.lock();
        if !matches!(database, Database::Claimed) {
            mailbox.put_back(database);
        }
        mailbox.running = None;
        mailbox
    }

    /// Takes care of the database's files; a command that comes meanwhile waits.
    fn maintain<'a>(&'a self, mut mailbox: MutexGuard<'a, Mailbox>) -> MutexGuard<'a, Mailbox> {
        let database = std::mem::replace(&mut mailbox.database, Database::Claimed);
        drop(mailbox);
        let cared = catch_unwind(AssertUnwindSafe(|| {
            let mut database = database;
            if let Database::Open(session) = &mut database {
                session.maintain();
                session.publish_warning(&self.status);
            }
            database
        }));
        let database = cared.unwrap_or_else(|panic| self.poisoned(&*panic));
        let mut mailbox = self.lock();
        mailbox.database = database;
        mailbox
    }

    /// Runs one command, which the mailbox names as running; a panic poisons this connection only.
    pub(super) fn run_contained(&self, database: Database, command: Command) -> Database {
        let ran = catch_unwind(AssertUnwindSafe(|| self.run(database, command)));
        ran.unwrap_or_else(|panic| {
            let database = self.poisoned(&*panic);
            let running = self.lock().running.clone();
            if let (Database::Poisoned(message), Some(operation)) = (&database, running) {
                // It may not have come that far.
                let _ = operation.claim();
                drop(operation.finish(Err(Error::internal(message.clone()))));
                operation.leave();
            }
            database
        })
    }

    pub(super) fn poisoned(&self, panic: &(dyn std::any::Any + Send)) -> Database {
        let cause = panic_message(panic);
        self.status.set_phase(Phase::Closed);
        self.guests.each(|status| status.set_phase(Phase::Closed));
        Database::Poisoned(format!("a panic in the worker of this connection: {cause}"))
    }

    /// Runs one command, claimed or not: a changed mode is applied even if its operation was abandoned.
    fn run(&self, mut database: Database, command: Command) -> Database {
        let needs_direction = self.needs_direction(&database, &command);
        let command = if needs_direction {
            match self.direct(&mut database, command) {
                Some(command) => command,
                None => return database,
            }
        } else {
            command
        };
        let Command {
            operation,
            modes,
            block,
            guest,
            surroundings,
            loan,
            opening: _ends_last,
            action,
            ..
        } = command;
        if let Some(change) = modes.last() {
            let mode = guest.as_ref().map_or(&self.mode, |guest| guest.mode());
            *lock(mode) = change.mode;
        }
        if !operation.claim() {
            drop(loan);
            return self.skip(database, &operation, &modes);
        }
        let has_callbacks = surroundings.is_some();
        if has_callbacks {
            self.channel.begin(surroundings, &operation);
        }
        let (modes, block, guest) = (&*modes, block.as_ref(), guest.as_ref());
        self.run_claimed(
            database,
            &operation,
            action,
            modes,
            block,
            guest,
            (has_callbacks, loan),
        )
    }

    /// Runs a command to its end, and reports that.
    #[allow(clippy::too_many_arguments, reason = "the parts of a command")]
    pub(super) fn run_claimed(
        &self,
        database: Database,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
        block: Option<&Arc<Block>>,
        guest: Option<&Arc<Guest>>,
        (has_callbacks, loan): (bool, Option<Arc<Loan>>),
    ) -> Database {
        let acquires = loan.is_some();
        let may_leave_rows = matches!(action, Action::Execute(_));
        let (mut database, mut result) = match guest {
            Some(guest) => self.step_for(guest, database, operation, action, modes, block),
            None => self.step(database, operation, action, modes, block),
        };
        if has_callbacks {
            let cause = self.channel.end();
            result = result.map_err(|error| Error { cause, ..error });
        }
        if let (Some(pool), Ok(outcome)) = (self.pool.get(), &mut result) {
            outcome.member = Some(pool.index());
            outcome.loan = loan;
        }
        if let Database::Open(session) = &database {
            self.publish(session);
            if may_leave_rows {
                let is_shared = has_callbacks || guest.is_some() || self.pool.get().is_some();
                let is_quick = session.was_quick && !is_shared;
                self.is_quick.store(is_quick, Ordering::Relaxed);
            }
        }
        let opened = result.as_ref().is_ok_and(|outcome| outcome.opened);
        if opened {
            self.status.set_phase(Phase::Open);
            if let Some(guest) = &guest {
                guest.status().set_phase(Phase::Open);
            }
        }
        self.announce(&database);
        if let Ok(waker) = operation.finish_unheard(result) {
            waker.into_iter().for_each(unheard::add);
        } else {
            unheard::wake_all();
            if opened {
                database = match guest {
                    Some(guest) => self.see_off(guest, database, Phase::Unopened).0,
                    None => self.undo_open(database),
                };
            } else if let Database::Open(session) = &mut database {
                session.undo();
                if self.pool.get().is_some() {
                    session.undo_for_pool(acquires, may_leave_rows);
                }
                self.publish(session);
            }
            operation.leave();
        }
        if let Database::Open(session) = &mut database {
            session.maintain_overdue();
            session.publish_warning(&self.status);
        }
        database
    }

    fn skip(&self, mut database: Database, operation: &Shared, modes: &[ModeChange]) -> Database {
        if let (Database::Open(session), false) = (&mut database, modes.is_empty()) {
            // Its error has nobody to go to.
            let _ = session.run(operation, Action::Open, modes, None);
            self.publish(session);
        }
        database
    }

    pub(super) fn set_unopened(&self) {
        self.status.set_phase(Phase::Unopened);
        self.status.publish(false, 0, false);
    }

    pub(super) fn undo_open(&self, database: Database) -> Database {
        self.set_unopened();
        drop(database);
        Database::Unopened
    }

    /// Whether its last statement was a query that took little time, of a connection that shares nothing.
    pub(super) fn is_quick(&self) -> bool {
        self.is_quick.load(Ordering::Relaxed)
    }

    /// Shows how it is to everybody who uses it.
    pub(super) fn publish(&self, session: &Session) {
        session.publish(&self.status);
        if session.has_guests() {
            self.guests.each(|status| session.publish(status));
        }
    }

    pub(super) const fn guests(&self) -> &Guests {
        &self.guests
    }

    pub(super) fn mode(&self) -> MutexGuard<'_, TransactionMode> {
        lock(&self.mode)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Local {
    /// In a child the handle is leaked: to close it would touch files and locks that are the parent's.
    fn drop(&mut self) {
        if self.is_inherited() {
            let mailbox = self.mailbox.get_mut();
            let mailbox = mailbox.unwrap_or_else(PoisonError::into_inner);
            let database = std::mem::replace(&mut mailbox.database, Database::Closed);
            std::mem::forget((database, mailbox.queue.drain()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
