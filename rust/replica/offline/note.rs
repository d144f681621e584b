//! Note: what is known, across processes, of what a file and its server have in common.
//!
//! Owns the file beside the database that says so. It is libsql's, with fields of ours: a file that libsql has begun
//! can be gone on with.
//! Thread: one that may block.
//! Invariant: it is replaced as a whole, and on the disk before anybody acts on it.
//! Must not know: logs, servers.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::core::{Error, Kind, Mark, OFFLINE_NOTE, Result, code};
use crate::remote::Object;

use super::super::files::beside;

const VERSION: u32 = 0;

/// When a database was written to last, and its length.
pub type Base = u128;

/// What a file and its server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which of the server's logs, one after the other, the file's corresponds to.
    pub generation: u32,
    /// The first so many frames of both are the same.
    pub frames: u32,
    /// The last of them, or the first of the log where there are none; `None`: it was not noted yet.
    pub mark: Option<Mark>,
    /// The database without its log, where no frame tells whether that is still there.
    pub base: Option<Base>,
    /// The log is about to be written back, and the next one begun.
    pub is_moving: bool,
    /// A log that was written back, and stays until somebody writes.
    pub past: Option<Past>,
}

/// A log of an earlier generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    pub frames: u32,
    pub mark: Mark,
}

/// libsql's CRC-32 of what is its own.
fn sum(numbers: [u32; 3]) -> u32 {
    let bytes = numbers.into_iter().flat_map(u32::to_le_bytes);
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

impl Note {
    /// The beginning of one of the server's logs.
    pub const fn beginning(generation: u32, base: Base) -> Self {
        Self {
            generation,
            frames: 0,
            mark: None,
            base: Some(base),
            is_moving: false,
            past: None,
        }
    }

    fn path(database: &Path) -> PathBuf {
        beside(database, OFFLINE_NOTE)
    }

    /// Reads that of a database; `None`: there is none.
    ///
    /// # Errors
    /// `DatabaseError` for one that is damaged.
    pub fn read(database: &Path) -> Result<Option<Self>> {
        let path = Self::path(database);
        let damaged = |why: &str| {
            let message = format!(
                "what is known of the last sync of {} is damaged: {why}",
                database.display()
            );
            Error::new(Kind::Sqlite(code::CORRUPT), message)
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(&error.to_string())),
        };
        let unreadable = || damaged("it can't be read");
        let noted = Object::read(&bytes).ok_or_else(unreadable)?;
        let number = |name| noted.number(name).ok_or_else(unreadable);
        let (version, frames) = (number("version")?, number("durable_frame_num")?);
        let generation = number("generation")?;
        if number("hash")? != sum([version, frames, generation]) || generation == 0 {
            return Err(damaged("its sum is wrong"));
        }
        if version != VERSION {
            return Err(damaged("it is of another version"));
        }
        let mark = |name| {
            let text = noted.text(name);
            text.map(|text| Mark::from_str_radix(text, 16).map_err(|_| unreadable()))
                .transpose()
        };
        let past = noted.number("past_frames").zip(mark("past_mark")?);
        Ok(Some(Self {
            generation,
            frames,
            mark: mark("mark")?,
            base: mark("base")?,
            is_moving: noted.number("moving") == Some(1),
            past: past.map(|(frames, mark)| Past { frames, mark }),
        }))
    }

    /// Puts it in the place of what was noted before.
    ///
    /// # Errors
    /// `Operational`, if it can't be written.
    pub fn write(&self, database: &Path) -> Result<()> {
        let hex = |mark: Mark| format!("{mark:032x}");
        let numbers = [VERSION, self.frames, self.generation];
        let mut written = Object::default()
            .with_number("hash", sum(numbers))
            .with_number("version", VERSION)
            .with_number("durable_frame_num", self.frames)
            .with_number("generation", self.generation)
            .with_text("mark", self.mark.map(hex))
            .with_text("base", self.base.map(hex));
        if self.is_moving {
            written = written.with_number("moving", 1);
        }
        if let Some(past) = self.past {
            written = written
                .with_number("past_frames", past.frames)
                .with_text("past_mark", Some(hex(past.mark)));
        }
        let path = Self::path(database);
        let draft = beside(database, "-info-new");
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&written.to_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_folder(&path)
        };
        write().map_err(|error| {
            let message = format!("{} can't be written: {error}", path.display());
            Error::operational(message)
        })
    }
}

/// Has the names of a folder on the disk.
pub fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// What changes when the database itself is written to. It is not opened: to close it again would take away the locks that
/// this process has on it.
///
/// # Errors
/// Those of looking at it.
pub fn base_of(database: &Path) -> Result<Base> {
    let found = fs::metadata(database).map_err(|error| {
        Error::operational(format!("{} can't be read: {error}", database.display()))
    })?;
    let seconds = u128::from(found.mtime().unsigned_abs());
    let written = (seconds << 32) | u128::from(found.mtime_nsec().unsigned_abs());
    Ok((written << 64) | u128::from(found.len()))
}
