//! A cursor over HTTP: rows that are read while the server still sends.
//!
//! Owns the body that is on its way, and the connection that it comes over.
//! Invariant: about as much is kept as one call gives back. A cursor that is dropped early takes its connection with
//! it, by which the server knows; the stream lives on.
//! Must not know: WebSockets.

use std::time::Duration;

use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::super::error::{Error, Fate, Kind, Result};
use super::super::proto::{CursorBody, CursorEvent};
use super::connection::{Connection, cause};
use super::stream::HttpStream;

/// Bytes of rows that are worth handing over without waiting for more.
const ENOUGH: usize = 256 << 10;

/// A cursor whose answer began to arrive.
#[derive(Debug)]
pub struct OpenedHttp {
    pub(super) connection: Connection,
    pub(super) body: Incoming,
    pub(super) parser: CursorBody,
    /// For each wait.
    pub(super) limit: Duration,
}

/// A cursor over HTTP.
#[derive(Debug)]
pub struct HttpCursor<'a> {
    stream: &'a mut HttpStream,
    /// None: it is at its end.
    connection: Option<Connection>,
    body: Incoming,
    parser: CursorBody,
    limit: Duration,
}

impl<'a> HttpCursor<'a> {
    pub fn new(stream: &'a mut HttpStream, opened: OpenedHttp) -> Self {
        Self {
            stream,
            connection: Some(opened.connection),
            body: opened.body,
            parser: opened.parser,
            limit: opened.limit,
        }
    }

    /// What arrived since the last call; nothing at the end.
    ///
    /// # Errors
    /// `Connect` when the rows are cut off, `Timeout` when nothing comes, `Protocol` for what can't be.
    ///
    /// # Cancellation
    /// Nothing is lost: the next call goes on.
    pub async fn next(&mut self) -> Result<Vec<CursorEvent>> {
        while let Some(connection) = &mut self.connection {
            let events = self.parser.take()?;
            if !events.is_empty() {
                return Ok(events);
            }
            let piece = read_piece(&mut self.body, &mut self.parser);
            let is_over = timeout(self.limit, connection.wait(piece))
                .await
                .unwrap_or_else(|_| {
                    let message = format!("no row within {} s", self.limit.as_secs_f64());
                    Err(Error::new(Kind::Timeout, Fate::Unknown, message))
                })?;
            let is_over = is_over || self.read_ahead()?;
            if is_over {
                self.parser.finish()?;
                if let Some(connection) = self.connection.take() {
                    self.stream.put_back(connection);
                }
            }
        }
        self.parser.take()
    }

    /// Takes what is there already: servers send each row as a piece of its own. Whether it is the end.
    fn read_ahead(&mut self) -> Result<bool> {
        while self.parser.size() < ENOUGH
            && let Some(connection) = &mut self.connection
        {
            let piece = read_piece(&mut self.body, &mut self.parser);
            match connection.wait(piece).now_or_never() {
                Some(Ok(false)) => {}
                Some(result) => return result,
                None => break,
            }
        }
        Ok(false)
    }
}

/// Reads the next piece of a body; whether there was none.
pub(super) async fn read_piece(body: &mut Incoming, parser: &mut CursorBody) -> Result<bool> {
    match body.frame().await {
        Some(Ok(frame)) => {
            if let Ok(piece) = frame.into_data() {
                parser.feed(&piece)?;
            }
            Ok(false)
        }
        Some(Err(error)) => Err(Error::lost(&cause(&error))),
        None if parser.has_begun() => Ok(true),
        None => Err(Error::lost("the answer is empty")),
    }
}
