//! Dialogue: what a running operation asks of its caller, and is answered.
//!
//! Owns one question at a time. A backend asks when it meets something that only the caller's event loop can do.
//! Threads: `ask` on the backend's; `hear`, `answer`, `decline` on the caller's; the rest on any.
//! Invariant: a backend that asks gets an answer, or is told that none will come. Who has heard a question answers or
//! declines, unless its loop ended.
//! Must not know: Python, what is asked.

use std::task::Waker;
use std::time::Duration;

use super::sync::{AtomicBool, AtomicU8, Condvar, Mutex, MutexGuard, Ordering};

/// How often a backend looks whether the caller can still answer.
const LOOK: Duration = Duration::from_millis(100);

const NEVER: u8 = 0;
const ASKS: u8 = 1;
const HAS_ASKED: u8 = 2;

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked<M> {
    Answer(M),
    /// Nobody waits for the operation who could answer; the question was not heard.
    Nobody(M),
    /// The operation has to stop; the question was not heard.
    Stopped(M),
    /// It was heard, and there will be no answer.
    Declined,
}

/// Why a question is not put any more, if it is not.
pub type Refusal<M> = Option<fn(M) -> Asked<M>>;

/// The questions of one operation.
#[derive(Debug)]
pub struct Dialogue<M> {
    /// Somebody waits for the operation who hears what it asks.
    attended: AtomicBool,
    /// Whether there is a question that nobody has heard; all that most waits look at.
    asking: AtomicU8,
    state: Mutex<State<M>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<M> {
    turn: Turn<M>,
    /// Wakes whoever works on the answer, when the operation has to stop.
    alarm: Option<Waker>,
}

#[derive(Debug)]
enum Turn<M> {
    Silent,
    Asked(M),
    Heard,
    Answered(M),
    Declined,
}

impl<M> Dialogue<M> {
    pub fn new() -> Self {
        Self {
            attended: AtomicBool::new(false),
            asking: AtomicU8::new(NEVER),
            state: Mutex::new(State {
                turn: Turn::Silent,
                alarm: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Puts a question, tells the caller by `wake`, and sleeps until the answer, or until `refuse` says why not. `is_gone` is called
    /// now and then without any lock: whether the caller can't go on any more.
    pub fn ask(
        &self,
        question: M,
        wake: impl FnOnce(),
        refuse: impl Fn() -> Refusal<M>,
        is_gone: impl Fn() -> bool,
    ) -> Asked<M> {
        let mut state = self.lock();
        if let Some(refusal) = refuse() {
            return refusal(question);
        }
        state.turn = Turn::Asked(question);
        self.asking.store(ASKS, Ordering::SeqCst);
        drop(state);
        wake();
        let mut state = self.lock();
        loop {
            let asked = match std::mem::replace(&mut state.turn, Turn::Silent) {
                Turn::Answered(answer) => Some(Asked::Answer(answer)),
                Turn::Silent | Turn::Declined => Some(Asked::Declined),
                Turn::Heard if !self.is_attended() => Some(Asked::Declined),
                Turn::Heard => {
                    state.turn = Turn::Heard;
                    None
                }
                Turn::Asked(question) => {
                    if let Some(refusal) = refuse() {
                        Some(refusal(question))
                    } else {
                        state.turn = Turn::Asked(question);
                        None
                    }
                }
            };
            if let Some(asked) = asked {
                self.asking.store(HAS_ASKED, Ordering::SeqCst);
                return asked;
            }
            let (locked, waited) = match self.changed.wait_timeout(state, LOOK) {
                Ok(waited) => waited,
                Err(poisoned) => poisoned.into_inner(),
            };
            state = locked;
            if waited.timed_out() {
                drop(state);
                if is_gone() {
                    self.attended.store(false, Ordering::SeqCst);
                }
                state = self.lock();
            }
        }
    }

    /// Whether there is a question that nobody has heard.
    pub fn asks(&self) -> bool {
        self.asking.load(Ordering::SeqCst) == ASKS
    }

    /// Whether there ever was one.
    pub fn has_asked(&self) -> bool {
        self.asking.load(Ordering::SeqCst) != NEVER
    }

    /// Takes the question, to answer or decline it. `alarm` is called if the operation has to stop before.
    pub fn hear(&self, alarm: &Waker) -> Option<M> {
        let mut state = self.lock();
        match std::mem::replace(&mut state.turn, Turn::Heard) {
            Turn::Asked(question) => {
                self.asking.store(HAS_ASKED, Ordering::SeqCst);
                state.alarm = Some(alarm.clone());
                Some(question)
            }
            other => {
                state.turn = other;
                None
            }
        }
    }

    pub fn answer(&self, answer: M) {
        self.reply(Turn::Answered(answer));
    }

    pub fn decline(&self) {
        self.reply(Turn::Declined);
    }

    fn reply(&self, reply: Turn<M>) {
        let mut state = self.lock();
        state.alarm = None;
        // A backend that was told that nobody is there waits no more.
        if matches!(state.turn, Turn::Heard) {
            state.turn = reply;
        }
        drop(state);
        self.changed.notify_all();
    }

    pub fn is_attended(&self) -> bool {
        self.attended.load(Ordering::SeqCst)
    }

    pub fn set_attended(&self, attended: bool) {
        self.attended.store(attended, Ordering::SeqCst);
        if !attended {
            self.look_again();
        }
    }

    /// The operation has to stop.
    pub fn sound_alarm(&self) {
        if self.has_asked() {
            let alarm = self.lock().alarm.take();
            if let Some(alarm) = alarm {
                alarm.wake();
            }
            self.look_again();
        }
    }

    /// A backend that waits looks whether it is still of use.
    fn look_again(&self) {
        // The lock orders this with one that has looked and not slept yet.
        drop(self.lock());
        self.changed.notify_all();
    }

    #[cfg(not(loom))]
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(loom)]
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().expect("loom mutexes are not poisoned")
    }
}
