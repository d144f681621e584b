//! Spin: whether a loop looks out for a result instead of going to sleep.
//!
//! Owns the experience of one loop: it tries only for the task that issued the operation before too, while nothing else
//! of the loop is in flight, and the less often the more tries were in vain.
//! Thread: the loop's.

use std::time::Duration;

use pyo3::prelude::*;

use crate::core::{Shared, look_out, this_processor, wake_held};

/// A try ends after this: a worker that sleeps may take as long to wake up.
const LIMIT: Duration = Duration::from_micros(60);
/// Longer than this the scheduler must have taken the processor away: probably there is none to spare.
const STOLEN: Duration = Duration::from_micros(200);
const MOST_SKIPPED: u32 = 65_536;

/// What a loop has learnt.
#[derive(Debug, Default)]
pub struct Spin {
    /// How many operations go without after a try in vain.
    penalty: u32,
    /// How many still have to.
    skip: u32,
    /// Who issued the last operation; only compared.
    task: usize,
}

impl Spin {
    /// Whether to try for the next operation, which this task issues.
    pub const fn is_worth_it(&mut self, task: usize) -> bool {
        let is_same = self.task == task;
        self.task = task;
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        is_same
    }

    /// Learns from a try.
    pub fn learn(&mut self, taken: Duration, is_done: bool) {
        if is_done && taken <= LIMIT {
            self.penalty /= 2;
            return;
        }
        let factor = if taken > STOLEN { 16 } else { 2 };
        self.penalty = (self.penalty.max(1) * factor).min(MOST_SKIPPED);
        self.skip = self.penalty;
    }
}

/// Looks out for the end of an operation, or for a question of it: how long that took, and whether it has come. `None`: not possible here.
pub fn look_out_for(py: Python<'_>, operation: &Shared) -> Option<(Duration, bool)> {
    let processor = this_processor()?;
    wake_held();
    operation.set_lookout(Some(processor));
    let has_news = || operation.is_done() || operation.dialogue().asks();
    let (taken, is_done) = py.detach(|| look_out(LIMIT, has_news));
    if !is_done {
        operation.set_lookout(None);
    }
    Some((taken, is_done))
}
