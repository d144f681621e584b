//! PoolQueue: commands that wait for any of several handles, first come, first served.
//!
//! Owns the commands that no handle has taken, and which handles have nothing to do. A handle's worker takes the next
//! command itself, without a turn of anybody's loop.
//! Threads: `submit` from any, `pull` on the members' workers.
//! Invariant: while commands wait, no member that could take one is in the list of idle ones without being woken.
//! Must not know: Python, what the commands do.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::super::command::{Command, Outcome};
use super::super::deadline;
use super::super::error::{Error, Result};
use super::super::process::Birth;
use super::super::worker::Local;
use super::routes::Route;

/// Commands that nobody waits for any more are looked for from this many on.
const PRUNED: usize = 64;
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
    waiting: VecDeque<Command>,
    /// The one that was busy last is at the end, and is taken first.
    idle: Vec<Member>,
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
                prune_at: PRUNED,
                is_closed: false,
            }),
        }
    }
}

impl PoolQueue {
    /// Queues a command for the next handle that is free.
    pub fn submit(&self, command: Command, limits: Limits) {
        let Limits { patience, most } = limits;
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
        let idle = std::iter::from_fn(|| state.idle.pop()).find_map(|member| member.local.upgrade());
        if idle.is_none() {
            state.prune();
            let waiting = state.waiting.len();
            let refused = match most {
                Some(most) if waiting >= most => {
                    let message = format!("{waiting} wait for a connection of the pool already");
                    Err(Error::pool_timeout(message))
                }
                _ => deadline::end_wait_for_pool(patience, &command.operation),
            };
            if let Err(error) = refused {
                drop(state);
                end(&command, Err(error));
                return;
            }
        }
        state.waiting.push_back(command);
        drop(state);
        if let Some(member) = idle {
            member.kick();
        }
    }

    /// The next commands for a member, which is idle if there are none. One that is not free lets another take what
    /// it was woken for.
    pub(in super::super) fn pull(&self, member: &Member, is_free: bool, groups: bool) -> Pulled {
        let mut state = self.lock();
        if is_free {
            while let Some(command) = state.waiting.pop_front() {
                if command.operation.is_done() {
                    continue;
                }
                if groups && command.route == Some(Route::Group) {
                    return Pulled::Group(state.group(command));
                }
                return Pulled::One(command);
            }
            if !state.idle.iter().any(|idle| idle.index == member.index) {
                state.idle.push(member.clone());
            }
            return Pulled::Nothing;
        }
        state.idle.retain(|idle| idle.index != member.index);
        let other = if state.waiting.is_empty() {
            None
        } else {
            std::iter::from_fn(|| state.idle.pop()).find_map(|member| member.local.upgrade())
        };
        drop(state);
        if let Some(other) = other {
            other.kick();
        }
        Pulled::Nothing
    }

    /// Gives commands back that were not run, before all others.
    pub(in super::super) fn give_back(&self, commands: Vec<Command>) {
        let mut state = self.lock();
        for command in commands.into_iter().rev() {
            state.waiting.push_front(command);
        }
    }

    /// How many commands wait.
    pub fn waiting(&self) -> usize {
        let state = self.lock();
        let waiting = state.waiting.iter();
        waiting.filter(|command| !command.operation.is_done()).count()
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
        for command in waiting {
            end(&command, Err(why.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The writes that follow each other.
    fn group(&mut self, first: Command) -> Vec<Command> {
        let mut group = vec![first];
        while group.len() < GROUP
            && self.waiting.front().is_some_and(|next| next.route == Some(Route::Group))
            && let Some(next) = self.waiting.pop_front()
        {
            if !next.operation.is_done() {
                group.push(next);
            }
        }
        group
    }

    fn prune(&mut self) {
        if self.waiting.len() >= self.prune_at {
            self.waiting.retain(|command| !command.operation.is_done());
            self.prune_at = PRUNED.max(2 * self.waiting.len());
        }
    }
}

fn end(command: &Command, result: Result<Outcome>) {
    if command.operation.claim() {
        drop(command.operation.finish(result));
    }
}
