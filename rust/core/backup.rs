//! Backup: a database that is copied page by page into another connection, or into memory.
//!
//! Owns how the target's session comes to the worker of the source and back: the target lends it, the source keeps it
//! from the first step to the end, and whoever drops it gives it back. No thread waits for another one meanwhile.
//! Threads: a handover any; the rest the worker of the source, or of the target where it says so.
//! Invariant: a session that is a source is never lent, so no two backups can wait for each other.
//! Must not know: Python, who asks for steps, progress.

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::sqlite::{self, BackupId, BackupTarget, Handle, OpenOptions, code};

use super::command::Shared;
use super::error::{Error, Result};
use super::service::Reply;
use super::session::Session;
use super::worker::Local;

/// The name of a backup; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackupName(u64);

impl BackupName {
    #[allow(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a step is to do.
#[derive(Debug)]
pub struct BackupRequest {
    pub name: BackupName,
    /// Of the database to be copied.
    pub schema: CString,
    pub handover: Arc<Handover>,
    /// `None`: all of them.
    pub pages: Option<u32>,
}

/// Where the target is between its own worker and that of the source.
pub struct Handover {
    /// Whose session is wanted; `None`: a database in memory.
    owner: Option<Arc<Local>>,
    place: Mutex<Place>,
}

enum Place {
    Empty,
    Here(Box<dyn BackupTarget>),
    /// Nobody wants it any more.
    Closed,
}

impl Handover {
    /// For the session of a connection.
    pub fn of(owner: Arc<Local>) -> Arc<Self> {
        Arc::new(Self {
            owner: Some(owner),
            place: Mutex::new(Place::Empty),
        })
    }

    /// For a database in memory that nobody else has.
    ///
    /// # Errors
    /// SQLite's.
    pub fn in_memory() -> Result<Arc<Self>> {
        let options = OpenOptions {
            filename: c":memory:".into(),
            read_only: false,
            create: true,
            syncs: false,
            uri: false,
            key: None,
        };
        let target = InMemory(Handle::open(&options)?);
        Ok(Arc::new(Self {
            owner: None,
            place: Mutex::new(Place::Here(Box::new(target))),
        }))
    }

    /// On the target's worker: hands its session over, or gives it back if nobody wants it any more.
    pub(super) fn put(&self, session: Box<Session>) -> Option<Box<Session>> {
        let mut place = self.lock();
        match (&*place, &self.owner) {
            (Place::Empty, Some(owner)) => {
                *place = Place::Here(Box::new(Loan {
                    owner: Arc::clone(owner),
                    session: Some(session),
                }));
                None
            }
            _ => Some(session),
        }
    }

    fn take(&self) -> Option<Box<dyn BackupTarget>> {
        match std::mem::replace(&mut *self.lock(), Place::Closed) {
            Place::Here(target) => Some(target),
            Place::Empty | Place::Closed => None,
        }
    }

    /// Nobody wants it any more: what is here goes back, and what would come stays where it is.
    pub fn close(&self) {
        drop(self.take());
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Handover {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Handover")
    }
}

/// A session that is lent.
struct Loan {
    owner: Arc<Local>,
    /// Until it is given back.
    session: Option<Box<Session>>,
}

impl BackupTarget for Loan {
    fn handle(&mut self) -> &mut Handle {
        match &mut self.session {
            Some(session) => &mut session.handle,
            None => unreachable!("only its end takes it"),
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if self.owner.is_inherited() {
            // To close it would touch files and locks that are the parent's.
            std::mem::forget(session);
        } else {
            self.owner.take_back(session);
        }
    }
}

struct InMemory(Handle);

impl BackupTarget for InMemory {
    fn handle(&mut self) -> &mut Handle {
        &mut self.0
    }
}

/// A backup of which this session is the source.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// From the first step on.
    id: Option<BackupId>,
    /// Since when somebody's lock is in its way.
    busy_since: Option<Instant>,
    /// Whose backup it is.
    guest: u64,
}

impl Session {
    /// From here on it is the source of a backup.
    pub(super) fn begin_backup(&mut self, name: BackupName) -> Result<()> {
        self.check_transaction()?;
        let outgoing = Outgoing {
            guest: self.company.current,
            ..Outgoing::default()
        };
        self.backups.insert(name, outgoing);
        Ok(())
    }

    /// On the target's worker: whether it may be lent.
    pub(super) fn check_lending(&mut self) -> Result<()> {
        self.check_transaction()?;
        if !self.backups.is_empty() {
            let message = "destination database is in use: it is the source of another backup";
            return Err(sqlite::Error::new(code::ERROR, message).into());
        }
        Ok(())
    }

    /// Whether a database may be put in the place of one of this handle's, or its pages be rewritten.
    pub(super) fn is_source(&self) -> bool {
        !self.backups.is_empty()
    }

    pub(super) fn step_backup(
        &mut self,
        operation: &Shared,
        request: &BackupRequest,
    ) -> Result<Reply> {
        if self.handle.holds_write_lock() && !self.nest.is_empty() {
            return Err(Error::programming(
                "backup() can't copy what a transaction block has not committed: leave the block first",
            ));
        }
        let ended = || Error::programming("the backup has ended");
        let outgoing = self.backups.get_mut(&request.name).ok_or_else(ended)?;
        let id = if let Some(id) = outgoing.id {
            id
        } else {
            let target = request.handover.take().ok_or_else(ended)?;
            let id = self.handle.start_backup(&request.schema, target)?;
            *outgoing.id.insert(id)
        };
        let must_end = || operation.stop().is_some();
        let step = self.handle.step_backup(id, request.pages, must_end)?;
        if step.code == code::OK && must_end() {
            return Err(sqlite::Error::new(code::INTERRUPT, "interrupted").into());
        }
        if matches!(step.code & 0xff, code::BUSY | code::LOCKED) {
            let since = *outgoing.busy_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.wait.timeout() {
                return Err(sqlite::Error::of_code(step.code).into());
            }
        } else {
            outgoing.busy_since = None;
        }
        Ok(Reply::Backup(step))
    }

    /// Ends a backup; does nothing if it has ended, or never began.
    pub(super) fn finish_backup(&mut self, name: BackupName) -> Result<()> {
        self.end_backup(name).map(drop)
    }

    /// Ends a backup into memory, and takes out what it has copied.
    pub(super) fn backup_image(&mut self, name: BackupName) -> Result<Reply> {
        let target = self.end_backup(name)?;
        let mut target = target.ok_or_else(|| Error::programming("the backup has ended"))?;
        let image = target.handle().serialize(c"main")?;
        let mut image = image.ok_or_else(|| Error::operational("unable to serialize 'main'"))?;
        image.leave_wal_mode();
        Ok(Reply::Image(Arc::new(image)))
    }

    /// Ends those of a guest.
    pub(super) fn end_backups_of(&mut self, guest: u64) -> Result<()> {
        let mine = self
            .backups
            .iter()
            .filter(|(_, outgoing)| outgoing.guest == guest);
        let mine: Vec<BackupName> = mine.map(|(name, _)| *name).collect();
        let mut ended = Ok(());
        for name in mine {
            ended = ended.and(self.finish_backup(name));
        }
        ended
    }

    fn end_backup(&mut self, name: BackupName) -> Result<Option<Box<dyn BackupTarget>>> {
        match self.backups.remove(&name).and_then(|outgoing| outgoing.id) {
            Some(id) => Ok(self.handle.finish_backup(id)?),
            None => Ok(None),
        }
    }
}
