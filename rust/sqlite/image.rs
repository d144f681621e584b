//! Images: whole databases as bytes, out of a handle and into one.
//!
//! Owns the memory of an image, which is SQLite's, so that it goes in and out without a copy.
//! Thread: an image any; the rest the one that uses the handle.
//! Invariant: an image is freed exactly once, by its owner or by the database that took it over.
//! Must not know: who wants it.

use std::ffi::{CStr, c_uint};
use std::fmt;
use std::ptr::NonNull;

use libsql::ffi;

use super::error::{Error, code};
use super::handle::Handle;

/// Where the header says how the file is to be written and read: 1 with a rollback journal, 2 with a WAL.
const VERSIONS: std::ops::Range<usize> = 18..20;
const MAGIC: &[u8] = b"SQLite format 3\0";
const WAL: u8 = 2;
const ROLLBACK_JOURNAL: u8 = 1;

/// The bytes of a database, in SQLite's memory.
pub struct Image {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it owns its memory, which any thread may free.
unsafe impl Send for Image {}
// SAFETY: shared, it is only read.
unsafe impl Sync for Image {}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Image {
    /// Copies bytes into SQLite's memory.
    ///
    /// # Errors
    ///
    /// `SQLITE_NOMEM`.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, Error> {
        super::initialize()?;
        // An empty image is one too, and SQLite has no memory of no bytes.
        // SAFETY: the library is initialised.
        let start = unsafe { ffi::sqlite3_malloc64(bytes.len().max(1) as u64) };
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| Error::new(code::NOMEM, "out of memory"))?;
        // SAFETY: as many bytes were just allocated, which nobody else knows of.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
        Ok(Self {
            start,
            length: bytes.len(),
        })
    }

    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: so many bytes belong to it, and they are initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes belong to it, and they are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Makes the image of a WAL database one that can be read from memory, where no WAL can be.
    pub fn leave_wal_mode(&mut self) {
        let bytes = self.as_bytes_mut();
        if !bytes.starts_with(MAGIC) {
            return;
        }
        for version in bytes.get_mut(VERSIONS).into_iter().flatten() {
            if *version == WAL {
                *version = ROLLBACK_JOURNAL;
            }
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: SQLite allocated it, and nobody else frees it.
        unsafe { ffi::sqlite3_free(self.start.as_ptr().cast()) };
    }
}

impl Handle {
    /// Copies a database out, as the file would be; `None`: there is no database of that name, or
    /// nothing in it that was ever opened.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn serialize(&mut self, schema: &CStr) -> Result<Option<Image>, Error> {
        let mut size = -1;
        // SAFETY: the handle is open, the name ends with NUL, the number is ours.
        let start = unsafe {
            ffi::sqlite3_serialize(self.database.as_ptr(), schema.as_ptr(), &raw mut size, 0)
        };
        if let Some(start) = NonNull::new(start) {
            let length = usize::try_from(size).unwrap_or(0);
            return Ok(Some(Image { start, length }));
        }
        match size {
            // Nothing was ever written to it.
            0 => Image::copy_of(&[]).map(Some),
            1.. => Err(Error::new(code::NOMEM, "out of memory")),
            _ => match self.database.last_error() {
                Some(error) => Err(error),
                None => Ok(None),
            },
        }
    }

    /// Closes a database and puts the image in its place, in memory. No statement may be active.
    ///
    /// # Errors
    ///
    /// `SQLITE_ERROR` if there is no such database, or it is the temporary one. What is in the image
    /// shows only when it is read.
    pub fn deserialize(&mut self, schema: &CStr, mut image: Image) -> Result<(), Error> {
        image.leave_wal_mode();
        let (start, length) = (image.start, image.length);
        // From here on it is SQLite's, also if the call fails.
        std::mem::forget(image);
        let flags: c_uint = (ffi::SQLITE_DESERIALIZE_FREEONCLOSE
            | ffi::SQLITE_DESERIALIZE_RESIZEABLE)
            .cast_unsigned();
        // No image is longer than the memory's half.
        let size = i64::try_from(length).unwrap_or(i64::MAX);
        // SAFETY: the handle is open and the name ends with NUL; the memory is SQLite's own, has that
        // size, and is forgotten here. No cursor of a statement points into what is closed.
        let rc = unsafe {
            ffi::sqlite3_deserialize(
                self.database.as_ptr(),
                schema.as_ptr(),
                start.as_ptr(),
                size,
                size,
                flags,
            )
        };
        if rc == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(self.database.error(rc))
        }
    }
}
