//! The task that awaits an operation: it polls, sleeps until its waker is called, and polls again.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};

use crate::state::operation::{Event, Operation};

/// A caller with a waker of its own.
pub struct Caller {
    alarm: Arc<Alarm>,
}

struct Alarm {
    wakes: Mutex<usize>,
    changed: Condvar,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.wakes.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}

impl Caller {
    pub fn new() -> Self {
        Self {
            alarm: Arc::new(Alarm {
                wakes: Mutex::new(0),
                changed: Condvar::new(),
            }),
        }
    }

    /// Polls once; a pending poll leaves the waker with the operation.
    pub fn poll<T, M>(&self, operation: &Operation<T, M>) -> Poll<Event<T>> {
        operation.poll(&mut Context::from_waker(&self.waker()))
    }

    /// Waits for news as a suspended task does. A wake that gets lost makes loom report a deadlock.
    pub fn wait<T, M>(&self, operation: &Operation<T, M>) -> Event<T> {
        loop {
            if let Poll::Ready(event) = self.poll(operation) {
                return event;
            }
            self.sleep();
        }
    }

    /// Waits for news, or for a question, as a suspended task does.
    pub fn hear<T, M>(&self, operation: &Operation<T, M>) -> Result<M, Event<T>> {
        loop {
            if let Poll::Ready(event) = self.poll(operation) {
                return Err(event);
            }
            if operation.dialogue().asks() {
                if let Some(question) = operation.dialogue().hear(&self.waker()) {
                    return Ok(question);
                }
            } else {
                self.sleep();
            }
        }
    }

    /// Waits until the backend is through with an operation.
    pub fn wait_for_end<T, M>(&self, operation: &Operation<T, M>) {
        while operation.poll_end(&Context::from_waker(&self.waker())).is_pending() {
            self.sleep();
        }
    }

    /// Sleeps until the waker is called.
    pub fn sleep(&self) {
        let mut wakes = self.alarm.wakes.lock().unwrap();
        while *wakes == 0 {
            wakes = self.alarm.changed.wait(wakes).unwrap();
        }
        *wakes -= 1;
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.alarm))
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new()
    }
}
