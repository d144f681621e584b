//! A cursor over a WebSocket: rows that are fetched in portions, one ahead.
//!
//! Owns the portion that was asked for.
//! Invariant: the server is asked for rows of cursors only that it has.
//! Must not know: HTTP.

use std::sync::Arc;
use std::time::Duration;

use super::super::error::{Error, Result};
use super::super::proto::{CursorEvent, Entries, SocketRequest};
use super::socket::{Posted, Socket};
use super::stream::SocketStream;

/// Rows in a portion, at most; servers send less when they are large.
const PORTION: u32 = 1024;

/// A cursor that the server has.
#[derive(Debug)]
pub struct OpenedSocket {
    pub(super) socket: Arc<Socket>,
    pub(super) number: i32,
    /// For each wait.
    pub(super) limit: Duration,
}

/// A cursor over a WebSocket.
#[derive(Debug)]
pub struct SocketCursor<'a> {
    /// While the cursor is there the stream can do nothing else.
    _stream: &'a mut SocketStream,
    opened: OpenedSocket,
    entries: Entries,
    /// The portion that was asked for.
    ahead: Option<Posted>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Open,
    Done,
}

impl<'a> SocketCursor<'a> {
    pub fn new(stream: &'a mut SocketStream, opened: OpenedSocket) -> Self {
        Self {
            _stream: stream,
            opened,
            entries: Entries::default(),
            ahead: None,
            state: State::Begun,
        }
    }

    /// The next portion; nothing at the end.
    ///
    /// # Errors
    /// The server's; `Connect` when the socket ends; `Timeout`; `Protocol` for what can't be.
    ///
    /// # Cancellation
    /// The portion that was on its way is lost: the cursor must not be used again.
    pub async fn next(&mut self) -> Result<Vec<CursorEvent>> {
        while self.state != State::Done {
            let asked = match self.ahead.take() {
                Some(asked) => asked,
                None if self.state == State::Begun => self.ask()?,
                None => {
                    return Err(Error::usage(
                        "a portion of the cursor's rows was lost to a cancellation",
                    ));
                }
            };
            self.state = State::Open;
            let message = self.opened.socket.wait(asked, self.opened.limit).await?;
            let message = message.map_err(Error::from)?;
            let encoding = self.opened.socket.protocol().encoding;
            if encoding.read_fetched(&message, &mut self.entries)? {
                self.state = State::Done;
            } else {
                self.ahead = Some(self.ask()?);
            }
            let events = self.entries.take().map_err(Error::protocol)?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    fn ask(&self) -> Result<Posted> {
        self.opened.socket.post(&SocketRequest::FetchCursor {
            cursor: self.opened.number,
            most: PORTION,
        })
    }
}

impl Drop for SocketCursor<'_> {
    fn drop(&mut self) {
        let cursor = self.opened.number;
        // If the socket is gone, so is the cursor.
        drop(
            self.opened
                .socket
                .post(&SocketRequest::CloseCursor { cursor }),
        );
    }
}
