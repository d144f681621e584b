//! How a session ends at its server, and how streams do that it does not need any more.
//!
//! A server keeps a stream over HTTP for ten seconds after its last answer, and has room for some hundred. Only the baton of
//! that answer closes it. So no stream is dropped that the server has, nor one whose answer is on its way.
//! Owns requests whose callers have gone.
//! Thread: the network runtime's, or that of a caller who may send a first request at once.
//! Invariant: the end of an open transaction is waited for, though not for long. What holds no locks is not: that the
//! server is told is enough. Nothing goes out for a caller who has gone, but what closes the stream.
//! Must not know: queues.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::core::{Error, Status};
use crate::remote::{Gate, Stream};

use super::session::Session;

/// So long a server is given to hear of it.
const GOODBYE: Duration = Duration::from_secs(2);

type Work<T> = Pin<Box<dyn Future<Output = (Stream, T)> + Send>>;

impl Session {
    /// Ends it; an open transaction is rolled back. Nothing that a server does can keep it from that.
    pub async fn close(mut self, status: &Status) {
        if self.is_open && self.has_written {
            status.set_discarded();
        }
        self.take_last();
        let mut reader = None;
        for (_, reading) in self.readings.drain() {
            reader = reading.end(Error::closed()).or(reader);
        }
        let goodbye = say_goodbye(self.stream.take(), reader);
        if self.is_open && !status.is_hurried() {
            // Whoever comes next may want what it has locked.
            goodbye.await;
        } else {
            drop(tokio::spawn(goodbye));
        }
    }
}

/// Closes a stream at the server. The reader of a cursor may have it still.
pub(super) async fn say_goodbye(
    stream: Option<Stream>,
    reader: Option<JoinHandle<Option<Stream>>>,
) {
    let goodbye = async {
        let stream = match reader {
            Some(reader) => reader.await.ok().flatten(),
            None => stream,
        };
        if let Some(mut stream) = stream {
            drop(stream.close().await);
        }
    };
    drop(timeout(GOODBYE, goodbye).await);
}

/// Requests on their way over HTTP. If nobody waits for their answer any more they do not go out if they have not yet.
/// Else it is waited for all the same, and the stream closed.
pub(super) struct Outliving<T: Send + 'static> {
    /// `None`: it was answered.
    work: Option<Work<T>>,
    /// That of the stream.
    gate: Gate,
    /// It may hold locks: else what takes long is given up, by which the server knows.
    is_patient: bool,
}

impl<T: Send + 'static> Outliving<T> {
    pub fn new(work: Work<T>, gate: Gate, is_patient: bool) -> Self {
        Self {
            work: Some(work),
            gate,
            is_patient,
        }
    }
}

impl<T: Send + 'static> Future for Outliving<T> {
    type Output = (Stream, T);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Outliving<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && let Ok(runtime) = Handle::try_current()
        {
            self.gate.shut();
            let is_patient = self.is_patient;
            drop(runtime.spawn(async move {
                let answered = if is_patient {
                    Some(work.await)
                } else {
                    timeout(GOODBYE, work).await.ok()
                };
                if let Some((stream, _)) = answered {
                    say_goodbye(Some(stream), None).await;
                }
            }));
        }
    }
}
