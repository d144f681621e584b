//! The client over a WebSocket against servers that misbehave.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::SinkExt as _;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::super::*;
use super::real::run;
use super::server::{Server, accept, agree, greet, one, receive, send};

/// A limit that is reached.
const SHORT: Duration = Duration::from_millis(300);

async fn select(stream: &mut Stream, continuity: Continuity) -> Result<usize> {
    let result = stream
        .execute(Statement::new("select 1"), continuity)
        .await?;
    Ok(result.rows.len())
}

#[test]
fn requests_of_many_streams_share_a_socket_and_are_answered_in_any_order() {
    run(async {
        let server = Server::start(|_, socket| async move {
            let mut web = greet(socket).await;
            let mut waiting = Vec::new();
            // Ten streams, each with an open and a statement: all are there before one is answered.
            while waiting.len() < 20 {
                waiting.push(receive(&mut web).await.unwrap());
            }
            for message in waiting.iter().rev() {
                agree(&mut web, message).await;
            }
            while let Some(message) = receive(&mut web).await {
                agree(&mut web, &message).await;
            }
        })
        .await;
        let remote = server.remote("ws");
        let mut streams: Vec<_> = (0..10).map(|_| remote.stream()).collect();
        let selects = streams
            .iter_mut()
            .map(|stream| select(stream, Continuity::Any));
        for result in futures::future::join_all(selects).await {
            assert_eq!(result, Ok(1));
        }
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_socket_that_drops_fails_what_was_sent_once_and_is_replaced() {
    run(async {
        let server = Server::start(|number, socket| async move {
            let mut web = greet(socket).await;
            let mut statements = 0;
            while let Some(message) = receive(&mut web).await {
                if message["request"]["type"] == "execute" {
                    statements += 1;
                }
                if number == 0 && statements > 3 {
                    if statements == 6 {
                        return;
                    }
                    continue;
                }
                agree(&mut web, &message).await;
            }
        })
        .await;
        let remote = server.remote("ws");
        let mut streams: Vec<_> = (0..3).map(|_| remote.stream()).collect();
        for stream in &mut streams {
            assert_eq!(select(stream, Continuity::Any).await, Ok(1));
        }
        let selects = streams
            .iter_mut()
            .map(|stream| select(stream, Continuity::Same));
        for result in futures::future::join_all(selects).await {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Connect, Fate::Unknown),
                "{error:?}"
            );
        }
        let error = select(&mut streams[0], Continuity::Same).await.unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Expired, Fate::NeverSent),
            "{error:?}"
        );
        for stream in &mut streams {
            assert_eq!(select(stream, Continuity::Any).await, Ok(1));
        }
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn a_caller_that_vanishes_leaves_the_socket_usable() {
    run(async {
        let server = Server::start(|_, socket| async move {
            let mut web = greet(socket).await;
            let mut late = Vec::new();
            let mut statements = 0;
            while let Some(message) = receive(&mut web).await {
                if message["request"]["type"] == "execute" {
                    statements += 1;
                    if statements <= 5 {
                        late.push(message);
                        continue;
                    }
                }
                agree(&mut web, &message).await;
                for message in late.drain(..) {
                    agree(&mut web, &message).await;
                }
            }
        })
        .await;
        let remote = server.remote("ws");
        let mut stream = remote.stream();
        for _ in 0..5 {
            let wait = timeout(
                Duration::from_millis(20),
                select(&mut stream, Continuity::Any),
            );
            assert!(wait.await.is_err());
        }
        for _ in 0..5 {
            assert_eq!(select(&mut stream, Continuity::Same).await, Ok(1));
        }
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn an_answer_beyond_the_limit_is_the_error_of_its_request_alone() {
    run(async {
        let server = Server::start(|_, socket| async move {
            let mut web = greet(socket).await;
            let mut waiting = Vec::new();
            while let Some(message) = receive(&mut web).await {
                if waiting.len() == 6 {
                    agree(&mut web, &message).await;
                    continue;
                }
                waiting.push(message);
                if waiting.len() < 6 {
                    continue;
                }
                for (number, message) in waiting.iter().enumerate() {
                    // One of the statements is answered with too much.
                    if number == 3 {
                        let mut response = one();
                        response["result"]["cols"][0]["name"] = json!("x".repeat(100_000));
                        let id = &message["request_id"];
                        let answer =
                            json!({"request_id": id, "response": response, "type": "response_ok"});
                        send(&mut web, &answer).await;
                    } else {
                        agree(&mut web, message).await;
                    }
                }
            }
        })
        .await;
        let remote = server.remote_with("ws", |options| options.largest_answer = 50_000);
        let mut streams: Vec<_> = (0..3).map(|_| remote.stream()).collect();
        let selects = streams
            .iter_mut()
            .map(|stream| select(stream, Continuity::Any));
        let results = futures::future::join_all(selects).await;
        let mut errors = 0;
        for result in results {
            match result {
                Ok(rows) => assert_eq!(rows, 1),
                Err(error) => {
                    assert_eq!(error.kind, Kind::TooLarge, "{error:?}");
                    assert_eq!(error.code.as_deref(), Some(ANSWER_TOO_LARGE));
                    errors += 1;
                }
            }
        }
        assert_eq!(errors, 1);
        for stream in &mut streams {
            assert_eq!(select(stream, Continuity::Same).await, Ok(1));
        }
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_silent_server_is_a_timeout_and_its_socket_is_given_up() {
    run(async {
        let server = Server::start(|number, socket| async move {
            let mut web = greet(socket).await;
            if number == 0 {
                std::future::pending::<()>().await;
            }
            while let Some(message) = receive(&mut web).await {
                agree(&mut web, &message).await;
            }
        })
        .await;
        let remote = server.remote_with("ws", |options| options.request_timeout = SHORT);
        let begin = Instant::now();
        let error = select(&mut remote.stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Timeout, Fate::Unknown),
            "{error:?}"
        );
        assert!(begin.elapsed() < Duration::from_secs(20));
        let mut stream = remote.stream();
        let until = Instant::now() + Duration::from_secs(20);
        while select(&mut stream, Continuity::Any).await != Ok(1) {
            assert!(Instant::now() < until);
            stream.reset();
        }
        assert_eq!(server.connections(), 2);
        // Silent from the beginning, for many streams at once.
        let server = Server::start(|_, socket| async move {
            let _socket = socket;
            std::future::pending::<()>().await;
        })
        .await;
        let remote = server.remote_with("ws", |options| options.connect_timeout = SHORT);
        let mut streams: Vec<_> = (0..20).map(|_| remote.stream()).collect();
        let selects = streams
            .iter_mut()
            .map(|stream| select(stream, Continuity::Any));
        let begin = Instant::now();
        for result in futures::future::join_all(selects).await {
            let error = result.unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Timeout, Fate::NeverSent),
                "{error:?}"
            );
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_refused_hello_is_an_auth_error() {
    run(async {
        let server = Server::start(|_, socket| async move {
            let mut web = accept(socket).await;
            receive(&mut web).await;
            let error = json!({"message": "too old", "code": "AUTH_JWT_EXPIRED"});
            send(&mut web, &json!({"type": "hello_error", "error": error})).await;
        })
        .await;
        let error = select(&mut server.remote("ws").stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Auth, "{error:?}");
        assert_eq!(error.code.as_deref(), Some("AUTH_JWT_EXPIRED"));
        let server = Server::start(|_, socket| async move {
            drop(tokio_tungstenite::accept_async(socket).await);
        })
        .await;
        let error = select(&mut server.remote("ws").stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported, "{error:?}");
    });
}

#[test]
fn a_socket_that_drops_under_a_read_only_token_says_so() {
    run(async {
        let server = Server::start(|_, socket| async move {
            let mut web = greet(socket).await;
            while let Some(message) = receive(&mut web).await {
                if message["request"]["type"] == "execute" {
                    return;
                }
                agree(&mut web, &message).await;
            }
        })
        .await;
        let remote = server.remote_with("ws", |options| {
            let claims = URL_SAFE_NO_PAD.encode(r#"{"a":"ro"}"#);
            options.credentials = Credentials::Token(Secret::new(format!("x.{claims}.y")));
        });
        let error = select(&mut remote.stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Auth, Fate::Refused),
            "{error:?}"
        );
        assert_eq!(error.code.as_deref(), Some("AUTH_READ_ONLY"));
    });
}

#[test]
fn pings_are_answered_and_nonsense_ends_the_socket() {
    run(async {
        let server = Server::start(|number, socket| async move {
            let mut web = greet(socket).await;
            while let Some(message) = receive(&mut web).await {
                let is_statement = message["request"]["type"] == "execute";
                match number {
                    0 if is_statement => {
                        web.send(Message::Ping("are you there".into()))
                            .await
                            .unwrap();
                        let pong = futures::StreamExt::next(&mut web).await;
                        assert!(matches!(pong, Some(Ok(Message::Pong(_)))), "{pong:?}");
                        agree(&mut web, &message).await;
                        let unasked = json!({"request": {"type": "execute"}, "request_id": 12345});
                        agree(&mut web, &unasked).await;
                    }
                    _ => agree(&mut web, &message).await,
                }
            }
        })
        .await;
        let remote = server.remote("ws");
        let mut stream = remote.stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        let until = Instant::now() + Duration::from_secs(20);
        while !stream.is_lost() {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn streams_are_closed_when_they_are_dropped_and_the_socket_with_the_last_of_them() {
    run(async {
        let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(move |_, socket| {
            let sender = sender.clone();
            async move {
                let mut web = greet(socket).await;
                while let Some(message) = receive(&mut web).await {
                    let kind = message["request"]["type"].as_str().unwrap().to_owned();
                    drop(sender.send(kind));
                    agree(&mut web, &message).await;
                }
                drop(sender.send("end".into()));
            }
        })
        .await;
        let remote = server.remote("ws");
        let mut stream = remote.stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        drop((stream, remote));
        let mut kinds = Vec::new();
        while kinds.len() < 4 {
            let kind = timeout(Duration::from_secs(20), seen.recv()).await;
            kinds.push(kind.unwrap().unwrap());
        }
        assert_eq!(kinds, ["open_stream", "execute", "close_stream", "end"]);
    });
}
