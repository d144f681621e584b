//! What a session does for its files while nobody waits: checkpoints of write-ahead logs, and statistics for
//! the query planner when it is closed.
//!
//! Owns how far each log has grown, when its next checkpoint is due, and whom to blame for a log that can't be
//! emptied.
//! Thread: the session's worker, after the result of a command was delivered.
//! Invariant: waits for no lock, but for a time for the readers of a log that grew and grew; a failure is nobody's error and is tried again later.
//! Must not know: Python.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sqlite::{self, Handle, Prepared, Switch, WalLength};

use super::command::{Action, Execute};
use super::error::{Error, Kind, Result};
use super::notes::{Area, Severity};
use super::readers::{Presence, Reader};
use super::session::Session;
use super::status::Status;
use super::unheard;

/// Pages in a log that make a checkpoint due, idle or not; SQLite's own limit.
pub(super) const DUE: u32 = 1000;
/// What is enough when the connection is idle: the less there is to write, the shorter waits a command that comes
/// in the middle of it.
const DUE_WHEN_IDLE: u32 = DUE / 4;
/// From here on it tries to empty the log: 16 MiB, as pages usually are.
const LARGE: u32 = 4 * DUE;
/// From here on, and whenever it has doubled, the log is worth a wait: readers that overlap would keep it for ever,
/// although none of them stays.
const WORTH_A_WAIT: u32 = 2 * LARGE;
/// How long, for each page: some of the time that it took to write it.
const WAIT_PER_PAGE: Duration = Duration::from_micros(25);
/// Whatever its length, as who wants to write waits too.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How much a large log grows between two attempts to empty it.
const STEP: u32 = DUE / 4;
/// A connection without commands for so long is idle.
const IDLE: Duration = Duration::from_millis(5);
/// What `PRAGMA optimize` may take when a connection is closed.
const OPTIMIZE_LIMIT: Duration = Duration::from_millis(50);
/// Bytes of a log that are kept on the disk after a large transaction: the four times 16 MiB that a log has
/// only when something is wrong.
const KEPT_BYTES: u32 = 64 << 20;
/// Characters of a statement in a warning.
const SHOWN: usize = 200;

/// Whether a PRAGMA neither ends the log nor keeps others from it.
fn leaves_log(name: &[u8], has_argument: bool) -> bool {
    let ends: [&[u8]; 2] = [b"journal_mode", b"locking_mode"];
    !has_argument || !ends.iter().any(|end| end.eq_ignore_ascii_case(name))
}

/// What a session keeps in mind for it.
#[derive(Debug)]
pub(super) struct Maintenance {
    /// `None`: a database in memory, of which no care has to be taken.
    file: Option<File>,
    /// The log of the main database is not ours, and nothing is written that nobody asked for.
    keeps_log: bool,
    /// Something was run that may have changed what the planner should know.
    is_used: bool,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    presence: Presence,
    logs: Vec<Log>,
    /// A checkpoint was tried since the last command.
    is_tried: bool,
    /// The command that runs, if it has an SQL text.
    sql: Option<Arc<str>>,
    suspect: Option<Suspect>,
    /// Pages in the log when a reader was last named; the next one is when they have doubled.
    named_at: u32,
    warning: Option<String>,
}

#[derive(Debug)]
struct Log {
    schema: CString,
    pages: u32,
    /// How long it was at the last checkpoint.
    checkpointed: u32,
    /// How long it was when readers were waited for in vain.
    waited: u32,
}

/// A reader that was there when a large log could not be emptied.
#[derive(Debug)]
struct Suspect {
    id: u64,
    pages: u32,
    is_named: bool,
}

impl Maintenance {
    /// Takes SQLite's checkpoints over. The user's pragmas come after it, and win.
    pub(super) fn new(handle: &mut Handle, path: Option<PathBuf>, keeps_log: bool) -> Self {
        if keeps_log {
            // Only a handle that is not open refuses.
            let _ = handle.switch(Switch::keeps_log(), Some(true));
        }
        let file = path.map(|path| {
            handle.watch_wals();
            File {
                presence: Presence::new(&path),
                path,
                logs: Vec::new(),
                is_tried: false,
                sql: None,
                suspect: None,
                named_at: 0,
                warning: None,
            }
        });
        Self {
            file,
            keeps_log,
            is_used: false,
        }
    }
}

impl Log {
    fn has_grown_by(&self, pages: u32) -> bool {
        self.pages.saturating_sub(self.checkpointed) >= pages
    }

    fn begins_anew(&mut self) {
        (self.pages, self.checkpointed, self.waited) = (0, 0, 0);
    }

    /// How long the readers of a large log are waited for now.
    fn patience(&mut self) -> Duration {
        if self.pages < WORTH_A_WAIT.max(self.waited.saturating_mul(2)) {
            return Duration::ZERO;
        }
        self.waited = self.pages;
        WAIT_PER_PAGE.saturating_mul(self.pages).min(LONGEST_WAIT)
    }
}

impl File {
    fn note(&mut self, length: WalLength, keeps_log: bool) {
        if keeps_log && length.schema.as_c_str() == c"main" {
            return;
        }
        let known = self.logs.iter_mut().find(|log| log.schema == length.schema);
        match known {
            Some(log) => {
                if length.pages < log.pages {
                    log.begins_anew();
                }
                log.pages = length.pages;
            }
            None => self.logs.push(Log {
                schema: length.schema,
                pages: length.pages,
                checkpointed: 0,
                waited: 0,
            }),
        }
    }

    fn is_due(&self, pages: u32) -> bool {
        self.logs.iter().any(|log| log.has_grown_by(pages))
    }

    /// Somebody keeps a large log from being emptied; says who, once it is sure that it was no passing reader.
    fn blame(&mut self, pages: u32) -> Option<String> {
        let reader = self.presence.oldest()?;
        let suspect = self
            .suspect
            .take_if(|suspect| suspect.id == reader.id)
            .unwrap_or(Suspect {
                id: reader.id,
                pages,
                is_named: false,
            });
        let is_sure = pages >= suspect.pages.saturating_add(STEP);
        let names = is_sure && !suspect.is_named && pages / 2 >= self.named_at;
        if names {
            self.named_at = pages;
        }
        self.suspect = Some(Suspect {
            is_named: suspect.is_named || names,
            ..suspect
        });
        names.then(|| describe(&self.path.to_string_lossy(), pages, &reader))
    }
}

fn describe(path: &str, pages: u32, reader: &Reader) -> String {
    let mut sql: String = reader.sql.chars().take(SHOWN).collect();
    if sql.len() < reader.sql.len() {
        sql.push('…');
    }
    let words = reader.sql.to_ascii_lowercase();
    if words.contains("attach") || words.contains("pragma") {
        sql = String::from("(not shown, for it may hold an encryption key)");
    }
    let age = reader.since.elapsed().as_secs_f64();
    format!(
        "the write-ahead log of '{path}' has grown to {pages} pages: it can't be emptied, because what this \
         statement reads, or the transaction that it is in, has been open for {age:.1} s: {sql}"
    )
}

impl Session {
    /// A command is about to run.
    pub(super) fn note_command(&mut self, action: &Action) {
        let (Action::Execute(Execute { sql, .. })
        | Action::ExecuteMany { sql, .. }
        | Action::ExecuteScript(sql)) = action
        else {
            return;
        };
        self.maintenance.is_used = true;
        if let Some(file) = &mut self.maintenance.file {
            file.sql = Some(Arc::clone(sql));
        }
    }

    /// A command has run: looks at what it did to the logs, and whether it left a snapshot open.
    pub(super) fn note_logs(&mut self) {
        let Some(file) = &mut self.maintenance.file else {
            return;
        };
        let keeps_log = self.maintenance.keeps_log;
        self.handle
            .take_wal_lengths(|length| file.note(length, keeps_log));
        file.is_tried = false;
        let sql = file.sql.take();
        file.presence.set(self.handle.is_in_snapshot(), sql);
    }

    /// A query has run without a command: whether it left a snapshot open.
    pub(super) fn note_snapshot(&mut self, sql: &Arc<str>) {
        if let Some(file) = &mut self.maintenance.file {
            let sql = Some(Arc::clone(sql));
            file.presence.set(self.handle.is_in_snapshot(), sql);
        }
    }

    /// How long no command must come before maintenance begins; `None`: there is nothing to do.
    pub(super) fn rest(&self) -> Option<Duration> {
        let file = self.maintenance.file.as_ref()?;
        (!file.is_tried && file.is_due(DUE_WHEN_IDLE)).then_some(IDLE)
    }

    /// Makes the checkpoints that can't wait until the connection is idle.
    pub(super) fn maintain_overdue(&mut self) {
        let keeps_log = self.maintenance.keeps_log;
        if let Some(file) = &mut self.maintenance.file {
            self.handle
                .take_wal_lengths(|length| file.note(length, keeps_log));
            if file.is_due(DUE) {
                self.maintain();
            }
        }
    }

    /// Hands on what was found that an operator should know.
    pub(super) fn publish_warning(&mut self, status: &Status) {
        let file = self.maintenance.file.as_mut();
        if let Some(warning) = file.and_then(|file| file.warning.take()) {
            status.notes().add(Area::File, Severity::Warning, warning);
        }
    }

    /// Compiles a statement, unless it is a PRAGMA that would take the log away from whoever keeps it. SQLite runs some
    /// of those when they are compiled.
    pub(super) fn compile(&mut self, sql: &str, persistent: bool) -> Result<Prepared> {
        if !self.maintenance.keeps_log {
            return Ok(self.handle.prepare(sql, persistent)?);
        }
        self.handle.guard_pragmas(Some(leaves_log));
        let prepared = self.handle.prepare(sql, persistent);
        if self.handle.guard_pragmas(None) {
            let message = "PRAGMA journal_mode and locking_mode can't be set for replicas that are written offline: their \
                           changes wait in the write-ahead log until they are sent";
            return Err(Error::new(Kind::NotSupported, message));
        }
        Ok(prepared?)
    }

    /// The file is not this connection's any more.
    pub(super) fn forget_file(&mut self) {
        self.maintenance.file = None;
    }

    /// Makes the checkpoints that are due when the connection is idle.
    pub(super) fn maintain(&mut self) {
        // The caller of the COMMIT that made it due hears of that first.
        unheard::wake_all();
        let Some(file) = &mut self.maintenance.file else {
            return;
        };
        file.is_tried = true;
        if !self.handle.is_watching_wals() {
            // The user has set `PRAGMA wal_autocheckpoint`.
            file.logs.clear();
            return;
        }
        let mut blocked = None;
        file.logs.retain_mut(|log| {
            if !log.has_grown_by(DUE_WHEN_IDLE) {
                return true;
            }
            match self.handle.checkpoint(&log.schema) {
                Ok(_) => log.checkpointed = log.pages,
                // It was detached.
                Err(error) if error.primary() == sqlite::code::ERROR => return false,
                Err(_) => {}
            }
            if log.pages >= LARGE {
                let patience = log.patience();
                if self.handle.truncate_wal(&log.schema, patience).is_ok() {
                    log.begins_anew();
                } else if log.schema.as_c_str() == c"main" {
                    blocked = Some(log.pages);
                }
            }
            true
        });
        if let Some(pages) = blocked {
            file.warning = file.blame(pages).or(file.warning.take());
        } else {
            (file.suspect, file.named_at) = (None, 0);
        }
    }

    /// Keeps a log that was large once from filling the disk for ever.
    pub(super) fn limit_journal(&mut self) -> Result<()> {
        if self.maintenance.file.is_none() {
            return Ok(());
        }
        self.run_sql(&format!("PRAGMA journal_size_limit={KEPT_BYTES}"))
    }

    /// Gathers statistics where SQLite finds that the planner lacks them.
    pub(super) fn optimize(&mut self) {
        let has_reason = self.maintenance.file.is_some()
            && !self.maintenance.keeps_log
            && self.maintenance.is_used
            && self.handle.has_read()
            && self.handle.is_autocommit()
            && !self.handle.is_in_snapshot()
            && self.handle.is_readonly_database() == Some(false);
        if !has_reason {
            return;
        }
        let end = Instant::now() + OPTIMIZE_LIMIT;
        self.handle.set_stop(Some(Arc::new(Deadline(end))));
        let prepared = self.handle.impatiently(|handle| {
            let Some(id) = handle.prepare("PRAGMA main.optimize", false)?.id else {
                return Ok(());
            };
            let mut stepped = Ok(true);
            while let Ok(true) = stepped {
                stepped = handle.statement(id).step();
            }
            handle.finalize(id);
            stepped.map(drop)
        });
        // Locked, out of time, out of disk: the next close tries again.
        drop::<std::result::Result<(), sqlite::Error>>(prepared);
        self.handle.set_stop(None);
    }
}

/// Stops a statement that takes too long.
struct Deadline(Instant);

impl sqlite::Stop for Deadline {
    fn stop_requested(&self) -> bool {
        Instant::now() >= self.0
    }
}
