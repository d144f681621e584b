//! The state of one operation, shared by the caller that awaits it and the backend that runs it.
//!
//! Owns the phase word that decides every race: the backend claims, the canceller abandons, the first wins.
//! Threads: `poll`, `cancel`, `abandon` on the caller's; `claim`, `finish`, `leave`, `progress`, `sleep`, `ask` on the
//! backend's; `expire`, `interrupt`, `nudge` on any.
//! Invariant: whoever leaves `Running` last owns the result: a finish after a cancel gets it back to undo it,
//! a cancel after a finish gets it to do the same.
//! Must not know: Python, SQLite, what the result is.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::dialogue::{Asked, Dialogue, Refusal};
use super::sync::{AtomicBool, AtomicU8, AtomicU32, Condvar, Mutex, MutexGuard, Ordering};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const ABANDONED: u8 = 3;

/// How far a cancellation may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shield {
    /// A cancellation stops it at once.
    None,
    /// COMMIT, rekey: once it runs, a cancellation only ends its wait for a lock.
    Running,
    /// ROLLBACK, close, release: always run to their end.
    Always,
}

/// Why a running operation was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    Cancelled = 1,
    TimedOut = 2,
    Interrupted = 3,
}

/// What a cancellation met.
#[derive(Debug, PartialEq, Eq)]
pub enum Cancelled<T> {
    /// It was queued and will not run.
    NeverRan,
    /// It was running, and stops soon; its backend undoes what must be undone.
    Stopping,
    /// It had finished; the result that nobody took has to be undone by the canceller.
    Undelivered(T),
    /// It goes on to its end; the caller must wait.
    Shielded,
    /// Its result was delivered before.
    Delivered,
}

/// What a poll found.
#[derive(Debug)]
pub enum Event<T> {
    /// More rows, or room for more parameters; the operation goes on.
    Progress,
    /// The end.
    Finished(T),
}

/// One operation; `M` is what its backend asks and is answered while it runs.
#[derive(Debug)]
pub struct Operation<T, M = ()> {
    phase: AtomicU8,
    stop: AtomicU8,
    shield: Shield,
    /// It waits for others to finish, and has no claim to run in spite of a cancellation.
    aside: AtomicBool,
    /// The processor, and one more, on which its caller looks out for its end; 0: none does.
    lookout: AtomicU32,
    dialogue: Dialogue<M>,
    slot: Mutex<Slot<T>>,
    disturbed: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    result: Option<T>,
    waker: Option<Waker>,
    /// A backend that can't look now and then, but has to be told.
    stopper: Option<Waker>,
    progressed: bool,
    nudged: bool,
    /// The backend is through with what nobody takes the result of.
    left: bool,
}

impl<T, M> Operation<T, M> {
    pub fn new(shield: Shield) -> Self {
        Self {
            phase: AtomicU8::new(QUEUED),
            stop: AtomicU8::new(0),
            shield,
            aside: AtomicBool::new(false),
            lookout: AtomicU32::new(0),
            dialogue: Dialogue::new(),
            slot: Mutex::new(Slot {
                result: None,
                waker: None,
                stopper: None,
                progressed: false,
                nudged: false,
                left: false,
            }),
            disturbed: Condvar::new(),
        }
    }

    pub const fn shield(&self) -> Shield {
        self.shield
    }

    /// Takes the result, or news of progress, or leaves the waker for it.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Event<T>> {
        let mut slot = self.lock();
        if std::mem::take(&mut slot.progressed) {
            return Poll::Ready(Event::Progress);
        }
        if let Some(result) = slot.result.take() {
            return Poll::Ready(Event::Finished(result));
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(context.waker()),
            empty @ None => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The caller was cancelled.
    pub fn cancel(&self) -> Cancelled<T> {
        if self.shield == Shield::Always {
            let never_ran = self.aside.load(Ordering::SeqCst) && self.change(QUEUED, ABANDONED);
            if never_ran {
                return Cancelled::NeverRan;
            }
            self.dialogue.set_attended(false);
            return Cancelled::Shielded;
        }
        if self.change(QUEUED, ABANDONED) {
            // Something may be done for it before it runs.
            let stopper = self.lock().stopper.take();
            if let Some(stopper) = stopper {
                stopper.wake();
            }
            return Cancelled::NeverRan;
        }
        if self.shield == Shield::Running {
            self.request_stop(Stop::Cancelled);
            self.dialogue.set_attended(false);
            return Cancelled::Shielded;
        }
        if self.change(RUNNING, ABANDONED) {
            self.request_stop(Stop::Cancelled);
            self.dialogue.set_attended(false);
            return Cancelled::Stopping;
        }
        self.lock()
            .result
            .take()
            .map_or(Cancelled::Delivered, Cancelled::Undelivered)
    }

    /// The caller is gone for good: what is shielded is left to run to its end.
    pub fn abandon(&self) -> Cancelled<T> {
        match self.shield {
            Shield::None => self.cancel(),
            Shield::Running | Shield::Always => {
                self.dialogue.set_attended(false);
                Cancelled::Shielded
            }
        }
    }

    /// It has to wait for others to finish: until it is claimed, any cancellation ends it.
    pub fn set_aside(&self) {
        self.aside.store(true, Ordering::SeqCst);
    }

    /// The caller looks out for the end instead of sleeping, on this processor; `None`: no more.
    pub fn set_lookout(&self, processor: Option<u32>) {
        let lookout = processor.map_or(0, |processor| processor.saturating_add(1));
        self.lookout.store(lookout, Ordering::Relaxed);
    }

    /// The processor on which the caller looks out for the end.
    pub fn lookout(&self) -> Option<u32> {
        self.lookout.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Whether its end was reported, or nobody waits for it.
    pub fn is_done(&self) -> bool {
        self.phase.load(Ordering::SeqCst) >= DONE
    }

    /// The backend is about to run it. `false`: it was abandoned, or ended by its deadline; skip it.
    #[must_use]
    pub fn claim(&self) -> bool {
        self.change(QUEUED, RUNNING)
    }

    /// The backend ran it. Gives the result back if nobody will take it.
    pub fn finish(&self, result: T) -> Option<T> {
        match self.finish_unheard(result) {
            Ok(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
                None
            }
            Err(result) => Some(result),
        }
    }

    /// As `finish`, but whoever waits is still to be woken.
    ///
    /// # Errors
    /// The result, if nobody will take it.
    pub fn finish_unheard(&self, result: T) -> std::result::Result<Option<Waker>, T> {
        let mut slot = self.lock();
        if !self.change(RUNNING, DONE) {
            return Err(result);
        }
        slot.result = Some(result);
        Ok(slot.waker.take())
    }

    /// The backend is through with what it got the result back of, and has undone it.
    pub fn leave(&self) {
        let waker = {
            let mut slot = self.lock();
            slot.left = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the backend is through with it; the result stays.
    pub fn poll_end(&self, context: &Context<'_>) -> Poll<()> {
        let mut slot = self.lock();
        let phase = self.phase.load(Ordering::SeqCst);
        // What is shielded is abandoned only while it is queued: then nobody runs it.
        let never_ran = phase == ABANDONED && self.shield != Shield::None;
        if slot.left || phase == DONE || never_ran {
            return Poll::Ready(());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Asks the caller for something that only it can do, and sleeps until the answer. `is_gone` is called now and then
    /// without any lock: whether the caller can't go on any more.
    pub fn ask(&self, question: M, is_gone: impl Fn() -> bool) -> Asked<M> {
        let wake = || {
            let waker = self.lock().waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let refuse = || -> Refusal<M> {
            // First: a cancellation takes it back last.
            let is_attended = self.dialogue.is_attended();
            let is_abandoned = self.phase.load(Ordering::SeqCst) == ABANDONED;
            if is_abandoned || self.must_stop_running() {
                Some(Asked::Stopped)
            } else if is_attended {
                None
            } else {
                Some(Asked::Nobody)
            }
        };
        self.dialogue.ask(question, wake, refuse, is_gone)
    }

    /// What it asks.
    pub const fn dialogue(&self) -> &Dialogue<M> {
        &self.dialogue
    }

    /// Wakes the caller before the end: rows arrived, or parameters may follow.
    pub fn progress(&self) {
        let waker = {
            let mut slot = self.lock();
            slot.progressed = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Its deadline passed: ends at once with `result` if still queued, is told to stop if running.
    pub fn expire(&self, result: T) {
        self.request_stop(Stop::TimedOut);
        if self.claim() {
            drop(self.finish(result));
        }
    }

    /// Tells a running operation to stop; its caller gets the error.
    pub fn interrupt(&self) {
        if self.phase.load(Ordering::SeqCst) == RUNNING && self.shield == Shield::None {
            self.request_stop(Stop::Interrupted);
        }
    }

    /// Whether the backend has claimed it and not ended it.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == RUNNING
    }

    /// Why it must stop, if it must.
    pub fn stop(&self) -> Option<Stop> {
        match self.stop.load(Ordering::SeqCst) {
            1 => Some(Stop::Cancelled),
            2 => Some(Stop::TimedOut),
            3 => Some(Stop::Interrupted),
            _ => None,
        }
    }

    /// Whether the statement itself must stop, rather than only its wait for a lock.
    pub fn must_stop_running(&self) -> bool {
        self.stop().is_some() && self.shield == Shield::None
    }

    /// As `must_stop_running`, for a backend that waits for it: the waker is called when it must.
    pub fn poll_stop(&self, context: &Context<'_>) -> Poll<()> {
        let mut slot = self.lock();
        if self.must_stop_running() {
            return Poll::Ready(());
        }
        slot.stopper = Some(context.waker().clone());
        Poll::Pending
    }

    /// As `poll_stop`, for what is done before it runs: also if nobody waits for it any more.
    pub fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        let mut slot = self.lock();
        if self.must_stop_running() || self.phase.load(Ordering::SeqCst) == ABANDONED {
            return Poll::Ready(());
        }
        slot.stopper = Some(context.waker().clone());
        Poll::Pending
    }

    /// Sleeps on the backend's thread until `limit` has passed, a stop, or a nudge.
    pub fn sleep(&self, limit: Duration) {
        let mut slot = self.lock();
        if self.stop().is_none() && !slot.nudged {
            slot = match self.disturbed.wait_timeout(slot, limit) {
                Ok((slot, _)) => slot,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        slot.nudged = false;
    }

    /// Ends a sleep, now or the next one.
    pub fn nudge(&self) {
        self.lock().nudged = true;
        self.disturbed.notify_all();
    }

    fn request_stop(&self, why: Stop) {
        // The first reason stays: a deadline does not rename a cancellation.
        let _ = self
            .stop
            .compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        // The lock orders this with a sleeper that has checked `stop` and not slept yet.
        let stopper = self.lock().stopper.take();
        self.disturbed.notify_all();
        if let Some(stopper) = stopper {
            stopper.wake();
        }
        self.dialogue.sound_alarm();
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.phase
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    #[cfg(not(loom))]
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(loom)]
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().expect("loom mutexes are not poisoned")
    }
}
