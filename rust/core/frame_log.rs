//! Frame log: the write-ahead log of a file, kept frame by frame for somebody who copies it elsewhere.
//!
//! Owns two handles. One holds a snapshot for as long as this lives: so no writer begins the log anew, and no checkpoint
//! or close of any connection, of this process or another, empties it. The other reads frames and puts in those of others.
//! Thread: one at a time, that may block.
//! Invariant: a frame that is committed stays where it is until `restart`.
//! Must not know: servers, Python.

use std::result::Result as Made;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::{Error, Kind, Result};
use super::options::Options;
use crate::sqlite::{
    self, BusyPolicy, CheckpointMode, FRAME_HEADER, Handle, OpenOptions, Switch, ValueRef, code,
};

/// How often a lock is asked for that somebody else has.
const LOOK: Duration = Duration::from_millis(2);

/// What tells a frame from any other one of the file: its salts and sums, which follow from all frames before it.
pub type Mark = u128;

/// The log of a file.
#[derive(Debug)]
pub struct FrameLog {
    handle: Handle,
    keeper: Handle,
    /// Bytes of a frame.
    size: usize,
    patience: Duration,
}

/// Waits for locks of others.
struct Patient {
    since: Instant,
    patience: Duration,
}

impl BusyPolicy for Patient {
    fn on_busy(&mut self, attempts: u32, _holds_write_lock: bool) -> bool {
        if attempts == 0 {
            self.since = Instant::now();
        }
        sleep(LOOK);
        self.since.elapsed() < self.patience
    }
}

/// The first value that a statement gives.
fn ask(handle: &mut Handle, sql: &str) -> Made<Option<String>, sqlite::Error> {
    let Some(id) = handle.prepare(sql, false)?.id else {
        return Ok(None);
    };
    let mut statement = handle.statement(id);
    let answer = statement.step().and_then(|has_row| {
        if !has_row {
            return Ok(None);
        }
        Ok(match statement.column(0)? {
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        })
    });
    handle.finalize(id);
    answer
}

fn open(options: &Options, patience: Duration) -> Result<Handle> {
    let how = OpenOptions {
        filename: options.filename.clone(),
        read_only: false,
        create: false,
        syncs: true,
        uri: false,
        key: None,
    };
    let named = |error: sqlite::Error| {
        let message = if error.primary() == code::NOTADB {
            "file is not a database"
        } else {
            &error.message
        };
        let message = format!("{message}: {}", options.filename.to_string_lossy());
        Error::from(sqlite::Error::new(error.code, message))
    };
    let mut handle = Handle::open(&how).map_err(named)?;
    handle.set_busy_policy(Box::new(Patient {
        since: Instant::now(),
        patience,
    }));
    handle.check_readable(&how).map_err(named)?;
    Ok(handle)
}

fn keep(keeper: &mut Handle) -> Result<()> {
    ask(keeper, "BEGIN")?;
    ask(keeper, "SELECT count(*) FROM sqlite_schema")?;
    Ok(())
}

impl FrameLog {
    /// Makes a database that nobody has open one with a log, which is empty then. How many bytes it should have.
    ///
    /// # Errors
    /// SQLite's, also for what is no database.
    pub fn prepare(options: &Options) -> Result<u64> {
        let mut handle = open(options, options.timeout)?;
        let mode = ask(&mut handle, "PRAGMA journal_mode=WAL")?;
        if mode.as_deref() != Some("wal") {
            return Err(Error::operational("the file can't have a write-ahead log"));
        }
        ask(&mut handle, "PRAGMA wal_checkpoint(TRUNCATE)")?;
        let mut number = |sql| {
            let answer = ask(&mut handle, sql)?;
            Ok::<_, Error>(
                answer
                    .and_then(|text| text.parse::<u64>().ok())
                    .unwrap_or(0),
            )
        };
        let bytes = number("PRAGMA page_count")? * number("PRAGMA page_size")?;
        handle.close()?;
        Ok(bytes)
    }

    /// Opens the log of a file, and keeps it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(options: &Options) -> Result<Self> {
        let patience = options.timeout;
        let mut handle = open(options, patience)?;
        handle.switch(Switch::keeps_log(), Some(true))?;
        let mode = ask(&mut handle, "PRAGMA journal_mode=WAL")?;
        if mode.as_deref() != Some("wal") {
            return Err(Error::operational("the file has no write-ahead log"));
        }
        let page = ask(&mut handle, "PRAGMA page_size")?;
        let page = page.and_then(|page| page.parse::<usize>().ok());
        let mut keeper = open(options, patience)?;
        keeper.switch(Switch::keeps_log(), Some(true))?;
        keep(&mut keeper)?;
        Ok(Self {
            handle,
            keeper,
            size: FRAME_HEADER + page.unwrap_or(4096),
            patience,
        })
    }

    /// Bytes of a frame.
    pub const fn frame_size(&self) -> usize {
        self.size
    }

    /// Frames that are committed. Waits for the end of a write transaction.
    ///
    /// # Errors
    /// `Sync`, if somebody writes for too long; SQLite's.
    pub fn count(&mut self) -> Result<u32> {
        let patience = self.patience;
        let handle = &mut self.handle;
        ask(handle, "BEGIN")?;
        let counted = ask(handle, "SELECT count(*) FROM sqlite_schema").and_then(|_| {
            let since = Instant::now();
            unlocked(since, patience, || handle.frame_count())
        });
        ask(handle, "COMMIT")?;
        counted.map_err(told)
    }

    /// Reads frames that are committed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read(&mut self, first: u32, amount: u32) -> Result<Vec<u8>> {
        let mut frames = vec![0; self.size * amount as usize];
        for (number, frame) in (first..).zip(frames.chunks_exact_mut(self.size)) {
            self.handle.read_frame(number, frame)?;
        }
        Ok(frames)
    }

    /// What tells this frame from others.
    ///
    /// # Errors
    /// SQLite's.
    pub fn mark(&mut self, number: u32) -> Result<Mark> {
        let frame = self.read(number, 1)?;
        let mut mark = [0; 16];
        mark.copy_from_slice(&frame[8..FRAME_HEADER]);
        Ok(Mark::from_be_bytes(mark))
    }

    /// Appends whole transactions after so many frames, or finds them there. The number of frames that the log has of
    /// them then: none, if it has others. `past`: a log that was written back, and ends where they begin.
    ///
    /// # Errors
    /// `Sync`, if somebody writes for too long; SQLite's.
    pub fn append(&mut self, after: u32, frames: &[u8], past: Option<Mark>) -> Result<u32> {
        let (since, patience) = (Instant::now(), self.patience);
        unlocked(since, patience, || self.handle.begin_frames()).map_err(told)?;
        let appended = self.append_locked(after, frames, past);
        let ended = self.handle.end_frames();
        let appended = appended?;
        ended?;
        Ok(appended)
    }

    fn append_locked(&mut self, after: u32, frames: &[u8], past: Option<Mark>) -> Result<u32> {
        let mut there = vec![0; self.size];
        let begins_anew = match past {
            Some(mark) => self.mark(1)? >> 64 == mark >> 64,
            None => false,
        };
        for (number, frame) in (after + 1..).zip(frames.chunks_exact(self.size)) {
            // SQLite counts the old log's frames until the first of the new one is written, in its place.
            let as_number = if begins_anew && number == after + 1 {
                u32::MAX
            } else {
                number
            };
            if !self.handle.insert_frame(as_number, frame)? {
                return Ok(0);
            }
            // Where a frame was there before, SQLite has compared its page only.
            self.handle.read_frame(number, &mut there)?;
            if there[..8] != frame[..8] {
                return Ok(0);
            }
        }
        Ok(u32::try_from(frames.len() / self.size).unwrap_or(0))
    }

    /// Writes all of the log back, so that the next writer begins it anew. How many frames it had.
    ///
    /// # Errors
    /// `Sync`, if somebody reads or writes for too long; SQLite's.
    pub fn restart(&mut self) -> Result<u32> {
        ask(&mut self.keeper, "COMMIT")?;
        let made = self.handle.checkpoint_as(c"main", CheckpointMode::Restart);
        keep(&mut self.keeper)?;
        match made? {
            (false, Some(done)) => Ok(done.pages),
            (false, None) => Ok(0),
            (true, _) => {
                let message = "the server has begun another log, and the file can't follow while a cursor or a transaction \
                               is open in it: finish those and sync again";
                Err(Error::new(Kind::Sync, message))
            }
        }
    }

    /// Empties a log of which all is written back. Nobody else may have the file open.
    ///
    /// # Errors
    /// SQLite's.
    pub fn empty(&mut self) -> Result<()> {
        ask(&mut self.keeper, "COMMIT")?;
        let made = self.handle.checkpoint_as(c"main", CheckpointMode::Truncate);
        keep(&mut self.keeper)?;
        if made?.0 {
            return Err(told(sqlite::Error::new(code::BUSY, "database is locked")));
        }
        Ok(())
    }
}

/// Tries until nobody else has the lock.
fn unlocked<T>(
    since: Instant,
    patience: Duration,
    mut work: impl FnMut() -> Made<T, sqlite::Error>,
) -> Made<T, sqlite::Error> {
    loop {
        match work() {
            Err(error) if error.primary() == code::BUSY && since.elapsed() < patience => {
                sleep(LOOK);
            }
            done => return done,
        }
    }
}

/// Who syncs is told what a lock means for it.
fn told(error: sqlite::Error) -> Error {
    if error.primary() == code::BUSY {
        let message =
            "the file can't be synced while another connection has a write transaction open in it";
        return Error::new(Kind::Sync, message);
    }
    error.into()
}
