//! Sync: bringing a replica up to date.
//!
//! Owns the order of syncs, one at a time, and what their errors mean. libsql tells a refused token, a certificate that
//! is not trusted and a dead server alike, after three seconds: a request of our own tells them apart, and at once.
//! Thread: the network runtime's. What may ask for a token runs in the future of whoever waits, the rest in a task.
//! Invariant: a sync that has begun is never dropped, for libsql would skip the frames that it had received and not
//! applied. Who waits for it may leave; every wait of it for the network has an end.
//! Must not know: connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::core::{Error, Kind, Result, Synced};
use crate::remote::{Continuity, Remote, Request, Response, Statement};

use super::files;
use super::live::{Live, cut_off};

/// So long a sync may be silent before the server is asked what is wrong.
const SUSPICION: Duration = Duration::from_millis(500);
/// And then so often.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often a server is asked that does not have a change yet, as it follows another one itself.
const PAUSE: Duration = Duration::from_millis(5);

/// A change that the file has to have.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub index: u64,
    /// The log that the file followed when the change was made; `None`: any. The numbers of another one mean nothing.
    pub log: Option<[u8; 16]>,
}

impl Target {
    pub fn is_reached(self, live: &Live, index: Option<u64>) -> bool {
        index >= Some(self.index) || self.log.is_some() && self.log != live.log()
    }
}

/// Whose turn it is, and what came of the last one.
#[derive(Debug, Default)]
pub struct Turn {
    last: Option<(Instant, Option<u64>)>,
}

/// What libsql proves with who it is.
type Proof = Option<http_0::HeaderValue>;

impl Live {
    /// Brings the file up to date, and at least as far as a change. `remote` gives the token, and is asked what libsql
    /// does not tell.
    ///
    /// # Errors
    /// `Auth`, `Connect` and `Timeout` if the server can't be asked, else `Sync`.
    pub async fn sync(
        self: &Arc<Self>,
        remote: &Arc<Remote>,
        until: Option<Target>,
    ) -> Result<Synced> {
        let result = self.attempt(remote, until).await;
        if let Err(error) = &result {
            self.note_failure(error);
        }
        result
    }

    /// Has `sync_stats` tell of it.
    pub fn note_failure(&self, error: &Error) {
        let mut status = self.status();
        status.failures += 1;
        status.last_error = Some(error.message.clone());
    }

    async fn attempt(
        self: &Arc<Self>,
        remote: &Arc<Remote>,
        until: Option<Target>,
    ) -> Result<Synced> {
        let asked = Instant::now();
        if !self.is_sound.load(Ordering::Relaxed) {
            probe(remote).await?;
        }
        let proof = proof_of(remote).await?;
        let error = match self.run(remote, asked, until, proof.clone()).await {
            Err(error) if error.kind == Kind::Sync => error,
            result => return result,
        };
        probe(remote).await?;
        // The server may have refused one token, and have let us in with another just now.
        let other = proof_of(remote).await?;
        if other == proof {
            return Err(error);
        }
        self.run(remote, asked, until, other).await
    }

    /// Waits for a turn, or for what keeps it from its end.
    async fn run(
        self: &Arc<Self>,
        remote: &Arc<Remote>,
        asked: Instant,
        until: Option<Target>,
        proof: Proof,
    ) -> Result<Synced> {
        let this = Arc::clone(self);
        let mut task = tokio::spawn(async move { this.take_turn(asked, until, proof).await });
        tokio::select! {
            biased;
            result = &mut task => result.unwrap_or_else(|_| Err(cut_off())),
            error = self.alarm(remote) => Err(error),
        }
    }

    /// Ends when the server can't be asked.
    async fn alarm(&self, remote: &Arc<Remote>) -> Error {
        let mut rest = SUSPICION;
        loop {
            sleep(rest).await;
            let proof = match probe(remote).await {
                Ok(()) => proof_of(remote).await,
                Err(error) => Err(error),
            };
            match proof {
                // libsql, which tries for a while, goes on with a token that has just been renewed.
                Ok(proof) => self.set_proof(proof),
                Err(error) => return error,
            }
            rest = INTERVAL;
        }
    }

    async fn take_turn(
        self: &Arc<Self>,
        asked: Instant,
        until: Option<Target>,
        proof: Proof,
    ) -> Result<Synced> {
        let mut turn = self.turn.lock().await;
        if self.is_ending.load(Ordering::SeqCst) {
            return Err(Error::closed());
        }
        if let Some((begun, index)) = turn.last
            && begun >= asked
            && until.is_none_or(|target| target.is_reached(self, index))
        {
            return Ok(Synced {
                index,
                ..Synced::default()
            });
        }
        self.set_proof(proof);
        let result = self.reach(&mut turn, until).await;
        self.is_sound.store(result.is_ok(), Ordering::Relaxed);
        let synced = result?;
        let mut status = self.status();
        status.index = synced.index;
        status.syncs += 1;
        status.frames += synced.frames;
        status.last = Some(SystemTime::now());
        status.last_error = None;
        Ok(synced)
    }

    /// Syncs until the file has a change.
    async fn reach(&self, turn: &mut Turn, until: Option<Target>) -> Result<Synced> {
        let patience = self.remote.options().request_timeout;
        let first = Instant::now();
        let mut frames = 0;
        loop {
            let begun = Instant::now();
            let synced = self.database.sync().await;
            let synced = synced
                .map_err(|error| Error::new(Kind::Sync, format!("the sync failed: {error}")))?;
            frames += u64::try_from(synced.frames_synced()).unwrap_or(0);
            let index = synced.frame_no();
            turn.last = Some((begun, index));
            let path = self.path.clone();
            let log = tokio::task::spawn_blocking(move || files::log_of(&path)).await;
            self.set_log(log.unwrap_or_default());
            if until.is_none_or(|target| target.is_reached(self, index)) {
                return Ok(Synced {
                    frames,
                    index,
                    ..Synced::default()
                });
            }
            if first.elapsed() > patience {
                let message = format!(
                    "the server did not have the change {} within {} s: it has {}",
                    until.map_or(0, |target| target.index),
                    patience.as_secs_f64(),
                    index.unwrap_or_default()
                );
                return Err(Error::new(Kind::Sync, message));
            }
            sleep(PAUSE).await;
        }
    }
}

/// The header that proves who we are, which may have to be asked for.
async fn proof_of(remote: &Remote) -> Result<Proof> {
    let header = remote.authorization().await.map_err(Error::from)?;
    Ok(header.and_then(|header| {
        let mut header = http_0::HeaderValue::from_bytes(header.as_bytes()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }))
}

/// Whether the server answers, and lets us in.
async fn probe(remote: &Arc<Remote>) -> Result<()> {
    let mut stream = remote.stream();
    let asked = stream.run(&[Request::GetAutocommit], Continuity::Any).await;
    let answered = asked.and_then(|mut answers| answers.pop().transpose());
    if answered.is_ok() {
        drop(stream.close().await);
    }
    answered.map(drop).map_err(Error::from)
}

/// The number of the last change of the database, if the server numbers them. A server that follows another one has that
/// one begin the transaction in which nothing is done, so that the number is that one's.
///
/// # Errors
/// `Auth`, `Connect` and `Timeout`.
pub async fn last_change(remote: &Arc<Remote>) -> Result<Option<u64>> {
    let mut stream = remote.stream();
    let requests = [
        Request::Execute(Statement::new("BEGIN").without_rows()),
        Request::Close,
    ];
    let answers = stream.run(&requests, Continuity::Any).await;
    match answers.map_err(Error::from)?.into_iter().next() {
        Some(Ok(Response::Execute(result))) => Ok(result.replication_index),
        Some(Err(error)) => Err(error.into()),
        _ => Ok(None),
    }
}
