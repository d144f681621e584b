//! Process: which one an object belongs to, and what stands still while it forks.
//!
//! Owns the count of forks between the first process and this one. What was used before the last of them belongs to
//! the parent: the threads that served it are not here, and locks may be held by nobody.
//! Thread: the forking one; `Birth` on any.
//! Invariant: before a fork every process-wide lock is taken, by a thread that no holder of one waits for; so the
//! child finds what they guard whole.
//! Must not know: Python.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sqlite;

use super::command::{Action, Command, Outcome};
use super::error::{Error, Result};
use super::status::{Phase, Status};
use super::{busy, deadline, express, readers, runtime, threads};

static FORKS: AtomicU32 = AtomicU32::new(1);

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// In which process something was used first.
#[derive(Debug, Default)]
pub struct Birth(AtomicU32);

impl Birth {
    /// Something that is used from now on.
    pub fn now() -> Self {
        Self(AtomicU32::new(FORKS.load(Ordering::Relaxed)))
    }

    /// It is used now, by this process if by none before.
    pub fn mark(&self) {
        if self.0.load(Ordering::Relaxed) == 0 {
            let now = FORKS.load(Ordering::Relaxed);
            let _ = self
                .0
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether a command may be queued, which is a use. Ends it in a child, where nothing that was shared with a thread
    /// must be touched.
    pub fn accepts(&self, command: &Command, status: &Status) -> bool {
        if !self.is_inherited() {
            self.mark();
            return true;
        }
        let result = match (status.phase(), &command.action) {
            (Phase::Closed, Action::Close) => Ok(Outcome::default()),
            (Phase::Closed, _) => Err(Error::closed()),
            _ => Err(Error::inherited()),
        };
        if command.operation.claim() {
            drop(command.operation.finish(result));
        }
        false
    }

    /// Whether it was used at all.
    pub fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Whether it belongs to a process that this one was forked from.
    pub fn is_inherited(&self) -> bool {
        let born = self.0.load(Ordering::Relaxed);
        born != 0 && born != FORKS.load(Ordering::Relaxed)
    }
}

/// The process-wide state of the driver, standing still.
struct Held {
    threads: threads::Held,
    express: express::Held,
    deadlines: deadline::Held,
    lines: busy::Held,
    readers: readers::Held,
    runtime: runtime::Held,
    sqlite: Option<sqlite::Held>,
}

/// Makes forks safe from now on.
///
/// # Errors
/// SQLite's, when it can't be initialised.
pub fn watch_forks() -> Result<()> {
    sqlite::at_fork(sqlite::AtFork {
        before,
        after_in_parent,
        after_in_child,
    })?;
    Ok(())
}

fn before() {
    let held = Held {
        threads: threads::Held::take(),
        express: express::Held::take(),
        deadlines: deadline::Held::take(),
        lines: busy::Held::take(),
        readers: readers::Held::take(),
        runtime: runtime::Held::take(),
        sqlite: sqlite::Held::take(),
    };
    let mut held = Some(held);
    let kept = HELD.try_with(|slot| *slot.borrow_mut() = held.take());
    if kept.is_err() {
        // The thread is ending, and its locals with it.
        release(held);
    }
}

fn take_held() -> Option<Held> {
    HELD.try_with(|slot| slot.borrow_mut().take())
        .ok()
        .flatten()
}

fn after_in_parent() {
    release(take_held());
}

fn release(held: Option<Held>) {
    if let Some(sqlite) = held.and_then(|held| held.sqlite) {
        sqlite.release();
    }
}

fn after_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    if let Some(held) = take_held() {
        if let Some(sqlite) = held.sqlite {
            sqlite.release_in_child();
        }
        held.threads.reset();
        held.express.reset();
        held.deadlines.reset();
        held.lines.reset();
        held.readers.reset();
        held.runtime.reset();
    }
}
