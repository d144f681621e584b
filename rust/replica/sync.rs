//! Sync: bringing a replica up to date.
//!
//! Owns the order of syncs, one at a time, and what their errors mean. libsql tells a refused token, a certificate that
//! is not trusted and a dead server alike, after three seconds: a request of our own tells them apart, and at once.
//! Thread: the network runtime's.
//! Invariant: a sync that has begun is never dropped, for libsql would skip the frames that it had received and not
//! applied. Who waits for it may leave; every wait of it for the network has an end.
//! Must not know: connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::core::{Error, Kind, Result, Synced};
use crate::remote::{Continuity, Request};

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
    fn is_reached(self, live: &Live, index: Option<u64>) -> bool {
        index >= Some(self.index) || self.log.is_some() && self.log != live.log()
    }
}

/// Whose turn it is, and what came of the last one.
#[derive(Debug, Default)]
pub struct Turn {
    last: Option<(Instant, Option<u64>)>,
    /// The last one succeeded.
    is_sound: bool,
}

impl Live {
    /// Brings the file up to date, and at least as far as a change.
    ///
    /// # Errors
    /// `Auth`, `Connect` and `Timeout` if the server can't be asked, else `Sync`.
    pub async fn sync(self: &Arc<Self>, until: Option<Target>) -> Result<Synced> {
        let asked = Instant::now();
        let this = Arc::clone(self);
        let mut task = tokio::spawn(async move { this.take_turn(asked, until).await });
        let result = tokio::select! {
            biased;
            result = &mut task => result.unwrap_or_else(|_| Err(cut_off())),
            error = self.alarm() => Err(error),
        };
        if let Err(error) = &result {
            let mut status = self.status();
            status.failures += 1;
            status.last_error = Some(error.message.clone());
        }
        result
    }

    /// Ends when the server can't be asked.
    async fn alarm(&self) -> Error {
        let mut rest = SUSPICION;
        loop {
            sleep(rest).await;
            if let Err(error) = self.probe().await {
                return error;
            }
            rest = INTERVAL;
        }
    }

    /// Whether the server answers, and lets us in.
    async fn probe(&self) -> Result<()> {
        let mut stream = self.remote.stream();
        let asked = stream.run(&[Request::GetAutocommit], Continuity::Any).await;
        let answered = asked.and_then(|mut answers| answers.pop().transpose());
        if answered.is_ok() {
            drop(stream.close().await);
        }
        answered.map(drop).map_err(Error::from)
    }

    async fn take_turn(self: &Arc<Self>, asked: Instant, until: Option<Target>) -> Result<Synced> {
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
        if !turn.is_sound {
            self.probe().await?;
        }
        turn.is_sound = false;
        let synced = self.reach(&mut turn, until).await?;
        turn.is_sound = true;
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
            let header = self.remote.authorization().await.map_err(Error::from)?;
            let header = header.and_then(|header| {
                let mut header = http_0::HeaderValue::from_bytes(header.as_bytes()).ok()?;
                header.set_sensitive(true);
                Some(header)
            });
            *self
                .proof
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = header;
            let synced = match self.database.sync().await {
                Ok(synced) => synced,
                Err(error) => {
                    self.probe().await?;
                    return Err(Error::new(Kind::Sync, format!("the sync failed: {error}")));
                }
            };
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
