//! A WebSocket that many streams share.
//!
//! Owns the way to its writer. It ends when the last stream and the Remote let go of it.
//! Thread: any; its tasks are the runtime's.
//! Invariant: requests are written in the order in which they were posted.
//! Must not know: what the streams do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::super::auth::Proof;
use super::super::error::{Error, Fate, Kind, Result};
use super::super::native::Native;
use super::super::options::Options;
use super::super::proto::{Protocol, SocketRequest};
use super::handshake::{message, shake_hands};
use super::tasks::{Outgoing, start};
use super::waiting::{Answer, Answered, Waiting};

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    protocol: Protocol,
    waiting: Arc<Waiting>,
    outgoing: Native<mpsc::UnboundedSender<Outgoing>>,
    killed: Arc<Notify>,
    /// For streams and for cursors.
    next_number: AtomicI32,
}

/// A request that was posted.
#[derive(Debug)]
pub(super) struct Posted {
    id: i32,
    at: Instant,
    answer: Answer,
}

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// Those of the handshake; the caller sets a limit.
    pub async fn connect(options: &Options, proof: &Proof) -> Result<Self> {
        let waiting = Arc::new(Waiting::new(proof.is_read_only()));
        let (web, protocol) = shake_hands(options, proof, &waiting)
            .await
            .map_err(|error| error.with_fate(Fate::NeverSent))?;
        let killed = Arc::new(Notify::new());
        let (outgoing, receiver) = mpsc::unbounded_channel();
        start(web, protocol.encoding, &waiting, receiver, &killed);
        Ok(Self {
            protocol,
            waiting,
            outgoing: Native::new(outgoing),
            killed,
            next_number: AtomicI32::new(0),
        })
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether requests can be sent.
    pub fn is_alive(&self) -> bool {
        self.outgoing.get().is_some() && !self.waiting.is_over()
    }

    /// A number for a new stream or cursor.
    pub(super) fn next_number(&self) -> i32 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a request over to the writer. It is sent even if its caller vanishes when streams and cursors on the
    /// server depend on it.
    ///
    /// # Errors
    /// `Connect` if the socket ended: it was not sent. `Usage` for what can't be encoded.
    pub(super) fn post(&self, request: &SocketRequest<'_>) -> Result<Posted> {
        let is_needed = !matches!(
            request,
            SocketRequest::On { .. } | SocketRequest::FetchCursor { .. }
        );
        let lost = || Error::connect("the connection to the server was lost");
        let outgoing = self.outgoing.get().ok_or_else(lost)?;
        let (id, answer) = self.waiting.add(is_needed)?;
        let encoding = self.protocol.encoding;
        let handed_over = encoding
            .message(id, request)
            .and_then(|bytes| message(encoding, bytes))
            .and_then(|message| outgoing.send(Outgoing { id, message }).map_err(|_| lost()));
        if let Err(error) = handed_over {
            self.waiting.remove(id);
            return Err(error);
        }
        Ok(Posted {
            id,
            at: Instant::now(),
            answer,
        })
    }

    /// Waits for what answers a request, also if that is an error.
    ///
    /// # Errors
    /// `Connect` when the socket ends; `Timeout`.
    ///
    /// # Cancellation
    /// A request that was not written yet is not. The answer to any other is thrown away when it comes.
    pub(super) async fn wait(&self, posted: Posted, limit: Duration) -> Result<Answered> {
        let Posted { id, at, answer } = posted;
        let left = (at + limit).saturating_duration_since(Instant::now());
        match timeout(left, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::lost("the client is shutting down")),
            Err(_) => {
                let fate = if self.waiting.was_sent(id) {
                    Fate::Unknown
                } else {
                    Fate::NeverSent
                };
                if self.waiting.is_silent_since(at) {
                    // Nobody is there: other requests must not wait for it as well, nor the next one be sent.
                    self.waiting.end("it does not answer", false);
                    self.killed.notify_one();
                }
                let seconds = limit.as_secs_f64();
                let message = format!("no answer within {seconds} s");
                Err(Error::new(Kind::Timeout, fate, message))
            }
        }
    }
}
