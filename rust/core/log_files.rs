//! Why a database with a write-ahead log can't be opened: its log needs files beside it, and to write to the database.
//!
//! Owns no state. Thread: the one that opens.
//! Must not know: Python, sessions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::sqlite::{code, is_replica};

use super::error::{Error, Kind};

/// Adds to the error of an open what there is to do, if that is in the way.
pub fn explain(error: Error, path: Option<&Path>) -> Error {
    // SQLite had opened the file itself before it looked for its log.
    let Some(path) = path.filter(|path| is_about_log(&error) && path.is_file()) else {
        return error;
    };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let message = format!(
        "{}: its log needs files beside it, which can't be made or written in the directory {}; a database that \
         nobody changes can be opened without them, by a file: URI with immutable=1",
        error.message,
        folder.display(),
    );
    Error { message, ..error }
}

/// The same for the error of what is done at an open; also if the database can't be written.
pub fn explain_set_up(error: Error, path: Option<&[u8]>) -> Error {
    let path = path.unwrap_or_default();
    let is_read_only = error.kind == Kind::Sqlite(code::READONLY);
    if !is_read_only && !is_about_log(&error) || is_read_only && is_replica(path) {
        return error;
    }
    let path = Path::new(OsStr::from_bytes(path));
    let message = format!("{}: {}", error.message, path.display());
    let named = Error { message, ..error };
    if !is_read_only {
        return explain(named, Some(path));
    }
    let message = format!(
        "{}; to read it only, open it by a file: URI with mode=ro, or with immutable=1 if nobody changes it",
        named.message,
    );
    Error { message, ..named }
}

fn is_about_log(error: &Error) -> bool {
    error.primary_code() == Some(code::CANTOPEN)
        || matches!(
            error.kind,
            Kind::Sqlite(
                code::READONLY_RECOVERY | code::READONLY_CANTINIT | code::READONLY_DIRECTORY
            )
        )
}
