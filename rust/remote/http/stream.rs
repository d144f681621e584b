//! A stream over HTTP: requests that name it by the baton of the answer before.
//!
//! Owns the baton, and the connection between requests.
//! Invariant: while a request is on its way the stream counts as lost, so a caller that vanishes leaves it so: the
//! baton is used up, and the new one was not seen. While its gate is shut nothing goes out, and a stream that a request
//! did not reach is as it was.
//! Must not know: WebSockets.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::{Method, Response as HttpResponse, StatusCode};
use tokio::time::timeout;

use super::super::aside::aside;
use super::super::connect::within;
use super::super::error::{Error, Fate, Kind, Result};
use super::super::gate::Gate;
use super::super::proto::{Batch, CursorBody, Encoding, Protocol, Request, Response};
use super::super::server::{PROTOCOLS, Remote};
use super::super::url::Target;
use super::connection::{Connection, Message, read_body};
use super::cursor::OpenedHttp;
use super::patience::Patience;
use super::refusal::refusal;

/// Bytes of a refusal that are read.
const LARGEST_REFUSAL: usize = 64 << 10;

/// A stream over HTTP.
#[derive(Debug)]
pub struct HttpStream {
    remote: Arc<Remote>,
    connection: Option<Connection>,
    state: State,
    gate: Gate,
    patience: Patience,
}

/// What the server knows of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: the next request opens one.
    Fresh,
    /// It is named by the baton, at the server that gave it.
    Open { baton: String, target: Target },
    /// Nobody knows its baton.
    Lost,
}

impl State {
    fn baton(&self) -> Option<&str> {
        match self {
            Self::Open { baton, .. } => Some(baton),
            Self::Fresh | Self::Lost => None,
        }
    }
}

impl HttpStream {
    pub fn new(remote: Arc<Remote>) -> Self {
        Self {
            patience: Patience::new(remote.options().request_timeout),
            remote,
            connection: None,
            state: State::Fresh,
            gate: Gate::default(),
        }
    }

    pub const fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Whether the server has it open, as far as we know.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Forgets the stream; the next request opens another.
    pub fn reset(&mut self) {
        self.state = State::Fresh;
    }

    /// Sends requests as one; what came of each.
    ///
    /// # Errors
    /// Those that concern all of them.
    pub async fn pipeline(&mut self, requests: &[Request]) -> Result<Vec<Result<Response>>> {
        let (state, target) = self.begin();
        let (limit, largest) = {
            let options = self.remote.options();
            (options.request_timeout, options.largest_answer)
        };
        let encode = |protocol: Protocol, baton: Option<&str>| {
            protocol.check(requests)?;
            protocol.encoding.pipeline(baton, requests)
        };
        let connection = match self.connect(&target).await {
            Ok(connection) => connection,
            Err(error) => return Err(self.failed(state, error)),
        };
        let mut patience = std::mem::replace(&mut self.patience, Patience::new(limit));
        let exchange = async {
            let (mut connection, encoding, response) = self
                .exchange(connection, "pipeline", encode, &state, &target)
                .await?;
            let body = read_body(response.into_body(), largest);
            let body = connection.wait(body).await?;
            Ok((connection, encoding, body))
        };
        let result = patience.wait(exchange).await.unwrap_or_else(|| {
            let message = format!(
                "no answer within {} s; whether the request was carried out is unknown",
                limit.as_secs_f64()
            );
            Err(Error::new(Kind::Timeout, Fate::Unknown, message))
        });
        self.patience = patience;
        let (connection, encoding, body) = match result {
            Ok(answered) => answered,
            Err(error) => return Err(self.failed(state, error)),
        };
        let answer = aside(body.len(), || encoding.read_pipeline(&body))?;
        if answer.results.len() != requests.len() {
            return Err(Error::protocol("there are not as many results as requests"));
        }
        self.opened(answer.baton, answer.base_url.as_deref(), &target)?;
        self.connection = Some(connection);
        Ok(answer.results)
    }

    /// Runs a batch whose rows are read as they come.
    ///
    /// # Errors
    /// Those that concern all of it.
    pub async fn cursor(&mut self, batch: &Batch) -> Result<OpenedHttp> {
        let (state, target) = self.begin();
        let limit = self.remote.options().request_timeout;
        let largest = self.remote.options().largest_answer;
        let encode = |protocol: Protocol, baton: Option<&str>| {
            if !protocol.has_cursors() {
                return Err(Error::no_cursors());
            }
            protocol.encoding.cursor(baton, batch)
        };
        let connection = match self.connect(&target).await {
            Ok(connection) => connection,
            Err(error) => return Err(self.failed(state, error)),
        };
        let exchange = async {
            let (mut connection, encoding, response) = self
                .exchange(connection, "cursor", encode, &state, &target)
                .await?;
            let mut body = response.into_body();
            let mut parser = CursorBody::new(encoding, largest);
            while !parser.has_begun() {
                let piece = super::cursor::read_piece(&mut body, &mut parser);
                connection.wait(piece).await?;
            }
            Ok((connection, body, parser))
        };
        let result = timeout(limit, exchange).await.unwrap_or_else(|_| {
            let message = format!("no rows within {} s", limit.as_secs_f64());
            Err(Error::new(Kind::Timeout, Fate::Unknown, message))
        });
        let (connection, body, mut parser) = match result {
            Ok(begun) => begun,
            Err(error) => return Err(self.failed(state, error)),
        };
        let answer = parser.take_answer().unwrap_or_default();
        self.opened(answer.baton, answer.base_url.as_deref(), &target)?;
        Ok(OpenedHttp {
            connection,
            body,
            parser,
            limit,
        })
    }

    /// Gives back the connection of a cursor that was read to its end.
    pub(super) fn put_back(&mut self, connection: Connection) {
        self.connection = Some(connection);
    }

    /// From here on the stream is lost, unless the request ends well.
    fn begin(&mut self) -> (State, Target) {
        let state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Lost => State::Fresh,
            state => state,
        };
        let target = match &state {
            State::Open { target, .. } => target.clone(),
            _ => self.remote.options().target.clone(),
        };
        (state, target)
    }

    /// The request failed, and with it the stream, except where the server never had it.
    fn failed(&mut self, before: State, error: Error) -> Error {
        self.state = match (error.fate, error.kind) {
            (Fate::NeverSent, _) => before,
            (_, Kind::Expired) => State::Fresh,
            // Whoever refuses a request for what it is need not have looked at the baton.
            (Fate::Refused, _) => before,
            (Fate::Unknown, _) => State::Lost,
        };
        error
    }

    fn opened(
        &mut self,
        baton: Option<String>,
        base_url: Option<&str>,
        target: &Target,
    ) -> Result<()> {
        self.state = match baton {
            None => State::Fresh,
            Some(baton) => {
                let target = match base_url {
                    Some(url) => target.moved(url)?,
                    None => target.clone(),
                };
                State::Open { baton, target }
            }
        };
        Ok(())
    }

    /// Sends a request and waits for the head of a good answer: over another connection if this one turns out to be
    /// closed, with another token if the server refuses the first.
    async fn exchange(
        &mut self,
        mut connection: Connection,
        what: &str,
        encode: impl Fn(Protocol, Option<&str>) -> Result<Vec<u8>>,
        state: &State,
        target: &Target,
    ) -> Result<(Connection, Encoding, HttpResponse<Incoming>)> {
        let (protocol, folder) = PROTOCOLS[self.remote.protocol().unwrap_or_default()];
        let message = Message {
            method: Method::POST,
            path: format!("{folder}/{what}"),
            encoding: Some(protocol.encoding),
            body: Bytes::from(encode(protocol, state.baton())?),
        };
        let mut proof = self.remote.proof().await?;
        let mut may_ask_again = true;
        loop {
            let response = match connection.send(&message, &proof).await {
                // The server closed it while nobody looked; nothing was sent.
                Err(error) if error.fate == Fate::NeverSent && connection.was_used => {
                    connection = self.connect(target).await?;
                    continue;
                }
                response => response?,
            };
            connection.was_used = true;
            let status = response.status();
            if status.is_success() {
                return Ok((connection, protocol.encoding, response));
            }
            let (head, body) = response.into_parts();
            let body = Box::pin(connection.wait(read_body(body, LARGEST_REFUSAL))).await?;
            if status == StatusCode::UNAUTHORIZED
                && std::mem::take(&mut may_ask_again)
                && self.remote.refuse(&proof).await
            {
                proof = self.remote.proof().await?;
                continue;
            }
            let had_baton = state.baton().is_some();
            let error = refusal(status, &head.headers, &body, protocol.encoding, had_baton);
            self.connection = Some(connection);
            return Err(error);
        }
    }

    /// The connection from before, or a new one to a server whose protocol is known.
    async fn connect(&mut self, target: &Target) -> Result<Connection> {
        if let Some(connection) = self.connection.take()
            && connection.is_to(target)
        {
            return Ok(connection);
        }
        // Its state is large, and would be part of that of every request.
        Box::pin(self.connect_anew(target)).await
    }

    async fn connect_anew(&self, target: &Target) -> Result<Connection> {
        if self.gate.is_shut() {
            return Err(Error::turned_away());
        }
        let proof = self.remote.proof().await?;
        let limit = self.remote.options().connect_timeout;
        within(limit, "connecting to the server", async {
            let options = self.remote.options();
            let connection = Connection::open(options, target, &self.gate).await?;
            if self.remote.protocol().is_some() {
                return Ok(connection);
            }
            self.probe(connection, target, proof).await
        })
        .await
        .map_err(|error| error.with_fate(Fate::NeverSent))
    }

    /// Asks a server what it speaks.
    async fn probe(
        &self,
        mut connection: Connection,
        target: &Target,
        mut proof: super::super::auth::Proof,
    ) -> Result<Connection> {
        let mut may_ask_again = true;
        let mut place = 0;
        while let Some((protocol, folder)) = PROTOCOLS.get(place) {
            let message = Message {
                method: Method::GET,
                path: (*folder).to_owned(),
                encoding: Some(protocol.encoding),
                body: Bytes::new(),
            };
            let response = match connection.send(&message, &proof).await {
                // A server may close it after each answer.
                Err(error)
                    if error.fate == Fate::NeverSent
                        && connection.was_used
                        && !self.gate.is_shut() =>
                {
                    let options = self.remote.options();
                    connection = Connection::open(options, target, &self.gate).await?;
                    continue;
                }
                response => response?,
            };
            connection.was_used = true;
            let status = response.status();
            let (head, body) = response.into_parts();
            let body = connection.wait(read_body(body, LARGEST_REFUSAL)).await?;
            match status {
                _ if status.is_success() => {
                    self.remote.set_protocol(place);
                    return Ok(connection);
                }
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => place += 1,
                StatusCode::UNAUTHORIZED
                    if std::mem::take(&mut may_ask_again) && self.remote.refuse(&proof).await =>
                {
                    proof = self.remote.proof().await?;
                }
                _ => {
                    let headers = &head.headers;
                    return Err(refusal(status, headers, &body, protocol.encoding, false));
                }
            }
        }
        Err(Error::unsupported(
            "the server speaks neither Hrana 3 nor Hrana 2 over HTTP: it is not a libSQL server, or the path is wrong",
        ))
    }
}
