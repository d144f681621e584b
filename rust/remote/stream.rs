//! Stream: one database connection at a server, over either transport.
//!
//! Owns the rule of repetition: a request goes out again, once, only if it was never sent or the server had forgotten
//! the stream, and never when it has to be the very stream of the request before, or its gate is shut.
//! Thread: the runtime's, one caller at a time.
//! Must not know: transactions; whoever has one open says so.

use std::sync::Arc;

use crate::core::Severity;

use super::error::{Error, Fate, Kind, Result};
use super::gate::Gate;
use super::http::{HttpCursor, HttpStream, OpenedHttp};
use super::proto::{
    Batch, BatchResult, CursorEvent, Description, Request, Response, Sql, Statement,
    StatementResult,
};
use super::server::Remote;
use super::url::Transport;
use super::websocket::{OpenedSocket, SocketCursor, SocketStream};

/// Whether the stream may be another one than that of the request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing of it is needed: if the server forgot the stream, another is opened unseen.
    Any,
    /// A transaction is open, or a text is stored: without that stream it is an error.
    Same,
}

/// A stream, which opens at its first request.
#[derive(Debug)]
pub struct Stream(Inner);

#[derive(Debug)]
enum Inner {
    Http(Box<HttpStream>),
    Socket(SocketStream),
}

macro_rules! either {
    ($self:expr, $stream:ident => $work:expr) => {
        match &mut $self.0 {
            Inner::Http($stream) => $work,
            Inner::Socket($stream) => $work,
        }
    };
}

impl Stream {
    pub(super) fn new(remote: Arc<Remote>) -> Self {
        Self(match remote.options().target.transport {
            Transport::Http => Inner::Http(Box::new(HttpStream::new(remote))),
            Transport::WebSocket => Inner::Socket(SocketStream::new(remote)),
        })
    }

    /// Whether the server has it open, as far as we know: it may have forgotten it since.
    pub fn is_open(&self) -> bool {
        match &self.0 {
            Inner::Http(stream) => stream.is_open(),
            Inner::Socket(stream) => stream.is_open(),
        }
    }

    /// Whether it was open and is gone, with what was not committed in it.
    pub fn is_lost(&self) -> bool {
        match &self.0 {
            Inner::Http(stream) => stream.is_lost(),
            Inner::Socket(stream) => stream.is_lost(),
        }
    }

    /// Lets go of it without waiting; the next request opens another. What was not committed is rolled back: at once
    /// over a WebSocket, else when the server notices, which takes it up to ten seconds.
    pub fn reset(&mut self) {
        either!(self, stream => stream.reset());
    }

    /// Over HTTP, what keeps requests from going out, also those that have begun; to close the stream opens it again.
    /// What went out as a whole is not affected.
    pub const fn gate(&self) -> Option<&Gate> {
        match &self.0 {
            Inner::Http(stream) => Some(stream.gate()),
            Inner::Socket(_) => None,
        }
    }

    /// Sends requests in one round trip; what came of each, in their order.
    ///
    /// # Errors
    /// Those that concern all of them; [`Error::fate`] says what became of them. `Expired` where the stream had to be
    /// the same and is not.
    ///
    /// # Cancellation
    /// What was not sent is not. Over HTTP the stream is lost, and the server rolls back when it notices; over a
    /// WebSocket it goes on, behind the statement that still runs: `reset` lets go of it.
    pub async fn run(
        &mut self,
        requests: &[Request],
        continuity: Continuity,
    ) -> Result<Vec<Result<Response>>> {
        let mut results = Vec::with_capacity(requests.len());
        let mut keep = |result| results.push(result);
        self.run_each(requests, continuity, &mut keep).await?;
        Ok(results)
    }

    /// As `run`; what came of a request is told, in their order, as soon as it is known. Over HTTP that is the end of
    /// all of them.
    ///
    /// # Errors
    /// As `run`, but for those that were answered before.
    ///
    /// # Cancellation
    /// As `run`.
    pub async fn run_each(
        &mut self,
        requests: &[Request],
        continuity: Continuity,
        answered: &mut (dyn FnMut(Result<Response>) + Send),
    ) -> Result<()> {
        self.begin(continuity)?;
        match self.pipeline(requests, answered).await {
            // Then nothing was answered.
            Err(error) if self.may_repeat(&error, continuity) => {
                self.note_repetition(&error);
                self.reset();
                Box::pin(self.pipeline(requests, answered)).await
            }
            result => result.map_err(|error| self.explain(error, continuity)),
        }
    }

    async fn pipeline(
        &mut self,
        requests: &[Request],
        answered: &mut (dyn FnMut(Result<Response>) + Send),
    ) -> Result<()> {
        match &mut self.0 {
            Inner::Http(stream) => {
                let results = stream.pipeline(requests).await?;
                results.into_iter().for_each(answered);
                Ok(())
            }
            Inner::Socket(stream) => stream.pipeline(requests, answered).await,
        }
    }

    /// Runs a batch whose rows are read while the server sends them, in bounded memory.
    ///
    /// # Errors
    /// As `run`.
    ///
    /// # Cancellation
    /// As `run`. Dropping the cursor has the server stop.
    pub async fn cursor(&mut self, batch: &Batch, continuity: Continuity) -> Result<Cursor<'_>> {
        self.begin(continuity)?;
        let mut opened = self.open_cursor(batch).await;
        if let Err(error) = &opened
            && self.may_repeat(error, continuity)
        {
            self.note_repetition(error);
            self.reset();
            opened = self.open_cursor(batch).await;
        }
        let opened = opened.map_err(|error| self.explain(error, continuity))?;
        Ok(Cursor(match (&mut self.0, opened) {
            (Inner::Http(stream), Opened::Http(opened)) => {
                Reader::Http(Box::new(HttpCursor::new(stream, *opened)))
            }
            (Inner::Socket(stream), Opened::Socket(opened)) => {
                Reader::Socket(SocketCursor::new(stream, opened))
            }
            // A stream does not change its transport.
            _ => return Err(Error::usage("a cursor of another transport")),
        }))
    }

    async fn open_cursor(&mut self, batch: &Batch) -> Result<Opened> {
        match &mut self.0 {
            Inner::Http(stream) => {
                let opened = stream.cursor(batch).await?;
                Ok(Opened::Http(Box::new(opened)))
            }
            Inner::Socket(stream) => stream.cursor(batch).await.map(Opened::Socket),
        }
    }

    fn may_repeat(&self, error: &Error, continuity: Continuity) -> bool {
        let is_shut = self.gate().is_some_and(Gate::is_shut);
        continuity == Continuity::Any && error.may_be_repeated() && !is_shut
    }

    fn note_repetition(&self, error: &Error) {
        let remote = match &self.0 {
            Inner::Http(stream) => stream.remote(),
            Inner::Socket(stream) => stream.remote(),
        };
        let text = format!("a request is sent again: {error}");
        remote.note(Severity::Info, text);
    }

    fn begin(&mut self, continuity: Continuity) -> Result<()> {
        match continuity {
            Continuity::Any if self.is_lost() => self.reset(),
            Continuity::Same if !self.is_open() => {
                return Err(Error::expired(GONE).with_fate(Fate::NeverSent));
            }
            _ => {}
        }
        Ok(())
    }

    fn explain(&self, error: Error, continuity: Continuity) -> Error {
        let is_gone = continuity == Continuity::Same && self.is_lost();
        if is_gone && error.fate == Fate::NeverSent && error.kind == Kind::Connect {
            Error::expired(GONE).with_fate(Fate::NeverSent)
        } else {
            error
        }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As `run`; the statement's.
    pub async fn execute(
        &mut self,
        statement: Statement,
        continuity: Continuity,
    ) -> Result<StatementResult> {
        match self.one(Request::Execute(statement), continuity).await? {
            Response::Execute(result) => Ok(result),
            _ => Err(mismatch()),
        }
    }

    /// Runs a batch; each step has a result of its own.
    ///
    /// # Errors
    /// As `run`; that the batch as a whole can't run.
    pub async fn batch(&mut self, batch: Batch, continuity: Continuity) -> Result<BatchResult> {
        match self.one(Request::Batch(batch), continuity).await? {
            Response::Batch(result) => Ok(result),
            _ => Err(mismatch()),
        }
    }

    /// Runs a script. Servers leave out what breaks off too soon, and say nothing: a batch of its statements is safer.
    ///
    /// # Errors
    /// As `run`; the first failed statement's.
    pub async fn sequence(&mut self, sql: impl Into<Sql>, continuity: Continuity) -> Result<()> {
        match self.one(Request::Sequence(sql.into()), continuity).await? {
            Response::Sequence => Ok(()),
            _ => Err(mismatch()),
        }
    }

    /// Says what a statement is.
    ///
    /// # Errors
    /// As `run`; the statement's.
    pub async fn describe(
        &mut self,
        sql: impl Into<Sql>,
        continuity: Continuity,
    ) -> Result<Description> {
        match self.one(Request::Describe(sql.into()), continuity).await? {
            Response::Describe(description) => Ok(description),
            _ => Err(mismatch()),
        }
    }

    /// Whether no transaction is open.
    ///
    /// # Errors
    /// As `run`.
    pub async fn is_autocommit(&mut self, continuity: Continuity) -> Result<bool> {
        match self.one(Request::GetAutocommit, continuity).await? {
            Response::GetAutocommit(is_autocommit) => Ok(is_autocommit),
            _ => Err(mismatch()),
        }
    }

    /// Closes it and waits for that; what was not committed is rolled back. The next request opens another.
    ///
    /// # Errors
    /// As `run`; it is let go of in any case.
    pub async fn close(&mut self) -> Result<()> {
        if let Some(gate) = self.gate() {
            gate.open();
        }
        if !self.is_open() {
            self.reset();
            return Ok(());
        }
        let result = self.one(Request::Close, Continuity::Same).await;
        self.reset();
        match result {
            // It was closed already.
            Err(error) if error.kind == Kind::Expired => Ok(()),
            result => result.map(drop),
        }
    }

    async fn one(&mut self, request: Request, continuity: Continuity) -> Result<Response> {
        let results = self.run(&[request], continuity).await?;
        results
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(mismatch()))
    }
}

/// A cursor that was opened.
enum Opened {
    Http(Box<OpenedHttp>),
    Socket(OpenedSocket),
}

/// Rows that are read while the server sends them.
#[derive(Debug)]
pub struct Cursor<'a>(Reader<'a>);

#[derive(Debug)]
enum Reader<'a> {
    Http(Box<HttpCursor<'a>>),
    Socket(SocketCursor<'a>),
}

impl Cursor<'_> {
    /// What comes next; nothing at the end.
    ///
    /// # Errors
    /// `Connect` when the rows are cut off, `Timeout` when nothing comes for too long, `Protocol` for what can't be.
    ///
    /// # Cancellation
    /// Over HTTP nothing is lost. Over a WebSocket rows are: the cursor must not be used again.
    pub async fn next(&mut self) -> Result<Vec<CursorEvent>> {
        match &mut self.0 {
            Reader::Http(cursor) => cursor.next().await,
            Reader::Socket(cursor) => cursor.next().await,
        }
    }
}

const GONE: &str = "the stream on the server is gone, and with it what was not committed";

fn mismatch() -> Error {
    Error::protocol("the answer is to another kind of request")
}
