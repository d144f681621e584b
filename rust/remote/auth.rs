//! Who we are to a server: a token, a user with a password, or nobody.
//!
//! Owns the secrets. A token may come from a callable of the user's, which is asked once for all streams, and again
//! after the server refused what it gave.
//! Invariant: a secret is in no `Debug`, no message and no log.
//! Must not know: Python, what a token means; except for the claim that says that it only reads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::http::HeaderValue;
use tokio::sync::Mutex;

use super::error::{Error, Fate, Kind, Result};

/// A text that nobody gets to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(secret: impl Into<Arc<str>>) -> Self {
        Self(secret.into())
    }

    /// The text, for the server only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// What a token source gives, when it is ready.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<Secret>> + Send>>;

/// Where tokens come from.
pub trait TokenSource: Send + Sync {
    /// A token that is valid now.
    ///
    /// # Errors
    /// Whatever keeps it from giving one; the request fails with that.
    fn token(&self, attendance: Attendance) -> TokenFuture;

    /// Whether it can be asked only while somebody waits for what the token is for.
    fn needs_attendance(&self) -> bool {
        false
    }
}

/// Whether somebody waits for what is done at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    Attended,
    /// It is done by itself, in the background.
    Unattended,
}

/// What proves who we are.
#[derive(Clone, Default)]
pub enum Credentials {
    #[default]
    None,
    /// Sent as `Bearer`.
    Token(Secret),
    /// The value of an `Authorization` header.
    Basic(Secret),
    /// Asked at the first request, and again after a refusal.
    Source(Arc<dyn TokenSource>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(…)",
            Self::Basic(_) => "Basic(…)",
            Self::Source(_) => "Source(…)",
        })
    }
}

/// The credentials of all streams to one server.
#[derive(Debug)]
pub struct Authorizer {
    credentials: Credentials,
    /// Asked under the lock: streams that begin together ask once.
    given: Mutex<Given>,
}

/// What a source gave last.
#[derive(Debug, Default)]
struct Given {
    token: Option<Secret>,
    /// The server does not take it.
    is_refused: bool,
}

/// What one request carries.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// For a WebSocket's hello.
    pub token: Option<Secret>,
    /// For an `Authorization` header.
    pub header: Option<HeaderValue>,
}

impl Authorizer {
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            given: Mutex::default(),
        }
    }

    /// Whether tokens can be asked for only while somebody waits.
    pub fn needs_attendance(&self) -> bool {
        matches!(&self.credentials, Credentials::Source(source) if source.needs_attendance())
    }

    /// What the next request carries.
    ///
    /// # Errors
    /// The source's, and `Usage` for a token that is no header.
    pub async fn proof(&self, attendance: Attendance) -> Result<Proof> {
        let token = match &self.credentials {
            Credentials::None => return Ok(Proof::default()),
            Credentials::Basic(basic) => {
                return Ok(Proof {
                    // Servers read a hello's token as such a header, if they know users.
                    token: Some(basic.clone()),
                    header: Some(header(basic.reveal())?),
                });
            }
            Credentials::Token(token) => token.clone(),
            Credentials::Source(source) => {
                let mut given = self.given.lock().await;
                match &given.token {
                    // What was refused is better than nothing: the server may take it again.
                    Some(token) if !given.is_refused || !can_ask(source, attendance) => {
                        token.clone()
                    }
                    None if !can_ask(source, attendance) => return Err(nobody_to_ask()),
                    _ => {
                        let token = source.token(attendance).await?;
                        given.is_refused = false;
                        given.token.insert(token).clone()
                    }
                }
            }
        };
        Ok(Proof {
            header: Some(header(&format!("Bearer {}", token.reveal()))?),
            token: Some(token),
        })
    }

    /// The server refused it. Whether asking for another makes sense.
    pub async fn refuse(&self, proof: &Proof, attendance: Attendance) -> bool {
        let Credentials::Source(source) = &self.credentials else {
            return false;
        };
        let mut given = self.given.lock().await;
        // Another stream may have been faster, and have a new one.
        let is_last = given.token == proof.token;
        given.is_refused |= is_last;
        !is_last || can_ask(source, attendance)
    }
}

fn can_ask(source: &Arc<dyn TokenSource>, attendance: Attendance) -> bool {
    attendance == Attendance::Attended || !source.needs_attendance()
}

fn nobody_to_ask() -> Error {
    let message = "there is no auth token yet: the callable that gives them is awaited, and nobody awaits what is done in \
                   the background";
    Error::new(Kind::Auth, Fate::NeverSent, message).with_code("AUTH_TOKEN")
}

impl Proof {
    /// Whether the token says of itself that it can't write. Servers drop a WebSocket without a word when such a
    /// token writes.
    pub fn is_read_only(&self) -> bool {
        let claims = || {
            let payload = self.token.as_ref()?.reveal().split('.').nth(1)?;
            let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
            let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
            Some(claims.get("a")?.as_str()? == "ro")
        };
        claims().unwrap_or(false)
    }
}

fn header(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        // Not with the value: it is the secret.
        Error::new(
            Kind::Usage,
            Fate::NeverSent,
            "the auth token has characters that no HTTP header can have",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
