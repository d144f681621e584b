//! How a WebSocket begins: the upgrade, the choice of a protocol, and the hello.
//!
//! Owns the socket until both sides know each other.
//! Invariant: nothing is asked of a server before it accepted who we are.
//! Must not know: streams.

use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use hyper::http::{HeaderValue, StatusCode, header};

use super::super::auth::{Proof, Secret};
use super::super::connect::connect;
use super::super::error::{Error, Fate, Kind, Result};
use super::super::options::Options;
use super::super::proto::{Encoding, Protocol, ServerMessage};
use super::sieve::Sieve;
use super::waiting::Waiting;

/// A socket on which requests can be sent.
pub(super) type Web = WebSocketStream<Sieve>;

/// Bytes that are read at once. Each read fills as many with zeros first, so more would cost most of a small answer.
const BUFFER: usize = 16 << 10;

const OFFERED: &str = "hrana3-protobuf, hrana3, hrana2";

/// Connects and says who we are.
///
/// # Errors
/// `Connect`, `Auth`, `Server`, `Unsupported`, `Protocol`.
pub(super) async fn shake_hands(
    options: &Options,
    proof: &Proof,
    waiting: &Arc<Waiting>,
) -> Result<(Web, Protocol)> {
    let socket = connect(&options.target, options.connect_timeout).await?;
    let socket = Sieve::new(socket, options.largest_answer, Arc::clone(waiting));
    let request = upgrade(options, proof)?;
    // For messages of several frames, which the sieve lets pass.
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .max_message_size(Some(options.largest_answer))
        .max_frame_size(Some(options.largest_answer));
    let (mut web, response) =
        tokio_tungstenite::client_async_with_config(request, socket, Some(config))
            .await
            .map_err(refused)?;
    let protocol = match response
        .headers()
        .get(header::SEC_WEBSOCKET_PROTOCOL)
        .map(HeaderValue::as_bytes)
    {
        Some(b"hrana3-protobuf") => Protocol::PROTOBUF,
        Some(b"hrana3") => Protocol::JSON_3,
        Some(b"hrana2") => Protocol::JSON_2,
        _ => return Err(no_protocol()),
    };
    let encoding = protocol.encoding;
    let token = proof.token.as_ref().map(Secret::reveal);
    web.send(message(encoding, encoding.hello(token)?)?)
        .await
        .map_err(|error| Error::connect(format!("the server closed the connection: {error}")))?;
    loop {
        match web.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(hello @ (Message::Binary(_) | Message::Text(_)))) => {
                return match encoding.read_message(&hello.into_data())? {
                    ServerMessage::HelloOk => Ok((web, protocol)),
                    ServerMessage::HelloError(error) => {
                        let error = Error::from(error);
                        let is_about_us = matches!(error.kind, Kind::Sql | Kind::Auth);
                        let kind = if is_about_us { Kind::Auth } else { error.kind };
                        Err(Error { kind, ..error })
                    }
                    _ => Err(Error::protocol("an answer before the hello")),
                };
            }
            Some(Ok(_)) | None => {
                return Err(Error::connect(
                    "the server closed the connection instead of greeting; it may not know the database",
                ));
            }
            Some(Err(error)) => {
                let message = format!("the server closed the connection: {error}");
                return Err(Error::connect(message));
            }
        }
    }
}

/// A message in the form that its encoding has.
///
/// # Errors
/// None: JSON is UTF-8.
pub(super) fn message(encoding: Encoding, bytes: Vec<u8>) -> Result<Message> {
    match encoding {
        Encoding::Protobuf => Ok(Message::binary(bytes)),
        Encoding::Json => String::from_utf8(bytes)
            .map(Message::text)
            .map_err(Error::protocol),
    }
}

fn upgrade(options: &Options, proof: &Proof) -> Result<Request> {
    let target = &options.target;
    let scheme = if target.tls { "wss" } else { "ws" };
    let authority = target.authority.to_str().unwrap_or_default();
    let url = format!("{scheme}://{authority}{}/", target.path);
    let mut request = url
        .into_client_request()
        .map_err(|_| Error::usage("the path of the database URL can't be requested"))?;
    let headers = request.headers_mut();
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(OFFERED),
    );
    headers.insert(header::HOST, target.authority.clone());
    if let Some(proof) = &proof.header {
        headers.insert(header::AUTHORIZATION, proof.clone());
    }
    Ok(request)
}

fn no_protocol() -> Error {
    Error::unsupported(
        "the server speaks neither Hrana 3 nor Hrana 2 over WebSockets: try an http: or https: URL",
    )
}

fn refused(error: tungstenite::Error) -> Error {
    use tungstenite::Error as Web;
    match error {
        Web::Http(response) => {
            let status = response.status();
            let kind = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Auth,
                _ => Kind::Server,
            };
            let message = format!("the server refused the WebSocket ({status})");
            Error::new(kind, Fate::Refused, message).with_code(format!("HTTP_{}", status.as_u16()))
        }
        Web::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => no_protocol(),
        error => Error::connect(format!("the WebSocket can't begin: {error}")),
    }
}
