//! Wakeup descriptor: an eventfd on Linux, a socket pair on other Unix systems.
//!
//! Owns the descriptor(s): non-blocking, close-on-exec, closed by the last owner of the queue and never
//! with the loop, so that a late completion cannot write into a recycled descriptor.
//! Thread: `ring` from anywhere, `silence` on the loop's thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::completions::Bell;

/// A descriptor that becomes readable when it is rung.
#[cfg(target_os = "linux")]
pub type WakeupFd = EventFd;
/// A descriptor that becomes readable when it is rung.
#[cfg(not(target_os = "linux"))]
pub type WakeupFd = SocketPair;

/// The cheaper one, which only Linux has.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct EventFd(std::os::fd::OwnedFd);

/// The one that all have; Linux for its tests.
#[cfg(any(test, not(target_os = "linux")))]
#[derive(Debug)]
pub struct SocketPair {
    receive: std::os::unix::net::UnixStream,
    send: std::os::unix::net::UnixStream,
}

#[cfg(target_os = "linux")]
impl EventFd {
    /// Creates the descriptor.
    ///
    /// # Errors
    /// The operating system's, as when the process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(descriptor))
    }
}

#[cfg(any(test, not(target_os = "linux")))]
impl SocketPair {
    /// Creates the descriptors.
    ///
    /// # Errors
    /// The operating system's, as when the process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let (receive, send) = std::os::unix::net::UnixStream::pair()?;
        receive.set_nonblocking(true)?;
        send.set_nonblocking(true)?;
        Ok(Self { receive, send })
    }
}

#[cfg(target_os = "linux")]
impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(any(test, not(target_os = "linux")))]
impl AsFd for SocketPair {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receive.as_fd()
    }
}

#[cfg(target_os = "linux")]
impl Bell for EventFd {
    fn ring(&self) {
        ring(self.as_fd());
    }

    fn silence(&self) {
        silence(self.as_fd());
    }
}

#[cfg(any(test, not(target_os = "linux")))]
impl Bell for SocketPair {
    fn ring(&self) {
        ring(self.send.as_fd());
    }

    fn silence(&self) {
        silence(self.as_fd());
    }
}

fn ring(end: BorrowedFd<'_>) {
    // A full counter or buffer already means "readable", so its error can be ignored.
    let _ = rustix::io::write(end, &1_u64.to_ne_bytes());
}

fn silence(end: BorrowedFd<'_>) {
    // An eventfd gives all of its count in one read; a socket may hold several rings, and what stays
    // behind only costs one empty drain.
    let mut buffer = [0_u8; 512];
    let _ = rustix::io::read(end, &mut buffer[..]);
}
