//! Service: what a connection does besides statements: callbacks, limits, switches, checkpoints, images, extensions.
//!
//! Owns the closed list of these requests, as owned data, and of what they answer. What SQLite is to call comes in
//! one that is a function, for only the layer above can make it.
//! Thread: the session's worker.
//! Invariant: a whole database is replaced only while nothing reads from it.
//! Must not know: Python.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::sqlite::{self, BackupStep, CheckpointMode, Checkpointed, Handle, Image, Switch, code};

use super::backup::{BackupName, BackupRequest, Handover};
use super::blob::{BlobName, BlobRequest, Places};
use super::busy::{Line, Wait, Waiter};
use super::command::{Outcome, Shared};
use super::error::{Error, Result};
use super::operation::Shield;
use super::options::TransactionMode;
use super::session::Session;

/// How often a watcher looks by itself, should it miss its call.
const WATCH: Duration = Duration::from_millis(20);

type Install = dyn FnOnce(&mut Handle) -> Result<()> + Send + Sync;

/// Gives the handle what SQLite is to call, or takes it away.
pub struct Setup(pub Box<Install>);

impl std::fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Setup")
    }
}

/// A request that is no statement.
#[derive(Debug)]
pub enum Service {
    /// Functions, collations, hooks.
    Configure(Setup),
    /// Reads a limit and, given a new value, sets it.
    Limit {
        category: i32,
        new: Option<i32>,
    },
    /// Reads a switch and, given a new value, sets it.
    Switch {
        switch: Switch,
        new: Option<bool>,
    },
    Checkpoint {
        schema: CString,
        mode: CheckpointMode,
    },
    Serialize {
        schema: CString,
    },
    Deserialize {
        schema: CString,
        image: Image,
    },
    LoadExtension {
        path: CString,
        entry_point: Option<CString>,
    },
    OpenBlob(BlobName, BlobRequest),
    ReadBlob(BlobName, Places),
    /// As many bytes as places.
    WriteBlob(BlobName, Places, Vec<u8>),
    CloseBlob(BlobName),
    /// The connection is about to be closed.
    CloseBlobs,
    /// Lends a handle of a pool, in this transaction mode.
    Acquire(TransactionMode),
    /// Gives it back; a transaction that is open is rolled back.
    Release,
    /// Closes a handle of a pool that is lent, until its borrower opens it again.
    Suspend,
    /// It will be copied: from here on it is not lent as the target of a backup.
    BeginBackup(BackupName),
    /// Its session goes to the worker of a backup's source, until the end.
    Lend(Arc<Handover>),
    StepBackup(BackupRequest),
    FinishBackup(BackupName),
    /// Also ends it.
    BackupImage(BackupName),
    /// Has its turn when a sync may begin: outside of a transaction that has begun to read or write.
    Rest,
    /// Brings a replica up to date, and at least so far.
    Sync {
        until: Option<u64>,
    },
    /// How a replica stands.
    SyncStatus,
}

/// What a sync came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Synced {
    /// Pages that were received, in all their versions.
    pub frames: u64,
    /// Those that were sent.
    pub sent: u64,
    /// The last change that the file has; `None`: there is none yet.
    pub index: Option<u64>,
}

/// How a replica stands, since its file was opened by this process.
#[derive(Debug, Clone, Default)]
pub struct SyncStatus {
    pub index: Option<u64>,
    pub syncs: u64,
    pub failures: u64,
    pub frames: u64,
    pub sent: u64,
    /// When the last one ended that did not fail.
    pub last: Option<SystemTime>,
    pub last_error: Option<String>,
}

/// What a service answers.
#[derive(Debug, Clone)]
pub enum Reply {
    Number(i64),
    Flag(bool),
    /// Whether somebody was in the way, and how far it came, if there is a log.
    Checkpoint(bool, Option<Checkpointed>),
    Image(Arc<Image>),
    /// Of a BLOB that was opened.
    Length(usize),
    Bytes(Arc<Vec<u8>>),
    Backup(BackupStep),
    Synced(Synced),
    SyncStatus(Box<SyncStatus>),
    /// What each statement of a batch came to.
    Batch(Arc<[Outcome]>),
}

impl Service {
    /// How far a cancellation may reach.
    pub const fn shield(&self) -> Shield {
        match self {
            Self::CloseBlob(_) | Self::CloseBlobs | Self::FinishBackup(_) | Self::Release => {
                Shield::Always
            }
            _ => Shield::None,
        }
    }

    /// What has to happen though its caller was told that it failed.
    pub const fn must_happen(&self) -> Option<Self> {
        match self {
            Self::CloseBlob(name) => Some(Self::CloseBlob(*name)),
            Self::Release => Some(Self::Release),
            Self::FinishBackup(name) => Some(Self::FinishBackup(*name)),
            _ => None,
        }
    }

    /// Whether it may carry changed modes.
    pub const fn is_heard(&self) -> bool {
        !matches!(
            self,
            Self::CloseBlob(_) | Self::FinishBackup(_) | Self::Release
        )
    }

    /// Whether it has to be part of the open transaction block or wait for its end.
    pub const fn is_gated(&self) -> bool {
        !matches!(
            self,
            Self::CloseBlob(_) | Self::CloseBlobs | Self::FinishBackup(_) | Self::Release
        )
    }

    /// The method that transaction blocks do not allow.
    pub const fn refused_in_blocks(&self) -> Option<&'static str> {
        match self {
            Self::Deserialize { .. } => Some("deserialize()"),
            Self::Lend(_) => Some("a connection as the target of backup()"),
            _ => None,
        }
    }
}

impl Session {
    pub(super) fn serve(&mut self, operation: &Shared, service: Service) -> Result<Outcome> {
        self.note_service(&service);
        let reply = match service {
            Service::Configure(setup) => {
                (setup.0)(&mut self.handle)?;
                None
            }
            Service::Limit { category, new } => Some(self.limit(category, new)?),
            Service::Switch { switch, new } => {
                let current = self.handle.switch(switch, new)?;
                if new.is_some_and(|new| new != current) {
                    return Err(Error::operational("Unable to set config"));
                }
                Some(Reply::Flag(current))
            }
            Service::Checkpoint { schema, mode } => {
                Some(self.checkpoint(operation, &schema, mode)?)
            }
            Service::Serialize { schema } => {
                let image = self.handle.serialize(&schema)?.ok_or_else(|| {
                    let name = schema.to_string_lossy();
                    Error::operational(format!("unable to serialize '{name}'"))
                })?;
                Some(Reply::Image(Arc::new(image)))
            }
            Service::Deserialize { schema, image } => {
                self.deserialize(operation, &schema, image)?;
                None
            }
            Service::LoadExtension { path, entry_point } => {
                self.handle.load_extension(&path, entry_point.as_deref())?;
                None
            }
            Service::OpenBlob(name, request) => Some(self.open_blob(operation, name, &request)?),
            Service::ReadBlob(name, places) => Some(self.read_blob(name, places)?),
            Service::WriteBlob(name, places, bytes) => {
                self.write_blob(name, places, &bytes)?;
                None
            }
            Service::CloseBlob(name) => {
                self.close_blob(name)?;
                None
            }
            Service::CloseBlobs => {
                self.close_blobs()?;
                None
            }
            Service::Acquire(mode) => {
                self.acquire(mode)?;
                None
            }
            Service::Release => {
                self.release()?;
                None
            }
            // The worker drops it.
            Service::Suspend => None,
            Service::Rest => {
                if !self.handle.is_autocommit() && self.handle.is_in_snapshot() {
                    return Err(Error::programming(
                        "sync() can't run inside a transaction: commit or roll back first",
                    ));
                }
                None
            }
            // A replica does it above.
            Service::Sync { .. } | Service::SyncStatus => return Err(Error::no_replica()),
            Service::BeginBackup(name) => {
                self.begin_backup(name)?;
                None
            }
            // The worker hands it over.
            Service::Lend(_) => {
                self.check_lending()?;
                None
            }
            Service::StepBackup(request) => Some(self.step_backup(operation, &request)?),
            Service::FinishBackup(name) => {
                self.finish_backup(name)?;
                None
            }
            Service::BackupImage(name) => Some(self.backup_image(name)?),
        };
        Ok(Outcome {
            reply,
            ..Outcome::default()
        })
    }

    pub(super) fn limit(&mut self, category: i32, new: Option<i32>) -> Result<Reply> {
        match self.handle.limit(category, new) {
            -1 => Err(Error::programming("'category' is out of bounds")),
            limit => Ok(Reply::Number(limit.into())),
        }
    }

    fn checkpoint(
        &mut self,
        operation: &Shared,
        schema: &std::ffi::CStr,
        mode: CheckpointMode,
    ) -> Result<Reply> {
        // A checkpoint never asks whether to go on, as statements do.
        let watch = |is_done: &dyn Fn() -> bool| {
            while !is_done() {
                if operation.stop().is_some() {
                    return true;
                }
                operation.sleep(WATCH);
            }
            false
        };
        let (is_busy, counted) = self.handle.interruptibly(
            watch,
            || operation.nudge(),
            |handle| handle.checkpoint_as(schema, mode),
        )?;
        if is_busy && operation.stop().is_some() {
            return Err(sqlite::Error::new(code::INTERRUPT, "interrupted").into());
        }
        Ok(Reply::Checkpoint(is_busy, counted))
    }

    /// Puts a database in memory in the place of another one. What was there before is closed.
    fn deserialize(
        &mut self,
        operation: &Shared,
        schema: &std::ffi::CStr,
        image: Image,
    ) -> Result<()> {
        let refuse = |why| {
            Err(Error::programming(format!(
                "deserialize() is not possible {why}"
            )))
        };
        self.check_transaction()?;
        if self.is_source() {
            return refuse("while backup() copies from this connection");
        }
        // SQLite would close the database under the feet of whoever reads from it.
        if self.handle.active_statements() > 0 {
            return refuse("while a cursor has unread rows or a blob is open: close it first");
        }
        if self.handle.is_in_snapshot() || !self.handle.is_autocommit() {
            if self.transaction.mode != TransactionMode::Always || self.handle.is_in_snapshot() {
                return refuse("inside a transaction: commit or roll back first");
            }
            // PEP 249's open transaction, in which nothing was done.
            self.run_sql("COMMIT")?;
            self.transaction.ended = true;
        }
        // They know the pages of the old database, and might not notice that there is another one.
        self.cache.clear(&mut self.handle);
        let replaced = self.handle.deserialize(schema, image);
        if replaced.is_ok() && schema == c"main" {
            self.leave_file(operation);
        }
        self.keep_transaction_open()?;
        Ok(replaced?)
    }

    /// The main database is in memory from now on: whatever was kept for its file goes.
    fn leave_file(&mut self, operation: &Shared) {
        self.forget_file();
        self.is_in_memory = true;
        let timeout = self.wait.timeout();
        self.wait.end(true);
        self.wait = Wait::new(Line::of(None), timeout);
        self.handle
            .set_busy_policy(Box::new(Waiter(Arc::clone(&self.wait))));
        self.wait.begin(operation);
    }
}
