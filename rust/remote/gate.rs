//! Gate: whether more may go out over a stream's HTTP connections.
//!
//! A request whose caller has gone must not go out any more. If it went out before, its answer is wanted all the same:
//! by that alone its stream can be closed. So nothing but writing ends with the caller.
//! Owns the state, and a socket's side that writes.
//! Thread: `shut` from any, while nobody polls what it is for.
//! Invariant: what was turned away was never sent as a whole, so no server acts on it.
//! Must not know: HTTP, Hrana.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Socket;

const OPEN: u8 = 0;
const SHUT: u8 = 1;
/// The same, and something wanted to go out since.
const TURNED_AWAY: u8 = 2;

/// Shared by whoever decides and the sockets it is for.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<AtomicU8>);

impl Gate {
    /// From now on nothing goes out.
    pub fn shut(&self) {
        self.0.store(SHUT, Ordering::SeqCst);
    }

    pub(super) fn open(&self) {
        self.0.store(OPEN, Ordering::SeqCst);
    }

    pub(super) fn is_shut(&self) -> bool {
        self.0.load(Ordering::SeqCst) != OPEN
    }

    /// Whether something was kept from going out, or the rest of it.
    pub(super) fn has_turned_away(&self) -> bool {
        self.0.load(Ordering::SeqCst) == TURNED_AWAY
    }

    fn turn_away(&self) -> io::Error {
        self.0.store(TURNED_AWAY, Ordering::SeqCst);
        io::Error::new(io::ErrorKind::BrokenPipe, "nobody waits for it any more")
    }
}

/// A socket that writes while its gate is open.
#[derive(Debug)]
pub(super) struct Gated {
    socket: Box<dyn Socket>,
    gate: Gate,
    /// Nothing of what was written is still here; encryption keeps back what the system does not take.
    is_flushed: bool,
}

impl Gated {
    pub fn new(socket: Box<dyn Socket>, gate: Gate) -> Self {
        Self {
            socket,
            gate,
            is_flushed: true,
        }
    }

    fn writer(&mut self) -> io::Result<Pin<&mut dyn Socket>> {
        if self.gate.is_shut() {
            return Err(self.gate.turn_away());
        }
        self.is_flushed = false;
        Ok(Pin::new(&mut *self.socket))
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer()?.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It is asked for at each turn, whether anything was written or not.
        if !self.is_flushed {
            ready!(self.writer()?.poll_flush(context))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gate.is_shut() {
            // A goodbye is no part of a request, and what is kept back would go out with it.
            return Poll::Ready(Ok(()));
        }
        self.writer()?.poll_shutdown(context)
    }
}
