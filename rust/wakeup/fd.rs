//! Wakeup descriptor: an eventfd on Linux, a socket pair on other Unix systems.
//!
//! Owns the descriptor(s): non-blocking, close-on-exec, closed by the last owner of the queue and never
//! with the loop, so that a late completion cannot write into a recycled descriptor.
//! Thread: `ring` from anywhere, `silence` on the loop's thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::completions::Bell;

#[cfg(target_os = "linux")]
type End = std::os::fd::OwnedFd;
#[cfg(not(target_os = "linux"))]
type End = std::os::unix::net::UnixStream;

/// A descriptor that becomes readable when it is rung.
#[derive(Debug)]
pub struct WakeupFd {
    receive: End,
    #[cfg(not(target_os = "linux"))]
    send: End,
}

impl WakeupFd {
    /// Creates the descriptor.
    ///
    /// # Errors
    /// The operating system's, as when the process has no descriptors left.
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let receive = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { receive })
    }

    /// Creates the descriptors.
    ///
    /// # Errors
    /// The operating system's, as when the process has no descriptors left.
    #[cfg(not(target_os = "linux"))]
    pub fn new() -> io::Result<Self> {
        let (receive, send) = std::os::unix::net::UnixStream::pair()?;
        receive.set_nonblocking(true)?;
        send.set_nonblocking(true)?;
        Ok(Self { receive, send })
    }

    /// The number that an event loop watches for reading.
    pub fn number(&self) -> RawFd {
        self.receive.as_raw_fd()
    }
}

impl Bell for WakeupFd {
    fn ring(&self) {
        #[cfg(target_os = "linux")]
        let end = self.receive.as_fd();
        #[cfg(not(target_os = "linux"))]
        let end = self.send.as_fd();
        // A full counter or buffer already means "readable", so its error can be ignored.
        let _ = rustix::io::write(end, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        // An eventfd gives all of its count in one read; a socket may hold several rings, and what stays
        // behind only costs one empty drain.
        let mut buffer = [0_u8; 512];
        let _ = rustix::io::read(self.receive.as_fd(), &mut buffer[..]);
    }
}
