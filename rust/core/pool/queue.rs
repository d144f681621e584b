//! PoolQueue: commands that wait for any of several handles, first come, first served.
//!
//! Owns the commands that no handle has taken, which handles have nothing to do, and which places have no handle. A
//! handle's worker takes the next command itself, without a turn of anybody's loop.
//! Threads: `submit` from any, `pull` on the members' workers.
//! Invariant: while commands wait, no member that could take one is in the list of idle ones without being woken, and no
//! place is vacant without one of the callers being asked to open a connection.
//! Must not know: Python, what the commands do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::super::command::{Action, Command, Outcome, Shared};
use super::super::error::{Error, Result};
use super::super::process::Birth;
use super::super::service::Service;
use super::super::unheard;
use super::gauges::QueueState;
use super::loan::Loan;
use super::membership::{Handle, Membership};
use super::retiring::{Condition, Why};
use super::routes::Route;
use super::serving::Role;
use super::waiting::{Idle, Limits, Member, Part, State, Waiting};

/// Commands that may wait for each member that is quick, before another one is woken.
const PER_QUICK: usize = 8;

/// The commands that wait for a handle.
#[derive(Debug)]
pub struct PoolQueue {
    birth: Birth,
    /// Not all the connections that there may be are kept open.
    is_elastic: AtomicBool,
    state: Mutex<State>,
}

/// What a worker got from the queue.
#[allow(clippy::large_enum_variant, reason = "it is moved once")]
pub enum Pulled {
    One(Command),
    /// Writes that can be committed together.
    Group(Vec<Command>),
    /// The member is to leave the pool.
    Retire(Why),
    /// The member can't leave, and is to be as it was.
    Restore,
    Nothing,
}

impl PoolQueue {
    /// Its handles have places from this one on. It refuses commands until it is told how many handles there may be.
    pub(super) fn from_place(first: u32) -> Self {
        Self {
            birth: Birth::default(),
            is_elastic: AtomicBool::new(false),
            state: Mutex::new(State::new(first)),
        }
    }

    /// A handle takes part, in this process.
    pub(super) fn mark(&self) {
        self.birth.mark();
    }

    /// Why it takes no commands, if it takes none.
    pub(super) fn refusal(&self) -> Option<Error> {
        if self.birth.is_inherited() {
            return Some(Error::inherited());
        }
        self.lock().refuses.clone()
    }

    /// Queues a command for the next handle that is free.
    pub fn submit(&self, command: Command, limits: Limits) {
        if self.birth.is_inherited() {
            end(&command, Err(Error::inherited()));
            return;
        }
        self.birth.mark();
        let mut state = self.lock();
        if let Some(error) = state.refuses.clone() {
            drop(state);
            end(&command, Err(error));
            return;
        }
        // One that is awake takes it sooner than one that has to be woken.
        let is_next = state.waiting.len() < PER_QUICK * state.quick.len();
        let idle = if is_next { None } else { state.take_idle() };
        let mut waiting = Waiting {
            command,
            limits,
            since: None,
            part: Part::Waits,
        };
        let has_to_wait = idle.is_none() && !is_next;
        if has_to_wait {
            state.prune(limits.most);
            // For some of them connections are on the way.
            let places = &state.places;
            let coming = places.opening() + places.vacant() + state.arriving.len();
            let most = limits
                .most
                .filter(|most| state.waiting.len() >= most + coming);
            if let Some(most) = most {
                state.counts.timeouts.fetch_add(1, Ordering::Relaxed);
                drop(state);
                let message = format!("{most} wait for a connection of the pool already");
                end(&waiting.command, Err(Error::pool_timeout(message)));
                return;
            }
            waiting.limit(&state.counts);
        }
        state.waiting.push_back(waiting);
        let asked = if has_to_wait { state.ask() } else { Vec::new() };
        drop(state);
        tell(asked);
        if let Some(member) = idle {
            member.kick();
        }
    }

    /// The next commands for a member, which is idle if there are none. One that is not free lets another take what
    /// it was woken for.
    pub(super) fn pull(&self, membership: &Membership, condition: Condition) -> Pulled {
        let member = &membership.member;
        let mut state = self.lock();
        // It is awake, whoever may have seen it idle.
        state.arriving.retain(|coming| *coming != member.index);
        let since = state.leave_idle(member.index);
        let Condition::Free(why) = condition else {
            Self::wake_another(state);
            return Pulled::Nothing;
        };
        if why == Some(Why::Changed) && membership.pool.is_single() {
            return Pulled::Restore;
        }
        let is_needed = state.waiting.iter().any(Waiting::is_alive);
        if let Some(why) = membership.leaves(&state.places, why, since, is_needed) {
            state.places.begin_leaving();
            state.quick.retain(|quick| *quick != member.index);
            Self::wake_another(state);
            return Pulled::Retire(why);
        }
        if let Some(mut command) = state.pop() {
            if membership.role == Role::Writer && command.route == Some(Route::Group) {
                return Pulled::Group(state.group(command));
            }
            if matches!(command.action, Action::Serve(Service::Acquire(_))) {
                state.lent += 1;
                state.counts.acquired += 1;
                command.loan = Some(Arc::new(Loan::new(membership)));
            }
            match &membership.slows {
                Some(slows) if !state.quick.contains(&member.index) => {
                    state.quick.push(member.index);
                    unheard::add(slows.clone());
                }
                Some(_) => {}
                None => Self::wake_another(state),
            }
            return Pulled::One(command);
        }
        state.idle.push(Idle {
            member: member.clone(),
            since: membership.is_idle_since(since),
        });
        Pulled::Nothing
    }

    /// A member may take its time now.
    pub(super) fn slows(&self, index: u32) {
        let mut state = self.lock();
        state.quick.retain(|quick| *quick != index);
        Self::wake_another(state);
    }

    /// If commands wait, another member takes them.
    fn wake_another(mut state: MutexGuard<'_, State>) {
        if state.waiting.is_empty() || !state.quick.is_empty() {
            return;
        }
        if let Some(other) = state.take_idle() {
            drop(state);
            other.kick();
            return;
        }
        let State {
            waiting, counts, ..
        } = &mut *state;
        for waiting in waiting {
            waiting.limit(counts);
        }
        let asked = state.ask();
        drop(state);
        tell(asked);
    }

    /// Gives commands back that were not run, before all others.
    pub(in super::super) fn give_back(&self, commands: Vec<Command>, limits: Limits) {
        let mut state = self.lock();
        if let Some(error) = state.refuses.clone() {
            drop(state);
            for command in &commands {
                end(command, Err(error.clone()));
            }
            return;
        }
        for command in commands.into_iter().rev() {
            state.waiting.push_front(Waiting {
                command,
                limits,
                // They had their turn, and have the next one.
                since: Some(Instant::now()),
                part: Part::Waits,
            });
        }
    }

    /// Whether a member would take a command now.
    pub fn is_ready(&self) -> bool {
        if self.birth.is_inherited() {
            return false;
        }
        let state = self.lock();
        !state.idle.is_empty() || state.waiting.len() < PER_QUICK * state.quick.len()
    }

    /// A member is open, and idle at once if nothing is there for it to do: nobody is to open one more meanwhile.
    pub(super) fn welcome(&self, membership: &Membership) -> bool {
        let mut state = self.lock();
        let is_idle = state.waiting.is_empty() && !state.places.are_too_many();
        if is_idle {
            state
                .arriving
                .retain(|coming| *coming != membership.member.index);
            state.idle.push(Idle {
                member: membership.member.clone(),
                since: membership.is_idle_since(None),
            });
        }
        is_idle
    }

    /// A member is about to tell its caller, who may come back sooner than it does.
    pub(super) fn expect(&self, index: u32) {
        if self.is_elastic.load(Ordering::Relaxed) {
            let mut state = self.lock();
            if !state.arriving.contains(&index) {
                state.arriving.push(index);
            }
        }
    }

    pub(super) fn set_elastic(&self, is_elastic: bool) {
        self.is_elastic.store(is_elastic, Ordering::Relaxed);
    }

    /// A member that could not be woken may be asked again.
    pub(super) fn put_back(&self, member: &Member) {
        let mut state = self.lock();
        state.arriving.retain(|coming| *coming != member.index);
        state.idle.push(Idle {
            member: member.clone(),
            since: None,
        });
    }

    /// Somebody has given a handle back.
    pub(super) fn take_back(&self) {
        if !self.birth.is_inherited() {
            let mut state = self.lock();
            state.lent = state.lent.saturating_sub(1);
        }
    }

    /// Whether something is lent, or being opened.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.lent + state.places.opening() > 0
    }

    /// Two queues at the same moment.
    pub(super) fn states(first: &Self, second: &Self) -> (QueueState, QueueState) {
        if first.birth.is_inherited() || second.birth.is_inherited() {
            return Default::default();
        }
        let (first, second) = (first.lock(), second.lock());
        (first.show(), second.show())
    }

    /// Refuses what waits, and what comes.
    pub fn close(&self, why: &Error) {
        if self.birth.is_inherited() {
            return;
        }
        self.lock().refuses = Some(why.clone());
        self.refuse(why);
    }

    /// Refuses what waits.
    pub fn refuse(&self, why: &Error) {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.waiting);
        for waiting in &waiting {
            state.unask(waiting.part);
        }
        drop(state);
        for Waiting { command, .. } in waiting {
            end(&command, Err(why.clone()));
        }
    }

    pub(super) const fn birth(&self) -> &Birth {
        &self.birth
    }

    /// Idle ones look whether they are still wanted.
    pub(super) fn kick_idle(&self) {
        let mut state = self.lock();
        let idle: Vec<_> = std::iter::from_fn(|| state.take_idle()).collect();
        drop(state);
        idle.into_iter().for_each(Handle::kick);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks callers to open connections. Nothing is locked.
pub(super) fn tell(asked: Vec<Shared>) {
    for operation in asked {
        operation.progress();
    }
}

pub(super) fn end(command: &Command, result: Result<Outcome>) {
    if command.operation.claim() {
        drop(command.operation.finish(result));
    }
}
