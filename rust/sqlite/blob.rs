//! Open BLOBs and texts, read and written in place.
//!
//! Owns those of one handle; each holds a statement of SQLite's, and with it a transaction.
//! Thread: the one that uses the handle.
//! Invariant: all are closed before the handle is.
//! Must not know: positions, who reads.

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

use libsql::ffi;
use slab::Slab;

use super::error::{Error, code};
use super::handle::Handle;

/// The name of an open BLOB within its handle; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobId {
    index: usize,
    serial: u64,
}

/// Where a BLOB is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace<'a> {
    pub schema: &'a CStr,
    pub table: &'a CStr,
    pub column: &'a CStr,
    pub rowid: i64,
}

/// The open BLOBs of a handle.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    open: Slab<Blob>,
    next_serial: u64,
}

#[derive(Debug)]
struct Blob {
    raw: NonNull<ffi::sqlite3_blob>,
    serial: u64,
}

impl Blob {
    /// Closes it and, if it was the last to write outside of a transaction, commits.
    fn close(self) -> c_int {
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        // SAFETY: open until now; what was forgotten can't close it again.
        unsafe { ffi::sqlite3_blob_close(raw) }
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // SAFETY: open until now, as `close` forgets what it closes.
        unsafe { ffi::sqlite3_blob_close(self.raw.as_ptr()) };
    }
}

impl Blobs {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Closes all of them.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    fn get(&self, id: BlobId) -> Result<*mut ffi::sqlite3_blob, Error> {
        self.open
            .get(id.index)
            .filter(|blob| blob.serial == id.serial)
            .map(|blob| blob.raw.as_ptr())
            .ok_or_else(|| Error::new(code::MISUSE, "the blob is closed"))
    }
}

impl Handle {
    /// Opens a BLOB or text of a table; gives its length too.
    ///
    /// # Errors
    ///
    /// `SQLITE_ERROR` if there is no such value, or it is neither.
    pub fn open_blob(
        &mut self,
        place: &BlobPlace<'_>,
        is_writable: bool,
    ) -> Result<(BlobId, usize), Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the handle is open; the names end with NUL.
        let rc = unsafe {
            ffi::sqlite3_blob_open(
                self.database.as_ptr(),
                place.schema.as_ptr(),
                place.table.as_ptr(),
                place.column.as_ptr(),
                place.rowid,
                c_int::from(is_writable),
                &raw mut raw,
            )
        };
        if rc != ffi::SQLITE_OK {
            return Err(self.database.error(rc));
        }
        let raw = NonNull::new(raw).ok_or_else(|| Error::new(code::NOMEM, "out of memory"))?;
        // SAFETY: just opened.
        let length = unsafe { ffi::sqlite3_blob_bytes(raw.as_ptr()) };
        let serial = self.blobs.next_serial;
        self.blobs.next_serial += 1;
        let index = self.blobs.open.insert(Blob { raw, serial });
        let id = BlobId { index, serial };
        Ok((id, usize::try_from(length).unwrap_or(0)))
    }

    /// Fills the buffer from an offset on.
    ///
    /// # Errors
    ///
    /// `SQLITE_ABORT` if the row was changed since it was opened; `SQLITE_ERROR` beyond its end.
    pub fn read_blob(&mut self, id: BlobId, offset: usize, into: &mut [u8]) -> Result<(), Error> {
        let raw = self.blobs.get(id)?;
        let (length, offset) = (within(into.len())?, within(offset)?);
        // SAFETY: the BLOB is open, the buffer has that length, and SQLite checks the end.
        let rc = unsafe { ffi::sqlite3_blob_read(raw, into.as_mut_ptr().cast(), length, offset) };
        self.blob_result(rc)
    }

    /// Writes the bytes at an offset.
    ///
    /// # Errors
    ///
    /// As for `read_blob`; `SQLITE_READONLY` if it was not opened for writing.
    pub fn write_blob(&mut self, id: BlobId, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let raw = self.blobs.get(id)?;
        let (length, offset) = (within(bytes.len())?, within(offset)?);
        // SAFETY: the BLOB is open, the bytes are only read, and SQLite checks the end.
        let rc = unsafe { ffi::sqlite3_blob_write(raw, bytes.as_ptr().cast(), length, offset) };
        self.blob_result(rc)
    }

    /// Closes it; what was written outside of a transaction is committed with the last one.
    ///
    /// # Errors
    ///
    /// That of the COMMIT; it is closed all the same.
    pub fn close_blob(&mut self, id: BlobId) -> Result<(), Error> {
        self.blobs.get(id)?;
        let rc = self.blobs.open.remove(id.index).close();
        self.blob_result(rc)
    }

    fn blob_result(&self, rc: c_int) -> Result<(), Error> {
        match rc & 0xff {
            ffi::SQLITE_OK => Ok(()),
            ffi::SQLITE_ABORT => {
                let message = "query aborted: the row of the blob was changed, or its transaction rolled back";
                Err(Error::new(rc, message))
            }
            _ => Err(self.database.error(rc)),
        }
    }
}

fn within(number: usize) -> Result<c_int, Error> {
    c_int::try_from(number).map_err(|_| Error::new(code::TOOBIG, "string or blob too big"))
}
