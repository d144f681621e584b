//! Remote: one server and the database there, for all streams to it.
//!
//! Owns the choices, the credentials, what is known of the server's protocol, and the one WebSocket.
//! Thread: any.
//! Must not know: what the streams are for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use hyper::http::HeaderValue;
use tokio::sync::Mutex;

use crate::core::{Area, Notes, Severity};

use super::auth::{Attendance, Authorizer, Proof};
use super::connect::{self, within};
use super::error::Result;
use super::options::Options;
use super::proto::Protocol;
use super::stream::Stream;
use super::url::Transport;
use super::websocket::Socket;

/// One server.
#[derive(Debug)]
pub struct Remote {
    options: Options,
    authorizer: Arc<Authorizer>,
    attendance: Attendance,
    /// One more than the place in `PROTOCOLS`; 0: nobody asked yet.
    protocol: AtomicU8,
    socket: Mutex<Option<Arc<Socket>>>,
    sql_ids: AtomicI32,
    notes: Arc<Notes>,
}

/// What a server is asked for over HTTP, best first, with the folder of its requests.
pub const PROTOCOLS: [(Protocol, &str); 3] = [
    (Protocol::PROTOBUF, "v3-protobuf"),
    (Protocol::JSON_3, "v3"),
    (Protocol::JSON_2, "v2"),
];

impl Remote {
    /// A server that nobody connected to yet.
    pub fn new(options: Options) -> Arc<Self> {
        let authorizer = Authorizer::new(options.credentials.clone());
        Self::with(
            options,
            Arc::new(authorizer),
            Attendance::Attended,
            Arc::default(),
        )
    }

    /// The same server over HTTP, and with the same tokens.
    pub fn over_http(&self) -> Arc<Self> {
        let mut options = self.options.clone();
        options.target.transport = Transport::Http;
        let authorizer = Arc::clone(&self.authorizer);
        Self::with(
            options,
            authorizer,
            self.attendance,
            Arc::clone(&self.notes),
        )
    }

    /// The same, for what nobody waits for.
    pub fn unattended(&self) -> Arc<Self> {
        let (options, notes) = (self.options.clone(), Arc::clone(&self.notes));
        Self::with(
            options,
            Arc::clone(&self.authorizer),
            Attendance::Unattended,
            notes,
        )
    }

    fn with(
        options: Options,
        authorizer: Arc<Authorizer>,
        attendance: Attendance,
        notes: Arc<Notes>,
    ) -> Arc<Self> {
        Arc::new(Self {
            options,
            authorizer,
            attendance,
            protocol: AtomicU8::new(0),
            socket: Mutex::default(),
            sql_ids: AtomicI32::new(0),
            notes,
        })
    }

    /// A stream that opens at its first request.
    pub fn stream(self: &Arc<Self>) -> Stream {
        Stream::new(Arc::clone(self))
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What happened on the way to the server.
    pub const fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    pub(super) fn note(&self, severity: Severity, text: impl std::fmt::Display) {
        let target = &self.options.target;
        let text = format!("{} port {}: {text}", target.host, target.port);
        self.notes.add(Area::Remote, severity, text);
    }

    /// Connects to the server for somebody who speaks another protocol with it.
    ///
    /// # Errors
    /// `Connect` and `Timeout`.
    pub async fn connect(&self) -> Result<Box<dyn connect::Socket>> {
        let limit = self.options.connect_timeout;
        let attempt = connect::connect(&self.options.target, limit);
        within(limit, "connecting to the server", attempt).await
    }

    /// Who we are, as the value of an `Authorization` header.
    ///
    /// # Errors
    /// The token source's.
    pub async fn authorization(&self) -> Result<Option<HeaderValue>> {
        Ok(self.proof().await?.header)
    }

    /// Asks for the token that unattended work needs, if it could not ask for it itself.
    ///
    /// # Errors
    /// The token source's.
    pub async fn prepare_unattended(&self) -> Result<()> {
        if self.authorizer.needs_attendance() {
            self.proof().await?;
        }
        Ok(())
    }

    /// A number for `StoreSql` that no other stream of this server uses: over a WebSocket they share one space.
    pub fn next_sql_id(&self) -> i32 {
        self.sql_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// What the next request proves who we are with.
    ///
    /// # Errors
    /// The token source's; `Timeout` when it takes too long.
    pub(super) async fn proof(&self) -> Result<Proof> {
        let what = "getting the auth token";
        let proof = self.authorizer.proof(self.attendance);
        within(self.options.connect_timeout, what, proof).await
    }

    /// The server refused the proof; whether to try with another.
    pub(super) async fn refuse(&self, proof: &Proof) -> bool {
        let may_ask = self.authorizer.refuse(proof, self.attendance).await;
        if may_ask {
            self.note(
                Severity::Info,
                "the auth token was refused: another one is asked for",
            );
        }
        may_ask
    }

    /// The place in `PROTOCOLS` of what the server speaks over HTTP.
    pub(super) fn protocol(&self) -> Option<usize> {
        usize::from(self.protocol.load(Ordering::Relaxed)).checked_sub(1)
    }

    pub(super) fn set_protocol(&self, place: usize) {
        let code = u8::try_from(place + 1).unwrap_or(0);
        self.protocol.store(code, Ordering::Relaxed);
    }

    /// The WebSocket, connected anew if there is none that works.
    ///
    /// # Errors
    /// Those of connecting. Streams that ask together wait for one attempt.
    pub(super) async fn socket(&self) -> Result<Arc<Socket>> {
        // With the wait for others' attempts: a hundred streams must not fail one after the other.
        let limit = self.options.connect_timeout;
        let attempt = Box::pin(self.connected());
        within(limit, "connecting to the server", attempt).await
    }

    async fn connected(&self) -> Result<Arc<Socket>> {
        let mut slot = self.socket.lock().await;
        if let Some(socket) = &*slot
            && socket.is_alive()
        {
            return Ok(Arc::clone(socket));
        }
        if slot.is_some() {
            self.note(Severity::Info, "the WebSocket is gone: connecting again");
        }
        let mut proof = self.proof().await?;
        let socket = match Socket::connect(&self.options, &proof).await {
            Err(error) if error.is_auth() && self.refuse(&proof).await => {
                proof = self.proof().await?;
                Socket::connect(&self.options, &proof).await?
            }
            result => result?,
        };
        Ok(Arc::clone(slot.insert(Arc::new(socket))))
    }
}
