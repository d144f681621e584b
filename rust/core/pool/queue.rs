//! PoolQueue: commands that wait for any of several handles, first come, first served.
//!
//! Owns the commands that no handle has taken, and which handles have nothing to do. A handle's worker takes the next
//! command itself, without a turn of anybody's loop.
//! Threads: `submit` from any, `pull` on the members' workers.
//! Invariant: while commands wait, no member that could take one is in the list of idle ones without being woken.
//! Must not know: Python, what the commands do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use super::super::command::{Command, Outcome};
use super::super::deadline;
use super::super::error::{Error, Result};
use super::super::process::Birth;
use super::super::unheard;
use super::super::worker::Local;
use super::routes::Route;

/// Commands that nobody waits for any more are looked for from this many on.
const PRUNED: usize = 64;
/// Commands that may wait for each member that is quick, before another one is woken.
const PER_QUICK: usize = 8;
/// Writes that are committed together, at most.
const GROUP: usize = 128;

/// The commands that wait for a handle.
#[derive(Debug)]
pub struct PoolQueue {
    birth: Birth,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The one that was busy last is at the end, and is taken first.
    idle: Vec<Member>,
    /// Those that run what is known to be quick, and come for the next command at once or tell that they don't.
    quick: Vec<u32>,
    prune_at: usize,
    is_closed: bool,
}

/// How long commands wait for a handle.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest wait.
    pub patience: Duration,
    /// So many wait, and no more.
    pub most: Option<usize>,
}

#[derive(Debug)]
struct Waiting {
    command: Command,
    limits: Limits,
    /// Its wait has an end.
    is_limited: bool,
}

impl Waiting {
    fn limit(&mut self) {
        if !std::mem::replace(&mut self.is_limited, true)
            && let Err(error) =
                deadline::end_wait_for_pool(self.limits.patience, &self.command.operation)
        {
            end(&self.command, Err(error));
        }
    }
}

/// A handle of a pool.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its place in the pool.
    pub index: u32,
    pub local: Weak<Local>,
}

/// What a worker got from the queue.
pub(in super::super) enum Pulled {
    One(Command),
    /// Writes that can be committed together.
    Group(Vec<Command>),
    Nothing,
}

impl Default for PoolQueue {
    fn default() -> Self {
        Self {
            birth: Birth::default(),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                idle: Vec::new(),
                quick: Vec::new(),
                prune_at: PRUNED,
                is_closed: false,
            }),
        }
    }
}

impl PoolQueue {
    /// A handle takes part, in this process.
    pub(super) fn mark(&self) {
        self.birth.mark();
    }

    /// Queues a command for the next handle that is free.
    pub fn submit(&self, command: Command, limits: Limits) {
        if self.birth.is_inherited() {
            end(&command, Err(Error::inherited()));
            return;
        }
        self.birth.mark();
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            end(&command, Err(Error::pool_closed()));
            return;
        }
        // One that is awake takes it sooner than one that has to be woken.
        let is_next = state.waiting.len() < PER_QUICK * state.quick.len();
        let idle = if is_next { None } else { state.take_idle() };
        let mut waiting = Waiting {
            command,
            limits,
            is_limited: false,
        };
        if idle.is_none() && !is_next {
            state.prune(limits.most);
            let most = limits.most.filter(|most| state.waiting.len() >= *most);
            if let Some(most) = most {
                drop(state);
                let message = format!("{most} wait for a connection of the pool already");
                end(&waiting.command, Err(Error::pool_timeout(message)));
                return;
            }
            waiting.limit();
        }
        state.waiting.push_back(waiting);
        drop(state);
        if let Some(member) = idle {
            member.kick();
        }
    }

    /// The next commands for a member, which is idle if there are none. One that is not free lets another take what
    /// it was woken for. `tells`: what the thread is to call before it does anything that is not known to be quick.
    pub(in super::super) fn pull(
        &self,
        member: &Member,
        is_free: bool,
        groups: bool,
        tells: &Waker,
    ) -> Pulled {
        let mut state = self.lock();
        // It is awake, whoever may have seen it idle.
        state.idle.retain(|idle| idle.index != member.index);
        if is_free {
            while let Some(Waiting { command, .. }) = state.waiting.pop_front() {
                if command.operation.is_done() {
                    continue;
                }
                if groups && command.route == Some(Route::Group) {
                    return Pulled::Group(state.group(command));
                }
                if !state.quick.contains(&member.index) {
                    state.quick.push(member.index);
                    unheard::add(tells.clone());
                }
                return Pulled::One(command);
            }
            state.idle.push(member.clone());
            return Pulled::Nothing;
        }
        Self::wake_another(state);
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
        } else {
            state.waiting.iter_mut().for_each(Waiting::limit);
        }
    }

    /// Gives commands back that were not run, before all others.
    pub(in super::super) fn give_back(&self, commands: Vec<Command>, limits: Limits) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            for command in &commands {
                end(command, Err(Error::pool_closed()));
            }
            return;
        }
        for command in commands.into_iter().rev() {
            state.waiting.push_front(Waiting {
                command,
                limits,
                // They had their turn, and have the next one.
                is_limited: true,
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

    /// A member that could not be woken may be asked again.
    pub(super) fn put_back(&self, member: &Member) {
        self.lock().idle.push(member.clone());
    }

    /// How many commands wait.
    pub fn waiting(&self) -> usize {
        if self.birth.is_inherited() {
            return 0;
        }
        let state = self.lock();
        let waiting = state.waiting.iter();
        waiting
            .filter(|waiting| !waiting.command.operation.is_done())
            .count()
    }

    /// Refuses what waits, and what comes.
    pub fn close(&self, why: &Error) {
        if self.birth.is_inherited() {
            return;
        }
        self.lock().is_closed = true;
        self.refuse(why);
    }

    /// Refuses what waits.
    pub fn refuse(&self, why: &Error) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for Waiting { command, .. } in waiting {
            end(&command, Err(why.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_idle(&mut self) -> Option<Arc<Local>> {
        std::iter::from_fn(|| self.idle.pop()).find_map(|member| member.local.upgrade())
    }

    /// The writes that follow each other.
    fn group(&mut self, first: Command) -> Vec<Command> {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Some(next) = self.waiting.front()
            && next.command.route == Some(Route::Group)
            && let Some(Waiting { command, .. }) = self.waiting.pop_front()
        {
            if !command.operation.is_done() {
                group.push(command);
            }
        }
        group
    }

    fn prune(&mut self, most: Option<usize>) {
        let prune_at = most.map_or(self.prune_at, |most| most.min(self.prune_at));
        if self.waiting.len() >= prune_at {
            self.waiting
                .retain(|waiting| !waiting.command.operation.is_done());
            self.prune_at = PRUNED.max(2 * self.waiting.len());
        }
    }
}

pub(super) fn end(command: &Command, result: Result<Outcome>) {
    if command.operation.claim() {
        drop(command.operation.finish(result));
    }
}
