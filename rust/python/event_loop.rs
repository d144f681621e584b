//! LoopPort: how operations sleep in, and are woken by, one running event loop.
//!
//! Owns the wakeup descriptor and the queue of that loop, who is suspended in it, and its streak of values that
//! were ready at once. There is one per running loop, never one per connection.
//! Threads: any may wake; everything else happens on the loop's thread.
//! Invariant: a ticket in `waiting` is resumed exactly once, or removed; a late completion finds nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::Birth;
use crate::wakeup::{CompletionQueue, Ticket, TicketWaker, WakeupFd};

use super::asyncio::{self, Waiter};
use super::exit;
use super::trio;

/// Ready values may follow each other this long before the loop gets its turn.
const STREAK: Duration = Duration::from_micros(100);

/// The loops that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Asyncio,
    Trio,
}

/// One running loop.
#[pyclass(frozen, module = "aiolibsql._aiolibsql", name = "_LoopPort")]
pub struct LoopPort {
    runtime: Runtime,
    queue: Arc<CompletionQueue<WakeupFd>>,
    next_ticket: AtomicU64,
    waiting: Mutex<HashMap<Ticket, Suspended>>,
    streak: Mutex<Streak>,
    /// The run ends: nobody drains the queue any more.
    retired: AtomicBool,
    birth: Birth,
}

/// Who sleeps.
pub enum Suspended {
    Asyncio(Py<Waiter>),
    /// A trio task.
    Trio(Py<PyAny>),
}

#[derive(Debug, Default)]
struct Streak {
    since: Option<Instant>,
}

impl LoopPort {
    pub fn new(runtime: Runtime) -> PyResult<Self> {
        Ok(Self {
            runtime,
            queue: Arc::new(CompletionQueue::new(WakeupFd::new()?)),
            next_ticket: AtomicU64::new(1),
            waiting: Mutex::default(),
            streak: Mutex::default(),
            retired: AtomicBool::new(false),
            birth: Birth::now(),
        })
    }

    pub const fn runtime(&self) -> Runtime {
        self.runtime
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Whether its loop ran before this process was forked. The descriptor is the parent's too, and the queue may be
    /// locked for ever.
    pub fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }

    /// The descriptor that the loop watches.
    pub fn fd(&self) -> i32 {
        self.queue.bell().number()
    }

    /// A name for a suspension, and what ends it.
    pub fn ticket(&self) -> (Ticket, Waker) {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        (
            ticket,
            Arc::new(TicketWaker::new(Arc::clone(&self.queue), ticket)).into(),
        )
    }

    pub fn suspend(&self, ticket: Ticket, who: Suspended) {
        self.waiting().insert(ticket, who);
    }

    /// Nobody sleeps under this name any more.
    pub fn forget(&self, ticket: Ticket) -> Option<Suspended> {
        self.waiting().remove(&ticket)
    }

    /// Whether a value that is ready at once may be returned at once. On asyncio a streak ends when the loop has
    /// turned, which a callback tells; `tick` schedules it.
    pub fn may_continue(&self, tick: impl FnOnce() -> PyResult<()>) -> PyResult<bool> {
        let since = self.streak().since;
        if let Some(since) = since {
            return Ok(since.elapsed() < STREAK);
        }
        self.streak().since = Some(Instant::now());
        tick()?;
        Ok(true)
    }

    /// In a child of the process that they sleep in: wakes them all, for nothing else will.
    pub fn wake_inherited(&self, py: Python<'_>) {
        let sleeping = std::mem::take(&mut *self.waiting());
        for who in sleeping.into_values() {
            // Fails where the loop has ended, or runs on a thread that is not here.
            let _ = match who {
                Suspended::Trio(task) => trio::reschedule(task.bind(py)),
                Suspended::Asyncio(waiter) => asyncio::resume_soon(waiter.bind(py)),
            };
        }
    }

    fn resume(&self, py: Python<'_>, ticket: Ticket, who: Suspended) -> PyResult<()> {
        match who {
            Suspended::Trio(task) => trio::reschedule(task.bind(py)),
            Suspended::Asyncio(waiter) => {
                let resumed = asyncio::resume(waiter.bind(py));
                if resumed.is_err() && !waiter.borrow(py).is_done() {
                    // Interrupted before the task was called: it waits on.
                    self.suspend(ticket, Suspended::Asyncio(waiter));
                }
                resumed
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Ticket, Suspended>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streak(&self) -> MutexGuard<'_, Streak> {
        self.streak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl LoopPort {
    /// Resume everything that has finished. Called by the loop when the descriptor is readable.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(_inside) = exit::enter(py) else {
            return Ok(());
        };
        if self.is_inherited() {
            return Ok(());
        }
        let mut tickets = Vec::new();
        self.queue.drain(&mut tickets);
        for (index, ticket) in tickets.iter().enumerate() {
            let Some(who) = self.forget(*ticket) else {
                continue;
            };
            if let Err(error) = self.resume(py, *ticket, who) {
                // KeyboardInterrupt or SystemExit leaves the loop; the rest must not be lost with it.
                self.queue.restore(&tickets[index..]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Stop draining: the run ends. Whoever still sleeps looks by itself from now on.
    fn retire(&self, py: Python<'_>) -> PyResult<()> {
        self.retired.store(true, Ordering::SeqCst);
        let sleeping = std::mem::take(&mut *self.waiting());
        for (ticket, who) in sleeping {
            self.resume(py, ticket, who)?;
        }
        Ok(())
    }

    /// End the streak: the loop has turned.
    fn tick(&self) {
        self.streak().since = None;
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(waiting) = self.waiting.try_lock() else {
            return Ok(());
        };
        for who in waiting.values() {
            match who {
                Suspended::Asyncio(waiter) => visit.call(waiter)?,
                Suspended::Trio(task) => visit.call(task)?,
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let cleared = std::mem::take(&mut *self.waiting());
        drop(cleared);
    }
}

impl Drop for LoopPort {
    /// In a child the descriptor stays open: the loop, which the parent goes on with, knows it by its number.
    fn drop(&mut self) {
        if self.is_inherited() {
            std::mem::forget(Arc::clone(&self.queue));
        }
    }
}

/// The port of the loop that runs here.
///
/// # Errors
/// `RuntimeError` where none runs.
pub fn current(py: Python<'_>) -> PyResult<Py<LoopPort>> {
    // Trio first: in its guest mode asyncio's loop is running too.
    if let Some(port) = trio::current_port(py)? {
        return Ok(port);
    }
    asyncio::current_port(py)
}
