//! Front: the local backend as Connection and Cursor see it.
//!
//! Owns no state; this is where commands come in.
//! Threads: any.
//! Must not know: Python, what commands do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::backend::Backend;
use super::command::{Action, Command, Shared};
use super::error::Error;
use super::guest::Guest;
use super::here::Look;
use super::process::Birth;
use super::status::Status;
use super::wakes;
use super::worker::Local;

impl Backend for Arc<Local> {
    fn submit(&self, command: Command) {
        if !self.accepts(&command) {
            return;
        }
        if self.is_blocking() {
            self.lock().queue.push(command);
            return;
        }
        let may_wait =
            matches!(command.action, Action::Execute(_)) && !self.status.in_transaction();
        let mut mailbox = self.lock();
        mailbox.queue.push(command);
        self.commands.fetch_add(1, Ordering::Relaxed);
        if mailbox.lent {
            // One that is awake looks by itself; a needless wake is a system call.
            let is_idle = std::mem::replace(&mut mailbox.idle, false);
            drop(mailbox);
            if may_wait {
                wakes::submitted(self, is_idle);
            } else if is_idle {
                self.wake();
            }
            return;
        }
        if mailbox.is_claimed() {
            // Whoever has the session looks at the queue after.
            return;
        }
        if may_wait && self.is_quick() {
            drop(mailbox);
            wakes::submitted(self, true);
            return;
        }
        self.start(mailbox);
    }

    fn interrupt(&self, guest: Option<&Guest>) {
        if self.is_inherited() {
            return;
        }
        let mailbox = self.lock();
        let is_own = mailbox.runs_for == guest.map_or(0, Guest::id);
        let running = mailbox.running.clone().filter(|_| is_own);
        drop(mailbox);
        if let Some(running) = running {
            running.interrupt();
        }
    }

    fn status(&self) -> &Status {
        &self.status
    }

    fn birth(&self) -> &Birth {
        &self.birth
    }

    fn timeout(&self) -> Duration {
        self.options.timeout
    }

    fn stop(&self) {
        if let Some(pool) = self.pool.get() {
            pool.pool.close(&Error::closed());
        }
        let mut mailbox = self.lock();
        let mut waiting = mailbox.queue.drain();
        for close in waiting.extract_if(.., |command| matches!(command.action, Action::Close)) {
            mailbox.queue.push(close);
        }
        let running = mailbox.running.clone();
        drop(mailbox);
        self.arrived.notify_all();
        for command in waiting {
            if command.operation.claim() {
                drop(command.operation.finish(Err(Error::closed())));
            }
        }
        if let Some(running) = running {
            running.interrupt();
            // Also ends the wait of a COMMIT for a lock.
            running.expire(Err(Error::closed()));
            // And that for a callback's answer, which nobody gives any more.
            running.dialogue().set_attended(false);
        }
    }

    fn is_blocking(&self) -> bool {
        Local::is_blocking(self)
    }

    fn run_now(&self, command: Command, look: Look) -> bool {
        Local::run_now(self, command, look)
    }

    fn serve_here(&self, operation: &Shared, look: Look) -> bool {
        Local::serve_here(self, operation, look)
    }

    fn settle(&self) {
        Local::settle(self);
    }

    fn is_claimed_here(&self) -> bool {
        Local::is_claimed_here(self)
    }
}
