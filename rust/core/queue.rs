//! Queue: the commands of a connection in their order, and those that wait for the end of a transaction block.
//!
//! Owns the gate: while a block is open, a command that is not part of it is set aside. Beginning a block moves
//! nothing, ending one frees only those that waited for it, so thousands of tasks may queue for their blocks.
//! Thread: under the mailbox's lock.
//! Must not know: Python, sessions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::block::Block;
use super::command::{Command, Shared};
use super::deadline;

/// Commands that nobody waits for any more are looked for from this many on.
const PRUNED: usize = 64;

#[derive(Debug)]
pub struct Queue {
    arrived: VecDeque<Command>,
    /// Older ones, whose block has ended.
    freed: VecDeque<Command>,
    /// The open blocks, innermost last.
    levels: Vec<Level>,
    /// How long a command waits for a block.
    patience: Duration,
}

/// An open block and the commands that wait for its end.
#[derive(Debug)]
struct Level {
    block: Arc<Block>,
    waiting: VecDeque<Command>,
    prune_at: usize,
}

impl Queue {
    pub const fn new(patience: Duration) -> Self {
        Self {
            arrived: VecDeque::new(),
            freed: VecDeque::new(),
            levels: Vec::new(),
            patience,
        }
    }

    pub fn push(&mut self, command: Command) {
        self.arrived.push_back(command);
    }

    /// The next command that may run.
    pub fn pop(&mut self) -> Option<Command> {
        let Some(level) = self.levels.last_mut() else {
            return self.freed.pop_front().or_else(|| self.arrived.pop_front());
        };
        while let Some(command) = self.arrived.pop_front() {
            if command.may_run(&level.block) {
                return Some(command);
            }
            level.set_aside(command, self.patience);
        }
        None
    }

    /// The next command, if no block decides which that is.
    pub fn front(&self) -> Option<&Command> {
        if !self.levels.is_empty() {
            return None;
        }
        self.freed.front().or_else(|| self.arrived.front())
    }

    /// Takes the first of those that nobody waits for, and of `operation`'s: what a thread may run.
    pub(super) fn next_here(&mut self, operation: Option<&Shared>) -> Option<Command> {
        let may_run = |command: &Command| {
            let is_own = operation.is_some_and(|own| Arc::ptr_eq(own, &command.operation));
            is_own || Arc::strong_count(&command.operation) == 1
        };
        let place = self.arrived.iter().position(may_run)?;
        self.arrived.remove(place)
    }

    /// Whether nothing has come that was not looked at.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty() && (self.freed.is_empty() || !self.levels.is_empty())
    }

    /// Follows what the last command did to the blocks; `innermost` is the one that is open now.
    pub fn follow(&mut self, innermost: Option<Arc<Block>>, patience: Duration) {
        self.patience = patience;
        while let Some(mut level) = self.levels.pop_if(|level| level.block.is_over()) {
            if self.levels.is_empty() {
                self.freed = level.waiting;
            } else {
                // Some of them belong to the block around it.
                level.waiting.append(&mut self.arrived);
                self.arrived = level.waiting;
            }
        }
        let Some(block) = innermost else {
            return;
        };
        let is_known = |level: &Level| Arc::ptr_eq(&level.block, &block);
        if !self.levels.last().is_some_and(is_known) {
            // Whoever waited for other blocks was there before this one, and is not part of it.
            let waiting = std::mem::take(&mut self.freed);
            let prune_at = PRUNED.max(2 * waiting.len());
            self.levels.push(Level {
                block,
                waiting,
                prune_at,
            });
        }
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Vec<Command> {
        let levels = self.levels.iter_mut().rev();
        let waiting = levels.flat_map(|level| level.waiting.drain(..));
        let mut all: Vec<Command> = self.freed.drain(..).chain(waiting).collect();
        all.extend(self.arrived.drain(..));
        all
    }
}

impl Level {
    fn set_aside(&mut self, mut command: Command, patience: Duration) {
        if !std::mem::replace(&mut command.was_set_aside, true) {
            let guest = command.guest.as_ref();
            let patience = guest.map_or(patience, |guest| guest.patience());
            command.operation.set_aside();
            let limited = deadline::end_waiting(patience, &self.block, &command.operation);
            if let Err(error) = limited
                && command.operation.claim()
            {
                drop(command.operation.finish(Err(error)));
            }
        }
        if self.waiting.len() >= self.prune_at {
            // A changed mode is applied even if its operation was abandoned.
            self.waiting
                .retain(|command| !command.operation.is_done() || !command.modes.is_empty());
            self.prune_at = PRUNED.max(2 * self.waiting.len());
        }
        self.waiting.push_back(command);
    }
}
