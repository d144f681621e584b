//! An event loop's side of the wakeup descriptor: something that is readable, or is waited for.

use loom::sync::{Condvar, Mutex};

use crate::queue::completions::Bell;

/// What an eventfd is to the queue, with the count of its writes.
pub struct ReadableFd {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    is_readable: bool,
    writes: usize,
}

impl ReadableFd {
    pub fn new() -> Self {
        let state = State {
            is_readable: false,
            writes: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Sleeps as `epoll_wait` would. A ring that gets lost makes loom report a deadlock.
    pub fn wait_readable(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.is_readable {
            state = self.changed.wait(state).unwrap();
        }
    }

    pub fn is_readable(&self) -> bool {
        self.state.lock().unwrap().is_readable
    }

    pub fn writes(&self) -> usize {
        self.state.lock().unwrap().writes
    }
}

impl Default for ReadableFd {
    fn default() -> Self {
        Self::new()
    }
}

impl Bell for ReadableFd {
    fn ring(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_readable = true;
        state.writes += 1;
        self.changed.notify_all();
    }

    fn silence(&self) {
        self.state.lock().unwrap().is_readable = false;
    }
}
