//! The files of a replica: the database, what libsql knows of it, and the lock.
//!
//! Owns the lock while the replica is open: one process syncs a file. It is an advisory lock, which goes with the process.
//! Thread: one that may block.
//! Invariant: what is no replica, or only half of one, is told before libsql touches it, which would make it worse.
//! Must not know: SQLite, servers.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::core::{Error, Kind, REPLICA_NOTE, Result, code};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes of libsql's note of what is committed.
const NOTE: u64 = 32;
/// Another connection of this process may be about to let go of it.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// The right to sync a file; held by one process.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Not only closed: a child of a fork may have the descriptor too.
        let _ = flock(self.0.as_fd(), FlockOperation::Unlock);
    }
}

/// The name of a file beside the database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the right to sync a file.
///
/// # Errors
/// `Operational`, if another process has it or the file can't be made.
pub fn lock(path: &Path) -> Result<Lock> {
    let name = beside(path, "-sync-lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| cannot_open(path, &error))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                sleep(LOOK);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let message = format!(
                    "another process syncs the replica {}: open it read-only here, without sync_url, as \
                     connect(\"file:{}?mode=ro\", uri=True)",
                    path.display(),
                    path.display()
                );
                return Err(Error::operational(message));
            }
            Err(error) => return Err(cannot_open(path, &error.into())),
        }
    }
}

fn cannot_open(path: &Path, why: &std::io::Error) -> Error {
    let kind = Kind::Sqlite(code::CANTOPEN);
    Error::new(
        kind,
        format!("unable to open the replica {}: {why}", path.display()),
    )
}

/// Looks whether what is there is a replica, or nothing.
///
/// # Errors
/// `DatabaseError` for files that are damaged, `Operational` for those of something else.
pub fn check(path: &Path, is_encrypted: bool) -> Result<()> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let note = beside(path, REPLICA_NOTE);
    let (database, log) = (size(path), size(&beside(path, "-wal")));
    let noted = match fs::metadata(&note) {
        Ok(found) => found.len(),
        Err(_) if database == 0 && log == 0 => {
            // libsql refuses a file that it has no note of, even an empty one.
            return match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_open(path, &error)),
                _ => Ok(()),
            };
        }
        Err(_) => {
            let message = format!(
                "{} is a database, but no replica: sync_url needs a file that does not exist yet, or one that was synced \
                 before",
                path.display()
            );
            return Err(Error::operational(message));
        }
    };
    if noted != 0 && noted < NOTE {
        return Err(damaged(path, "what is known of its last sync is cut off"));
    }
    if noted >= NOTE && is_committed(&note) && database == 0 && log == 0 {
        return Err(damaged(path, "the database itself is gone"));
    }
    if database == 0 || is_encrypted {
        return Ok(());
    }
    let mut header = [0; 32];
    let whole = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    if whole.is_err() || !header.starts_with(MAGIC) {
        let message = format!(
            "file is not a database or the encryption key is wrong: {}",
            path.display()
        );
        return Err(Error::new(Kind::Sqlite(code::NOTADB), message));
    }
    let number = |at: usize| {
        u64::from(u32::from_be_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
        ]))
    };
    let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65536,
        page => page,
    };
    // The header is of the last checkpoint; with a log beside it, the file may be about to grow.
    if log == 0 && database < number(28) * page {
        return Err(damaged(path, "it is shorter than its header says"));
    }
    Ok(())
}

/// Which log of the server a file follows; a server that lost its log begins another one, and counts anew.
pub fn log_of(path: &Path) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    let read = File::open(beside(path, REPLICA_NOTE)).and_then(|mut file| file.read_exact(&mut id));
    read.ok().map(|()| id)
}

/// Whether libsql has noted a change that the file has.
fn is_committed(note: &Path) -> bool {
    let mut bytes = [0; 24];
    let read = File::open(note).and_then(|mut file| file.read_exact(&mut bytes));
    read.is_ok() && bytes[16..] != [0xff; 8]
}

fn damaged(path: &Path, why: &str) -> Error {
    let message = format!(
        "the replica {} is damaged: {why}; delete it and the files beside it, and it is synced anew",
        path.display()
    );
    Error::new(Kind::Sqlite(code::CORRUPT), message)
}
