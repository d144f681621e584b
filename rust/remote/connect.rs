//! Reaching a server: its addresses, TCP, and TLS over that.
//!
//! Owns a connection until somebody takes it.
//! Thread: the runtime's.
//! Must not know: HTTP, Hrana.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{Error, Fate, Kind, Result};
use super::tls;
use super::url::Target;

/// Bytes both ways, encrypted or not.
pub trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// Connects to a server.
///
/// # Errors
/// `Connect`. It sets no limit of its own: the caller's is around more than this.
pub async fn connect(target: &Target, limit: Duration) -> Result<Box<dyn Socket>> {
    let socket = reach(target, Instant::now() + limit).await?;
    // Requests are small and waited for.
    socket
        .set_nodelay(true)
        .map_err(|error| unreachable(target, &error))?;
    if target.tls {
        Ok(Box::new(tls::begin(socket, &target.host).await?))
    } else {
        Ok(Box::new(socket))
    }
}

fn unreachable(target: &Target, why: &dyn std::fmt::Display) -> Error {
    let (host, port) = (&target.host, target.port);
    Error::connect(format!("cannot connect to {host} port {port}: {why}"))
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>> {
    let with_port = |address| SocketAddr::new(address, target.port);
    if let Some(known) = target.known_addresses() {
        return Ok(known.into_iter().map(with_port).collect());
    }
    let found = tokio::net::lookup_host((&*target.host, target.port))
        .await
        .map_err(|error| unreachable(target, &error))?;
    Ok(found.collect())
}

/// Tries one address after the other; each may take its share of the time that is left.
async fn reach(target: &Target, until: Instant) -> Result<TcpStream> {
    let addresses = addresses(target).await?;
    let mut last = unreachable(target, &"the name has no address");
    for (index, address) in (0_u32..).zip(&addresses) {
        let left = u32::try_from(addresses.len()).unwrap_or(u32::MAX) - index;
        let share = until.saturating_duration_since(Instant::now()) / left.max(1);
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => unreachable(target, &error),
            Err(_) => Error {
                kind: Kind::Timeout,
                ..unreachable(target, &"no answer in time")
            },
        };
    }
    Err(last)
}

/// Bounds an attempt to connect.
///
/// # Errors
/// The attempt's; `Timeout` at the limit.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    attempt: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout_at(Instant::now() + limit, attempt)
        .await
        .unwrap_or_else(|_| {
            let message = format!("{what} took longer than {} s", limit.as_secs_f64());
            Err(Error::new(Kind::Timeout, Fate::NeverSent, message))
        })
}
