//! Blob: a BLOB that is read and written in place.
//!
//! Owns its name, by which its caller may close it even before it knows whether it was opened.
//! Threads: any has the name; the session's worker opens, reads, writes and closes.
//! Invariant: a caller who is gone leaves none open, for whoever asked for one asks for its end too.
//! Must not know: Python, positions.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sqlite::{self, BlobId, BlobPlace, code};

use super::command::Shared;
use super::error::{Error, Result};
use super::service::Reply;
use super::session::Session;

/// The name of a BLOB of a connection; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobName(u64);

impl BlobName {
    #[allow(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which BLOB is to be opened.
#[derive(Debug)]
pub struct BlobRequest {
    pub schema: CString,
    pub table: CString,
    pub column: CString,
    pub rowid: i64,
    pub is_writable: bool,
}

/// Some of the bytes of a BLOB, all of them within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    pub start: usize,
    /// From each to the next; not 0.
    pub step: isize,
    pub count: usize,
}

impl Places {
    pub const fn run(start: usize, count: usize) -> Self {
        Self {
            start,
            step: 1,
            count,
        }
    }

    /// The first and the number of the bytes from the lowest to the highest of them.
    fn extent(self) -> (usize, usize) {
        if self.count == 0 {
            return (self.start, 0);
        }
        let length = (self.count - 1) * self.step.unsigned_abs() + 1;
        let first = if self.step < 0 {
            self.start + 1 - length
        } else {
            self.start
        };
        (first, length)
    }

    /// Where they are within their extent, in their order.
    fn offsets(self) -> impl Iterator<Item = usize> {
        let step = self.step.unsigned_abs();
        let count = self.count;
        (0..count).map(move |i| {
            let i = if self.step < 0 { count - 1 - i } else { i };
            i * step
        })
    }
}

/// An open one.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenBlob {
    id: BlobId,
    is_writable: bool,
    /// Whose it is.
    guest: u64,
}

impl Session {
    pub(super) fn open_blob(
        &mut self,
        operation: &Shared,
        name: BlobName,
        request: &BlobRequest,
    ) -> Result<Reply> {
        let is_writable = request.is_writable;
        if is_writable {
            self.check_transaction()?;
            self.refuse_to_write("blobopen() without readonly=True")?;
        }
        let place = BlobPlace {
            schema: &request.schema,
            table: &request.table,
            column: &request.column,
            rowid: request.rowid,
        };
        let (id, length) = self.with_fresh_snapshot(operation, |session, _| {
            Ok(session.handle.open_blob(&place, is_writable)?)
        })?;
        let guest = self.company.current;
        let blob = OpenBlob {
            id,
            is_writable,
            guest,
        };
        self.blobs.insert(name, blob);
        Ok(Reply::Length(length))
    }

    pub(super) fn read_blob(&mut self, name: BlobName, places: Places) -> Result<Reply> {
        let id = self.blob(name)?.id;
        let bytes = self.extent_of(id, places)?;
        let bytes = if places.step == 1 {
            bytes
        } else {
            places.offsets().map(|offset| bytes[offset]).collect()
        };
        Ok(Reply::Bytes(Arc::new(bytes)))
    }

    pub(super) fn write_blob(
        &mut self,
        name: BlobName,
        places: Places,
        bytes: &[u8],
    ) -> Result<()> {
        let blob = self.blob(name)?;
        if !blob.is_writable {
            let message = "attempt to write a readonly database";
            return Err(sqlite::Error::new(code::READONLY, message).into());
        }
        let (first, _) = places.extent();
        if places.step == 1 {
            return Ok(self.handle.write_blob(blob.id, first, bytes)?);
        }
        let mut extent = self.extent_of(blob.id, places)?;
        for (offset, byte) in places.offsets().zip(bytes) {
            extent[offset] = *byte;
        }
        Ok(self.handle.write_blob(blob.id, first, &extent)?)
    }

    /// Does nothing if it is closed already, or never was opened.
    pub(super) fn close_blob(&mut self, name: BlobName) -> Result<()> {
        match self.blobs.remove(&name) {
            Some(blob) => Ok(self.handle.close_blob(blob.id)?),
            None => Ok(()),
        }
    }

    /// Closes all of them, and with the last one commits what was written outside of a transaction.
    pub(super) fn close_blobs(&mut self) -> Result<()> {
        let names = self.blobs.keys().copied().collect();
        self.close_all(names)
    }

    /// Closes those of a guest.
    pub(super) fn close_blobs_of(&mut self, guest: u64) -> Result<()> {
        let mine = self.blobs.iter().filter(|(_, blob)| blob.guest == guest);
        let names = mine.map(|(name, _)| *name).collect();
        self.close_all(names)
    }

    fn close_all(&mut self, names: Vec<BlobName>) -> Result<()> {
        let mut closed = Ok(());
        for name in names {
            // Each is closed, and the first error reported.
            let result = self.close_blob(name);
            closed = closed.and(result);
        }
        closed
    }

    fn blob(&self, name: BlobName) -> Result<OpenBlob> {
        let blob = self.blobs.get(&name).copied();
        blob.ok_or_else(|| Error::programming("Cannot operate on a closed blob."))
    }

    fn extent_of(&mut self, id: BlobId, places: Places) -> Result<Vec<u8>> {
        let (first, length) = places.extent();
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(length)
            .map_err(|_| sqlite::Error::new(code::NOMEM, "out of memory"))?;
        bytes.resize(length, 0);
        self.handle.read_blob(id, first, &mut bytes)?;
        Ok(bytes)
    }
}
