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

/// Rows in the first portion, while it is unknown how large they are.
const FIRST: u32 = 8;
/// Rows in a portion, at most.
const MOST: u32 = 1024;
/// Bytes in a portion, about.
const ENOUGH: usize = 4 << 20;

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
    /// Rows to ask for.
    portion: u32,
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
            portion: FIRST,
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
            let is_over = encoding.read_fetched(&message, &mut self.entries)?;
            let events = self.entries.take().map_err(Error::protocol)?;
            if is_over {
                self.state = State::Done;
            } else {
                self.portion = next_portion(self.portion, rows_in(&events), message.len());
                self.ahead = Some(self.ask()?);
            }
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    fn ask(&self) -> Result<Posted> {
        self.opened.socket.post(&SocketRequest::FetchCursor {
            cursor: self.opened.number,
            most: self.portion,
        })
    }
}

fn rows_in(events: &[CursorEvent]) -> usize {
    let rows = events.iter().map(|event| match event {
        CursorEvent::Rows(rows) => rows.len(),
        _ => 0,
    });
    rows.sum()
}

/// How many rows to ask for after a portion with so many of them.
fn next_portion(last: u32, rows: usize, bytes: usize) -> u32 {
    let fitting = ENOUGH / (bytes / rows.max(1)).max(1);
    // The next ones may be larger.
    let most = last.saturating_mul(8).min(MOST);
    u32::try_from(fitting).map_or(most, |fitting| fitting.clamp(1, most))
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

#[cfg(test)]
mod tests {
    use super::{FIRST, MOST, next_portion};

    #[test]
    fn portions_grow_with_what_rows_turn_out_to_be() {
        let small = |last| next_portion(last, 8, 800);
        assert_eq!(small(FIRST), 64);
        assert_eq!(small(small(FIRST)), 512);
        assert_eq!(small(small(small(FIRST))), MOST);
        assert_eq!(small(MOST), MOST);
        assert_eq!(next_portion(64, 8, 8 << 20), 4);
        assert_eq!(next_portion(4, 4, 400 << 20), 1);
        assert_eq!(next_portion(1, 1, 100), 8);
        assert_eq!(next_portion(FIRST, 0, 0), 64);
    }
}
