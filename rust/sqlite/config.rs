//! The switches of a handle, as `sqlite3_db_config` has them.
//!
//! Owns the list of those that are either on or off.
//! Thread: the one that uses the handle.
//! Must not know: who sets which switch.

use std::ffi::c_int;

use libsql::ffi;

use super::error::Error;
use super::handle::Handle;

/// The options whose value is on or off; the others take pointers.
const SWITCHES: [i32; 18] = [
    ffi::SQLITE_DBCONFIG_ENABLE_FKEY,
    ffi::SQLITE_DBCONFIG_ENABLE_TRIGGER,
    ffi::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER,
    ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
    ffi::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
    ffi::SQLITE_DBCONFIG_ENABLE_QPSG,
    ffi::SQLITE_DBCONFIG_TRIGGER_EQP,
    ffi::SQLITE_DBCONFIG_RESET_DATABASE,
    ffi::SQLITE_DBCONFIG_DEFENSIVE,
    ffi::SQLITE_DBCONFIG_WRITABLE_SCHEMA,
    ffi::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE,
    ffi::SQLITE_DBCONFIG_DQS_DML,
    ffi::SQLITE_DBCONFIG_DQS_DDL,
    ffi::SQLITE_DBCONFIG_ENABLE_VIEW,
    ffi::SQLITE_DBCONFIG_LEGACY_FILE_FORMAT,
    ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA,
    ffi::SQLITE_DBCONFIG_STMT_SCANSTATUS,
    ffi::SQLITE_DBCONFIG_REVERSE_SCANORDER,
];

/// A switch of SQLite's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(i32);

impl Switch {
    /// The switch with SQLite's number for it.
    pub fn new(option: i32) -> Option<Self> {
        SWITCHES.contains(&option).then_some(Self(option))
    }

    /// Whether what a schema says may call functions and use virtual tables that are not known to be harmless.
    pub const fn trusted_schema() -> Self {
        Self(ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA)
    }

    /// Whether SQL is kept from what could damage the file.
    pub const fn defensive() -> Self {
        Self(ffi::SQLITE_DBCONFIG_DEFENSIVE)
    }

    /// Whether a write-ahead log stays as it is when its last connection is closed.
    pub const fn keeps_log() -> Self {
        Self(ffi::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
    }

    /// Whether libraries can be loaded, by the C function and not from SQL.
    pub const fn load_extension() -> Self {
        Self(ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION)
    }
}

impl Handle {
    /// Sets a switch, if a new value is given; returns what it is then.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn switch(&mut self, switch: Switch, new: Option<bool>) -> Result<bool, Error> {
        let mut current: c_int = 0;
        let new = new.map_or(-1, c_int::from);
        // SAFETY: the handle is open; each of these options takes an int, of which a negative one changes
        // nothing, and a pointer to an int.
        let rc = unsafe {
            ffi::sqlite3_db_config(self.database.as_ptr(), switch.0, new, &raw mut current)
        };
        if rc == ffi::SQLITE_OK {
            Ok(current != 0)
        } else {
            Err(self.database.error(rc))
        }
    }
}
