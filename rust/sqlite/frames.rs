//! The frames of a write-ahead log: reading them as they are, and putting in those of another log.
//!
//! Owns nothing; the log is SQLite's.
//! Thread: the one that uses the handle.
//! Invariant: the handle has read from its database before, so that SQLite has the log open; no statement of it runs.
//! Must not know: where frames come from, or go to.

use std::ffi::{c_int, c_uint, c_void};

use libsql::ffi;

use super::error::{Error, code};
use super::handle::Handle;

/// Bytes before the page of a frame: the page's number, the size of the database after it, two salts, two sums.
pub const FRAME_HEADER: usize = 24;

impl Handle {
    /// How many frames the log has that are committed, in the handle's snapshot.
    ///
    /// # Errors
    ///
    /// `SQLITE_BUSY` while another connection writes.
    pub fn frame_count(&mut self) -> Result<u32, Error> {
        let mut count: c_uint = 0;
        // SAFETY: the handle is open; the number is ours.
        let rc = unsafe { ffi::libsql_wal_frame_count(self.database.as_ptr(), &raw mut count) };
        self.told(rc).map(|()| count)
    }

    /// Reads a frame, of which the first is 1, as large as the buffer is.
    ///
    /// # Errors
    ///
    /// `SQLITE_MISUSE` for another size than its own; those of reading the file.
    pub fn read_frame(&mut self, number: u32, frame: &mut [u8]) -> Result<(), Error> {
        let size = c_uint::try_from(frame.len()).unwrap_or(0);
        // SAFETY: the handle is open; SQLite writes no more than so many bytes, which are ours.
        let rc = unsafe {
            ffi::libsql_wal_get_frame(
                self.database.as_ptr(),
                number,
                frame.as_mut_ptr().cast::<c_void>(),
                size,
            )
        };
        self.told(rc)
    }

    /// Locks the log for writing, until `end_frames`.
    ///
    /// # Errors
    ///
    /// `SQLITE_BUSY` while another connection writes.
    pub fn begin_frames(&mut self) -> Result<(), Error> {
        // SAFETY: the handle is open, and no statement of it runs.
        let rc = unsafe { ffi::libsql_wal_insert_begin(self.database.as_ptr()) };
        let begun = self.told(rc);
        if begun.is_err() {
            // It may have a snapshot already.
            let _ = self.end_frames();
        }
        begun
    }

    /// Appends a frame as the one with this number; `false`: the log has another page there.
    ///
    /// # Errors
    ///
    /// Those of writing the file.
    pub fn insert_frame(&mut self, number: u32, frame: &[u8]) -> Result<bool, Error> {
        let size = c_uint::try_from(frame.len()).unwrap_or(0);
        let mut is_other: c_int = 0;
        // SAFETY: the handle is open and `begin_frames` has locked its log; SQLite only reads the bytes, of which there
        // are so many.
        let rc = unsafe {
            ffi::libsql_wal_insert_frame(
                self.database.as_ptr(),
                number,
                frame.as_ptr().cast::<c_void>().cast_mut(),
                size,
                &raw mut is_other,
            )
        };
        if is_other != 0 {
            return Ok(false);
        }
        self.told(rc).map(|()| true)
    }

    /// Unlocks the log; what was appended after the last commit is not there.
    ///
    /// # Errors
    ///
    /// `SQLITE_ERROR` where no log is open.
    pub fn end_frames(&mut self) -> Result<(), Error> {
        // SAFETY: the handle is open, and no statement of it runs.
        let rc = unsafe { ffi::libsql_wal_insert_end(self.database.as_ptr()) };
        self.told(rc)
    }

    fn told(&self, rc: c_int) -> Result<(), Error> {
        if rc == code::OK {
            Ok(())
        } else {
            Err(self.database.error(rc))
        }
    }
}
