//! Asking: commands to the file's connection that nobody but its replica waits for; and the end of those that somebody does.
//!
//! Owns one command until it has ended. Thread: the network runtime's.
//! Invariant: what was done and is not heard of is undone.
//! Must not know: why something is asked.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::core::{Action, Backend, Cancelled, Command, Event, Local, Outcome, Result, Shared};

/// A command on its way.
struct Asking<'a> {
    local: &'a Arc<Local>,
    operation: Shared,
    /// What undoes it.
    undo: Option<Action>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Cancelled::Undelivered(Ok(_)) = self.operation.abandon()
            && let Some(undo) = self.undo.take()
        {
            self.local.submit(Command::new(undo, Vec::new(), None));
        }
    }
}

/// Has the file's connection do something, and waits for it; `undo` is what undoes that.
///
/// # Errors
/// The command's.
pub async fn ask(local: &Arc<Local>, action: Action, undo: Option<Action>) -> Result<Outcome> {
    ask_with(local, Command::new(action, Vec::new(), None), undo).await
}

/// The same, of a command.
///
/// # Errors
/// The command's.
pub async fn ask_with(
    local: &Arc<Local>,
    command: Command,
    undo: Option<Action>,
) -> Result<Outcome> {
    let asking = Asking {
        local,
        operation: Arc::clone(&command.operation),
        undo,
    };
    local.submit(command);
    poll_fn(|context| {
        loop {
            match asking.operation.poll(context) {
                Poll::Ready(Event::Finished(result)) => return Poll::Ready(result),
                Poll::Ready(Event::Progress) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Whoever was asked for a token need not go on.
pub(super) fn ask_no_more(operation: &Shared) {
    if operation.dialogue().has_asked() {
        operation.interrupt();
    }
}

/// Ends a command that somebody else waits for.
pub(super) fn finish(operation: &Shared, result: Result<Outcome>) {
    if operation.claim() {
        if result.is_err() {
            ask_no_more(operation);
        }
        drop(operation.finish(result));
    }
}
