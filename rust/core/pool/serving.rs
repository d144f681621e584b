//! How a local handle's worker gets its commands from the pool, and runs those that come together.
//!
//! Owns no state. Thread: the handle's worker; `join` and `kick` on any.
//! Must not know: Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::super::backend::Backend as _;
use super::super::command::{Action, Command, Outcome, Shared};
use super::super::error::{Error, Result};
use super::super::mailbox::{Database, Mailbox};
use super::super::operation::{Operation, Shield};
use super::super::service::Service;
use super::super::status::Phase;
use super::super::threads;
use super::super::unheard;
use super::super::worker::Local;
use super::Pool;
use super::group::Ended;
use super::membership::{Handle, Membership, UNLENT};
use super::queue::{Pulled, end};
use super::retiring::{Lifetimes, Why};
use super::routes::Route;
use super::waiting::Limits;

/// What a handle does in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Reader,
    Writer,
}

/// What a worker does next.
#[allow(clippy::large_enum_variant, reason = "it is moved once")]
pub(in super::super) enum Job {
    One(Command),
    /// Writes to commit together; the first stands for them while they wait for the lock.
    Group(Shared, Vec<Command>),
    /// Leave the pool; nobody waits for that.
    Retire(Shared, Why),
    /// Be as it was opened.
    Restore(Shared),
}

impl Job {
    pub fn operation(&self) -> Shared {
        match self {
            Self::One(command) => Arc::clone(&command.operation),
            Self::Group(nobody, _) | Self::Retire(nobody, _) | Self::Restore(nobody) => {
                Arc::clone(nobody)
            }
        }
    }

    /// Whose it is; 0: there is only one.
    pub fn guest(&self) -> u64 {
        match self {
            Self::One(command) => command.guest.as_ref().map_or(0, |guest| guest.id()),
            Self::Group(..) | Self::Retire(..) | Self::Restore(_) => 0,
        }
    }
}

impl Handle for Local {
    fn kick(self: Arc<Self>) {
        self.kick_worker();
    }

    fn take_back(self: Arc<Self>) {
        let release = Action::Serve(Service::Release);
        self.submit(Command::new(release, Vec::new(), None));
    }

    fn membership(&self) -> Option<&Membership> {
        self.pool.get()
    }
}

impl Local {
    /// Becomes a handle of a pool, for good; not open yet.
    pub fn join_pool(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        (role, index): (Role, u32),
        limits: Limits,
        lifetimes: Lifetimes,
    ) {
        let local: Weak<Self> = Arc::downgrade(self);
        *self.mode() = UNLENT;
        pool.key.join(&self.options.key);
        let member = Membership::new(pool, (role, index), local, limits, lifetimes, true);
        let _ = self.pool.set(member);
    }

    /// From now on it takes commands of the pool.
    pub fn serve_pool(self: &Arc<Self>) {
        if let Some(pool) = self.pool.get()
            && pool.serve(self.status.phase() == Phase::Open)
        {
            self.kick_worker();
        }
    }

    /// Has its worker look for commands of the pool.
    pub(in super::super) fn kick_worker(self: &Arc<Self>) {
        if self.is_inherited() {
            return;
        }
        let mut mailbox = self.lock();
        self.commands.fetch_add(1, Ordering::Relaxed);
        if mailbox.lent {
            let is_idle = std::mem::replace(&mut mailbox.idle, false);
            drop(mailbox);
            if is_idle {
                self.wake();
            }
            return;
        }
        mailbox.lent = true;
        drop(mailbox);
        if let Err(error) = threads::lend(Arc::clone(self)) {
            self.lock().lent = false;
            if let Some(pool) = self.pool.get() {
                let message = format!("can't start a worker thread: {error}");
                pool.fail(&Error::operational(message));
            }
        }
    }

    /// Its own commands come first: they are of whoever holds it.
    pub(in super::super) fn next_job(&self, mailbox: &mut Mailbox) -> Option<Job> {
        if let Some(command) = mailbox.queue.pop() {
            return Some(Job::One(command));
        }
        let pool = self.pool.get()?;
        if !pool.serves() {
            return None;
        }
        let condition = self.condition(pool, &mailbox.database)?;
        match pool.pull(condition) {
            Pulled::One(command) => Some(Job::One(command)),
            Pulled::Group(mut commands) if commands.len() == 1 => commands.pop().map(Job::One),
            Pulled::Group(commands) => {
                let group = Arc::new(Operation::new(Shield::None));
                Some(Job::Group(group, commands))
            }
            Pulled::Retire(why) => {
                let nobody = Arc::new(Operation::new(Shield::Always));
                Some(Job::Retire(nobody, why))
            }
            Pulled::Restore => {
                let nobody = Arc::new(Operation::new(Shield::Always));
                Some(Job::Restore(nobody))
            }
            Pulled::Nothing => None,
        }
    }

    /// Whether a command of the pool may not be for this handle: nobody knows, or it is for a reader that has not
    /// compiled it and may not be able to, for the schema and the functions may be others by now.
    pub(in super::super) fn needs_direction(&self, database: &Database, command: &Command) -> bool {
        if !command.is_pooled {
            return false;
        }
        let (Some(Route::Reader), Some(pool)) = (command.route, self.pool.get()) else {
            return command.route.is_none();
        };
        match (database, &command.action) {
            (Database::Open(session), Action::Execute(execute)) => {
                pool.role == Role::Reader && !session.cache.has(&execute.sql)
            }
            _ => false,
        }
    }

    /// Its caller is about to hear of a command's end: it is free then, if it is now.
    pub(in super::super) fn announce(&self, database: &Database) {
        if let (Some(pool), Database::Open(session)) = (self.pool.get(), database)
            && pool.serves()
            && session.is_free()
        {
            pool.announce();
        }
    }

    /// Finds out where a command of the pool belongs, and sends it there. `Some`: it is for this handle.
    pub(in super::super) fn direct(
        &self,
        database: &mut Database,
        mut command: Command,
    ) -> Option<Command> {
        let (Some(pool), Database::Open(session)) = (self.pool.get(), database) else {
            return Some(command);
        };
        let Action::Execute(execute) = &command.action else {
            return Some(command);
        };
        let is_writer = pool.role == Role::Writer;
        let found = session.route(&execute.sql);
        if session.is_free() {
            // Its caller may hear of it from another one, and come back before this one does.
            pool.announce();
        }
        match found {
            // The writer may know what a reader does not; of its own errors the statement tells.
            Err(_) if is_writer => return Some(command),
            Err(_) => {
                // There it runs, or tells of its error.
                command.stays_with_writer = true;
                command.block = None;
                pool.pool.submit_to(false, command, pool.limits);
                return None;
            }
            Ok(Route::Reader) if is_writer && command.stays_with_writer => return Some(command),
            Ok(route) => {
                // What is refused may be fine another time: a temporary table may go.
                if !matches!(route, Route::Refused(_)) {
                    pool.pool.routes.learn(Arc::clone(&execute.sql), route);
                }
                command.route = Some(route.with(&command));
            }
        }
        match command.route {
            Some(Route::Refused(why)) => {
                end(&command, Err(Route::refusal(why)));
                None
            }
            Some(Route::Reader) if is_writer && !pool.pool.is_single => {
                pool.pool.submit_to(true, command, pool.limits);
                None
            }
            Some(Route::Reader) => Some(command),
            _ if is_writer => Some(command),
            _ => {
                // The block of a borrowed reader is none of the writer's.
                command.block = None;
                pool.pool.submit_to(false, command, pool.limits);
                None
            }
        }
    }

    /// Runs writes together; a panic poisons this handle only.
    pub(in super::super) fn run_group(
        &self,
        database: Database,
        group: &Shared,
        commands: Vec<Command>,
    ) -> Database {
        let Database::Open(mut session) = database else {
            for command in &commands {
                end(command, Err(Error::closed()));
            }
            return database;
        };
        let operations: Vec<Shared> = commands
            .iter()
            .map(|command| Arc::clone(&command.operation))
            .collect();
        let _ = group.claim();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let ended = session.run_group(group, commands);
            (session, ended)
        }));
        let (session, ended) = match ran {
            Ok(ran) => ran,
            Err(panic) => {
                let database = self.poisoned(&*panic);
                for operation in operations {
                    let _ = operation.claim();
                    let error = Error::internal("a panic in the worker of this connection");
                    drop(operation.finish(Err(error)));
                }
                return database;
            }
        };
        session.publish(&self.status);
        let Ended { done, again, left } = ended;
        for (member, result) in done {
            self.report(&member, result);
        }
        unheard::wake_all();
        if let (false, Some(pool)) = (left.is_empty(), self.pool.get()) {
            pool.queue().give_back(left, pool.limits);
        }
        let mut database = Database::Open(session);
        for (operation, execute) in again {
            let action = Action::Execute(execute);
            let ran = catch_unwind(AssertUnwindSafe(|| {
                self.run_claimed(database, &operation, action, &[], None, None, (false, None))
            }));
            database = ran.unwrap_or_else(|panic| {
                let error = Error::internal("a panic in the worker of this connection");
                drop(operation.finish(Err(error)));
                self.poisoned(&*panic)
            });
        }
        if let Database::Open(session) = &mut database {
            session.maintain_overdue();
            session.publish_warning(&self.status);
        }
        database
    }

    fn report(&self, member: &Shared, result: Result<Outcome>) {
        let index = self.pool.get().map(|pool| pool.member.index);
        let result = result.map(|outcome| Outcome {
            member: index,
            ..outcome
        });
        if let Ok(waker) = member.finish_unheard(result) {
            waker.into_iter().for_each(unheard::add);
        }
    }
}
