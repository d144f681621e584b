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
    pub fn poll<T>(&self, operation: &Operation<T>) -> Poll<Event<T>> {
        let waker = Waker::from(Arc::clone(&self.alarm));
        operation.poll(&mut Context::from_waker(&waker))
    }

    /// Waits for news as a suspended task does. A wake that gets lost makes loom report a deadlock.
    pub fn wait<T>(&self, operation: &Operation<T>) -> Event<T> {
        loop {
            if let Poll::Ready(event) = self.poll(operation) {
                return event;
            }
            let mut wakes = self.alarm.wakes.lock().unwrap();
            while *wakes == 0 {
                wakes = self.alarm.changed.wait(wakes).unwrap();
            }
            *wakes -= 1;
        }
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new()
    }
}
