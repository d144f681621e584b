//! The backend over a server: a queue of commands, the session they run on, and the task that runs them.
//!
//! Owns the queue and, between two commands, the session. A task on the network runtime takes the session while there
//! are commands (`serving`), and puts it back after the last; an idle connection costs no task.
//! Threads: `submit` and `interrupt` from any; commands run on the runtime's, but for the first requests of a small
//! statement, which the caller's thread sends.
//! Invariant: a task has the session whenever commands wait.
//! Must not know: Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::core::{
    Action, Backend, Birth, Block, Channel, Command, Error, Guest, Loan, Membership, ModeChange,
    Outcome, Phase, Queue, Result, Shared, Status, TransactionMode, runtime,
};
use crate::remote::Remote;

use super::detour::{Detour, Standing};
use super::errand::Errand;
use super::options::Options;
use super::serving::Serving;
use super::session::Session;

/// Bytes of a statement with its parameters that its caller's thread may send.
const SMALL: usize = 4 << 10;

/// A connection to a database at a server.
pub struct Hosted {
    remote: Arc<Remote>,
    /// How an operation and the callable that gives tokens talk.
    channel: Arc<Channel>,
    pub(super) timeout: Duration,
    is_blocking: bool,
    pub(super) status: Arc<Status>,
    /// The transaction mode that was asked for last; a later open begins with it.
    mode: Mutex<TransactionMode>,
    birth: Birth,
    detour: Option<Arc<dyn Detour>>,
    mailbox: Mutex<Mailbox>,
    /// The pool that it is a handle of.
    pub(super) pool: OnceLock<Membership>,
}

pub(super) struct Mailbox {
    pub(super) queue: Queue,
    pub(super) state: State,
    /// What runs now; several, if they went to the server together.
    pub(super) running: Vec<Shared>,
}

pub(super) enum State {
    Unopened,
    Open(Box<Session>),
    /// With the task that runs commands.
    Running,
    Closed,
    /// A panic was contained, or the runtime has ended; what it left behind is not used again.
    Broken(Error),
}

impl Hosted {
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            status: Arc::new(Status::with(Arc::clone(options.remote.notes()))),
            remote: options.remote,
            channel: Arc::default(),
            timeout: options.timeout,
            is_blocking: options.is_blocking,
            mode: Mutex::new(options.mode),
            birth: Birth::default(),
            detour: options.detour,
            mailbox: Mutex::new(Mailbox {
                queue: Queue::new(options.timeout),
                state: State::Unopened,
                running: Vec::new(),
            }),
            pool: OnceLock::new(),
        })
    }

    /// How statements and callbacks talk.
    pub const fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// What it shows of itself.
    pub const fn shared_status(&self) -> &Arc<Status> {
        &self.status
    }

    /// How a command would find it now; `None`: it is not open, or others are before it.
    pub fn standing_of(&self, command: &Command) -> Option<Standing> {
        let mailbox = self.lock();
        match &mailbox.state {
            State::Open(session) if mailbox.queue.is_empty() => Some(session.standing_of(command)),
            _ => None,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mode(&self) -> MutexGuard<'_, TransactionMode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a task run what waits. `at_once`: its first requests are sent by this thread, which costs less than to wake
    /// another one for that, and is done before the server has read them.
    fn start(self: &Arc<Self>, mut mailbox: MutexGuard<'_, Mailbox>, at_once: bool) {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let waiting = mailbox.queue.drain();
                drop(mailbox);
                refuse(waiting, &error);
                if let Some(pool) = self.pool.get() {
                    pool.fail(&error);
                }
                return;
            }
        };
        let state = std::mem::replace(&mut mailbox.state, State::Running);
        drop(mailbox);
        let serving = Serving::new(Arc::clone(self), state);
        if at_once {
            // A panic was told to whoever waits.
            let begin = || Errand::begin(&runtime, Box::pin(serving.run()));
            drop(catch_unwind(AssertUnwindSafe(begin)));
        } else {
            drop(runtime.spawn(serving.run()));
        }
    }

    /// Has a task look for commands of the pool.
    pub(super) fn kick_task(self: &Arc<Self>) {
        if self.is_inherited() {
            return;
        }
        let mailbox = self.lock();
        // The one that runs looks before it ends.
        if !matches!(mailbox.state, State::Running) {
            self.start(mailbox, false);
        }
    }

    fn set_unopened(&self) {
        self.status.set_phase(Phase::Unopened);
        self.status.publish(false, 0, false);
    }

    pub(super) async fn run_all(&self, mut state: State, commands: Vec<Command>) -> State {
        let mut together = Vec::new();
        let mut alone = commands;
        if let State::Open(session) = &state
            && alone.len() > 1
        {
            (together, alone) = alone
                .into_iter()
                .partition(|command| session.may_share(command));
        }
        if let (State::Open(session), Some(first)) = (&mut state, together.first_mut()) {
            let surroundings = first.surroundings.take();
            if surroundings.is_some() {
                self.channel.begin(surroundings, &first.operation);
            }
            let place = self.pool.get().map(Membership::index);
            let group = session.run_group(together, &self.status, place);
            let mut too_large = Box::pin(group).await;
            drop(self.channel.end());
            while let Some((operation, execute)) = too_large.pop() {
                if let State::Open(session) = &mut state {
                    session.streams_rows = true;
                }
                let action = Action::Execute(execute);
                let again = self.run_claimed(state, &operation, action, &[], None, None);
                state = Box::pin(again).await;
                if let State::Open(session) = &mut state {
                    session.streams_rows = false;
                }
            }
        }
        for command in alone {
            state = self.run(state, command).await;
        }
        state
    }

    /// Runs one command, claimed or not: a changed mode is applied even if its operation was abandoned.
    async fn run(&self, state: State, command: Command) -> State {
        let command = match (&self.detour, &state) {
            (Some(detour), State::Open(session)) => {
                let standing = match self.pool.get() {
                    Some(_) => Standing::Bound,
                    None => session.standing_of(&command),
                };
                match detour.take(command, standing).await {
                    Some(command) => command,
                    None => return state,
                }
            }
            _ => command,
        };
        let Command {
            operation,
            modes,
            block,
            surroundings,
            loan,
            action,
            ..
        } = command;
        if let Some(change) = modes.last() {
            *self.mode() = change.mode;
        }
        if !operation.claim() {
            drop(loan);
            return Box::pin(self.skip(state, &operation, &modes)).await;
        }
        if surroundings.is_some() {
            self.channel.begin(surroundings, &operation);
        }
        self.run_claimed(state, &operation, action, &modes, block.as_ref(), loan)
            .await
    }

    /// Runs a command to its end, and reports that.
    async fn run_claimed(
        &self,
        state: State,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
        block: Option<&Arc<Block>>,
        loan: Option<Arc<Loan>>,
    ) -> State {
        let acquires = loan.is_some();
        let may_leave_rows = matches!(action, Action::Execute(_));
        let (mut state, mut result) = match self.check_role(&action) {
            Ok(()) => self.step(state, operation, action, modes, block).await,
            Err(error) => (state, Err(error)),
        };
        if let State::Open(session) = &mut state {
            session.publish(&self.status);
            if let (Some(detour), true) = (&self.detour, session.take_written()) {
                let is_pooled = self.pool.get().is_some();
                let index = session.traces.replication_index;
                let seen = detour.written(operation, index, is_pooled).await;
                result = result.and_then(|outcome| seen.map(|()| outcome));
            }
        }
        if result.is_err() && operation.dialogue().has_asked() {
            // Whoever was asked for a token need not go on.
            operation.interrupt();
        }
        let cause = self.channel.end();
        let mut result = result.map_err(|error| Error { cause, ..error });
        if let (Some(pool), Ok(outcome)) = (self.pool.get(), &mut result) {
            outcome.member = Some(pool.index());
            outcome.loan = loan;
        }
        let opened = result.as_ref().is_ok_and(|outcome| outcome.opened);
        if opened {
            self.status.set_phase(Phase::Open);
        }
        self.announce(&state);
        if operation.finish(result).is_some() {
            if opened {
                self.set_unopened();
                if let Some(detour) = &self.detour {
                    detour.undo_open().await;
                }
                if let State::Open(session) = std::mem::replace(&mut state, State::Unopened) {
                    Box::pin(session.close(&self.status)).await;
                }
            } else if let State::Open(session) = &mut state {
                Box::pin(session.undo()).await;
                if self.pool.get().is_some() {
                    Box::pin(session.undo_for_pool(acquires, may_leave_rows)).await;
                }
                session.publish(&self.status);
            }
            operation.leave();
        }
        state
    }

    async fn skip(&self, mut state: State, operation: &Shared, modes: &[ModeChange]) -> State {
        if let (State::Open(session), false) = (&mut state, modes.is_empty()) {
            // Its error has nobody to go to.
            let _ = session.run(operation, Action::Open, modes, None).await;
            session.publish(&self.status);
        }
        state
    }

    async fn step(
        &self,
        state: State,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
        block: Option<&Arc<Block>>,
    ) -> (State, Result<Outcome>) {
        let nothing = Ok(Outcome::default());
        match (state, action) {
            (State::Unopened, Action::Open) => {
                let mode = *self.mode();
                let opened = if let Some(detour) = &self.detour {
                    let mut session = Session::new(&self.remote, mode, self.is_blocking);
                    session.traces.is_followed = true;
                    // What a pool's writer is lent for belongs to the server.
                    session.aside = self.pool.get().is_none().then(|| Arc::clone(detour));
                    detour.open(operation).await.map(|()| session)
                } else {
                    let opening = Session::open(&self.remote, mode, self.is_blocking, operation);
                    Box::pin(opening).await
                };
                match opened {
                    Ok(session) => {
                        let outcome = Outcome {
                            opened: true,
                            ..Outcome::default()
                        };
                        (State::Open(Box::new(session)), Ok(outcome))
                    }
                    Err(error) => (State::Unopened, Err(error)),
                }
            }
            (State::Open(mut session), Action::Open) => {
                session.opens += 1;
                let result = Box::pin(session.run(operation, Action::Open, modes, None)).await;
                (State::Open(session), result)
            }
            (State::Open(mut session), Action::Close) => {
                // What an assignment to `isolation_level` committed in sqlite3 is committed here.
                let applied = Box::pin(session.run(operation, Action::SetMode, modes, None)).await;
                self.status.set_phase(Phase::Closed);
                self.status.publish(false, 0, false);
                Box::pin(session.close(&self.status)).await;
                if let Some(detour) = &self.detour {
                    detour.close().await;
                }
                let applied = if modes.is_empty() { nothing } else { applied };
                (State::Closed, applied)
            }
            // Somebody else has opened it since, and uses it.
            (State::Open(session), Action::UndoOpen) if session.opens > 1 => {
                (State::Open(session), nothing)
            }
            (State::Open(session), Action::UndoOpen) => {
                self.set_unopened();
                Box::pin(session.close(&self.status)).await;
                if let Some(detour) = &self.detour {
                    detour.undo_open().await;
                }
                (State::Unopened, nothing)
            }
            (State::Open(mut session), action) => {
                let result = session.run(operation, action, modes, block).await;
                (State::Open(session), result)
            }
            // What is to be undone went with the connection.
            (state @ (State::Unopened | State::Closed), Action::Leave { commits: false, .. }) => {
                (state, nothing)
            }
            (State::Unopened | State::Closed, Action::Close) => {
                self.status.set_phase(Phase::Closed);
                (State::Closed, nothing)
            }
            (State::Unopened, _) => (State::Unopened, Err(Error::not_open())),
            (state @ State::Broken(_), Action::Close) => (state, nothing),
            (State::Broken(error), _) => (State::Broken(error.clone()), Err(error)),
            (State::Closed | State::Running, _) => (State::Closed, Err(Error::closed())),
        }
    }
}

/// Whether a command's requests are made in no time.
fn is_quick(action: &Action) -> bool {
    matches!(action, Action::Execute(execute)
        if execute.sql.len() + execute.parameters.rows.size() <= SMALL)
}

pub(super) fn refuse(waiting: Vec<Command>, error: &Error) {
    for command in waiting {
        if command.operation.claim() {
            let result = match command.action {
                Action::Close => Ok(Outcome::default()),
                _ => Err(error.clone()),
            };
            drop(command.operation.finish(result));
        }
    }
}

impl Backend for Arc<Hosted> {
    fn submit(&self, command: Command) {
        if !self.birth.accepts(&command, &self.status) {
            return;
        }
        let is_quick = is_quick(&command.action);
        let mut mailbox = self.lock();
        mailbox.queue.push(command);
        if !matches!(mailbox.state, State::Running) {
            let at_once = is_quick && matches!(mailbox.state, State::Open(_));
            self.start(mailbox, at_once);
        }
    }

    fn interrupt(&self, _guest: Option<&Guest>) {
        if self.is_inherited() {
            return;
        }
        let running = self.lock().running.clone();
        for running in running {
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
        self.timeout
    }

    fn stop(&self) {
        if let Some(pool) = self.pool.get() {
            pool.close_pool(&Error::closed());
        }
        self.status.hurry();
        let mut mailbox = self.lock();
        let mut waiting = mailbox.queue.drain();
        for close in waiting.extract_if(.., |command| matches!(command.action, Action::Close)) {
            mailbox.queue.push(close);
        }
        let running = mailbox.running.clone();
        drop(mailbox);
        refuse(waiting, &Error::closed());
        for running in running {
            running.interrupt();
            running.expire(Err(Error::closed()));
            running.dialogue().set_attended(false);
        }
    }

    fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}

impl Drop for Hosted {
    /// In a child the session is leaked: to close it would touch what the parent's runtime has.
    fn drop(&mut self) {
        if self.birth.is_inherited() {
            let mailbox = self.mailbox.get_mut();
            let mailbox = mailbox.unwrap_or_else(PoisonError::into_inner);
            let state = std::mem::replace(&mut mailbox.state, State::Closed);
            std::mem::forget((state, mailbox.queue.drain(), Arc::clone(&self.remote)));
        }
    }
}
