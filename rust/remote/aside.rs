//! Work that takes long enough for others to notice.
//!
//! Owns nothing. Thread: the runtime's, which has one for everything that waits.
//! Must not know: what the work is.

use tokio::task::block_in_place;

/// Bytes that are read in no time.
const SMALL: usize = 64 << 10;

/// Reads an answer of so many bytes. While it reads a large one, another thread takes over what the runtime has to do.
pub fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > SMALL {
        block_in_place(work)
    } else {
        work()
    }
}
