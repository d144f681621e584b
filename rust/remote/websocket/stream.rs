//! A stream over a WebSocket.
//!
//! Owns its number on the socket; the server closes the stream when it is dropped.
//! Invariant: the server is never asked for a stream that it does not know, for which it would drop the socket.
//! Must not know: HTTP.

use std::sync::Arc;
use std::time::Duration;

use super::super::aside::aside;
use super::super::error::{Error, Fate, Result};
use super::super::proto::{Batch, Encoding, Request, Response, SocketRequest};
use super::super::server::Remote;
use super::cursor::OpenedSocket;
use super::socket::{Posted, Socket};

/// A stream over a WebSocket.
#[derive(Debug)]
pub struct SocketStream {
    remote: Arc<Remote>,
    open: Option<Open>,
}

/// A stream that the server was asked to open.
#[derive(Debug)]
pub(super) struct Open {
    pub socket: Arc<Socket>,
    pub number: i32,
}

impl SocketStream {
    pub fn new(remote: Arc<Remote>) -> Self {
        Self { remote, open: None }
    }

    pub const fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Whether the server has it open, as far as we know.
    pub fn is_open(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.socket.is_alive())
    }

    pub fn is_lost(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| !open.socket.is_alive())
    }

    /// Has the server close the stream, without waiting; the next request opens another.
    pub fn reset(&mut self) {
        self.open = None;
    }

    /// Sends requests one behind the other; tells what came of each as soon as that is known.
    ///
    /// # Errors
    /// Those that concern all of them, but for those that were answered before.
    pub async fn pipeline(
        &mut self,
        requests: &[Request],
        answered: &mut (dyn FnMut(Result<Response>) + Send),
    ) -> Result<()> {
        let opening = self.open().await?;
        let Some(Open { socket, number }) = &self.open else {
            return Ok(());
        };
        socket.protocol().check(requests)?;
        let limit = self.remote.options().request_timeout;
        let encoding = socket.protocol().encoding;
        if encoding == Encoding::Json {
            // One that can't be written must not follow others that were sent.
            for request in requests {
                let stream = *number;
                encoding.message(0, &SocketRequest::On { stream, request })?;
            }
        }
        let mut posted = Vec::with_capacity(requests.len());
        for request in requests {
            let stream = *number;
            let result = socket.post(&SocketRequest::On { stream, request });
            posted.push(result.map_err(|error| {
                // The ones before it may be on their way.
                if posted.is_empty() {
                    error
                } else {
                    error.with_fate(Fate::Unknown)
                }
            })?);
        }
        if let Some(opening) = opening
            && let Err(error) = is_opened(socket, opening, limit).await
        {
            self.reset();
            return Err(error);
        }
        for (place, posted) in posted.into_iter().enumerate() {
            let answer = socket.wait(posted, limit).await.map_err(|error| {
                // The ones before it were carried out.
                if place == 0 {
                    error
                } else {
                    error.with_fate(Fate::Unknown)
                }
            })?;
            answered(match answer {
                Ok(message) => Ok(aside(message.len(), || encoding.read_answer(&message))?),
                Err(error) => Err(error.into()),
            });
        }
        if requests.contains(&Request::Close)
            && let Some(open) = &mut self.open
        {
            open.forget();
            self.open = None;
        }
        Ok(())
    }

    /// Runs a batch whose rows are read as they come.
    ///
    /// # Errors
    /// Those that concern all of it.
    pub async fn cursor(&mut self, batch: &Batch) -> Result<OpenedSocket> {
        let opening = self.open().await?;
        let limit = self.remote.options().request_timeout;
        // A caller that vanishes leaves a stream that has a cursor or has none: it is closed then.
        let Some(open) = self
            .open
            .take_if(|open| open.socket.protocol().has_cursors())
        else {
            return Err(Error::no_cursors());
        };
        let socket = Arc::clone(&open.socket);
        let number = socket.next_number();
        let posted = socket.post(&SocketRequest::OpenCursor {
            stream: open.number,
            cursor: number,
            batch,
        })?;
        if let Some(opening) = opening {
            is_opened(&socket, opening, limit).await?;
        }
        let answer = socket.wait(posted, limit).await?;
        self.open = Some(open);
        answer.map_err(Error::from)?;
        Ok(OpenedSocket {
            socket,
            number,
            limit,
        })
    }

    /// Asks the server for a stream if there is none.
    async fn open(&mut self) -> Result<Option<Posted>> {
        if self.open.is_some() {
            return Ok(None);
        }
        let socket = self.remote.socket().await?;
        let number = socket.next_number();
        let opening = socket.post(&SocketRequest::OpenStream { stream: number })?;
        self.open = Some(Open { socket, number });
        Ok(Some(opening))
    }
}

/// Waits until the server has the stream.
async fn is_opened(socket: &Socket, opening: Posted, limit: Duration) -> Result<()> {
    let answer = socket.wait(opening, limit).await?;
    answer.map(drop).map_err(Error::from)
}

impl Open {
    /// The server closed it already.
    fn forget(&mut self) {
        self.number = NONE;
    }
}

/// The number of no stream.
const NONE: i32 = -1;

impl Drop for Open {
    fn drop(&mut self) {
        if self.number != NONE {
            let stream = self.number;
            // If the socket is gone, so is the stream.
            drop(self.socket.post(&SocketRequest::CloseStream { stream }));
        }
    }
}
