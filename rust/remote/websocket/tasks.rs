//! The two tasks of a socket: one reads answers, one writes requests.
//!
//! Owns the halves of the socket. What an answer holds is read by whoever asked, not here.
//! Thread: the runtime's.
//! Invariant: when one of them ends so does the other, and nobody waits any more.
//! Must not know: streams.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Error as WebError, Message};

use super::super::error::Result;
use super::super::proto::{Encoding, ServerMessage};
use super::handshake::Web;
use super::waiting::Waiting;

/// How often a socket that is silent is asked whether it lives.
const PING: Duration = Duration::from_secs(30);

/// How long a good-bye may take.
const LEAVE: Duration = Duration::from_secs(1);

/// A message, and the request that it is.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub id: i32,
    pub message: Message,
}

/// Starts both; `killed` ends them.
pub(super) fn start(
    web: Web,
    encoding: Encoding,
    waiting: &Arc<Waiting>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    killed: &Arc<Notify>,
) {
    let (sink, stream) = web.split();
    let reader = tokio::spawn(read(stream, encoding, Arc::clone(waiting)));
    let waiting = Arc::clone(waiting);
    let killed = Arc::clone(killed);
    tokio::spawn(async move {
        let abort = reader.abort_handle();
        tokio::select! {
            () = killed.notified() => waiting.end("it does not answer", false),
            () = write(sink, &waiting, outgoing, reader) => {}
        }
        abort.abort();
    });
}

/// Reads until the socket ends.
async fn read(mut stream: SplitStream<Web>, encoding: Encoding, waiting: Arc<Waiting>) {
    let why = loop {
        let message = match stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(WebError::ConnectionClosed)) | None => {
                break "the server closed it".to_owned();
            }
            Some(Err(error)) => break error.to_string(),
        };
        waiting.hear();
        match message {
            Message::Binary(_) | Message::Text(_) => {
                if let Err(error) = take(encoding, message.into_data(), &waiting) {
                    break error.message;
                }
            }
            Message::Close(Some(frame)) if !frame.reason.is_empty() => {
                let reason = frame.reason.as_str().escape_debug();
                break format!("the server closed it: {reason}");
            }
            Message::Close(_) => break "the server closed it".to_owned(),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    };
    waiting.end(&why, true);
}

fn take(encoding: Encoding, message: Bytes, waiting: &Waiting) -> Result<()> {
    match encoding.read_message(&message)? {
        ServerMessage::Ok(id) => waiting.answer(id, Ok(message)),
        ServerMessage::Failed(id, error) => waiting.answer(id, Err(error)),
        // The answer to a hello that was repeated; we don't.
        ServerMessage::HelloOk => Ok(()),
        ServerMessage::HelloError(error) => Err(error.into()),
    }
}

/// Writes until nobody has requests any more, or the socket ends.
async fn write(
    mut sink: SplitSink<Web, Message>,
    waiting: &Waiting,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    mut reader: JoinHandle<()>,
) {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_tick = ping.tick().await;
    let mut is_asked = false;
    let result = loop {
        tokio::select! {
            biased;
            _ = &mut reader => return,
            next = outgoing.recv() => {
                let Some(next) = next else { break Ok(()) };
                if let Err(error) = send(&mut sink, waiting, next, &mut outgoing).await {
                    break Err(error);
                }
            }
            tick = ping.tick() => {
                let is_silent = waiting.is_silent_since(last_tick);
                last_tick = tick;
                if is_silent && is_asked {
                    return waiting.end("it does not answer", false);
                }
                is_asked = is_silent;
                if is_silent && let Err(error) = sink.send(Message::Ping(Bytes::new())).await {
                    break Err(error);
                }
            }
        }
    };
    if let Err(error) = result {
        // The reader knows better why: it may still find a reason that the server gave.
        if timeout(LEAVE, &mut reader).await.is_err() {
            waiting.end(&error.to_string(), true);
        }
        return;
    }
    let leave = async {
        drop(sink.close().await);
        drop((&mut reader).await);
    };
    drop(timeout(LEAVE, leave).await);
    waiting.end("it was closed here", false);
}

/// Writes a message and all that wait behind it, as few packets as possible.
async fn send(
    sink: &mut SplitSink<Web, Message>,
    waiting: &Waiting,
    first: Outgoing,
    outgoing: &mut mpsc::UnboundedReceiver<Outgoing>,
) -> std::result::Result<(), WebError> {
    let mut next = Some(first);
    while let Some(Outgoing { id, message }) = next {
        if waiting.begin_to_send(id) {
            sink.feed(message).await?;
        }
        next = outgoing.try_recv().ok();
    }
    sink.flush().await
}
