//! Waiting: the commands that wait in a pool's queue, and what is known of its handles.
//!
//! Owns the queue's state, and how one moment of it is shown.
//! Thread: under the queue's lock.
//! Must not know: Python, what the commands do.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::super::command::Command;
use super::super::deadline;
use super::super::error::Error;
use super::gauges::{Counts, QueueState};
use super::membership::Handle;
use super::places::Places;
use super::queue::end;
use super::routes::Route;

/// Commands that nobody waits for any more are looked for from this many on.
const PRUNED: usize = 64;
/// Writes that are committed together, at most.
const GROUP: usize = 128;

#[derive(Debug)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Waiting>,
    /// The one that was busy last is at the end, and is taken first.
    pub(super) idle: Vec<Idle>,
    /// Those that run what is known to be quick, and come for the next command at once or tell that they don't.
    pub(super) quick: Vec<u32>,
    /// Those that were opened or woken, and have not come for a command.
    pub(super) arriving: Vec<u32>,
    pub(super) prune_at: usize,
    /// Why it takes no commands.
    pub(super) refuses: Option<Error>,
    pub(super) places: Places,
    /// How many callers were asked to open a connection, and have not begun.
    pub(super) asked: usize,
    /// Handles that somebody has.
    pub(super) lent: usize,
    pub(super) counts: Counts,
}

#[derive(Debug)]
pub(super) struct Idle {
    pub member: Member,
    /// Kept if it matters.
    pub since: Option<Instant>,
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
pub(super) struct Waiting {
    pub(super) command: Command,
    pub(super) limits: Limits,
    /// Since when its wait has an end.
    pub(super) since: Option<Instant>,
    pub(super) part: Part,
}

/// What a caller who waits does for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Waits,
    /// Was asked to open one, at this place.
    Asked(u32),
    Opens,
}

impl Waiting {
    pub(super) fn limit(&mut self, counts: &Counts) {
        if self.since.is_some() {
            return;
        }
        self.since = Some(Instant::now());
        let (patience, timeouts) = (self.limits.patience, Arc::clone(&counts.timeouts));
        let operation = &self.command.operation;
        if let Err(error) = deadline::end_wait_for_pool(patience, timeouts, operation) {
            end(&self.command, Err(error));
        }
    }
}

/// A handle of a pool.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its place in the pool.
    pub index: u32,
    pub handle: Weak<dyn Handle>,
}

impl Waiting {
    pub(super) fn is_alive(&self) -> bool {
        !self.command.operation.is_done()
    }
}

impl State {
    /// Of handles that have places from this one on.
    pub(super) fn new(first: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            idle: Vec::new(),
            quick: Vec::new(),
            arriving: Vec::new(),
            prune_at: PRUNED,
            refuses: Some(Error::pool_not_open()),
            places: Places::from(first),
            asked: 0,
            lent: 0,
            counts: Counts::default(),
        }
    }

    pub(super) fn take_idle(&mut self) -> Option<Arc<dyn Handle>> {
        let (index, handle) = std::iter::from_fn(|| self.idle.pop())
            .find_map(|idle| Some((idle.member.index, idle.member.handle.upgrade()?)))?;
        self.arriving.push(index);
        Some(handle)
    }

    /// Since when it was idle, if it was and that is kept.
    pub(super) fn leave_idle(&mut self, index: u32) -> Option<Instant> {
        let place = self.idle.iter().position(|idle| idle.member.index == index);
        place.and_then(|place| self.idle.remove(place).since)
    }

    /// It takes no more commands.
    pub(super) fn forget_member(&mut self, index: u32) {
        self.idle.retain(|idle| idle.member.index != index);
        self.quick.retain(|quick| *quick != index);
        self.arriving.retain(|coming| *coming != index);
    }

    /// The next command that somebody waits for.
    pub(super) fn pop(&mut self) -> Option<Command> {
        while let Some(waiting) = self.waiting.pop_front() {
            self.unask(waiting.part);
            if waiting.is_alive() {
                if let Some(since) = waiting.since {
                    self.counts.queued += 1;
                    self.counts.waited += since.elapsed();
                }
                return Some(waiting.command);
            }
        }
        None
    }

    /// The writes that follow each other.
    pub(super) fn group(&mut self, first: Command) -> Vec<Command> {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Some(next) = self.waiting.front()
            && (next.command.route == Some(Route::Group) || !next.is_alive())
        {
            if !next.is_alive() {
                self.drop_front();
            } else if let Some(command) = self.pop() {
                group.push(command);
            }
        }
        if group.len() > 1 {
            self.counts.groups += 1;
            self.counts.grouped += u64::try_from(group.len()).unwrap_or(u64::MAX);
        }
        group
    }

    pub(super) fn drop_front(&mut self) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.unask(waiting.part);
        }
    }

    pub(super) fn prune(&mut self, most: Option<usize>) {
        let prune_at = most.map_or(self.prune_at, |most| most.min(self.prune_at));
        if self.waiting.len() >= prune_at {
            let gone: Vec<Part> = self
                .waiting
                .iter()
                .filter(|waiting| !waiting.is_alive())
                .map(|waiting| waiting.part)
                .collect();
            self.waiting.retain(Waiting::is_alive);
            for part in gone {
                self.unask(part);
            }
            self.prune_at = PRUNED.max(2 * self.waiting.len());
        }
    }

    pub(super) fn is_anybody_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    pub(super) fn show(&self) -> QueueState {
        let counts = &self.counts;
        QueueState {
            open: self.places.open(),
            opening: self.places.opening() - self.asked,
            idle: self.idle.len(),
            lent: self.lent,
            waiting: self.waiting.iter().filter(|it| it.is_alive()).count(),
            acquired: counts.acquired,
            queued: counts.queued,
            waited: counts.waited,
            timeouts: counts.timeouts.load(Ordering::Relaxed),
            opened: counts.opened,
            failed: counts.failed,
            closed: counts.closed,
            lost: counts.lost,
            groups: counts.groups,
            grouped: counts.grouped,
        }
    }
}
