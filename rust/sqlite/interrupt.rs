//! Interrupting what asks nobody whether to go on: checkpoints.
//!
//! Owns nothing; a second thread lives for as long as the work does.
//! Thread: the work runs on the caller's, which uses the handle; the watch on another one.
//! Invariant: the interrupt comes while the handle is borrowed, so it can't meet a closed one.
//! Must not know: why it is to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder};

use libsql::ffi;

use super::database::Database;
use super::handle::Handle;

/// What the other thread has of the connection.
struct Interrupter(Database);

// SAFETY: `sqlite3_interrupt` is the one call that any thread may make while another uses the
// connection, and nothing else is done with it.
unsafe impl Send for Interrupter {}

impl Interrupter {
    fn interrupt(&self) {
        // SAFETY: the handle is borrowed for as long as this lives, so it is open.
        unsafe { ffi::sqlite3_interrupt(self.0.as_ptr()) };
    }
}

impl Handle {
    /// Does something while `watch` waits on another thread, and interrupts it if that answers true. `watch`
    /// is given what tells it that the work is done, and `wake` has to end its wait then.
    ///
    /// SQLite keeps an interrupt in mind while a statement is active, so then nothing is interrupted.
    pub fn interruptibly<T>(
        &mut self,
        watch: impl FnOnce(&dyn Fn() -> bool) -> bool + Send,
        wake: impl FnOnce(),
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if self.active_statements() > 0 {
            return work(self);
        }
        let interrupter = Interrupter(self.database);
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            // Without a thread it can't be interrupted, but it can be done.
            let watcher = Builder::new()
                .name("aiolibsql-watch".to_owned())
                .spawn_scoped(scope, || {
                    let interrupter = interrupter;
                    if watch(&|| is_done.load(Ordering::Acquire)) {
                        interrupter.interrupt();
                    }
                });
            let result = work(self);
            is_done.store(true, Ordering::Release);
            if watcher.is_ok() {
                wake();
            }
            result
        })
    }
}
