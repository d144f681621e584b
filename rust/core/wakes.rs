//! Wakes: workers that have commands and were not woken yet.
//!
//! A turn of the loop that resumes many tasks gets many commands from them. Each alone would wake a worker that falls
//! asleep before the next comes: a system call here and, on one core, two switches of threads.
//! Owns a list of the thread that submits. Thread: the loop's, in the middle of a turn.
//! Invariant: the list is empty when the turn ends. Nothing that holds a lock on a file waits in it, for a task that goes on
//! meanwhile may wait for that lock without letting the loop turn.
//! Must not know: Python, what the commands are.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::express;
use super::worker::Local;

/// So many commands are work enough for a worker.
const MOST: usize = 8;

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    /// What tells the last connection from others that had a quick query.
    static LAST: Cell<usize> = const { Cell::new(0) };
}

#[derive(Default)]
struct Held {
    workers: Vec<Arc<Local>>,
    commands: usize,
}

/// Holds back the wakes of this thread for as long as it lives; not for ever, as tasks go on meanwhile.
#[derive(Debug)]
pub struct HeldWakes(());

impl HeldWakes {
    pub fn hold() -> Self {
        HELD.with_borrow_mut(|held| {
            held.get_or_insert_default();
        });
        Self(())
    }
}

/// Wakes those that were held back so far.
pub fn wake_held() {
    let held = HELD.with_borrow_mut(|slot| slot.as_mut().map(std::mem::take));
    wake(held);
}

impl Drop for HeldWakes {
    fn drop(&mut self) {
        wake(HELD.take());
    }
}

/// A command was submitted to a worker that has to be woken if `is_idle`.
pub(super) fn submitted(worker: &Arc<Local>, is_idle: bool) {
    let due = HELD.with_borrow_mut(|slot| {
        let held = slot.as_mut()?;
        held.commands += 1;
        if is_idle {
            held.workers.push(Arc::clone(worker));
        }
        Some((held.commands >= MOST).then(|| std::mem::take(held)))
    });
    match due {
        Some(due) => wake(due),
        None if is_idle => wake_workers(vec![Arc::clone(worker)]),
        None => {}
    }
}

fn wake(held: Option<Held>) {
    if let Some(held) = held {
        wake_workers(held.workers);
    }
}

fn wake_workers(workers: Vec<Arc<Local>>) {
    let (quick, others): (Vec<_>, Vec<_>) =
        workers.into_iter().partition(|worker| worker.is_quick());
    let last = quick.last().map_or(0, |last| Arc::as_ptr(last).addr());
    let before = LAST.replace(last);
    let by_turns = quick.len() > 1 || before != 0 && before != last;
    let rest = if quick.is_empty() {
        quick
    } else {
        express::take(quick, by_turns)
    };
    rest.iter().chain(&others).for_each(Local::rouse);
}
