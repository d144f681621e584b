//! LoopPort: how operations sleep in, and are woken by, one running event loop.
//!
//! Owns the wakeup descriptor and the queue of that loop, who is suspended in it, and its streak of values that
//! were ready at once. There is one per running loop, never one per connection.
//! Threads: any may wake; everything else happens on the loop's thread.
//! Invariant: a ticket in `waiting` is resumed exactly once, or removed; a late completion finds nobody.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::core::{Birth, HeldWakes, Shared};
use crate::wakeup::{CompletionQueue, Ticket, TicketWaker, WakeupFd};

use super::asyncio::{self, Waiter};
use super::cached::interned;
use super::exit;
use super::spin::{self, Spin};
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
    /// asyncio's loop.
    event_loop: Option<Py<PyWeakrefReference>>,
    queue: Arc<CompletionQueue<WakeupFd>>,
    next_ticket: AtomicU64,
    waiting: Mutex<Waiting>,
    streak: Mutex<Streak>,
    spin: Mutex<Spin>,
    /// The run ends: nobody drains the queue any more.
    retired: AtomicBool,
    birth: Birth,
}

type Waiting = HashMap<Ticket, Suspended, BuildHasherDefault<TicketHasher>>;

/// Spreads numbers that nobody outside chooses.
#[derive(Default)]
struct TicketHasher(u64);

impl Hasher for TicketHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Who sleeps.
pub enum Suspended {
    Asyncio(Py<Waiter>),
    /// A trio task.
    Trio(Py<PyAny>),
    /// Not asleep: it awaits what a callback returned. If the statement has to stop, this is cancelled, if it is still
    /// there, and that is noted.
    InFlight(Py<PyWeakrefReference>, Arc<AtomicBool>),
}

/// Values that were ready at once, one after the other.
#[derive(Debug)]
struct Streak {
    since: Instant,
    /// Turns of the loop that were seen.
    turn: u64,
    /// The loop has just woken a task, which may take one value more: a turn that wakes many tasks is long, and
    /// most of them go on to what is there already, the rows of what they waited for.
    has_woken: bool,
}

thread_local! {
    /// The port whose completions are being delivered: what runs meanwhile runs in its loop.
    static DELIVERING: RefCell<Option<Py<LoopPort>>> = const { RefCell::new(None) };
}

/// Sets the port that is delivering, for as long as it lives.
struct Delivery(Option<Py<LoopPort>>);

impl Delivery {
    fn begin(port: Py<LoopPort>) -> Self {
        Self(DELIVERING.replace(Some(port)))
    }

    fn port(py: Python<'_>) -> Option<Py<LoopPort>> {
        DELIVERING.with_borrow(|port| port.as_ref().map(|port| port.clone_ref(py)))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let ended = DELIVERING.replace(self.0.take());
        drop(ended);
    }
}

impl Streak {
    fn begin(turn: u64) -> Self {
        Self {
            since: Instant::now(),
            turn,
            has_woken: false,
        }
    }
}

impl LoopPort {
    fn new(runtime: Runtime, event_loop: Option<Py<PyWeakrefReference>>) -> PyResult<Self> {
        Ok(Self {
            runtime,
            event_loop,
            queue: Arc::new(CompletionQueue::new(WakeupFd::new()?)),
            next_ticket: AtomicU64::new(1),
            waiting: Mutex::default(),
            streak: Mutex::new(Streak::begin(0)),
            spin: Mutex::default(),
            retired: AtomicBool::new(false),
            birth: Birth::now(),
        })
    }

    pub fn of_asyncio(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let event_loop = PyWeakrefReference::new(event_loop)?;
        Self::new(Runtime::Asyncio, Some(event_loop.unbind()))
    }

    pub fn of_trio() -> PyResult<Self> {
        Self::new(Runtime::Trio, None)
    }

    /// asyncio's loop, if this is its port and it is still there.
    pub fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop.as_ref()?.bind(py).upgrade()
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

    /// Whether its loop will not run again.
    pub fn has_ended(&self, py: Python<'_>) -> bool {
        if self.runtime == Runtime::Trio {
            return self.is_retired();
        }
        let is_closed = |event_loop: Bound<'_, PyAny>| -> PyResult<bool> {
            event_loop
                .call_method0(interned!(py, "is_closed"))?
                .is_truthy()
        };
        self.event_loop(py)
            .is_none_or(|event_loop| is_closed(event_loop).unwrap_or(true))
    }

    /// The descriptor that the loop watches.
    pub fn fd(&self) -> i32 {
        self.queue.bell().as_fd().as_raw_fd()
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

    /// Whether a value that is ready at once may be returned at once. If not, the loop has to turn first, and
    /// `turned` be told which turn this was.
    pub fn may_continue(&self) -> Result<(), u64> {
        let mut streak = self.streak();
        if std::mem::take(&mut streak.has_woken) || streak.since.elapsed() < STREAK {
            return Ok(());
        }
        Err(streak.turn)
    }

    /// Whether to look out for the next operation's end instead of suspending at once.
    pub fn may_look_out(&self, py: Python<'_>) -> PyResult<bool> {
        if !self.waiting().is_empty() {
            return Ok(false);
        }
        let task = match self.runtime {
            Runtime::Asyncio => asyncio::running_task(py, self.event_loop(py).as_ref())?,
            Runtime::Trio => trio::current_task(py)?,
        };
        Ok(self.spin().is_worth_it(task.as_ptr() as usize))
    }

    /// Looks out for the end of an operation, for a short while. Tells whether it has come.
    pub fn look_out(&self, py: Python<'_>, operation: &Shared) -> bool {
        let Some((taken, is_done)) = spin::look_out_for(py, operation) else {
            return false;
        };
        self.spin().learn(taken, is_done);
        is_done
    }

    /// The loop wakes a task.
    pub fn woke(&self) {
        self.streak().has_woken = true;
    }

    /// The turn of the loop that runs now, as far as was seen.
    pub fn turn(&self) -> u64 {
        self.streak().turn
    }

    /// The loop has turned since `turn`. The first to tell begins the next streak, which all share.
    pub fn turned(&self, turn: u64) {
        let mut streak = self.streak();
        if streak.turn == turn {
            *streak = Streak::begin(turn + 1);
        }
    }

    /// In a child of the process that they sleep in: wakes them all, for nothing else will.
    pub fn wake_inherited(&self, py: Python<'_>) {
        let sleeping = std::mem::take(&mut *self.waiting());
        for who in sleeping.into_values() {
            // Fails where the loop has ended, or runs on a thread that is not here.
            let _ = match who {
                Suspended::Trio(task) => trio::reschedule(task.bind(py)),
                Suspended::Asyncio(waiter) => asyncio::resume_soon(waiter.bind(py)),
                Suspended::InFlight(..) => Ok(()),
            };
        }
    }

    /// Lets a task go on.
    fn resume(
        &self,
        py: Python<'_>,
        ticket: Ticket,
        who: Suspended,
        turn: &mut asyncio::Turn,
    ) -> PyResult<()> {
        match who {
            Suspended::Trio(task) => trio::reschedule(task.bind(py)),
            Suspended::InFlight(target, was_stopped) => {
                let Some(target) = target.bind(py).upgrade() else {
                    return Ok(());
                };
                was_stopped.store(true, Ordering::SeqCst);
                target.call_method0(interned!(py, "cancel")).map(drop)
            }
            Suspended::Asyncio(waiter) => {
                let resumed = asyncio::resume(waiter.bind(py), turn);
                if resumed.is_err() && !waiter.borrow(py).is_done() {
                    // Interrupted before the task was called: it waits on.
                    self.suspend(ticket, Suspended::Asyncio(waiter));
                }
                resumed
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spin(&self) -> MutexGuard<'_, Spin> {
        self.spin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streak(&self) -> MutexGuard<'_, Streak> {
        self.streak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl LoopPort {
    /// Resume everything that has finished. Called by the loop when the descriptor is readable.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let Ok(_inside) = exit::enter(py) else {
            return Ok(());
        };
        if this.is_inherited() {
            return Ok(());
        }
        this.turned(this.turn());
        let _delivery = Delivery::begin(slf.clone().unbind());
        let _wakes = HeldWakes::hold();
        let mut turn = asyncio::Turn::default();
        let mut tickets = Vec::new();
        this.queue.drain(&mut tickets);
        for (index, ticket) in tickets.iter().enumerate() {
            let Some(who) = this.forget(*ticket) else {
                continue;
            };
            if let Err(error) = this.resume(py, *ticket, who, &mut turn) {
                // KeyboardInterrupt or SystemExit leaves the loop; the rest must not be lost with it.
                this.queue.restore(&tickets[index..]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Stop draining: the run ends. Whoever still sleeps looks by itself from now on.
    fn retire(&self, py: Python<'_>) -> PyResult<()> {
        self.retired.store(true, Ordering::SeqCst);
        let sleeping = std::mem::take(&mut *self.waiting());
        let sleeping = sleeping
            .into_iter()
            .filter(|(_, who)| !matches!(who, Suspended::InFlight(..)));
        for (ticket, who) in sleeping {
            self.resume(py, ticket, who, &mut asyncio::Turn::default())?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        let Ok(waiting) = self.waiting.try_lock() else {
            return Ok(());
        };
        for who in waiting.values() {
            match who {
                Suspended::Asyncio(waiter) => visit.call(waiter)?,
                Suspended::Trio(task) => visit.call(task)?,
                Suspended::InFlight(target, _) => visit.call(target)?,
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
    if let Some(port) = Delivery::port(py)
        && port.get().runtime() == Runtime::Asyncio
    {
        return Ok(port);
    }
    asyncio::current_port(py)
}
