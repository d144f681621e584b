//! Here: the commands of a blocking connection, run on the thread that waits for them.
//!
//! Owns what a thread has to know while it runs one: that it does, and when to look whether it must stop.
//! Threads: any, also several at once on one connection. One has claimed the session, and runs its own command and what
//! nobody waits for; the others sleep until it is put back.
//! Invariant: a thread never waits for a session that it has claimed itself.
//! Must not know: Python.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::channel::Opaque;
use super::command::{Command, Outcome, Shared};
use super::error::Result;
use super::mailbox::{Database, Mailbox};
use super::operation::{Operation, Shield};
use super::unheard;
use super::worker::Local;

/// So long a thread waits, or runs a statement, before it looks whether it must stop.
const LOOK: Duration = Duration::from_millis(100);

/// Tells whether the thread must stop what it does. Called without a lock, now and then.
pub type Look = fn() -> bool;

struct Here {
    /// Commands that run on this thread, one in a callback of the other.
    running: Cell<u32>,
    look: Cell<Option<Look>>,
    looked: Cell<Option<Instant>>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            running: Cell::new(0),
            look: Cell::new(None),
            looked: Cell::new(None),
        }
    };
}

/// What tells this thread from others.
fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// A statement runs on, or waits for a lock: stops it if this thread must.
pub(super) fn look(operation: &Operation<Result<Outcome>, Opaque>) {
    let must_stop = HERE.with(|here| {
        let Some(look) = here.look.get() else {
            return false;
        };
        let now = Instant::now();
        match here.looked.get() {
            Some(last) if now - last >= LOOK => {
                here.looked.set(Some(now));
                look()
            }
            Some(_) => false,
            None => {
                here.looked.set(Some(now));
                false
            }
        }
    });
    if must_stop {
        match operation.shield() {
            Shield::None => operation.interrupt(),
            Shield::Running => drop(operation.cancel()),
            Shield::Always => {}
        }
    }
}

impl Local {
    /// Runs a command on this thread, without a detour through the queue if nothing is in its way. `false`: `look` says
    /// that this thread must stop before.
    pub fn run_now(&self, command: Command, look: Look) -> bool {
        if !self.accepts(&command) {
            return true;
        }
        let mut mailbox = self.lock();
        if !mailbox.is_claimed() && mailbox.queue.is_empty() {
            mailbox = self.run_here(mailbox, command, Some(look));
            self.settle_in(mailbox);
            unheard::wake_all();
            return true;
        }
        let operation = Arc::clone(&command.operation);
        mailbox.queue.push(command);
        drop(mailbox);
        self.serve_here(&operation, look)
    }

    /// Runs commands on this thread until `operation` has ended. `false`: `look` says that it must stop before.
    pub fn serve_here(&self, operation: &Shared, look: Look) -> bool {
        let mut mailbox = self.lock();
        while !operation.is_done() {
            if mailbox.is_claimed() {
                mailbox.waiting += 1;
                let waited = self.arrived.wait_timeout(mailbox, LOOK);
                let (guard, slept) = waited.unwrap_or_else(PoisonError::into_inner);
                mailbox = guard;
                mailbox.waiting -= 1;
                if slept.timed_out() {
                    drop(mailbox);
                    if look() {
                        return false;
                    }
                    mailbox = self.lock();
                }
                continue;
            }
            let Some(command) = mailbox.queue.next_here(Some(operation)) else {
                break;
            };
            mailbox = self.run_here(mailbox, command, Some(look));
        }
        self.settle_in(mailbox);
        unheard::wake_all();
        true
    }

    /// Runs what nobody waits for. Never waits: who has claimed the session does it after.
    pub fn settle(&self) {
        if self.is_inherited() {
            return;
        }
        self.settle_in(self.lock());
        unheard::wake_all();
    }

    fn settle_in<'a>(&'a self, mut mailbox: MutexGuard<'a, Mailbox>) {
        while !mailbox.is_claimed()
            && let Some(command) = mailbox.queue.next_here(None)
        {
            mailbox = self.run_here(mailbox, command, None);
        }
    }

    /// Whether this thread has claimed the session, and is in a callback.
    pub fn is_claimed_here(&self) -> bool {
        HERE.with(|here| here.running.get()) > 0 && self.lock().claimant == Some(this_thread())
    }

    fn run_here<'a>(
        &'a self,
        mut mailbox: MutexGuard<'a, Mailbox>,
        command: Command,
        look: Option<Look>,
    ) -> MutexGuard<'a, Mailbox> {
        let database = std::mem::replace(&mut mailbox.database, Database::Claimed);
        mailbox.running = Some(Arc::clone(&command.operation));
        mailbox.claimant = Some(this_thread());
        drop(mailbox);
        let (outer, looked) = HERE.with(|here| {
            here.running.set(here.running.get() + 1);
            (here.look.replace(look), here.looked.replace(None))
        });
        let database = self.run_contained(database, command);
        // Lent to a backup: this thread has it still.
        let is_lent = matches!(database, Database::Claimed);
        HERE.with(|here| {
            here.running.set(here.running.get() - u32::from(!is_lent));
            here.look.set(outer);
            here.looked.set(looked);
        });
        let mut mailbox = self.lock();
        mailbox.put_back(database);
        mailbox.running = None;
        if !is_lent {
            mailbox.claimant = None;
            if mailbox.waiting > 0 {
                self.arrived.notify_one();
            }
        }
        mailbox
    }

    /// The session has come back from a backup.
    pub(super) fn go_on(&self, mut mailbox: MutexGuard<'_, Mailbox>) {
        if mailbox.claimant.take() == Some(this_thread()) {
            HERE.with(|here| here.running.set(here.running.get().saturating_sub(1)));
        }
        if mailbox.waiting > 0 {
            self.arrived.notify_one();
        }
        drop(mailbox);
        self.settle();
    }
}
