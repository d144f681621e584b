//! Waiting for another connection's lock.
//!
//! Owns the order in which this process's connections poll a locked file: per file, the first in line polls
//! often and the others seldom, so that hundreds of waiters neither starve the holder nor each other.
//! Threads: each waiter sleeps on the worker thread that runs its statement; a cancellation ends the sleep.
//! Invariant: a waiter that holds a write lock itself never queues behind those who wait for it.
//! Must not know: Python.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::sqlite::BusyPolicy;

use super::command::Shared;
use super::here;
use super::unheard;

const FIRST_POLL: Duration = Duration::from_micros(100);
const SLOWEST_POLL: Duration = Duration::from_millis(5);
const SECOND_IN_LINE: Duration = Duration::from_millis(20);
const PER_PLACE: Duration = Duration::from_millis(1);
const LAST_IN_LINE: Duration = Duration::from_millis(250);

static LINES: Mutex<BTreeMap<PathBuf, Weak<Line>>> = Mutex::new(BTreeMap::new());

/// Who waits for locks on one file, first come first.
#[derive(Debug, Default)]
pub struct Line {
    waiting: Mutex<VecDeque<Shared>>,
}

impl Line {
    /// The line of a file; files are told apart by path, and each database in memory has its own.
    pub fn of(path: Option<PathBuf>) -> Arc<Self> {
        let Some(path) = path else {
            return Arc::default();
        };
        let mut lines = lines();
        if let Some(line) = lines.get(&path).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::<Self>::default();
        lines.insert(path, Arc::downgrade(&line));
        line
    }

    /// A lock may have become free: the first in line looks at once.
    pub fn call_first(&self) {
        let first = self.lock().front().cloned();
        if let Some(first) = first {
            first.nudge();
        }
    }

    fn join(&self, operation: &Shared) {
        self.lock().push_back(Arc::clone(operation));
    }

    fn leave(&self, operation: &Shared) {
        self.lock()
            .retain(|waiting| !Arc::ptr_eq(waiting, operation));
        self.call_first();
    }

    fn place(&self, operation: &Shared) -> usize {
        self.lock()
            .iter()
            .position(|waiting| Arc::ptr_eq(waiting, operation))
            .unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Shared>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines() -> MutexGuard<'static, BTreeMap<PathBuf, Weak<Line>>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every line, for as long as a fork takes.
pub struct Held(MutexGuard<'static, BTreeMap<PathBuf, Weak<Line>>>);

impl Held {
    pub fn take() -> Self {
        Self(lines())
    }

    /// In the child nobody stands in any.
    pub fn reset(mut self) {
        std::mem::forget(std::mem::take(&mut *self.0));
    }
}

/// One connection's wait; shared by the session and the handle's busy slot.
#[derive(Debug)]
pub struct Wait {
    line: Arc<Line>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    timeout: Duration,
    current: Option<Shared>,
    waiting_since: Option<Instant>,
    polls: u32,
}

impl Wait {
    pub fn new(line: Arc<Line>, timeout: Duration) -> Arc<Self> {
        let state = State {
            timeout,
            current: None,
            waiting_since: None,
            polls: 0,
        };
        Arc::new(Self {
            line,
            state: Mutex::new(state),
        })
    }

    pub fn timeout(&self) -> Duration {
        self.lock().timeout
    }

    pub fn set_timeout(&self, timeout: Duration) {
        self.lock().timeout = timeout;
    }

    /// Whether no other connection of this process has the file open.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.line) == 1
    }

    /// `operation` is about to run; its cancellation ends its waits.
    pub fn begin(&self, operation: &Shared) {
        let mut state = self.lock();
        state.current = Some(Arc::clone(operation));
        state.waiting_since = None;
    }

    /// The operation is through; it leaves the line. `released`: it may have freed a lock.
    pub fn end(&self, released: bool) {
        let mut state = self.lock();
        let operation = state.current.take();
        let was_waiting = state.waiting_since.take().is_some();
        drop(state);
        match operation {
            Some(operation) if was_waiting => self.line.leave(&operation),
            _ if released => self.line.call_first(),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What SQLite asks when it meets a lock.
#[derive(Debug)]
pub struct Waiter(pub Arc<Wait>);

impl BusyPolicy for Waiter {
    fn on_busy(&mut self, attempts: u32, holds_write_lock: bool) -> bool {
        unheard::wake_all();
        let wait = &self.0;
        let mut state = wait.lock();
        let Some(operation) = state.current.clone() else {
            return false;
        };
        let now = Instant::now();
        // A statement may wait for several locks; each has the whole timeout, as SQLite's own handler gives it.
        if attempts == 0 {
            if state.waiting_since.is_none() {
                wait.line.join(&operation);
            }
            state.waiting_since = Some(now);
            state.polls = 0;
        }
        let waited = now - state.waiting_since.unwrap_or(now);
        let Some(left) = state
            .timeout
            .checked_sub(waited)
            .filter(|left| !left.is_zero())
        else {
            return false;
        };
        // It may run the handler of a signal.
        drop(state);
        here::look(&operation);
        let mut state = wait.lock();
        if operation.stop().is_some() {
            return false;
        }
        let place = if holds_write_lock {
            0
        } else {
            wait.line.place(&operation)
        };
        let pause = if place == 0 {
            let pause = FIRST_POLL * 2_u32.pow(state.polls.min(6));
            state.polls += 1;
            pause.min(SLOWEST_POLL)
        } else {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            SECOND_IN_LINE
                .saturating_add(PER_PLACE.saturating_mul(place))
                .min(LAST_IN_LINE)
        };
        drop(state);
        operation.sleep(pause.min(left));
        operation.stop().is_none()
    }
}
