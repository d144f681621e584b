//! Messenger: HTTP requests to a server that are not Hrana's, one after the other.
//!
//! Owns the connection between them.
//! Thread: the runtime's.
//! Invariant: each wait has an end: the request's limit for a whole answer, the same for each piece of a long one.
//! Must not know: what is asked for.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::http::{HeaderMap, Method, Response, StatusCode};
use tokio::time::timeout;

use super::super::connect::within;
use super::super::error::{Error, Fate, Kind, Result};
use super::super::gate::Gate;
use super::super::proto::Encoding;
use super::super::server::Remote;
use super::connection::{Connection, Message, cause, read_body};
use super::refusal::refusal;

/// Bytes of a refusal that are read.
const LARGEST_REFUSAL: usize = 64 << 10;

fn silent(limit: Duration) -> Error {
    let message = format!("no answer within {} s", limit.as_secs_f64());
    Error::new(Kind::Timeout, Fate::Unknown, message)
}

/// Asks a server for one thing after the other.
#[derive(Debug)]
pub struct Messenger {
    remote: Arc<Remote>,
    connection: Option<Connection>,
    /// Always open.
    gate: Gate,
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    headers: HeaderMap,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error that it is.
    pub fn refusal(&self) -> Error {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        refusal(status, &self.headers, &self.body, Encoding::Json, false)
    }
}

impl Messenger {
    pub fn new(remote: Arc<Remote>) -> Self {
        Self {
            remote,
            connection: None,
            gate: Gate::default(),
        }
    }

    fn limit(&self) -> Duration {
        self.remote.options().request_timeout
    }

    /// Asks for something below the database's URL; with a body it is posted there.
    ///
    /// # Errors
    /// `Connect`, `Timeout`; `Auth` if the server does not let us in. Other refusals are answers.
    pub async fn ask(&mut self, path: &str, body: Option<Bytes>) -> Result<Answer> {
        let (limit, largest) = (self.limit(), self.remote.options().largest_answer);
        let exchange = async {
            let (mut connection, response) = self.exchange(path, body).await?;
            let (head, body) = response.into_parts();
            let body = connection.wait(read_body(body, largest)).await?;
            Ok::<_, Error>((connection, head, body))
        };
        let exchanged = timeout(limit, Box::pin(exchange)).await;
        let (connection, head, body) = exchanged.map_err(|_| silent(limit))??;
        self.connection = Some(connection);
        Ok(Answer {
            status: head.status.as_u16(),
            body,
            headers: head.headers,
        })
    }

    /// Writes what is below the database's URL, of whatever length.
    ///
    /// # Errors
    /// As `ask`, all refusals, and what keeps it from being written.
    pub async fn fetch(&mut self, path: &str, mut file: impl Write) -> Result<()> {
        let limit = self.limit();
        let begun = timeout(limit, Box::pin(self.exchange(path, None))).await;
        let (mut connection, response) = begun.map_err(|_| silent(limit))??;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            let body = connection.wait(read_body(body, LARGEST_REFUSAL));
            let body = timeout(limit, body).await.map_err(|_| silent(limit))??;
            return Err(refusal(
                head.status,
                &head.headers,
                &body,
                Encoding::Json,
                false,
            ));
        }
        loop {
            let piece = connection.wait(async {
                let piece = body.frame().await.transpose();
                piece.map_err(|error| Error::lost(&cause(&error)))
            });
            let piece = timeout(limit, piece).await.map_err(|_| silent(limit))??;
            let Some(piece) = piece else {
                return Ok(());
            };
            if let Ok(bytes) = piece.into_data() {
                file.write_all(&bytes).map_err(|error| {
                    let message = format!("the database can't be written: {error}");
                    Error::new(Kind::Server, Fate::Refused, message)
                })?;
            }
        }
    }

    /// Sends a request and waits for the head of its answer: over another connection if this one turns out to be closed,
    /// with another token if the server refuses the first.
    async fn exchange(
        &mut self,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<(Connection, Response<Incoming>)> {
        let message = Message {
            method: if body.is_some() {
                Method::POST
            } else {
                Method::GET
            },
            path: path.to_owned(),
            encoding: None,
            body: body.unwrap_or_default(),
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut proof = self.remote.proof().await?;
        let mut may_ask_again = true;
        loop {
            let response = match connection.send(&message, &proof).await {
                // The server closed it while nobody looked; nothing was sent.
                Err(error) if error.fate == Fate::NeverSent && connection.was_used => {
                    connection = self.connect().await?;
                    continue;
                }
                response => response?,
            };
            connection.was_used = true;
            let status = response.status();
            if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Ok((connection, response));
            }
            let (head, body) = response.into_parts();
            let body = connection.wait(read_body(body, LARGEST_REFUSAL)).await?;
            if status == StatusCode::UNAUTHORIZED
                && std::mem::take(&mut may_ask_again)
                && self.remote.refuse(&proof).await
            {
                proof = self.remote.proof().await?;
                continue;
            }
            return Err(refusal(status, &head.headers, &body, Encoding::Json, false));
        }
    }

    async fn connect(&self) -> Result<Connection> {
        let options = self.remote.options();
        let attempt = Connection::open(options, &options.target, &self.gate);
        within(options.connect_timeout, "connecting to the server", attempt)
            .await
            .map_err(|error| error.with_fate(Fate::NeverSent))
    }
}
