//! Whether a file can be read with the key that it was opened with.
//!
//! Owns the order of the looks: what a crash has left, the first bytes, then the file, then the file in spite of
//! locks. A file that is not encrypted shows that by its first bytes; to read more of it would take locks, and in WAL
//! mode make files, for a connection that may never need them.
//! Thread: the one that uses the handle.
//! Invariant: a wrong key shows before SQLite has touched the file, and without waiting for a lock.
//! Must not know: who waits for locks, and how long.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions as FileOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libsql::ffi;

use super::error::{Error, code};
use super::handle::Handle;
use super::journal;
use super::nowait;
use super::open_options::OpenOptions;

/// A page that is read past its lock may be half written, but not for long.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(5);

const PLAIN: &[u8] = b"SQLite format 3\0";

impl Handle {
    /// Finds a wrong key, or a file that is no database, as `SQLITE_NOTADB`. A lock that another connection holds is no
    /// error. With a key, and of what only reads, it reads the first page, and so finds whatever prevents that.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn check_readable(&mut self, options: &OpenOptions) -> Result<(), Error> {
        let Some(path) = self.filename() else {
            return match self.read_first_page() {
                // Of the memory databases that several connections have.
                Err(error) if matches!(error.primary(), code::BUSY | code::LOCKED) => Ok(()),
                result => result,
            };
        };
        let path = Path::new(OsStr::from_bytes(&path));
        patiently(|| check_journal(path, options))?;
        if options.key.is_none() && !options.read_only && self.begins_plainly() {
            return Ok(());
        }
        match self.read_first_page() {
            Err(error) if matches!(error.primary(), code::BUSY | code::LOCKED) => {
                patiently(|| check_unlocked(path, options))
            }
            result => result,
        }
    }

    /// Whether the file begins as one that is not encrypted does.
    fn begins_plainly(&self) -> bool {
        self.beginning().is_some_and(|begin| begin == *PLAIN)
    }

    /// Whether file systems can tell what a read without a wait for the disk needs to know; there may be no file.
    pub fn reads_without_waiting(&self) -> bool {
        nowait::is_possible() && nowait::without_waiting(|| self.beginning()).1
    }

    /// The first bytes of the file, by SQLite's own descriptor: to close another would let go of its locks.
    fn beginning(&self) -> Option<[u8; PLAIN.len()]> {
        let file = self.database.file();
        // SAFETY: null, or the handle's file, which stays where it is while the handle is open.
        let methods = (unsafe { file.as_ref() })?.pMethods;
        // SAFETY: null, or the table of its VFS.
        let read = (unsafe { methods.as_ref() })?.xRead?;
        let mut begin = [0; PLAIN.len()];
        let length = PLAIN.len().try_into().unwrap_or(0);
        // SAFETY: the buffer has that length.
        let rc = unsafe { read(file, begin.as_mut_ptr().cast(), length, 0) };
        (rc == ffi::SQLITE_OK).then_some(begin)
    }

    /// Whether it has read any page of the main database.
    pub fn has_read(&self) -> bool {
        let pages = [
            ffi::SQLITE_DBSTATUS_CACHE_HIT,
            ffi::SQLITE_DBSTATUS_CACHE_MISS,
        ];
        pages
            .into_iter()
            .any(|which| self.database.status(which) != 0)
    }

    /// Reads the first page; in a transaction it takes the snapshot.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn read_first_page(&mut self) -> Result<(), Error> {
        let prepared = self.prepare("SELECT count(*) FROM sqlite_schema", false)?;
        let Some(id) = prepared.id else { return Ok(()) };
        let result = self.statement(id).step();
        self.finalize(id);
        result.map(drop)
    }
}

fn patiently(mut check: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let mut result = check();
    for _ in 1..TRIES {
        if result.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
        result = check();
    }
    result
}

/// Reads the file as it is on the disk. Only a wrong key counts; the rest is for the first statement.
fn check_unlocked(path: &Path, options: &OpenOptions) -> Result<(), Error> {
    let options = options.unlocked(path.as_os_str().as_bytes());
    let read = Handle::open(&options).and_then(|mut handle| handle.read_first_page());
    match read {
        Err(error) if error.primary() == code::NOTADB => Err(error),
        _ => Ok(()),
    }
}

fn check_journal(path: &Path, options: &OpenOptions) -> Result<(), Error> {
    // What can't be read can't be rolled back either, and SQLite says why.
    let Ok(Some(page)) = journal::first_page(path) else {
        return Ok(());
    };
    match (&options.key, page.starts_with(PLAIN)) {
        (None, true) => Ok(()),
        (Some(_), false) => {
            let file = TemporaryFile::of(&page).map_err(|error| {
                let message = format!("cannot try the encryption key: {error}");
                Error::new(code::CANTOPEN, message)
            })?;
            check_unlocked(Path::new(&file.0), options)
        }
        (None, false) | (Some(_), true) => Err(Error::new(code::NOTADB, "file is not a database")),
    }
}

/// A file that goes away with this. What it holds is encrypted.
struct TemporaryFile(std::path::PathBuf);

impl TemporaryFile {
    fn of(content: &[u8]) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("aiolibsql-{}-{number}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        FileOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.0)?
            .write_all(content)?;
        Ok(file)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
