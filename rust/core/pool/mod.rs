//! Pool: several handles on one database that share their work: one writes, the others read.
//!
//! Owns the queues in which commands wait for any of several handles, which statement goes where, the commits of
//! many writes together, and when handles come and go.
//! Threads: `submit` from any; the handles' workers take commands and send on those that are not for them.
//! Invariant: a handle takes a command from its pool only while nothing holds it: no cursor that reads, no
//! transaction, nobody to whom it is lent.
//! Must not know: Python.

mod gauges;
mod group;
mod key;
mod loan;
mod member;
mod membership;
mod opening;
mod places;
mod queue;
mod retiring;
mod routes;
mod serving;
mod vacancies;
mod waiting;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::command::{Action, Command, Outcome, Shared};
use super::error::Error;
use super::notes::Notes;
use super::operation::{Operation, Shield};

use key::PoolKey;
use queue::PoolQueue;
use routes::Routes;

pub use gauges::{PoolState, QueueState};
pub use loan::Loan;
pub(super) use member::Tenure;
pub use membership::{Handle, Membership, UNLENT};
pub use opening::Opening;
pub use queue::Pulled;
pub use retiring::{Condition, Lifetimes};
pub(super) use routes::QUESTIONS;
pub use routes::Route;
pub(super) use serving::Job;
pub use serving::Role;
pub use waiting::Limits;

/// Where an SQL text belongs.
pub type Router = fn(&str) -> Route;

/// What the handles of a pool share.
#[derive(Debug)]
pub struct Pool {
    /// For the handle that writes; for the only one of a database in memory.
    writer: PoolQueue,
    readers: PoolQueue,
    routes: Routes,
    key: PoolKey,
    /// There is one handle for everything.
    is_single: bool,
    /// Says where a text belongs, if handles can't.
    router: Option<Router>,
    statements: AtomicU64,
    notes: Notes,
    /// As the queues count it.
    lent: AtomicUsize,
    /// Those who wait until nothing is lent or being opened.
    drains: Mutex<Vec<Shared>>,
}

impl Pool {
    /// `router`: for handles that can't compile a text, and so never send one on.
    pub fn new(is_single: bool, router: Option<Router>) -> Self {
        Self {
            writer: PoolQueue::from_place(0),
            readers: PoolQueue::from_place(1),
            routes: Routes::default(),
            key: PoolKey::default(),
            is_single,
            router,
            statements: AtomicU64::default(),
            notes: Notes::default(),
            lent: AtomicUsize::default(),
            drains: Mutex::default(),
        }
    }

    pub const fn is_single(&self) -> bool {
        self.is_single
    }

    /// Takes commands from now on, which wait until there are connections.
    pub fn admit(&self) {
        self.writer.admit();
        self.readers.admit();
        self.writer.resize(1, 1);
    }

    /// There may be so many readers, of which so few are kept though nobody needs them.
    pub fn set_readers(&self, most: usize, least: usize) {
        self.readers.resize(most, least);
    }

    /// Queues a command for a handle that may run it. Statements go where they belong; all else to the writer.
    pub fn submit(&self, mut command: Command, limits: Limits) {
        if let Action::Execute(execute) = &command.action {
            self.statements.fetch_add(1, Ordering::Relaxed);
            let route = self.routes.get(&execute.sql).or_else(|| {
                let route = self.router?(&execute.sql);
                if !matches!(route, Route::Refused(_)) {
                    self.routes.learn(Arc::clone(&execute.sql), route);
                }
                Some(route)
            });
            if let Some(Route::Refused(why)) = route {
                // A pool that takes no commands says that of every one.
                let closed = self.writer.refusal();
                let refusal = closed.unwrap_or_else(|| Route::refusal(why));
                queue::end(&command, Err(refusal));
                return;
            }
            // At a server there is no callback but the one for tokens, which any caller may be asked for.
            command.route = match self.router {
                Some(_) => route,
                None => route.map(|route| route.with(&command)),
            };
            let for_readers = match command.route {
                Some(route) => route == Route::Reader,
                // Any of them can find out.
                None => self.readers.is_ready() || !self.writer.is_ready(),
            };
            self.queue(for_readers).submit(command, limits);
        } else {
            self.writer.submit(command, limits);
        }
    }

    /// Queues a command for a reader, or for the writer.
    pub fn submit_to(&self, reader: bool, command: Command, limits: Limits) {
        self.queue(reader).submit(command, limits);
    }

    /// What happened to its connections.
    pub const fn notes(&self) -> &Notes {
        &self.notes
    }

    /// How it is now.
    pub fn state(&self) -> PoolState {
        PoolState::of(&self.writer, &self.readers, &self.statements)
    }

    /// How many handles are lent, as far as that is seen without waiting.
    pub fn lent(&self) -> usize {
        self.lent.load(Ordering::SeqCst)
    }

    /// What a caller who waits was asked to open.
    pub fn answer(self: &Arc<Self>, caller: &Shared) -> Option<Opening> {
        let (role, place) = match self.readers.answer(caller) {
            Some(place) => (Role::Reader, place),
            None => (Role::Writer, self.writer.answer(caller)?),
        };
        Some(Opening::new(
            Arc::clone(self),
            role,
            place,
            Some(Arc::clone(caller)),
        ))
    }

    /// A caller waits no more.
    pub fn decline(&self, caller: &Shared) {
        self.readers.decline(caller);
        self.writer.decline(caller);
    }

    /// The next of the connections that are opened though nobody waits, if there is one.
    pub fn next_opening(self: &Arc<Self>) -> Option<Opening> {
        // The writer first: it makes the file, and the log that readers need.
        let mut roles = [Role::Writer, Role::Reader].into_iter();
        roles.find_map(|role| {
            let place = self.queue_of(role).take_place()?;
            Some(Opening::new(Arc::clone(self), role, place, None))
        })
    }

    /// Ends when nothing is lent, or being opened.
    pub fn drained(&self) -> Shared {
        let operation: Shared = Arc::new(Operation::new(Shield::None));
        self.drains().push(Arc::clone(&operation));
        self.look_for_drain();
        operation
    }

    fn take_back(&self, role: Role) {
        self.lent.fetch_sub(1, Ordering::SeqCst);
        self.queue_of(role).take_back();
        self.look_for_drain();
    }

    fn look_for_drain(&self) {
        if self.writer.birth().is_inherited() || self.drains().is_empty() {
            return;
        }
        if self.readers.is_busy() || self.writer.is_busy() {
            return;
        }
        let drained = std::mem::take(&mut *self.drains());
        for operation in drained {
            // Its time may be up.
            if operation.claim() {
                drop(operation.finish(Ok(Outcome::default())));
            }
        }
    }

    fn drains(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what waits, and what comes.
    pub fn close(&self, why: &Error) {
        self.readers.close(why);
        self.writer.close(why);
    }

    /// Overwrites the key, unless a connection has it still.
    pub fn forget_key(&self) {
        self.key.forget();
    }

    fn queue_of(&self, role: Role) -> &PoolQueue {
        self.queue(role == Role::Reader)
    }

    fn queue(&self, reader: bool) -> &PoolQueue {
        if reader && !self.is_single {
            &self.readers
        } else {
            &self.writer
        }
    }
}
