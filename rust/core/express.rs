//! Express: one thread that runs the quick queries of many connections.
//!
//! Where tasks that have a connection each take turns, every query would wake the worker of its own, which is asleep
//! again before the next one. To wake a sleeping thread costs more than a point SELECT.
//! Owns the thread and the connections that wait for it. A connection's own worker sleeps on meanwhile, and is woken if
//! what comes next is not known to be quick.
//! Threads: `take` on any; the rest on the express thread.
//! Invariant: while connections wait, the thread is on its way to them, or has told their own workers that it is not.
//! Must not know: Python, what the commands are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::lookout::linger;
use super::pool::Job;
use super::session::Session;
use super::unheard;
use super::worker::Local;

/// How long the thread waits for a connection before it ends.
const IDLE: Duration = Duration::from_secs(2);
/// So many may wait; others are better served by their own workers.
const MOST: usize = 32;

static EXPRESS: Mutex<State> = Mutex::new(State {
    waiting: VecDeque::new(),
    thread: Thread::None,
});
static ARRIVED: Condvar = Condvar::new();
/// How often connections have come, for the thread when it looks out for the next.
static ARRIVALS: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct State {
    waiting: VecDeque<Arc<Local>>,
    thread: Thread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    None,
    Asleep,
    Awake,
    /// It runs what is not known to be quick, or waits for a lock.
    Slow,
}

/// Gives it connections whose next command is a query that was quick the last time; those that it does not take come
/// back. If the thread has to be woken it takes only such as are used `by_turns`.
pub(super) fn take(mut connections: Vec<Arc<Local>>, by_turns: bool) -> Vec<Arc<Local>> {
    let mut state = lock();
    let is_welcome = match state.thread {
        Thread::Slow => false,
        Thread::Awake => true,
        Thread::None | Thread::Asleep => by_turns,
    };
    if !is_welcome {
        return connections;
    }
    let room = MOST.saturating_sub(state.waiting.len());
    let rest = connections.split_off(room.min(connections.len()));
    state.waiting.extend(connections);
    ARRIVALS.fetch_add(1, Ordering::Relaxed);
    match state.thread {
        Thread::None => {
            let thread = std::thread::Builder::new().name("aiolibsql-express".into());
            if thread.spawn(run).is_err() {
                let waiting = std::mem::take(&mut state.waiting);
                return waiting.into_iter().chain(rest).collect();
            }
            state.thread = Thread::Awake;
        }
        Thread::Asleep => {
            state.thread = Thread::Awake;
            drop(state);
            ARRIVED.notify_one();
        }
        Thread::Awake | Thread::Slow => {}
    }
    rest
}

fn run() {
    let slows = Waker::from(Arc::new(Slows));
    let mut lookout = None;
    while let Some(connection) = next(lookout) {
        unheard::before_delay(&slows);
        lookout = connection.serve_quickly();
        if Arc::strong_count(&connection) == 1 {
            // To let go of it closes it.
            unheard::wake_all();
        }
    }
}

/// The next connection, when there is one; `None`: the thread ends. `lookout`: see `linger`.
fn next(mut lookout: Option<u32>) -> Option<Arc<Local>> {
    let mut state = lock();
    loop {
        state.thread = Thread::Awake;
        if let Some(connection) = state.waiting.pop_front() {
            return Some(connection);
        }
        drop(state);
        unheard::wake_callers();
        if let Some(processor) = lookout.take() {
            let seen = ARRIVALS.load(Ordering::Relaxed);
            linger(processor, || ARRIVALS.load(Ordering::Relaxed) != seen);
        }
        state = lock();
        if !state.waiting.is_empty() {
            continue;
        }
        state.thread = Thread::Asleep;
        let (guard, waited) = ARRIVED
            .wait_timeout_while(state, IDLE, |state| state.thread == Thread::Asleep)
            .unwrap_or_else(PoisonError::into_inner);
        state = guard;
        if waited.timed_out() && state.thread == Thread::Asleep {
            state.thread = Thread::None;
            return None;
        }
    }
}

/// Told before the thread does what is not known to be quick.
struct Slows;

impl Wake for Slows {
    fn wake(self: Arc<Self>) {
        let mut state = lock();
        state.thread = Thread::Slow;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(Local::rouse);
    }
}

fn lock() -> MutexGuard<'static, State> {
    EXPRESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The list, for as long as a fork takes.
pub struct Held(MutexGuard<'static, State>);

impl Held {
    pub fn take() -> Self {
        Self(lock())
    }

    /// In the child there is no such thread, and what waited is the parent's.
    pub fn reset(mut self) {
        std::mem::forget(std::mem::take(&mut self.0.waiting));
        self.0.thread = Thread::None;
    }
}

impl Local {
    /// Runs the queries that wait, as long as they are known to be quick. The rest is for its own worker. Returns where
    /// the caller of the last one looks out.
    fn serve_quickly(self: &Arc<Self>) -> Option<u32> {
        let mut lookout = None;
        let mut mailbox = self.lock();
        // Its own worker may have woken up by itself, or a backup have the session.
        while !mailbox.is_claimed() && !mailbox.queue.is_empty() {
            let Some(command) = mailbox.take_quick() else {
                drop(mailbox);
                self.rouse();
                return lookout;
            };
            let operation = Arc::clone(&command.operation);
            // Whoever has a command for it from now on may wake it again.
            mailbox.idle = mailbox.lent;
            mailbox = self.run_job(mailbox, Job::One(command));
            lookout = operation.lookout();
        }
        if !mailbox.lent && mailbox.wants_rest() {
            self.start(mailbox);
        }
        lookout
    }

    /// Has its own worker look at the mailbox.
    pub(super) fn rouse(self: &Arc<Self>) {
        let mut mailbox = self.lock();
        mailbox.idle = false;
        if mailbox.lent {
            drop(mailbox);
            self.wake();
        } else {
            self.start(mailbox);
        }
    }
}

impl Session {
    /// Whether this is a query that took little time when it was executed last.
    pub fn is_quick(&mut self, sql: &Arc<str>) -> bool {
        let known = self.cache.peek(sql);
        known.is_some_and(|id| self.handle.is_autocommit() && self.handle.statement(id).is_marked())
    }
}
