//! Replicas: files that follow a database at a server, which only their syncs may write.
//!
//! A sync puts the server's pages over those of the file. What somebody else has written to it meanwhile makes a damaged database
//! of both, and nothing notices; one that is written offline can't be synced any more once somebody else has written its log back,
//! as the last one to close it does. So SQLite is told that it may only read such a file, by the answer of the system to its open,
//! whichever way the file is named: in a path, a URI or an ATTACH.
//! Owns the names of the notes that tell a replica's file, and whether the thread opens a file for somebody who may not write one.
//! Thread: any; what one sets is for itself only.
//! Invariant: libsql's own connections, and those that are opened for syncs, are not concerned.
//! Must not know: servers, syncs.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, OsStr, c_int};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;

use libsql::ffi;
use rustix::fs::{Access, OFlags, access};

use super::database::Database;
use super::error::{Error, code};

/// How the name of a replica's note ends: what libsql knows of its last sync.
pub const REPLICA_NOTE: &str = "-client_wal_index";
/// The same where the file is written offline.
pub const OFFLINE_NOTE: &str = "-info";
/// What that has in it, unlike other files of such a name.
const FIELD: &[u8] = b"\"durable_frame_num\"";
/// Bytes of such a note, at most.
const SIZE: u64 = 4096;

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    /// The file that was asked about last, and the answer: SQLite looks for a file before it opens it.
    static LAST: RefCell<Option<(CString, bool)>> = const { RefCell::new(None) };
}

/// Runs something in which this thread opens files, for somebody who may write replicas or not.
pub(super) fn opening<T>(may_write: bool, work: impl FnOnce() -> T) -> T {
    LAST.take();
    let before = IS_ON.replace(!may_write);
    let result = work();
    IS_ON.set(before);
    result
}

/// Whether a file can't be opened with these flags, but only to be read; said once.
pub(super) fn refuses(path: &CStr, flags: c_int) -> bool {
    let how = OFlags::from_bits_retain(flags.cast_unsigned());
    let refuses = how & OFlags::RWMODE == OFlags::RDWR && hides(path);
    if refuses {
        // It goes on with a file that it may read, and with what is beside it.
        IS_ON.set(false);
    }
    refuses
}

/// Whether a file is not to be found among those that are open. SQLite looks there before it opens one, for a descriptor that writes
/// and that somebody who has closed the file has left.
pub(super) fn hides(path: &CStr) -> bool {
    IS_ON.get()
        && LAST.with_borrow_mut(|last| match last {
            Some((known, answer)) if known.as_c_str() == path => *answer,
            _ => {
                let answer = is_replica(path.to_bytes());
                *last = Some((path.to_owned(), answer));
                answer
            }
        })
}

/// Whether a file is one that only syncs may write.
pub fn is_replica(path: &[u8]) -> bool {
    note_of(path).is_some()
}

/// The note beside a file, if it is a replica's.
fn note_of(path: &[u8]) -> Option<PathBuf> {
    let beside = |suffix: &str| {
        let name = [path, suffix.as_bytes()].concat();
        let name = PathBuf::from(OsStr::from_bytes(&name));
        access(&name, Access::EXISTS).is_ok().then_some(name)
    };
    let is_offline = |name: &PathBuf| {
        let is_small = fs::metadata(name).is_ok_and(|found| found.is_file() && found.len() <= SIZE);
        let noted = is_small.then(|| fs::read(name).unwrap_or_default());
        noted.is_some_and(|noted| noted.windows(FIELD.len()).any(|part| part == FIELD))
    };
    beside(REPLICA_NOTE).or_else(|| beside(OFFLINE_NOTE).filter(is_offline))
}

/// Adds what there is to do to an error that comes of this.
pub(super) fn explain(error: Error, database: Database) -> Error {
    let message = match error.code {
        // A checkpoint, and a lock on all of the file, go to the system without a look at who may.
        code::READONLY | code::IOERR_LOCK | code::IOERR_WRITE => {
            files_of(database).find_map(|path| {
                let note = note_of(path.to_bytes())?;
                let is_offline = note.as_os_str().as_bytes().ends_with(OFFLINE_NOTE.as_bytes());
                let offline = if is_offline { ", offline=True" } else { "" };
                Some(format!(
                    "{}: {} is a replica; write through connect(path, sync_url=…{offline}), or delete {} while nobody has it \
                     open, which makes an ordinary database of it",
                    error.message,
                    shown(&path).display(),
                    note.display(),
                ))
            })
        }
        // Once: a later one of this thread may be about another file.
        code::CANTOPEN => LAST.take().and_then(|(path, is_replica)| {
            let note = is_replica.then(|| note_of(path.to_bytes())).flatten()?;
            (!shown(&path).exists()).then(|| {
                format!(
                    "{} ({} is left of a replica: open it with sync_url, or delete that)",
                    error.message,
                    note.display(),
                )
            })
        }),
        _ => None,
    };
    Error {
        message: message.unwrap_or(error.message),
        ..error
    }
}

fn shown(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// The files of a connection that can only be read.
fn files_of(database: Database) -> impl Iterator<Item = CString> {
    (0..)
        .map_while(move |number| {
            // SAFETY: the handle is open; null if there are not so many.
            let name = unsafe { ffi::sqlite3_db_name(database.as_ptr(), number) };
            ptr::NonNull::new(name.cast_mut())
        })
        .filter_map(move |name| {
            // SAFETY: the handle is open, and the name one of its databases'.
            let is_read_only =
                unsafe { ffi::sqlite3_db_readonly(database.as_ptr(), name.as_ptr()) } == 1;
            // SAFETY: as above.
            let path = unsafe { ffi::sqlite3_db_filename(database.as_ptr(), name.as_ptr()) };
            if !is_read_only || path.is_null() {
                return None;
            }
            // SAFETY: ends with NUL and lives as long as the database is attached.
            Some(unsafe { CStr::from_ptr(path) }.to_owned())
        })
}
