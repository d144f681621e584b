//! ParameterFeed: parameter rows on their way from the caller's iterable to a running `executemany`.
//!
//! Owns the batches that were converted and not yet executed. The iterable runs on the caller's thread, the
//! statement on the backend's; a bounded queue lies between them, so a generator of any length needs constant
//! memory.
//! Threads: the caller pushes, the backend takes and may sleep for more.
//! Must not know: Python.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::command::Bindings;

/// Batches that may wait before the caller stops converting.
const CAPACITY: usize = 4;

/// A stop is seen this late, at most, while no parameters come.
const LOOK: Duration = Duration::from_millis(20);

/// Parameter rows for one `executemany`.
#[derive(Debug, Default)]
pub struct ParameterFeed {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Bindings>,
    ended: bool,
    failed: bool,
    /// A backend that waits without a thread.
    taker: Option<Waker>,
}

/// What the backend finds when it looks for parameters.
#[derive(Debug)]
pub enum Parameters {
    Batch(Bindings),
    End,
    /// The iterable raised, the caller went away, or the operation has to stop: undo everything.
    Failed,
}

impl ParameterFeed {
    pub fn has_room(&self) -> bool {
        self.lock().batches.len() < CAPACITY
    }

    pub fn push(&self, batch: Bindings) {
        let mut state = self.lock();
        state.batches.push_back(batch);
        self.tell(state);
    }

    /// The iterable is exhausted.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.tell(state);
    }

    /// The iterable raised, or nobody will push any more.
    pub fn fail(&self) {
        let mut state = self.lock();
        if !state.ended {
            state.failed = true;
            state.batches.clear();
        }
        self.tell(state);
    }

    /// Waits for the next batch, or until `must_stop`. `made_room` is called, without the lock, after a batch was
    /// taken.
    pub fn take(&self, must_stop: impl Fn() -> bool, made_room: impl FnOnce()) -> Parameters {
        let mut state = self.lock();
        loop {
            if state.failed || must_stop() {
                return Parameters::Failed;
            }
            if let Some(batch) = state.batches.pop_front() {
                drop(state);
                made_room();
                return Parameters::Batch(batch);
            }
            if state.ended {
                return Parameters::End;
            }
            let waited = self.arrived.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// As `take`, for a backend that waits without a thread.
    pub fn poll_take(&self, context: &Context<'_>) -> Poll<Parameters> {
        let mut state = self.lock();
        if state.failed {
            Poll::Ready(Parameters::Failed)
        } else if let Some(batch) = state.batches.pop_front() {
            Poll::Ready(Parameters::Batch(batch))
        } else if state.ended {
            Poll::Ready(Parameters::End)
        } else {
            state.taker = Some(context.waker().clone());
            Poll::Pending
        }
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let taker = state.taker.take();
        drop(state);
        self.arrived.notify_one();
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
