//! What a user may choose about a server.
//!
//! Owns nothing but the choices.
//! Must not know: Python.

use std::sync::Arc;
use std::time::Duration;

use super::auth::{Credentials, Secret, TokenSource};
use super::error::{Error, Result};
use super::url::{Location, Target};

/// How a server is spoken to.
#[derive(Debug, Clone)]
pub struct Options {
    pub target: Target,
    pub credentials: Credentials,
    /// For everything until the first request can be sent: name, TCP, TLS, WebSocket, hello.
    pub connect_timeout: Duration,
    /// From the first byte of a request to the last one of its answer; for a cursor, for each wait.
    pub request_timeout: Duration,
    /// Bytes of an answer, or of a cursor's row, at most.
    pub largest_answer: usize,
}

impl Options {
    /// The choices for a URL.
    ///
    /// # Errors
    /// `Usage` for what contradicts itself, naming both sides.
    pub fn new(
        url: &str,
        tls: Option<bool>,
        namespace: Option<&str>,
        token: Option<Token>,
    ) -> Result<Self> {
        let Location {
            target,
            token: in_url,
            basic,
        } = Location::parse(url, tls, namespace)?;
        let beside = match (&in_url, &basic) {
            (Some(_), _) => Some("'authToken'"),
            (_, Some(_)) => Some("user"),
            _ => None,
        };
        let credentials = match (token, in_url, basic) {
            (Some(Token::Fixed(token)), Some(in_url), _) if token == in_url => {
                Credentials::Token(token)
            }
            (Some(_), ..) if beside.is_some() => {
                let beside = beside.unwrap_or_default();
                let message = format!(
                    "the parameter auth_token and the URL's {beside} are both given: use one of them"
                );
                return Err(Error::usage(message));
            }
            (Some(Token::Fixed(token)), ..) | (None, Some(token), _) => Credentials::Token(token),
            (Some(Token::Source(source)), ..) => Credentials::Source(source),
            (None, None, Some(basic)) => Credentials::Basic(basic),
            (None, None, None) => Credentials::None,
        };
        Ok(Self {
            target,
            credentials,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            largest_answer: 64 << 20,
        })
    }
}

/// A token, or where tokens come from.
#[derive(Clone)]
pub enum Token {
    Fixed(Secret),
    Source(Arc<dyn TokenSource>),
}
