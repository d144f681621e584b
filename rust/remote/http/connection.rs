//! One HTTP connection to a server.
//!
//! Owns the handle of the task that has the socket; to drop it closes the socket.
//! Invariant: a request whose answer was not read to its end leaves no connection behind.
//! Must not know: Hrana.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::{HeaderValue, Method, Response, header};
use hyper_util::rt::TokioIo;

use super::super::auth::Proof;
use super::super::connect::connect;
use super::super::error::{Error, Fate, Kind, Result};
use super::super::native::Native;
use super::super::options::Options;
use super::super::proto::Encoding;
use super::super::url::Target;

/// A connection with nothing on its way.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Native<SendRequest<Full<Bytes>>>,
    target: Target,
    /// Whether a request succeeded on it; the server may have closed it since.
    pub was_used: bool,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub method: Method,
    /// Below the target's.
    pub path: String,
    pub encoding: Encoding,
    pub body: Bytes,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// `Connect`.
    pub async fn open(options: &Options, target: &Target) -> Result<Self> {
        let socket = connect(target, options.connect_timeout).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| Error::connect(format!("HTTP can't begin: {error}")))?;
        // Its errors reach whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            sender: Native::new(sender),
            target: target.clone(),
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
        let sender = self
            .sender
            .get_mut()
            .ok_or_else(|| Error::connect("the connection belongs to another process"))?;
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
                    None => Error::lost(&why),
                }
            })
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
                Encoding::Protobuf => "application/x-protobuf",
                Encoding::Json => "application/json",
            };
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        request
            .body(Full::new(message.body.clone()))
            .map_err(|_| Error::usage("the path of the database URL can't be requested"))
    }
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
            let message = format!("the answer is larger than the limit of {limit} bytes");
            return Err(Error::new(Kind::TooLarge, Fate::Unknown, message));
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
