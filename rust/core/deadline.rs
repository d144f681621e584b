//! Deadlines: ends operations whose per-call time limit has passed, and wakes whoever wants to be at some time.
//!
//! Owns one thread, started by the first limit and asleep until the next deadline.
//! Invariant: it holds operations weakly, so a finished one costs nothing but its place in the heap.
//! Must not know: Python, SQLite.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::block::Block;
use super::channel::Opaque;
use super::command::{Outcome, Shared};
use super::error::{Error, Result};
use super::operation::Operation;

static KEEPER: Mutex<Option<Arc<Keeper>>> = Mutex::new(None);

#[derive(Default)]
struct Keeper {
    heap: Mutex<BinaryHeap<Reverse<Entry>>>,
    changed: Condvar,
}

/// Entries of finished operations are thrown out when the heap has doubled, and not below this size.
const KEPT: usize = 256;

struct Entry {
    at: Instant,
    due: Due,
}

/// What happens then.
enum Due {
    End(Limit, Weak<Operation<Result<Outcome>, Opaque>>),
    Wake(Waker),
}

/// What a deadline bounds.
enum Limit {
    /// All of the operation.
    Whole,
    /// Its wait for the end of a block that it is not part of, this long in all.
    Turn(Arc<Block>, Duration),
    /// Its wait for a connection of a pool, this long in all; counted if it ends it.
    Pool(Duration, Arc<AtomicU64>),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// The error of an operation that ran out of time.
pub fn timed_out() -> Error {
    Error::timeout("the operation did not finish within its timeout")
}

/// Ends `operation` at `at`, unless it has finished by then.
///
/// # Errors
/// `Operational` when the thread can't be started.
pub fn end_at(at: Instant, operation: &Shared) -> Result<()> {
    watch(at, Limit::Whole, operation)
}

/// Ends `operation` when it has waited this long from now for a block to end, unless it runs by then.
///
/// # Errors
/// `Operational` when the thread can't be started.
pub(super) fn end_waiting(
    patience: Duration,
    block: &Arc<Block>,
    operation: &Shared,
) -> Result<()> {
    let at = Instant::now() + patience;
    watch(at, Limit::Turn(Arc::clone(block), patience), operation)
}

/// Ends `operation` when it has waited this long from now for a connection of a pool, unless it runs by then.
///
/// # Errors
/// `Operational` when the thread can't be started.
pub(super) fn end_wait_for_pool(
    patience: Duration,
    count: Arc<AtomicU64>,
    operation: &Shared,
) -> Result<()> {
    let limit = Limit::Pool(patience, count);
    watch(Instant::now() + patience, limit, operation)
}

/// Wakes somebody then.
///
/// # Errors
/// `Operational` when the thread can't be started.
pub(super) fn wake_at(at: Instant, waker: Waker) -> Result<()> {
    keep(at, Due::Wake(waker))
}

fn watch(at: Instant, limit: Limit, operation: &Shared) -> Result<()> {
    keep(at, Due::End(limit, Arc::downgrade(operation)))
}

fn keep(at: Instant, due: Due) -> Result<()> {
    let keeper = keeper()?;
    let mut heap = keeper.lock();
    if heap.len() >= KEPT && heap.len() == heap.capacity() {
        heap.retain(|Reverse(entry)| match &entry.due {
            Due::End(_, operation) => operation.strong_count() > 0,
            Due::Wake(_) => true,
        });
    }
    let is_next = heap.peek().is_none_or(|Reverse(next)| at < next.at);
    heap.push(Reverse(Entry { at, due }));
    drop(heap);
    if is_next {
        keeper.changed.notify_one();
    }
    Ok(())
}

impl Entry {
    fn expire(self) {
        let (limit, operation) = match self.due {
            Due::End(limit, operation) => (limit, operation),
            Due::Wake(waker) => {
                waker.wake();
                return;
            }
        };
        let Some(operation) = operation.upgrade() else {
            return;
        };
        match limit {
            Limit::Whole => operation.expire(Err(timed_out())),
            Limit::Pool(patience, count) => {
                if operation.claim() {
                    count.fetch_add(1, Ordering::Relaxed);
                    let seconds = patience.as_secs_f64();
                    let message = format!("no connection of the pool came free within {seconds} s");
                    drop(operation.finish(Err(Error::pool_timeout(message))));
                }
            }
            Limit::Turn(block, patience) => {
                if operation.claim() {
                    let seconds = patience.as_secs_f64();
                    let message = format!(
                        "waited {seconds} s for the end of {block}, which this statement is not part of"
                    );
                    drop(operation.finish(Err(Error::timeout(message))));
                }
            }
        }
    }
}

/// The keeper of this process, with its thread.
fn keeper() -> Result<Arc<Keeper>> {
    let mut started = started();
    if let Some(keeper) = &*started {
        return Ok(Arc::clone(keeper));
    }
    let keeper = Arc::<Keeper>::default();
    let runs = Arc::clone(&keeper);
    std::thread::Builder::new()
        .name("aiolibsql-deadlines".into())
        .spawn(move || runs.run())
        .map_err(|error| Error::operational(format!("can't start the deadline thread: {error}")))?;
    Ok(Arc::clone(started.insert(keeper)))
}

fn started() -> MutexGuard<'static, Option<Arc<Keeper>>> {
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is a keeper, for as long as a fork takes.
pub struct Held(MutexGuard<'static, Option<Arc<Keeper>>>);

impl Held {
    pub fn take() -> Self {
        Self(started())
    }

    /// In the child its thread is gone, perhaps in the middle of a change.
    pub fn reset(mut self) {
        std::mem::forget(self.0.take());
    }
}

impl Keeper {
    fn run(&self) {
        let mut heap = self.lock();
        loop {
            let now = Instant::now();
            match heap.peek() {
                Some(Reverse(next)) if next.at <= now => {
                    let due = heap.pop();
                    drop(heap);
                    if let Some(Reverse(entry)) = due {
                        entry.expire();
                    }
                    heap = self.lock();
                }
                Some(Reverse(next)) => {
                    let wait = next.at - now;
                    heap = self
                        .changed
                        .wait_timeout(heap, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                None => {
                    heap = self
                        .changed
                        .wait(heap)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Entry>>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
