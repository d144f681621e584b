//! The task that serves a connection at a server while there are commands.
//!
//! Owns the session for that time.
//! Thread: the network runtime's.
//! Invariant: if it ends early, by a panic or with the runtime, what waits is told.
//! Must not know: Python, what commands do.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Command, Error, Phase};

use super::backend::{Hosted, Mailbox, State, refuse};
use super::group::MOST;
use super::pooling::Turn;

/// The task that runs commands. If it ends early, by a panic or with the runtime, what waits is told.
pub(super) struct Serving {
    hosted: Arc<Hosted>,
    /// `None`: a command runs, or it was put back.
    state: Option<State>,
    has_put_back: bool,
}

impl Serving {
    pub(super) const fn new(hosted: Arc<Hosted>, state: State) -> Self {
        Self {
            hosted,
            state: Some(state),
            has_put_back: false,
        }
    }

    pub(super) async fn run(mut self) {
        while let Some((turn, state)) = self.next() {
            self.state = match turn {
                Turn::Run(commands) => Some(self.hosted.run_all(state, commands).await),
                Turn::Retire => Some(self.hosted.retire(state).await),
                Turn::Nothing => Some(state),
            };
        }
    }

    /// What comes next: a command, or several that may go to the server together.
    fn next(&mut self) -> Option<(Turn, State)> {
        let mut mailbox = self.hosted.lock();
        mailbox.running.clear();
        let state = self.state.take()?;
        match &state {
            State::Open(session) => {
                let innermost = session.nest().innermost().cloned();
                mailbox.queue.follow(innermost, self.hosted.timeout);
            }
            _ => mailbox.queue.follow(None, Duration::ZERO),
        }
        let turn = match mailbox.queue.pop() {
            Some(command) => Turn::Run(mailbox.with_neighbours(command, &state)),
            None => self.hosted.pull(&state),
        };
        match &turn {
            Turn::Run(commands) => {
                let operations = commands
                    .iter()
                    .map(|command| Arc::clone(&command.operation));
                mailbox.running = operations.collect();
            }
            Turn::Retire => {}
            Turn::Nothing => {
                mailbox.state = state;
                self.has_put_back = true;
                return None;
            }
        }
        Some((turn, state))
    }
}

impl Mailbox {
    /// A command, and those behind it that may go to the server together with it.
    fn with_neighbours(&mut self, command: Command, state: &State) -> Vec<Command> {
        let mut commands = vec![command];
        if let State::Open(session) = state
            && session.may_share(&commands[0])
        {
            while commands.len() < MOST
                && self
                    .queue
                    .front()
                    .is_some_and(|next| session.may_share(next))
                && let Some(next) = self.queue.pop()
            {
                commands.push(next);
            }
        }
        commands
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.has_put_back {
            return;
        }
        let mut mailbox = self.hosted.lock();
        let error = if std::thread::panicking() {
            Error::internal("a panic in the task of this connection")
        } else {
            Error::closed()
        };
        mailbox.state = State::Broken(error.clone());
        let running = std::mem::take(&mut mailbox.running);
        mailbox.queue.follow(None, Duration::ZERO);
        let waiting = mailbox.queue.drain();
        drop(mailbox);
        if let Some(pool) = self.hosted.pool.get() {
            pool.leave(false, true);
        }
        self.hosted.status.set_phase(Phase::Closed);
        for operation in running {
            // It may not have come that far.
            let _ = operation.claim();
            drop(operation.finish(Err(error.clone())));
            operation.leave();
        }
        refuse(waiting, &error);
    }
}
