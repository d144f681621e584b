//! The backend over a server: a queue of commands, the session they run on, and the task that runs them.
//!
//! Owns the queue and, between two commands, the session. A task on the network runtime takes the session while there
//! are commands, and puts it back after the last; an idle connection costs no task.
//! Threads: `submit` and `interrupt` from any; commands run on the runtime's, but for the first requests of a small
//! statement, which the caller's thread sends.
//! Invariant: a task has the session whenever commands wait.
//! Must not know: Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::core::{
    Action, Backend, Birth, Block, Channel, Command, Error, Guest, Look, ModeChange, Outcome,
    Phase, Queue, Result, Shared, Status, TransactionMode, runtime, wait_for_end,
};
use crate::remote::{self, Remote};

use super::errand::Errand;
use super::session::Session;

/// So long a thread waits before it looks whether it must stop.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes of a statement with its parameters that its caller's thread may send.
const SMALL: usize = 4 << 10;

/// How to open a connection at a server.
#[derive(Debug)]
pub struct Options {
    pub remote: remote::Options,
    /// How long a statement waits for a block to end.
    pub timeout: Duration,
    pub mode: TransactionMode,
    /// Its callers wait on their own threads.
    pub is_blocking: bool,
}

/// A connection to a database at a server.
pub struct Hosted {
    remote: Arc<Remote>,
    /// How an operation and the callable that gives tokens talk.
    channel: Arc<Channel>,
    timeout: Duration,
    is_blocking: bool,
    status: Arc<Status>,
    /// The transaction mode that was asked for last; a later open begins with it.
    mode: Mutex<TransactionMode>,
    birth: Birth,
    mailbox: Mutex<Mailbox>,
}

struct Mailbox {
    queue: Queue,
    state: State,
    /// What runs now; several, if they went to the server together.
    running: Vec<Shared>,
}

enum State {
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
            remote: Remote::new(options.remote),
            channel: Arc::default(),
            timeout: options.timeout,
            is_blocking: options.is_blocking,
            status: Arc::default(),
            mode: Mutex::new(options.mode),
            birth: Birth::default(),
            mailbox: Mutex::new(Mailbox {
                queue: Queue::new(options.timeout),
                state: State::Unopened,
                running: Vec::new(),
            }),
        })
    }

    /// How statements and callbacks talk.
    pub const fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode(&self) -> MutexGuard<'_, TransactionMode> {
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
                return;
            }
        };
        let state = std::mem::replace(&mut mailbox.state, State::Running);
        drop(mailbox);
        let serving = Serving {
            hosted: Arc::clone(self),
            state: Some(state),
            has_put_back: false,
        };
        if at_once {
            // A panic was told to whoever waits.
            let begin = || Errand::begin(&runtime, Box::pin(serving.run()));
            drop(catch_unwind(AssertUnwindSafe(begin)));
        } else {
            drop(runtime.spawn(serving.run()));
        }
    }

    fn set_unopened(&self) {
        self.status.set_phase(Phase::Unopened);
        self.status.publish(false, 0, false);
    }

    async fn run_all(&self, state: State, mut commands: Vec<Command>) -> State {
        match (state, commands.len()) {
            (State::Open(mut session), 2..) => {
                let surroundings = commands[0].surroundings.take();
                if surroundings.is_some() {
                    self.channel.begin(surroundings, &commands[0].operation);
                }
                let mut too_large = Box::pin(session.run_group(commands, &self.status)).await;
                drop(self.channel.end());
                let mut state = State::Open(session);
                while let Some((operation, execute)) = too_large.pop() {
                    let action = Action::Execute(execute);
                    let again = self.run_claimed(state, &operation, action, &[], None);
                    state = Box::pin(again).await;
                }
                state
            }
            (mut state, _) => {
                for command in commands {
                    state = self.run(state, command).await;
                }
                state
            }
        }
    }

    /// Runs one command, claimed or not: a changed mode is applied even if its operation was abandoned.
    async fn run(&self, state: State, command: Command) -> State {
        let Command {
            operation,
            modes,
            block,
            surroundings,
            action,
            ..
        } = command;
        if let Some(change) = modes.last() {
            *self.mode() = change.mode;
        }
        if !operation.claim() {
            return Box::pin(self.skip(state, &operation, &modes)).await;
        }
        if surroundings.is_some() {
            self.channel.begin(surroundings, &operation);
        }
        self.run_claimed(state, &operation, action, &modes, block.as_ref())
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
    ) -> State {
        let (mut state, result) = self.step(state, operation, action, modes, block).await;
        if result.is_err() && operation.dialogue().has_asked() {
            // Whoever was asked for a token need not go on.
            operation.interrupt();
        }
        let cause = self.channel.end();
        let result = result.map_err(|error| Error { cause, ..error });
        if let State::Open(session) = &state {
            session.publish(&self.status);
        }
        let opened = result.as_ref().is_ok_and(|outcome| outcome.opened);
        if opened {
            self.status.set_phase(Phase::Open);
        }
        if operation.finish(result).is_some() {
            if opened {
                self.set_unopened();
                state = State::Unopened;
            } else if let State::Open(session) = &mut state {
                Box::pin(session.undo()).await;
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
                let opening = Session::open(&self.remote, mode, self.is_blocking, operation);
                match Box::pin(opening).await {
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
                let applied = if modes.is_empty() { nothing } else { applied };
                (State::Closed, applied)
            }
            // Somebody else has opened it since, and uses it.
            (State::Open(session), Action::UndoOpen) if session.opens > 1 => {
                (State::Open(session), nothing)
            }
            (State::Open(_), Action::UndoOpen) => {
                self.set_unopened();
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

/// The task that runs commands. If it ends early, by a panic or with the runtime, what waits is told.
struct Serving {
    hosted: Arc<Hosted>,
    /// `None`: a command runs, or it was put back.
    state: Option<State>,
    has_put_back: bool,
}

impl Serving {
    async fn run(mut self) {
        while let Some((commands, state)) = self.next() {
            let state = self.hosted.run_all(state, commands).await;
            self.state = Some(state);
        }
    }

    /// The next command, or several that may go to the server together.
    fn next(&mut self) -> Option<(Vec<Command>, State)> {
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
        let Some(command) = mailbox.queue.pop() else {
            mailbox.state = state;
            self.has_put_back = true;
            return None;
        };
        let mut commands = vec![command];
        if let State::Open(session) = &state
            && session.may_share(&commands[0])
        {
            let most = session.most_together();
            while commands.len() < most
                && mailbox
                    .queue
                    .front()
                    .is_some_and(|next| session.may_share(next))
                && let Some(next) = mailbox.queue.pop()
            {
                commands.push(next);
            }
        }
        let operations = commands
            .iter()
            .map(|command| Arc::clone(&command.operation));
        mailbox.running = operations.collect();
        Some((commands, state))
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

fn refuse(waiting: Vec<Command>, error: &Error) {
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

    fn run_now(&self, command: Command, look: Look) -> bool {
        let operation = Arc::clone(&command.operation);
        self.submit(command);
        self.serve_here(&operation, look)
    }

    fn serve_here(&self, operation: &Shared, look: Look) -> bool {
        while !wait_for_end(operation, Instant::now() + LOOK) {
            if look() {
                return false;
            }
        }
        true
    }

    fn settle(&self) {}

    fn is_claimed_here(&self) -> bool {
        false
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
