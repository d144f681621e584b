//! Session: one connection at a server and everything that belongs to it.
//!
//! Owns the stream, what is known of its transaction, and the readings that stream rows.
//! Thread: the network runtime's; it moves as one value.
//! Invariant: `is_open` says what the server said last. Whatever leaves that in doubt lets go of the stream, with which
//! the transaction goes.
//! Must not know: Python, queues.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use crate::core::{
    Action, Block, Command, Error, Kind, ModeChange, ModeEffect, Nest, Outcome, Result, Service,
    Shared, Status, Stop, Transaction, TransactionMode, code, timed_out,
};
use crate::remote::{self, Continuity, Fate, Remote, Request, Response, Stream, Transport};

use super::closing::{Outliving, say_goodbye};
use super::counts::Counts;
use super::detour::{Detour, Standing};
use super::group::MOST_OVER_HTTP;
use super::late::Late;
use super::lending::Tenure;
use super::outbox::Outbox;
use super::pace::Pace;
use super::reading::Reading;
use super::statement::Statement;

/// What was written, for whoever follows the database.
#[derive(Default)]
pub struct Traces {
    /// What runs on the session runs alone.
    pub is_followed: bool,
    /// Something that may write ran since anybody asked.
    has_changed: bool,
    /// The server may have done something since the command began.
    is_touched: bool,
    /// The last change, if the server has told of it.
    pub replication_index: Option<u64>,
}

/// One open connection at a server.
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent of one another"
)]
pub struct Session {
    pub(super) remote: Arc<Remote>,
    /// `None`: a reading inside of a transaction has it.
    pub(super) stream: Option<Stream>,
    pub(super) transaction: Transaction,
    pub(super) nest: Nest,
    /// What goes out before the next statement, in one request with it.
    pub(super) outbox: Outbox,
    /// The server has a transaction open.
    pub(super) is_open: bool,
    /// Something that may write ran in it.
    pub(super) has_written: bool,
    /// What a replica wants to know.
    pub(super) traces: Traces,
    /// Where blocks that only read are run.
    pub(super) aside: Option<Arc<dyn Detour>>,
    /// The block that is open there, if the session has one.
    pub(super) block_aside: Option<Arc<Block>>,
    /// A stop now leaves open how the stream is.
    pub(super) is_unsettled: bool,
    pub(super) counts: Arc<Counts>,
    pub(super) readings: HashMap<u64, Reading>,
    pub(super) late: Arc<Late>,
    /// The answer to what runs now is known to be too large for one piece.
    pub(super) streams_rows: bool,
    pub(super) pace: Pace,
    /// How often it was opened: an open that nobody heard of is undone only if it was the only one.
    pub(super) opens: u64,
    /// What borrowers of its pool do with it.
    pub(super) tenure: Tenure,
}

impl Session {
    /// Connects to the server, and sees whether it lets us in.
    ///
    /// # Errors
    /// Those of the network, and of the server's.
    pub async fn open(
        remote: &Arc<Remote>,
        mode: TransactionMode,
        is_blocking: bool,
        operation: &Shared,
    ) -> Result<Self> {
        let mut session = Self::new(remote, mode, is_blocking);
        let hello = session.exchange(Vec::new(), true);
        stoppable(operation, hello)
            .await
            .unwrap_or_else(|| Err(stopped(operation)))?;
        Ok(session)
    }

    /// One that connects when there is need.
    pub fn new(remote: &Arc<Remote>, mode: TransactionMode, is_blocking: bool) -> Self {
        let mut session = Self {
            remote: Arc::clone(remote),
            stream: Some(remote.stream()),
            transaction: Transaction::new(mode, is_blocking),
            nest: Nest::default(),
            outbox: Outbox::default(),
            is_open: false,
            has_written: false,
            traces: Traces::default(),
            aside: None,
            block_aside: None,
            is_unsettled: false,
            counts: Arc::default(),
            readings: HashMap::new(),
            late: Arc::default(),
            streams_rows: false,
            pace: Pace::new(MOST_OVER_HTTP),
            opens: 1,
            tenure: Tenure::default(),
        };
        session.keep_transaction_open();
        session
    }

    /// Runs one command to its end, or to its stop.
    ///
    /// # Errors
    /// The statement's, the network's, or the refusal of the command.
    pub async fn run(
        &mut self,
        operation: &Shared,
        action: Action,
        modes: &[ModeChange],
        block: Option<&Arc<Block>>,
    ) -> Result<Outcome> {
        let counts = !matches!(
            action,
            Action::Fetch { .. } | Action::CloseRows(_) | Action::UndoBegin(_)
        );
        let leaves = matches!(action, Action::Leave { .. });
        let may_write = writes(&action);
        self.has_written |= may_write;
        self.traces.is_touched = false;
        self.traces.replication_index = None;
        let (was_open, was_real) = (self.is_in_transaction(), self.is_open);
        self.transaction.ended = false;
        if !was_open {
            self.transaction.note_changes(self.counts.changes());
        }
        let admitted = self.nest.admit(block, &action);
        let ran = stoppable(operation, async {
            let applied = self.apply(modes).await;
            admitted.and(applied)?;
            self.dispatch(operation, action).await
        })
        .await;
        let mut result = ran.unwrap_or_else(|| {
            if self.is_unsettled {
                self.let_go();
            }
            Err(stopped(operation))
        });
        self.is_unsettled = false;
        self.traces.has_changed |= may_write && self.traces.is_touched;

        self.has_written &= self.is_open;
        let is_open = self.is_in_transaction();
        let error = result.as_ref().err();
        if was_open && !is_open && !leaves {
            self.note_loss(error, was_real, operation.stop().is_some());
        }
        let began = self.transaction.settle(was_open, is_open, counts, error);
        if let Ok(outcome) = &mut result {
            outcome.began = began.filter(|_| !self.nest.has_entered());
        }
        result
    }

    async fn dispatch(&mut self, operation: &Shared, action: Action) -> Result<Outcome> {
        match action {
            Action::Execute(execute) => self.execute(&execute).await,
            // What is rarer is in boxes: its state would make that of every statement larger.
            Action::ExecuteMany {
                sql,
                feed,
                is_atomic,
            } => Box::pin(self.execute_many(operation, &sql, &feed, is_atomic)).await,
            Action::ExecuteScript(script) => Box::pin(self.execute_script(&script)).await,
            Action::Batch(statements) => Box::pin(self.execute_batch(&statements)).await,
            Action::Fetch { rows, amount } => {
                let _timing = rows.timing();
                Box::pin(self.fetch(&rows, amount)).await;
                Ok(Outcome::default())
            }
            Action::CloseRows(rows) => {
                Box::pin(self.close_rows(&rows)).await;
                Ok(Outcome::default())
            }
            Action::Begin(begin) => Box::pin(self.begin(begin)).await,
            Action::Commit => Box::pin(self.commit()).await,
            Action::Rollback => Box::pin(self.rollback()).await,
            Action::UndoBegin(serial) => Box::pin(self.undo_begin(serial)).await,
            Action::Enter(block) => Box::pin(self.enter(&block)).await,
            Action::Leave { block, commits } => Box::pin(self.leave(&block, commits)).await,
            Action::Serve(Service::Acquire(mode)) => Box::pin(self.acquire(mode)).await,
            Action::Serve(Service::Release) => Box::pin(self.release()).await,
            Action::Serve(Service::Sync { .. } | Service::SyncStatus) => Err(Error::no_replica()),
            Action::Rekey(_) => Err(not_supported("rekey()")),
            Action::Serve(_) => Err(not_supported("this")),
            // The backend opens and closes; a mode change was applied before.
            Action::Open | Action::UndoOpen | Action::SetMode | Action::Close => {
                Ok(Outcome::default())
            }
        }
    }

    /// Whether a transaction is open, or will be with the next statement.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.is_open || !self.outbox.is_empty() || self.block_aside.is_some()
    }

    /// Whether something may have been written, and committed, since the last call.
    pub fn take_written(&mut self) -> bool {
        !self.is_open && std::mem::take(&mut self.traces.has_changed)
    }

    /// How a command finds the session.
    pub fn standing_of(&self, command: &Command) -> Standing {
        let Some(aside) = &self.block_aside else {
            let is_at_rest = !self.is_in_transaction() && self.nest.is_empty();
            return if is_at_rest {
                Standing::Free
            } else {
                Standing::Bound
            };
        };
        let block = match &command.action {
            Action::Leave { block, .. } => Some(block).filter(|left| !Arc::ptr_eq(left, aside)),
            _ => command.block.as_ref(),
        };
        if block.is_some_and(|block| block.is_within(aside)) {
            Standing::Aside
        } else {
            Standing::Bound
        }
    }

    /// The open blocks.
    pub const fn nest(&self) -> &Nest {
        &self.nest
    }

    /// Sends requests in one round trip, which `asks` whether a transaction is open after them.
    pub(super) async fn exchange(
        &mut self,
        mut requests: Vec<Request>,
        asks: bool,
    ) -> Result<Vec<remote::Result<Response>>> {
        self.regain().await?;
        let continuity = self.continuity();
        if asks {
            requests.push(Request::GetAutocommit);
        }
        let was_unsettled = std::mem::replace(&mut self.is_unsettled, true);
        let was_touched = std::mem::replace(&mut self.traces.is_touched, true);
        let mut stream = self.stream.take().ok_or_else(gone)?;
        let gate = stream.gate().cloned();
        let began = Instant::now();
        let work = Box::pin(async move {
            // Its state is large: in that of this it would be moved twice.
            let answered = Box::pin(stream.run(&requests, continuity)).await;
            (stream, answered)
        });
        let (stream, answered) = match gate {
            Some(gate) => Outliving::new(work, gate, asks).await,
            None => work.await,
        };
        self.stream = Some(stream);
        if !asks || !self.is_http() {
            self.pace.learn(1, began.elapsed());
        }
        self.is_unsettled = was_unsettled;
        if answered
            .as_ref()
            .is_err_and(|error| error.fate != Fate::Unknown)
        {
            self.traces.is_touched = was_touched;
        }
        let mut results = answered.map_err(|error| self.broken(error))?;
        let index = results.iter().flatten().filter_map(index_of).max();
        // What is not numbered may have changed more than what was before it.
        self.traces.replication_index = index;
        if asks {
            match results.pop() {
                Some(Ok(Response::GetAutocommit(is_autocommit))) => self.is_open = !is_autocommit,
                Some(Err(error)) => return Err(self.broken(error.with_fate(Fate::Unknown))),
                _ => return Err(self.broken(remote::Error::protocol("an answer is missing"))),
            }
        }
        Ok(results)
    }

    pub(super) fn is_http(&self) -> bool {
        self.remote.options().target.transport == Transport::Http
    }

    /// The requests failed as a whole, and maybe the stream.
    pub(super) fn broken(&mut self, error: remote::Error) -> Error {
        let is_gone = error.fate == Fate::Unknown || error.kind == remote::Kind::Expired;
        if is_gone {
            self.let_go();
        }
        error.into()
    }

    /// Lets go of the stream, and of the transaction that is open on it.
    pub(super) fn let_go(&mut self) {
        if let Some(stream) = self.stream.replace(self.remote.stream())
            && stream.is_open()
        {
            drop(tokio::spawn(say_goodbye(Some(stream), None)));
        }
        for (_, reading) in self
            .readings
            .extract_if(|_, reading| reading.is_in_transaction())
        {
            if let Some(reader) = reading.end(Error::rolled_back("its stream is gone")) {
                drop(tokio::spawn(say_goodbye(None, Some(reader))));
            }
        }
        self.is_open = false;
        self.outbox.clear();
    }

    pub(super) const fn continuity(&self) -> Continuity {
        if self.is_open {
            Continuity::Same
        } else {
            Continuity::Any
        }
    }

    /// A transaction is gone that nobody ended.
    fn note_loss(&mut self, error: Option<&Error>, was_real: bool, was_stopped: bool) {
        self.outbox.clear();
        if let Some(was_before) = self.nest.lose(error) {
            // A transaction that was there before the blocks is reported once more, when they are left.
            self.transaction.ended = !was_before;
            return;
        }
        // The error itself has told it, or there was nothing to lose.
        let is_of_the_network = matches!(
            error.map(|error| error.kind),
            Some(Kind::StreamExpired | Kind::Connect | Kind::Timeout)
        );
        let has_told = is_of_the_network && !was_stopped;
        self.transaction.ended |= has_told || !was_real;
    }

    async fn apply(&mut self, modes: &[ModeChange]) -> Result<()> {
        if !self.nest.is_empty() {
            self.nest.postpone(modes);
            return Ok(());
        }
        let mut applied = Ok(());
        for change in modes {
            applied = applied.and(Box::pin(self.change_mode(*change)).await);
        }
        applied
    }

    pub(super) async fn change_mode(&mut self, change: ModeChange) -> Result<()> {
        self.transaction.mode = change.mode;
        match change.effect {
            ModeEffect::Commit if self.is_in_transaction() => self.end_with("COMMIT").await,
            ModeEffect::Begin => {
                self.keep_transaction_open();
                Ok(())
            }
            ModeEffect::Nothing | ModeEffect::Commit => Ok(()),
        }
    }

    /// Undoes what an operation did whose caller had gone before it ended.
    pub async fn undo(&mut self) {
        if let Some(block) = self.nest.take_entered() {
            // Nobody is left to hear of an error.
            let _ = self.leave(&block, false).await;
        } else if let Some(serial) = self.transaction.began.take() {
            let _ = self.undo_begin(serial).await;
        }
    }

    /// Publishes what the synchronous properties show.
    pub fn publish(&self, status: &Status) {
        let is_in_block = !self.nest.is_empty();
        status.publish(self.is_in_transaction(), self.counts.changes(), is_in_block);
    }
}

/// The last change that an answer tells of.
fn index_of(response: &Response) -> Option<u64> {
    match response {
        Response::Execute(result) => result.replication_index,
        // Its steps are not numbered, as the last one may be what commits the others.
        Response::Batch(batch) => batch.replication_index,
        _ => None,
    }
}

fn gone() -> Error {
    Error::internal("the stream of a connection is gone")
}

/// Whether an action may write.
pub(super) fn writes(action: &Action) -> bool {
    match action {
        Action::Execute(execute) => !Statement::read(&execute.sql).is_readonly,
        Action::Batch(statements) => statements
            .iter()
            .any(|execute| !Statement::read(&execute.sql).is_readonly),
        Action::ExecuteMany { .. } | Action::ExecuteScript(_) => true,
        _ => false,
    }
}

/// Runs something to its end, or until the operation is told to stop.
pub async fn stoppable<T>(operation: &Shared, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        operation.poll_stop(context).map(|()| None)
    })
    .await
}

/// The error of an operation that was told to stop.
pub fn stopped(operation: &Shared) -> Error {
    match operation.stop() {
        Some(Stop::TimedOut) => timed_out(),
        Some(Stop::Cancelled) => Error::cancelled(),
        Some(Stop::Interrupted) | None => Error::new(Kind::Sqlite(code::INTERRUPT), "interrupted"),
    }
}

/// What no server can do.
pub(super) fn not_supported(what: &str) -> Error {
    Error::new(
        Kind::NotSupported,
        format!("{what} is not supported by remote databases"),
    )
}
