//! Connector: the sockets over which libsql's replicator speaks to the server.
//!
//! Owns their limits: to connect takes at most `connect_timeout`, and a server that is silent for `request_timeout` is
//! given up. libsql has no limit of its own.
//! Thread: the network runtime's.
//! Must not know: what is said.

use std::io::{self, Error};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_0::Uri;
use hyper_0::client::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use crate::remote::{self, Remote, Socket};

/// Connects to one server, whatever it is asked for.
#[derive(Clone)]
pub struct Connector(pub Arc<Remote>);

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = remote::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Line, remote::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let remote = Arc::clone(&self.0);
        Box::pin(async move {
            let socket = remote.connect().await?;
            let limit = remote.options().request_timeout;
            Ok(Line {
                socket,
                limit,
                silence: Box::pin(sleep(limit)),
            })
        })
    }
}

/// A socket that nobody waits for without end.
pub struct Line {
    socket: Box<dyn Socket>,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Line {
    fn heard(&mut self) {
        let limit = self.limit;
        self.silence.as_mut().reset(Instant::now() + limit);
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.socket).poll_read(context, buffer) {
            this.heard();
            return Poll::Ready(read);
        }
        ready!(this.silence.as_mut().poll(context));
        let message = format!("the server was silent for {} s", this.limit.as_secs_f64());
        Poll::Ready(Err(Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(context, bytes));
        // Its answer may take so long from now on.
        self.heard();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
