//! Live: a replica's file while it is open, with what syncs it.
//!
//! Owns libsql's database object, which writes the file and is used for that alone, the lock, and the handle that tells
//! where statements belong.
//! Thread: the network runtime's; it is closed where its last owner lets go.
//! Invariant: no other process syncs the file while this lives.
//! Must not know: connections.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_0::{HeaderValue, Request};
use libsql::{Builder, Cipher, Database, EncryptionConfig, SyncProtocol};
use tokio::task::spawn_blocking;

use crate::core::{self, Birth, Error, Place, Replacements, Result, Sorter, SyncStatus};
use crate::remote::Remote;

use super::connector::Connector;
use super::files::{self, Lock};
use super::site::{Known, Opened};
use super::sync::Turn;

/// So long the end of the process waits for a sync, and looks so often.
const FAREWELL: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(2);

/// What libsql sends along with each request, instead of the token that it was built with.
type Proof = Arc<Mutex<Option<HeaderValue>>>;

/// A replica's file, open.
pub struct Live {
    /// Where its sockets go, and how long they wait; what is said on them is up to whoever syncs.
    pub(super) remote: Arc<Remote>,
    pub(super) database: Database,
    proof: Proof,
    pub(super) turn: tokio::sync::Mutex<Turn>,
    /// The last sync succeeded.
    pub(super) is_sound: AtomicBool,
    /// The process ends: no sync begins any more.
    pub(super) is_ending: AtomicBool,
    pub(super) path: PathBuf,
    log: Mutex<Option<[u8; 16]>>,
    replacements: Replacements,
    status: Mutex<SyncStatus>,
    sorter: Mutex<Sorter>,
    birth: Birth,
    /// Last: it goes when nothing writes any more.
    _lock: Lock,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Live")
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static KNOWN: Known<Live> = Mutex::new(Vec::new());

impl Opened for Live {
    fn known() -> &'static Known<Self> {
        &KNOWN
    }

    fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Opens a file.
    ///
    /// # Errors
    /// Those of the file.
    async fn open(path: &Path, options: &core::Options, remote: &Arc<Remote>) -> Result<Arc<Self>> {
        let (path, options, remote) = (path.to_owned(), options.clone(), Arc::clone(remote));
        // A task of its own: an open that nobody waits for any more is not left half done.
        let opening = tokio::spawn(async move { Self::make(&path, options, remote).await });
        let made = opening.await.unwrap_or_else(|_| Err(cut_off()));
        made.map(Arc::new)
    }

    /// Syncs it if it was never synced before.
    async fn prepare(live: &Arc<Self>, remote: &Arc<Remote>) -> Result<()> {
        let is_new = live.status().index.is_none();
        if is_new {
            live.sync(remote, None).await?;
        }
        Ok(())
    }
}

impl Live {
    async fn make(path: &Path, options: core::Options, remote: Arc<Remote>) -> Result<Self> {
        let name = path.to_owned();
        let key = options.key.get();
        let is_encrypted = key.is_some();
        let before = options.clone();
        let replacements = options.replacements.clone();
        let lock = blocking(move || {
            let lock = files::lock(&name)?;
            files::check(&name, is_encrypted)?;
            if std::fs::metadata(&name).is_ok_and(|found| found.len() > 0) {
                // A wrong key is told before libsql writes with it.
                Sorter::open(&before)?;
            }
            Ok(lock)
        })
        .await?;
        let target = &remote.options().target;
        let scheme = if target.tls { "https" } else { "http" };
        let authority = target.authority.to_str().unwrap_or_default();
        let url = format!("{scheme}://{authority}{}", target.path);
        let proof = Proof::default();
        let sent = Arc::clone(&proof);
        let mut builder = Builder::new_remote_replica(path, url, String::new())
            .sync_protocol(SyncProtocol::V1)
            .read_your_writes(false)
            .connector(Connector(Arc::clone(&remote)))
            .http_request_callback(move |request| prove(&sent, request));
        if let Some(key) = key {
            let key = bytes::Bytes::copy_from_slice(key.as_bytes());
            builder = builder.encryption_config(EncryptionConfig::new(Cipher::Aes256Cbc, key));
        }
        let database = builder.build().await.map_err(|error| {
            Error::operational(format!(
                "unable to open the replica {}: {error}",
                path.display()
            ))
        })?;
        let index = database.replication_index().await;
        let index = index.map_err(|error| Error::operational(error.to_string()))?;
        let sorter = blocking(move || Sorter::open(&options)).await?;
        Ok(Self {
            remote,
            database,
            proof,
            turn: tokio::sync::Mutex::default(),
            is_sound: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            path: path.to_owned(),
            log: Mutex::new(files::log_of(path)),
            replacements,
            status: Mutex::new(SyncStatus {
                index,
                ..SyncStatus::default()
            }),
            sorter: Mutex::new(sorter),
            birth: Birth::now(),
            _lock: lock,
        })
    }

    /// Whether it belongs to a process that this one was forked from.
    pub fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }

    /// Which log of the server the file followed when it was synced last.
    pub fn log(&self) -> Option<[u8; 16]> {
        *lock(&self.log)
    }

    pub(super) fn set_log(&self, log: Option<[u8; 16]>) {
        let before = std::mem::replace(&mut *lock(&self.log), log);
        if before != log {
            self.replacements.note();
        }
    }

    /// From now on libsql proves with this who it is.
    pub(super) fn set_proof(&self, proof: Option<HeaderValue>) {
        *lock(&self.proof) = proof;
    }

    /// The process ends: waits for the sync that runs, for libsql panics if its threads are taken away.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        let until = Instant::now() + FAREWELL;
        while self.turn.try_lock().is_err() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }

    /// How it stands.
    pub fn status(&self) -> MutexGuard<'_, SyncStatus> {
        lock(&self.status)
    }

    /// Where a statement belongs; `None`: the file can't tell.
    pub async fn place(self: &Arc<Self>, sql: Arc<str>) -> Option<Place> {
        let this = Arc::clone(self);
        blocking(move || Ok(lock(&this.sorter).place(&sql)))
            .await
            .ok()
            .flatten()
    }
}

fn prove(proof: &Proof, request: &mut Request<()>) {
    const NAME: &str = "x-authorization";
    match &*lock(proof) {
        Some(proof) => request.headers_mut().insert(NAME, proof.clone()),
        None => request.headers_mut().remove(NAME),
    };
}

/// Runs what may block on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(cut_off()))
}

/// The runtime has ended, or there was a panic.
pub(super) fn cut_off() -> Error {
    Error::internal("the work on a replica was cut off")
}
