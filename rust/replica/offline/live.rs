//! Live: the file of a replica that is written offline, while it is open.
//!
//! Owns its log, the note, the lock, and the order of syncs, one at a time.
//! Thread: the network runtime's; it is closed where its last owner lets go.
//! Invariant: no other process syncs the file while this lives, and no connection's close empties its log.
//! Must not know: connections.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::core::{
    self, Birth, Error, FrameLog, Kind, REPLICA_NOTE, Result, SyncStatus, Synced, code,
};
use crate::remote::{Messenger, Remote};

use super::super::files::{self, Lock, beside};
use super::super::live::{blocking, cut_off, lock};
use super::super::site::{Known, Opened};
use super::exchange::{Exchange, State};
use super::note::{Note, base_of, sync_folder};
use super::protocol::Server;

static KNOWN: Known<Live> = Mutex::new(Vec::new());

/// A file, open.
#[derive(Debug)]
pub struct Live {
    pub(super) remote: Arc<Remote>,
    pub(super) path: PathBuf,
    state: Mutex<State>,
    /// When the last sync began that succeeded.
    turn: tokio::sync::Mutex<Option<Instant>>,
    /// The process ends: no sync begins any more.
    is_ending: AtomicBool,
    status: Mutex<SyncStatus>,
    birth: Birth,
    /// Last: it goes when nothing writes any more.
    _lock: Lock,
}

/// Does something with the log, on a thread that may block.
pub(super) async fn on_log<T: Send + 'static>(
    live: &Arc<Live>,
    work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
) -> Result<T> {
    let live = Arc::clone(live);
    blocking(move || work(&mut lock(&live.state))).await
}

/// Whether there is nothing yet.
fn is_new(path: &Path) -> Result<bool> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    if beside(path, REPLICA_NOTE).exists() {
        let message = format!(
            "{} is a replica whose writes go to the server: with offline=True it needs a file of its own",
            path.display()
        );
        return Err(Error::operational(message));
    }
    let note = Note::read(path)?;
    if size(path) > 0 {
        if note.is_some() {
            return Ok(false);
        }
        let message = format!(
            "{} is a database, but no replica: sync_url needs a file that does not exist yet, or one that was \
             synced before",
            path.display()
        );
        return Err(Error::operational(message));
    }
    if size(&beside(path, "-wal")) > 0 || size(&beside(path, "-journal")) > 0 {
        let message = format!(
            "the replica {} is damaged: the database itself is gone, and its log is there",
            path.display()
        );
        return Err(Error::new(Kind::Sqlite(code::CORRUPT), message));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_write(path, &error)),
        _ => Ok(true),
    }
}

fn cannot_write(path: &Path, why: &std::io::Error) -> Error {
    Error::operational(format!("{} can't be written: {why}", path.display()))
}

/// Removes a draft of a database, with what belongs to it.
fn discard(draft: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(beside(draft, suffix));
    }
}

/// Gets the database with which the server's generation begins.
async fn begin(path: &Path, options: &core::Options, remote: &Arc<Remote>) -> Result<()> {
    let mut server = Server(Messenger::new(Arc::clone(remote)));
    let generation = server.generation().await?;
    let draft = beside(path, "-sync-new");
    // A process that was killed may have left one, whose log would be taken for that of the next.
    discard(&draft);
    let file = File::create(&draft).map_err(|error| cannot_write(&draft, &error))?;
    let mut file = BufWriter::new(file);
    let exported = server.export(generation, &mut file).await;
    let options = core::Options {
        filename: name_of(&draft)?,
        ..options.clone()
    };
    let path = path.to_owned();
    blocking(move || {
        let made = exported.and_then(|()| {
            let file = file
                .into_inner()
                .map_err(|error| cannot_write(&draft, error.error()))?;
            let size = file
                .metadata()
                .map_err(|error| cannot_write(&draft, &error))?
                .len();
            drop(file);
            check_export(&options, size)?;
            File::open(&draft)
                .and_then(|file| file.sync_all())
                .map_err(|error| cannot_write(&draft, &error))?;
            Note::beginning(generation, base_of(&draft)?).write(&path)?;
            fs::rename(&draft, &path)
                .and_then(|()| sync_folder(&path))
                .map_err(|error| cannot_write(&path, &error))
        });
        if made.is_err() {
            discard(&draft);
        }
        made
    })
    .await
}

/// Sees whether what came is a whole database, and gives it a log.
fn check_export(options: &core::Options, size: u64) -> Result<()> {
    let wrong = |why: &str| {
        let message = format!("the sync failed: the server's database can't be used: {why}");
        Err(Error::new(Kind::Sync, message))
    };
    match FrameLog::prepare(options) {
        Ok(pages) if size == 0 || size == pages => Ok(()),
        Ok(_) => wrong("it is cut off"),
        Err(error) => wrong(&error.message),
    }
}

fn name_of(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::programming("the path of a database can't contain a null character"))
}

impl Opened for Live {
    fn known() -> &'static Known<Self> {
        &KNOWN
    }

    fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Opens a file; gets it from the server if it is not there.
    ///
    /// # Errors
    /// Those of the file, and of the server.
    async fn open(path: &Path, options: &core::Options, remote: &Arc<Remote>) -> Result<Arc<Self>> {
        let (path, remote) = (path.to_owned(), Arc::clone(remote));
        let options = core::Options {
            filename: name_of(&path)?,
            uri: false,
            ..options.clone()
        };
        // A task of its own: an open that nobody waits for any more is not left half done.
        let opening = tokio::spawn(async move {
            let name = path.clone();
            let (lock, is_new) = blocking(move || {
                let lock = files::lock(&name)?;
                let is_new = is_new(&name)?;
                Ok((lock, is_new))
            })
            .await?;
            if is_new {
                begin(&path, &options, &remote).await?;
            }
            blocking(move || Self::make(path, &options, remote, lock)).await
        });
        opening.await.unwrap_or_else(|_| Err(cut_off()))
    }

    /// Nothing: opening has fetched it.
    async fn prepare(_: &Arc<Self>, _: &Arc<Remote>) -> Result<()> {
        Ok(())
    }
}

impl Live {
    fn make(
        path: PathBuf,
        options: &core::Options,
        remote: Arc<Remote>,
        lock: Lock,
    ) -> Result<Arc<Self>> {
        let note = Note::read(&path)?.ok_or_else(cut_off)?;
        let mut state = State {
            path: path.clone(),
            log: FrameLog::open(options)?,
            note,
            is_torn: false,
        };
        state.settle()?;
        let index = index_of(&state.note);
        Ok(Arc::new(Self {
            remote,
            path,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::default(),
            is_ending: AtomicBool::new(false),
            status: Mutex::new(SyncStatus {
                index,
                ..SyncStatus::default()
            }),
            birth: Birth::now(),
            _lock: lock,
        }))
    }

    /// Whether it belongs to a process that this one was forked from.
    pub fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }

    /// The process ends. A sync that runs may be cut off anywhere.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    /// How it stands.
    pub fn status(&self) -> MutexGuard<'_, SyncStatus> {
        lock(&self.status)
    }

    /// Brings the file and the server to the same.
    ///
    /// # Errors
    /// `Auth`, `Connect` and `Timeout` if the server can't be asked, else `Sync`; those of the file.
    pub async fn sync(self: &Arc<Self>) -> Result<Synced> {
        let asked = Instant::now();
        let this = Arc::clone(self);
        // Who waits for it may leave.
        let task = tokio::spawn(async move { this.take_turn(asked).await });
        task.await.unwrap_or_else(|_| Err(cut_off()))
    }

    async fn take_turn(self: &Arc<Self>, asked: Instant) -> Result<Synced> {
        let mut turn = self.turn.lock().await;
        if self.is_ending.load(Ordering::SeqCst) {
            return Err(Error::closed());
        }
        if turn.is_some_and(|begun| begun >= asked) {
            return Ok(Synced {
                index: self.status().index,
                ..Synced::default()
            });
        }
        let begun = Instant::now();
        let exchanged = Exchange::new(self).run().await;
        let index = on_log(self, |state| Ok(index_of(&state.note))).await?;
        let mut status = self.status();
        status.index = index;
        match exchanged {
            Ok(done) => {
                *turn = Some(begun);
                status.syncs += 1;
                status.frames += done.received;
                status.sent += done.sent;
                status.last = Some(SystemTime::now());
                status.last_error = None;
                Ok(Synced {
                    frames: done.received,
                    sent: done.sent,
                    index,
                })
            }
            Err(error) => {
                status.failures += 1;
                status.last_error = Some(error.message.clone());
                Err(error)
            }
        }
    }
}

fn index_of(note: &Note) -> Option<u64> {
    (note.frames > 0).then(|| note.frames.into())
}
