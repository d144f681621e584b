//! Errors as SQLite reports them, and the names of its result codes.
//!
//! Owns the one table of codes, [`ALL_CODES`]; everything else derives from it.
//! Thread: any; an error is plain data.
//! Invariant: `code` is the extended code, its lowest byte the primary one.
//! Must not know: which exception a code becomes.

use std::ffi::CStr;
use std::fmt;

use libsql::ffi;

/// What SQLite had to say when a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The extended result code, such as 2067.
    pub code: i32,
    /// SQLite's message, without any addition.
    pub message: String,
    /// Where in the SQL text the error is, in bytes, if it is at one place.
    pub offset: Option<usize>,
}

impl Error {
    /// An error without a place in an SQL text.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            offset: None,
        }
    }

    /// The error that a code stands for, with SQLite's words for it.
    pub fn of_code(code: i32) -> Self {
        // SAFETY: takes any number, returns a static string.
        let text = unsafe { ffi::sqlite3_errstr(code) };
        // SAFETY: the string is static and ends with NUL.
        let text = unsafe { CStr::from_ptr(text) };
        Self::new(code, text.to_string_lossy())
    }

    /// The primary result code, such as 19 for the extended code 2067.
    pub fn primary(&self) -> i32 {
        self.code & 0xff
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The name of an extended code, such as `SQLITE_CONSTRAINT_UNIQUE`; that of its primary code if
/// SQLite has none for it.
pub fn code_name(extended: i32) -> Option<&'static str> {
    let name_of = |wanted: i32| {
        ALL_CODES
            .iter()
            .find(|(code, _)| *code == wanted)
            .map(|(_, name)| *name)
    };
    name_of(extended).or_else(|| name_of(extended & 0xff))
}

macro_rules! codes {
    ($($short:ident: $long:ident,)*) => {
        /// Every result code by SQLite's name for it without the `SQLITE_`.
        pub mod code {
            use libsql::ffi;

            $(
                #[doc = concat!("`", stringify!($long), "`")]
                pub const $short: i32 = ffi::$long;
            )*
        }

        /// All primary and extended result codes with their names.
        pub const ALL_CODES: &[(i32, &str)] = &[$((code::$short, stringify!($long)),)*];
    };
}

codes! {
    OK: SQLITE_OK,
    OK_LOAD_PERMANENTLY: SQLITE_OK_LOAD_PERMANENTLY,
    OK_SYMLINK: SQLITE_OK_SYMLINK,
    ERROR: SQLITE_ERROR,
    ERROR_MISSING_COLLSEQ: SQLITE_ERROR_MISSING_COLLSEQ,
    ERROR_RETRY: SQLITE_ERROR_RETRY,
    ERROR_SNAPSHOT: SQLITE_ERROR_SNAPSHOT,
    INTERNAL: SQLITE_INTERNAL,
    PERM: SQLITE_PERM,
    ABORT: SQLITE_ABORT,
    ABORT_ROLLBACK: SQLITE_ABORT_ROLLBACK,
    BUSY: SQLITE_BUSY,
    BUSY_RECOVERY: SQLITE_BUSY_RECOVERY,
    BUSY_SNAPSHOT: SQLITE_BUSY_SNAPSHOT,
    BUSY_TIMEOUT: SQLITE_BUSY_TIMEOUT,
    LOCKED: SQLITE_LOCKED,
    LOCKED_SHAREDCACHE: SQLITE_LOCKED_SHAREDCACHE,
    LOCKED_VTAB: SQLITE_LOCKED_VTAB,
    NOMEM: SQLITE_NOMEM,
    READONLY: SQLITE_READONLY,
    READONLY_RECOVERY: SQLITE_READONLY_RECOVERY,
    READONLY_CANTLOCK: SQLITE_READONLY_CANTLOCK,
    READONLY_ROLLBACK: SQLITE_READONLY_ROLLBACK,
    READONLY_DBMOVED: SQLITE_READONLY_DBMOVED,
    READONLY_CANTINIT: SQLITE_READONLY_CANTINIT,
    READONLY_DIRECTORY: SQLITE_READONLY_DIRECTORY,
    INTERRUPT: SQLITE_INTERRUPT,
    IOERR: SQLITE_IOERR,
    IOERR_READ: SQLITE_IOERR_READ,
    IOERR_SHORT_READ: SQLITE_IOERR_SHORT_READ,
    IOERR_WRITE: SQLITE_IOERR_WRITE,
    IOERR_FSYNC: SQLITE_IOERR_FSYNC,
    IOERR_DIR_FSYNC: SQLITE_IOERR_DIR_FSYNC,
    IOERR_TRUNCATE: SQLITE_IOERR_TRUNCATE,
    IOERR_FSTAT: SQLITE_IOERR_FSTAT,
    IOERR_UNLOCK: SQLITE_IOERR_UNLOCK,
    IOERR_RDLOCK: SQLITE_IOERR_RDLOCK,
    IOERR_DELETE: SQLITE_IOERR_DELETE,
    IOERR_BLOCKED: SQLITE_IOERR_BLOCKED,
    IOERR_NOMEM: SQLITE_IOERR_NOMEM,
    IOERR_ACCESS: SQLITE_IOERR_ACCESS,
    IOERR_CHECKRESERVEDLOCK: SQLITE_IOERR_CHECKRESERVEDLOCK,
    IOERR_LOCK: SQLITE_IOERR_LOCK,
    IOERR_CLOSE: SQLITE_IOERR_CLOSE,
    IOERR_DIR_CLOSE: SQLITE_IOERR_DIR_CLOSE,
    IOERR_SHMOPEN: SQLITE_IOERR_SHMOPEN,
    IOERR_SHMSIZE: SQLITE_IOERR_SHMSIZE,
    IOERR_SHMLOCK: SQLITE_IOERR_SHMLOCK,
    IOERR_SHMMAP: SQLITE_IOERR_SHMMAP,
    IOERR_SEEK: SQLITE_IOERR_SEEK,
    IOERR_DELETE_NOENT: SQLITE_IOERR_DELETE_NOENT,
    IOERR_MMAP: SQLITE_IOERR_MMAP,
    IOERR_GETTEMPPATH: SQLITE_IOERR_GETTEMPPATH,
    IOERR_CONVPATH: SQLITE_IOERR_CONVPATH,
    IOERR_VNODE: SQLITE_IOERR_VNODE,
    IOERR_AUTH: SQLITE_IOERR_AUTH,
    IOERR_BEGIN_ATOMIC: SQLITE_IOERR_BEGIN_ATOMIC,
    IOERR_COMMIT_ATOMIC: SQLITE_IOERR_COMMIT_ATOMIC,
    IOERR_ROLLBACK_ATOMIC: SQLITE_IOERR_ROLLBACK_ATOMIC,
    IOERR_DATA: SQLITE_IOERR_DATA,
    IOERR_CORRUPTFS: SQLITE_IOERR_CORRUPTFS,
    IOERR_IN_PAGE: SQLITE_IOERR_IN_PAGE,
    CORRUPT: SQLITE_CORRUPT,
    CORRUPT_VTAB: SQLITE_CORRUPT_VTAB,
    CORRUPT_SEQUENCE: SQLITE_CORRUPT_SEQUENCE,
    CORRUPT_INDEX: SQLITE_CORRUPT_INDEX,
    NOTFOUND: SQLITE_NOTFOUND,
    FULL: SQLITE_FULL,
    CANTOPEN: SQLITE_CANTOPEN,
    CANTOPEN_NOTEMPDIR: SQLITE_CANTOPEN_NOTEMPDIR,
    CANTOPEN_ISDIR: SQLITE_CANTOPEN_ISDIR,
    CANTOPEN_FULLPATH: SQLITE_CANTOPEN_FULLPATH,
    CANTOPEN_CONVPATH: SQLITE_CANTOPEN_CONVPATH,
    CANTOPEN_DIRTYWAL: SQLITE_CANTOPEN_DIRTYWAL,
    CANTOPEN_SYMLINK: SQLITE_CANTOPEN_SYMLINK,
    PROTOCOL: SQLITE_PROTOCOL,
    EMPTY: SQLITE_EMPTY,
    SCHEMA: SQLITE_SCHEMA,
    TOOBIG: SQLITE_TOOBIG,
    CONSTRAINT: SQLITE_CONSTRAINT,
    CONSTRAINT_CHECK: SQLITE_CONSTRAINT_CHECK,
    CONSTRAINT_COMMITHOOK: SQLITE_CONSTRAINT_COMMITHOOK,
    CONSTRAINT_FOREIGNKEY: SQLITE_CONSTRAINT_FOREIGNKEY,
    CONSTRAINT_FUNCTION: SQLITE_CONSTRAINT_FUNCTION,
    CONSTRAINT_NOTNULL: SQLITE_CONSTRAINT_NOTNULL,
    CONSTRAINT_PRIMARYKEY: SQLITE_CONSTRAINT_PRIMARYKEY,
    CONSTRAINT_TRIGGER: SQLITE_CONSTRAINT_TRIGGER,
    CONSTRAINT_UNIQUE: SQLITE_CONSTRAINT_UNIQUE,
    CONSTRAINT_VTAB: SQLITE_CONSTRAINT_VTAB,
    CONSTRAINT_ROWID: SQLITE_CONSTRAINT_ROWID,
    CONSTRAINT_PINNED: SQLITE_CONSTRAINT_PINNED,
    CONSTRAINT_DATATYPE: SQLITE_CONSTRAINT_DATATYPE,
    MISMATCH: SQLITE_MISMATCH,
    MISUSE: SQLITE_MISUSE,
    NOLFS: SQLITE_NOLFS,
    AUTH: SQLITE_AUTH,
    AUTH_USER: SQLITE_AUTH_USER,
    FORMAT: SQLITE_FORMAT,
    RANGE: SQLITE_RANGE,
    NOTADB: SQLITE_NOTADB,
    NOTICE: SQLITE_NOTICE,
    NOTICE_RECOVER_WAL: SQLITE_NOTICE_RECOVER_WAL,
    NOTICE_RECOVER_ROLLBACK: SQLITE_NOTICE_RECOVER_ROLLBACK,
    NOTICE_RBU: SQLITE_NOTICE_RBU,
    WARNING: SQLITE_WARNING,
    WARNING_AUTOINDEX: SQLITE_WARNING_AUTOINDEX,
    ROW: SQLITE_ROW,
    DONE: SQLITE_DONE,
}
