//! What a socket's bytes go through before they are a message: answers that are too large are left out.
//!
//! For tungstenite such a message is the end of the socket, and so of everything that waits there. But it answers one
//! request only, which its first bytes name. The rest is read and forgotten.
//! Owns the socket, and the place in its frames.
//! Invariant: nothing of a frame is passed on before its length is known. A message of several frames is not left out:
//! tungstenite ends the socket for it.
//! Must not know: streams.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::connect::Socket;
use super::super::error::Error;
use super::super::proto::{Encoding, ServerError};
use super::waiting::Waiting;

/// With so many bytes an answer has said which request it answers.
const FRONT: usize = 64;

/// How the answer to the upgrade ends, after which there are frames.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A socket without the answers that are too large.
#[derive(Debug)]
pub(super) struct Sieve {
    socket: Box<dyn Socket>,
    largest: usize,
    waiting: Arc<Waiting>,
    place: Place,
    /// The beginning of a frame's header, kept back until the rest of it is there.
    header: Vec<u8>,
}

/// What the next byte is of.
#[derive(Debug)]
enum Place {
    /// The answer to the upgrade; so many bytes of its end were there.
    Head(usize),
    Header,
    /// A frame of which so many bytes are left.
    Frame(u64),
    Large(Large),
}

/// A frame that is left out.
#[derive(Debug)]
struct Large {
    left: u64,
    encoding: Encoding,
    /// Its first bytes, until its request was told.
    front: Option<Vec<u8>>,
}

impl Sieve {
    pub fn new(socket: Box<dyn Socket>, largest: usize, waiting: Arc<Waiting>) -> Self {
        Self {
            socket,
            largest,
            waiting,
            place: Place::Head(0),
            header: Vec::new(),
        }
    }

    /// Takes out what is not passed on; how much is left, at the front.
    fn sift(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut from, mut kept) = (0, 0);
        while from < bytes.len() {
            let rest = &bytes[from..];
            let (length, is_kept) = match &mut self.place {
                Place::Head(seen) => {
                    let length = end_of_head(rest, seen);
                    if *seen == END_OF_HEAD.len() {
                        self.place = Place::Header;
                    }
                    (length, true)
                }
                Place::Header => {
                    let mut cursor = Cursor::new(rest);
                    match FrameHeader::parse(&mut cursor) {
                        Ok(Some((header, length))) => {
                            self.place = self.place_in(&header, length);
                            let is_kept = !matches!(self.place, Place::Large(_));
                            let length = usize::try_from(cursor.position());
                            (length.unwrap_or(rest.len()), is_kept)
                        }
                        Ok(None) => {
                            self.header.extend_from_slice(rest);
                            (rest.len(), false)
                        }
                        // tungstenite will say the same of it.
                        Err(_) => (rest.len(), true),
                    }
                }
                Place::Frame(left) => {
                    let length = take(left, rest.len());
                    if *left == 0 {
                        self.place = Place::Header;
                    }
                    (length, true)
                }
                Place::Large(large) => {
                    let length = take(&mut large.left, rest.len());
                    let is_over = large.left == 0;
                    if let Some(front) = &mut large.front {
                        front.extend_from_slice(&rest[..length.min(FRONT)]);
                        if front.len() >= FRONT || is_over {
                            self.tell()?;
                        }
                    }
                    if is_over {
                        self.place = Place::Header;
                    }
                    (length, false)
                }
            };
            if is_kept {
                bytes.copy_within(from..from + length, kept);
                kept += length;
            }
            from += length;
        }
        Ok(kept)
    }

    /// Where we are behind a frame's header.
    fn place_in(&self, header: &FrameHeader, left: u64) -> Place {
        let encoding = match header.opcode {
            OpCode::Data(Data::Binary) => Some(Encoding::Protobuf),
            OpCode::Data(Data::Text) => Some(Encoding::Json),
            _ => None,
        };
        match encoding.filter(|_| header.is_final && left > self.largest as u64) {
            Some(encoding) => Place::Large(Large {
                left,
                encoding,
                front: Some(Vec::with_capacity(FRONT)),
            }),
            None if left == 0 => Place::Header,
            None => Place::Frame(left),
        }
    }

    /// Tells the request whose answer is left out.
    fn tell(&mut self) -> io::Result<()> {
        let error = Error::answer_too_large(self.largest);
        let Place::Large(large) = &mut self.place else {
            return Ok(());
        };
        let front = large.front.take().unwrap_or_default();
        let request = large.encoding.request_of(&front);
        let told = request.map(|request| {
            let refusal = ServerError {
                message: error.message.clone(),
                code: error.code.as_deref().map(str::to_owned),
            };
            self.waiting.answer(request, Err(refusal))
        });
        match told {
            Some(Ok(())) => Ok(()),
            // There is nobody else to tell.
            _ => Err(io::Error::other(error.message)),
        }
    }
}

/// Counts down; by how much.
fn take(left: &mut u64, most: usize) -> usize {
    let taken = usize::try_from(*left).map_or(most, |left| left.min(most));
    *left -= taken as u64;
    taken
}

/// How many of the bytes are of the head; `seen` counts those of its end.
fn end_of_head(bytes: &[u8], seen: &mut usize) -> usize {
    for (place, byte) in bytes.iter().enumerate() {
        *seen = match *byte {
            byte if byte == END_OF_HEAD[*seen] => *seen + 1,
            b'\r' => 1,
            _ => 0,
        };
        if *seen == END_OF_HEAD.len() {
            return place + 1;
        }
    }
    bytes.len()
}

impl AsyncRead for Sieve {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buffer.filled().len();
        loop {
            if buffer.remaining() <= this.header.len() {
                let message = "there is no room for the header of a frame";
                return Poll::Ready(Err(io::Error::other(message)));
            }
            buffer.put_slice(&this.header);
            let before = buffer.filled().len();
            let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
            let is_over = buffer.filled().len() == before;
            if is_over {
                buffer.set_filled(start);
                return polled;
            }
            ready!(polled)?;
            this.header.clear();
            let kept = this.sift(&mut buffer.filled_mut()[start..])?;
            buffer.set_filled(start + kept);
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Sieve {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::runtime::Builder;

    use super::super::waiting::Answered;
    use super::*;

    const LARGEST: usize = 300;
    const PING: u8 = 9;
    /// The first of a message's frames.
    const FIRST: u8 = BINARY;
    const BINARY: u8 = 2;
    const TEXT: u8 = 1;

    fn frame(first: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match u16::try_from(data.len()) {
            Ok(length @ 0..126) => frame.push(u8::try_from(length).unwrap()),
            Ok(length) => {
                frame.push(126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend((data.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(data);
        frame
    }

    fn message(code: u8, data: &[u8]) -> Vec<u8> {
        frame(0x80 | code, data)
    }

    /// What comes out of a sieve, and what was told, if these bytes arrive in pieces.
    fn sifted(bytes: &[u8], piece: usize, requests: usize) -> (io::Result<Vec<u8>>, Vec<Answered>) {
        let waiting = Arc::new(Waiting::new(false));
        let mut answers = Vec::new();
        for _ in 0..requests {
            let (id, answer) = waiting.add(false).unwrap();
            assert!(waiting.begin_to_send(id));
            answers.push(answer);
        }
        let runtime = Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let (mut server, client) = duplex(piece);
            let mut sieve = Sieve::new(Box::new(client), LARGEST, waiting);
            let write = async move {
                // The reader may have given up.
                drop(server.write_all(bytes).await);
                drop(server);
            };
            let read = async move {
                let (mut all, mut buffer) = (Vec::new(), [0; 16]);
                loop {
                    match sieve.read(&mut buffer).await? {
                        0 => return Ok(all),
                        length => all.extend_from_slice(&buffer[..length]),
                    }
                }
            };
            tokio::join!(read, write).0
        });
        let told = answers
            .iter_mut()
            .filter_map(|answer| answer.try_recv().ok());
        (read, told.map(Result::unwrap).collect())
    }

    fn large(request: u8) -> Vec<u8> {
        // response_ok with its request_id, and a response.
        let mut answer = vec![0x1a, 0xff, 0x7f];
        if request > 0 {
            answer.extend([8, request]);
        }
        answer.extend([0x1a; 1000]);
        answer
    }

    #[test]
    fn large_answers_are_left_out_wherever_they_are_cut() {
        let head = b"HTTP/1.1 101 Switching\r\na: \r\r\nb\r\n\r\n";
        let json = format!(
            r#"{{"type":"response_ok","request_id":1,"r":"{}"}}"#,
            "x".repeat(70_000)
        );
        let small = [7; LARGEST];
        let mut arriving = head.to_vec();
        let mut expected = head.to_vec();
        for (bytes, is_kept) in [
            (message(PING, b"?"), true),
            (message(BINARY, &small), true),
            (message(BINARY, &large(2)), false),
            (message(BINARY, b""), true),
            (message(TEXT, json.as_bytes()), false),
            (message(BINARY, &large(0)), false),
            (frame(FIRST, &[1; 1000]), true),
            (message(0, &[2; 1000]), true),
            (message(TEXT, b"end"), true),
        ] {
            arriving.extend_from_slice(&bytes);
            if is_kept {
                expected.extend_from_slice(&bytes);
            }
        }
        for piece in (1..40).chain([100, 1 << 17]) {
            let (read, told) = sifted(&arriving, piece, 4);
            assert_eq!(read.unwrap(), expected, "{piece}");
            let codes: Vec<_> = told
                .into_iter()
                .map(|told| told.unwrap_err().code)
                .collect();
            let code = Some("ANSWER_TOO_LARGE".to_owned());
            assert_eq!(codes, [code.clone(), code.clone(), code]);
        }
    }

    #[test]
    fn a_large_message_that_answers_nothing_ends_the_socket() {
        for data in [large(9), vec![0xff; 1000], vec![0x0a; 1000]] {
            let mut arriving = b"\r\n\r\n".to_vec();
            arriving.extend(message(BINARY, &data));
            let (read, told) = sifted(&arriving, 64, 2);
            assert!(read.unwrap_err().to_string().contains("limit of 300"));
            assert!(told.is_empty());
        }
    }
}
