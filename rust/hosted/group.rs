//! Groups: statements that wait at the same time and go to the server one behind the other over a WebSocket, or in one
//! request over HTTP.
//!
//! Owns what is still to be answered. Each member hears of its own answer when that is there, which over HTTP is when all
//! are: so there SELECTs are members, as many as that costs little for, and writes of a pool.
//! Thread: the network runtime's.
//! Invariant: only what is independent of its neighbours is in a group: outside of transactions, each statement by itself.
//! When a member is told to stop, the session goes on with another stream, and the answers of the others are waited for,
//! and asked for again if they are too large, without it.
//! Must not know: transactions.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::core::{
    Action, Command, Error, Execute, Outcome, Route, Shared, StatementKind, Status, TransactionMode,
};
use crate::remote::{self, Continuity, Fate, Request, Response, Stream};

use super::closing::say_goodbye;
use super::counts::Counts;
use super::session::{Session, stopped};
use super::statement::Statement;
use super::statements::{bound, of_a_write};
use super::transaction::mismatch;

/// Statements that go out together, at most.
pub const MOST: usize = 64;
/// Over HTTP: with more, those that are answered wait longer for the rest than all of them save.
pub const MOST_OVER_HTTP: usize = 32;

/// A statement of a group.
struct Member {
    operation: Shared,
    execute: Execute,
    read: Statement,
}

/// Statements whose rows have to be streamed, as their answers are too large. If the runtime ends before, they fail.
#[derive(Default)]
pub struct TooLarge(Vec<(Shared, Execute)>);

impl TooLarge {
    pub fn pop(&mut self) -> Option<(Shared, Execute)> {
        self.0.pop()
    }
}

impl Drop for TooLarge {
    fn drop(&mut self) {
        for (operation, execute) in self.0.drain(..) {
            execute.rows.end(Ok(()));
            let error = Error::operational("the answer is too large to be sent at once");
            end(&operation, Err(error.with_sql(&execute.sql)));
        }
    }
}

/// The members that were not answered, and where answers are noted.
struct Answers {
    waiting: VecDeque<Member>,
    too_large: TooLarge,
    counts: Arc<Counts>,
    status: Arc<Status>,
    started: Instant,
    member: Option<u32>,
}

impl Session {
    /// How many commands may go to the server together.
    pub fn most_together(&self) -> usize {
        if self.is_http() {
            self.pace.now()
        } else {
            MOST
        }
    }

    /// Whether a command may go to the server together with others.
    pub fn may_share(&self, command: &Command) -> bool {
        let Action::Execute(execute) = &command.action else {
            return false;
        };
        if self.traces.is_followed {
            return false;
        }
        let is_free = self.stream.is_some()
            && self.nest.is_empty()
            && !self.is_in_transaction()
            && !self.transaction.is_lost();
        if !is_free || !command.modes.is_empty() || command.block.is_some() {
            return false;
        }
        if Statement::check_alone(&execute.sql).is_err() {
            return false;
        }
        match (Statement::read(&execute.sql).kind, self.transaction.mode) {
            (_, TransactionMode::Always) => false,
            (StatementKind::Select, _) => true,
            // Writes of a pool wait for one another anyway; but over HTTP answers that turn out to be too large together
            // can't be asked for again.
            (StatementKind::Dml, _) if self.is_http() => {
                command.route == Some(Route::Group) && !Statement::returns_rows(&execute.sql)
            }
            (StatementKind::Dml, mode) => matches!(mode, TransactionMode::Autocommit { .. }),
            _ => false,
        }
    }

    /// Runs commands that may share their way. Those whose answers are too large are given back.
    /// `member`: which handle of a pool this is.
    pub async fn run_group(
        &mut self,
        commands: Vec<Command>,
        status: &Arc<Status>,
        member: Option<u32>,
    ) -> TooLarge {
        let mut waiting = VecDeque::with_capacity(commands.len());
        let mut requests = Vec::with_capacity(commands.len());
        for command in commands {
            let (operation, action) = (command.operation, command.action);
            let Action::Execute(execute) = action else {
                continue;
            };
            if !operation.claim() {
                continue;
            }
            let statement = remote::Statement::new(&*execute.sql);
            match bound(statement, &execute.parameters, 0) {
                Ok(statement) => {
                    requests.push(Request::Execute(statement));
                    let read = Statement::read(&execute.sql);
                    waiting.push_back(Member {
                        operation,
                        execute,
                        read,
                    });
                }
                Err(error) => end(&operation, Err(error.with_sql(&execute.sql))),
            }
        }
        let members: Vec<_> = waiting
            .iter()
            .map(|member| Arc::clone(&member.operation))
            .collect();
        let answers = Answers {
            waiting,
            too_large: TooLarge::default(),
            counts: Arc::clone(&self.counts),
            status: Arc::clone(status),
            started: Instant::now(),
            member,
        };
        let stream = self.stream.take();
        let stream = stream.unwrap_or_else(|| self.remote.stream());
        let (sent, began) = (members.len(), Instant::now());
        let (sender, mut receiver) = oneshot::channel();
        let again = self.again(member);
        drop(tokio::spawn(async move {
            let heard = answers.hear(stream, requests).await;
            if let Err((stream, mut too_large)) = sender.send(heard) {
                drop(tokio::spawn(say_goodbye(Some(stream), None)));
                while let Some((operation, execute)) = too_large.pop() {
                    again.ask(&operation, &execute).await;
                }
            }
        }));
        let ended = poll_fn(|context| {
            if let Poll::Ready(ended) = Pin::new(&mut receiver).poll(context) {
                return Poll::Ready(ended.ok());
            }
            // Each of them has to know whom to wake.
            let must_stop = members.iter().fold(false, |any, operation| {
                operation.poll_stop(context).is_ready() | any
            });
            if must_stop {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
        .await;
        // They may have come since: one of the two has to have them.
        receiver.close();
        let ended = ended.or_else(|| receiver.try_recv().ok());
        if member.is_none() {
            self.pace.learn(sent, began.elapsed());
        }
        if let Some((stream, too_large)) = ended {
            self.stream = Some(stream);
            return too_large;
        }
        self.stream = Some(self.remote.stream());
        for operation in members {
            if operation.must_stop_running() {
                let error = stopped(&operation);
                end(&operation, Err(error));
            }
        }
        TooLarge::default()
    }
}

impl Answers {
    /// Sends the requests, and hears the answers to all of them.
    async fn hear(self, mut stream: Stream, requests: Vec<Request>) -> (Stream, TooLarge) {
        let answers = Mutex::new(self);
        let lock = || answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = |answer| lock().note(answer);
        let heard = Box::pin(stream.run_each(&requests, Continuity::Any, &mut note)).await;
        let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = heard {
            if error.fate == Fate::Unknown {
                stream.reset();
            }
            if error.kind == remote::Kind::TooLarge {
                answers.ask_alone();
            }
            answers.fail(&error.into());
        }
        answers.fail(&mismatch().into());
        (stream, std::mem::take(&mut answers.too_large))
    }

    /// Notes the answer to the first that waits.
    fn note(&mut self, answer: remote::Result<Response>) {
        let Some(member) = self.waiting.pop_front() else {
            return;
        };
        let result = match answer {
            Ok(Response::Execute(result)) => {
                Ok(self.counts.take(&member.execute, &member.read, result))
            }
            Ok(_) => Err(Error::from(mismatch())),
            Err(error)
                if error.kind == remote::Kind::TooLarge
                    && member.read.kind == StatementKind::Select =>
            {
                self.too_large.0.push((member.operation, member.execute));
                return;
            }
            Err(error) => Err(of_a_write(Error::from(error))),
        };
        // The session may have gone on, into a block.
        self.status.publish_changes(self.counts.changes());
        member.execute.rows.add_time_since(self.started);
        let place = self.member;
        let result = result
            .map(|outcome| Outcome {
                member: place,
                ..outcome
            })
            .map_err(|error| {
                member.execute.rows.end(Ok(()));
                error.with_sql(&member.execute.sql)
            });
        end(&member.operation, result);
    }

    /// All answers together were too large: each SELECT is to be sent by itself.
    fn ask_alone(&mut self) {
        let (again, others) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|member| member.read.kind == StatementKind::Select);
        self.waiting = others;
        let again: VecDeque<Member> = again;
        // They are taken from the end.
        let again = again.into_iter().rev();
        let pairs = again.map(|member| (member.operation, member.execute));
        self.too_large.0.extend(pairs);
    }

    fn fail(&mut self, error: &Error) {
        for member in self.waiting.drain(..) {
            member.execute.rows.add_time_since(self.started);
            member.execute.rows.end(Ok(()));
            end(
                &member.operation,
                Err(error.clone().with_sql(&member.execute.sql)),
            );
        }
    }
}

/// Reports the end of an operation, whose caller may have gone.
fn end(operation: &Shared, result: crate::core::Result<Outcome>) {
    if operation.finish(result).is_some() {
        operation.leave();
    }
}
