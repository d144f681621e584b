//! One HTTP connection to a server.
//!
//! Owns the socket; to drop it closes that.
//! Thread: the runtime's, or that of a caller who may send a first request at once.
//! Invariant: a request whose answer was not read to its end leaves no connection behind. The socket is read and written
//! only while somebody waits for it: a task of its own would have to be woken for each request, and wake in turn. Nothing
//! is written while its gate is shut.
//! Must not know: Hrana.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::{HeaderValue, Method, Response, header};
use hyper_util::rt::TokioIo;

use super::super::auth::Proof;
use super::super::connect::connect;
use super::super::error::{Error, Result};
use super::super::gate::{Gate, Gated};
use super::super::native::Native;
use super::super::options::Options;
use super::super::proto::Encoding;
use super::super::url::Target;

type Driver = http1::Connection<TokioIo<Gated>, Full<Bytes>>;

/// What reads and writes the socket, until that ends.
#[derive(Debug)]
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Pin<Box<Driver>>>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Native<Wire>,
    target: Target,
    gate: Gate,
    /// Whether a request succeeded on it; the server may have closed it since.
    pub was_used: bool,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub method: Method,
    /// Below the target's.
    pub path: String,
    /// `None`: bytes that are not Hrana's.
    pub encoding: Option<Encoding>,
    pub body: Bytes,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// `Connect`.
    pub async fn open(options: &Options, target: &Target, gate: &Gate) -> Result<Self> {
        let socket = connect(target, options.connect_timeout).await?;
        let socket = Gated::new(socket, gate.clone());
        let (sender, driver) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| Error::connect(format!("HTTP can't begin: {error}")))?;
        let driver = Some(Box::pin(driver));
        Ok(Self {
            wire: Native::new(Wire { sender, driver }),
            target: target.clone(),
            gate: gate.clone(),
            was_used: false,
        })
    }

    pub fn is_to(&self, target: &Target) -> bool {
        self.target == *target
    }

    /// Sends a message; the head of the answer, with its body on the way.
    ///
    /// # Errors
    /// `Connect`: `NeverSent` if nothing of it was written, else `Unknown`.
    pub async fn send(&mut self, message: &Message, proof: &Proof) -> Result<Response<Incoming>> {
        let request = self.request(message, proof)?;
        let gate = &self.gate;
        let Wire { sender, driver } = self.wire.get_mut().ok_or_else(inherited)?;
        let sent = async {
            sender.ready().await.map_err(|error| {
                Error::connect(format!(
                    "the server closed the connection: {}",
                    cause(&error)
                ))
            })?;
            sender
                .try_send_request(request)
                .await
                .map_err(|mut failed| {
                    let why = cause(failed.error());
                    match failed.take_message() {
                        Some(_) => Error::connect(format!("the request could not be sent: {why}")),
                        None if gate.has_turned_away() => Error::turned_away(),
                        None => Error::lost(&why),
                    }
                })
        };
        driven(driver, sent).await
    }

    /// Waits for something that comes over the socket.
    ///
    /// # Errors
    /// That of what it waits for.
    pub async fn wait<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let wire = self.wire.get_mut().ok_or_else(inherited)?;
        driven(&mut wire.driver, work).await
    }

    fn request(&self, message: &Message, proof: &Proof) -> Result<Request<Full<Bytes>>> {
        let path = format!("{}/{}", self.target.path, message.path);
        let mut request = Request::builder()
            .method(message.method.clone())
            .uri(path)
            .header(header::HOST, &self.target.authority);
        if let Some(proof) = &proof.header {
            request = request.header(header::AUTHORIZATION, proof);
        }
        if !message.body.is_empty() {
            let kind = match message.encoding {
                Some(Encoding::Protobuf) => "application/x-protobuf",
                Some(Encoding::Json) => "application/json",
                None => "application/octet-stream",
            };
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        request
            .body(Full::new(message.body.clone()))
            .map_err(|_| Error::usage("the path of the database URL can't be requested"))
    }
}

fn inherited() -> Error {
    Error::connect("the connection belongs to another process")
}

/// Runs something to its end while the socket is read and written.
async fn driven<T>(driver: &mut Option<Pin<Box<Driver>>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // First: an end that has come is to be known before a request is sent.
        for _ in 0..2 {
            if let Some(running) = driver
                && running.as_mut().poll(context).is_ready()
            {
                // Its errors reach whoever waits for an answer.
                *driver = None;
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}

/// Reads an answer's body to its end.
///
/// # Errors
/// `Connect` for one that is cut off, `TooLarge` beyond the limit.
pub(super) async fn read_body(mut body: Incoming, limit: usize) -> Result<Bytes> {
    // Most answers are one piece, which needs no copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::lost(&cause(&error)))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + piece.len() > limit {
            return Err(Error::answer_too_large(limit));
        }
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&piece);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// What hyper says, and what was below it.
pub(super) fn cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
