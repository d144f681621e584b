//! Servers that follow a script, for what a real one does rarely or never.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::super::{Options, Remote};

/// A listening server; each connection is given to the script with its number, from 0.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start<F, W>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(script(count.fetch_add(1, Ordering::SeqCst), socket));
            }
        });
        Self {
            port,
            connections,
            task,
        }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// A client.
    pub fn remote(&self, scheme: &str) -> Arc<Remote> {
        self.remote_with(scheme, |_| {})
    }

    pub fn remote_with(&self, scheme: &str, change: impl FnOnce(&mut Options)) -> Arc<Remote> {
        let url = format!("{scheme}://127.0.0.1:{}", self.port);
        let mut options = Options::new(&url, None, None, None).unwrap();
        // Far above what a busy machine takes, and below the test's own limit.
        options.connect_timeout = Duration::from_secs(30);
        options.request_timeout = Duration::from_secs(30);
        change(&mut options);
        Remote::new(options)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request that arrived.
#[derive(Debug)]
pub struct Arrived {
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Reads a request; none: the client closed the connection.
pub async fn read_request(socket: &mut TcpStream) -> Option<Arrived> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")
                .map(str::to_owned)
        })
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    Some(Arrived { line, head, body })
}

pub async fn answer(socket: &mut TcpStream, status: &str, body: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    drop(socket.write_all(text.as_bytes()).await);
}

/// Answers what a JSON-only server is asked first, then the first other request.
pub async fn next_pipeline(socket: &mut TcpStream) -> Option<Arrived> {
    loop {
        let request = read_request(socket).await?;
        match &*request.line {
            "GET /v3-protobuf HTTP/1.1" => answer(socket, "404 Not Found", "").await,
            "GET /v3 HTTP/1.1" => answer(socket, "200 OK", "hello").await,
            _ => return Some(request),
        }
    }
}

/// The result of `select 1`.
pub fn one() -> Json {
    json!({"type": "execute", "result": {
        "cols": [{"name": "a", "decltype": null}], "rows": [[{"type": "integer", "value": "1"}]],
        "affected_row_count": 0, "last_insert_rowid": null,
    }})
}

/// The answer to a pipeline with one request.
pub fn pipeline(baton: Option<&str>) -> String {
    json!({"baton": baton, "base_url": null, "results": [{"type": "ok", "response": one()}]})
        .to_string()
}

pub type Web = WebSocketStream<TcpStream>;

/// Accepts a WebSocket that speaks JSON, without the hello.
pub async fn accept(socket: TcpStream) -> Web {
    #[allow(
        clippy::result_large_err,
        clippy::unnecessary_wraps,
        reason = "its type is given"
    )]
    let choose = |_: &Request, mut response: Response| {
        let chosen = HeaderValue::from_static("hrana3");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(socket, choose)
        .await
        .unwrap()
}

/// Accepts a WebSocket and says hello.
pub async fn greet(socket: TcpStream) -> Web {
    let mut web = accept(socket).await;
    let hello = receive(&mut web).await.unwrap();
    assert_eq!(hello["type"], "hello");
    send(&mut web, &json!({"type": "hello_ok"})).await;
    web
}

/// The next message; none at the end.
pub async fn receive(web: &mut Web) -> Option<Json> {
    loop {
        match web.next().await?.ok()? {
            Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

pub async fn send(web: &mut Web, message: &Json) {
    drop(web.send(Message::text(message.to_string())).await);
}

/// Answers a request well.
pub async fn agree(web: &mut Web, message: &Json) {
    let kind = message["request"]["type"].as_str().unwrap();
    let response = if kind == "execute" {
        one()
    } else {
        json!({"type": kind})
    };
    let id = &message["request_id"];
    send(
        web,
        &json!({"type": "response_ok", "request_id": id, "response": response}),
    )
    .await;
}
