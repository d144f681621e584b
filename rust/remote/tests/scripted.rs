//! The client over HTTP against servers that misbehave.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::*;
use super::real::run;
use super::server::{Server, answer, next_pipeline, one, pipeline, read_request};

/// A limit that is reached.
const SHORT: Duration = Duration::from_millis(300);

pub async fn select(stream: &mut Stream, continuity: Continuity) -> Result<usize> {
    let result = stream
        .execute(Statement::new("select 1"), continuity)
        .await?;
    Ok(result.rows.len())
}

/// What a request came to, if each pipeline is answered with this status and body.
async fn against(status: &'static str, body: String) -> (Error, Stream, Server) {
    let server = Server::start(move |_, mut socket| {
        let body = body.clone();
        async move {
            while next_pipeline(&mut socket).await.is_some() {
                answer(&mut socket, status, &body).await;
            }
        }
    })
    .await;
    let mut stream = server.remote("http").stream();
    let error = select(&mut stream, Continuity::Any).await.unwrap_err();
    (error, stream, server)
}

#[test]
fn five_thousand_statements_use_one_connection() {
    run(async {
        let server = Server::start(|_, mut socket| async move {
            for number in 0.. {
                let Some(request) = next_pipeline(&mut socket).await else {
                    return;
                };
                let before = (number > 0).then(|| format!("baton {}", number - 1));
                assert_eq!(request.json()["baton"], json!(before));
                let body = pipeline(Some(&format!("baton {number}")));
                answer(&mut socket, "200 OK", &body).await;
            }
        })
        .await;
        let mut stream = server.remote("http").stream();
        for _ in 0..5000 {
            assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        }
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_server_that_closes_each_connection_is_reconnected_to() {
    run(async {
        let server = Server::start(|_, mut socket| async move {
            if next_pipeline(&mut socket).await.is_some() {
                answer(&mut socket, "200 OK", &pipeline(Some("b"))).await;
            }
        })
        .await;
        let mut stream = server.remote("http").stream();
        for _ in 0..20 {
            assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
            // So that the end of the connection is seen before it is used.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.connections(), 20);
    });
}

#[test]
fn a_dead_port_is_a_connect_error_at_once() {
    run(async {
        for scheme in ["http", "ws"] {
            let server = Server::start(|_, _| async {}).await;
            let remote = server.remote(scheme);
            drop(server);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let error = select(&mut remote.stream(), Continuity::Any)
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Connect, Fate::NeverSent),
                "{error:?}"
            );
        }
    });
}

#[test]
fn a_silent_server_is_a_timeout_wherever_it_falls_silent() {
    run(async {
        // While connecting, after the request, in the middle of the body.
        let cases = [(0, Fate::NeverSent), (1, Fate::Unknown), (2, Fate::Unknown)];
        for (place, fate) in cases {
            let server = Server::start(move |_, mut socket| async move {
                if place > 0 {
                    next_pipeline(&mut socket).await;
                }
                if place > 1 {
                    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"baton\"";
                    socket.write_all(half.as_bytes()).await.unwrap();
                }
                std::future::pending::<()>().await;
            })
            .await;
            let begin = Instant::now();
            let remote = server.remote_with("http", |options| {
                if place == 0 {
                    options.connect_timeout = SHORT;
                } else {
                    options.request_timeout = SHORT;
                }
            });
            let error = select(&mut remote.stream(), Continuity::Any)
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Timeout, fate),
                "{place}: {error:?}"
            );
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
    });
}

#[test]
fn an_answer_that_is_cut_off_has_an_unknown_outcome_and_the_next_request_works() {
    run(async {
        let server = Server::start(|number, mut socket| async move {
            next_pipeline(&mut socket).await;
            let text = pipeline(Some("b"));
            let (head, length) = ("HTTP/1.1 200 OK\r\ncontent-length: ", text.len());
            let whole = format!("{head}{length}\r\n\r\n{text}");
            let end = if number == 0 {
                whole.len() - 10
            } else {
                whole.len()
            };
            socket.write_all(&whole.as_bytes()[..end]).await.unwrap();
        })
        .await;
        let mut stream = server.remote("http").stream();
        let error = select(&mut stream, Continuity::Any).await.unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Connect, Fate::Unknown),
            "{error:?}"
        );
        assert!(stream.is_lost());
        let error = select(&mut stream, Continuity::Same).await.unwrap_err();
        assert_eq!((error.kind, error.fate), (Kind::Expired, Fate::NeverSent));
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn an_expired_stream_is_reopened_unless_it_has_to_be_the_same() {
    run(async {
        for body in [
            json!({"message": "expired", "code": "STREAM_EXPIRED"}).to_string(),
            json!({"error": "Received an invalid baton"}).to_string(),
        ] {
            let (sender, mut seen) = mpsc::unbounded_channel();
            let server = Server::start(move |_, mut socket| {
                let (sender, body) = (sender.clone(), body.clone());
                async move {
                    while let Some(request) = next_pipeline(&mut socket).await {
                        let baton = request.json()["baton"].clone();
                        let is_fresh = baton == Json::Null;
                        sender.send(baton).unwrap();
                        if is_fresh {
                            answer(&mut socket, "200 OK", &pipeline(Some("old"))).await;
                        } else {
                            answer(&mut socket, "400 Bad Request", &body).await;
                        }
                    }
                }
            })
            .await;
            let mut stream = server.remote("http").stream();
            assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
            assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
            let error = select(&mut stream, Continuity::Same).await.unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Expired, Fate::Refused),
                "{error:?}"
            );
            assert!(!stream.is_open());
            let batons: Vec<_> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
            assert_eq!(
                batons,
                [json!(null), json!("old"), json!(null), json!("old")]
            );
            assert_eq!(server.connections(), 1);
        }
    });
}

#[test]
fn a_stream_is_there_still_after_a_request_that_was_refused_for_what_it_is() {
    run(async {
        let server = Server::start(|_, mut socket| async move {
            while let Some(request) = next_pipeline(&mut socket).await {
                let statement = request.json()["requests"][0]["stmt"]["sql"].clone();
                if statement == "select 1" {
                    answer(&mut socket, "200 OK", &pipeline(Some("b"))).await;
                } else {
                    // As what stands before a server does.
                    answer(&mut socket, "413 Payload Too Large", "").await;
                }
            }
        })
        .await;
        let mut stream = server.remote("http").stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        let large = Statement::new("select 'large'");
        let error = stream.execute(large, Continuity::Same).await.unwrap_err();
        assert_eq!((error.kind, error.fate), (Kind::Server, Fate::Refused));
        assert_eq!(select(&mut stream, Continuity::Same).await, Ok(1));
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_status_says_what_became_of_the_request() {
    run(async {
        let cases = [
            ("403 Forbidden", Kind::Auth, Fate::Refused, "HTTP_403"),
            ("404 Not Found", Kind::Server, Fate::Refused, "HTTP_404"),
            (
                "429 Too Many Requests",
                Kind::Server,
                Fate::Refused,
                "HTTP_429",
            ),
            (
                "500 Internal Server Error",
                Kind::Server,
                Fate::Unknown,
                "HTTP_500",
            ),
        ];
        for (status, kind, fate, code) in cases {
            let body = json!({"error": "because\n\u{1b}[31m"}).to_string();
            let (error, mut stream, _server) = against(status, body).await;
            assert_eq!((error.kind, error.fate), (kind, fate), "{error:?}");
            assert_eq!(error.code.as_deref(), Some(code));
            assert!(error.message.contains("because") && !error.message.contains('\u{1b}'));
            assert!(select(&mut stream, Continuity::Any).await.is_err());
        }
        let (error, _, _server) = against("307 Temporary Redirect", String::new()).await;
        assert_eq!((error.kind, error.fate), (Kind::Server, Fate::Refused));
        assert!(error.message.contains("redirection"));
    });
}

#[test]
fn an_answer_beyond_the_limit_or_of_nonsense_is_refused() {
    run(async {
        let server = Server::start(|_, mut socket| async move {
            while next_pipeline(&mut socket).await.is_some() {
                answer(&mut socket, "200 OK", &"x".repeat(100_000)).await;
            }
        })
        .await;
        let remote = server.remote_with("http", |options| options.largest_answer = 50_000);
        let error = select(&mut remote.stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::TooLarge, Fate::Unknown),
            "{error:?}"
        );
        let error = select(&mut server.remote("http").stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Protocol, Fate::Unknown),
            "{error:?}"
        );
        let body = json!({"baton": null, "results": []}).to_string();
        let (error, ..) = against("200 OK", body).await;
        assert_eq!(error.kind, Kind::Protocol, "{error:?}");
        let body =
            r#"{"baton": null, "results": [{"type": "ok", "response": {"type": "sequence"}}]}"#;
        let (error, ..) = against("200 OK", body.into()).await;
        assert_eq!(error.kind, Kind::Protocol, "{error:?}");
    });
}

#[test]
fn a_server_of_another_kind_is_unsupported() {
    run(async {
        let server = Server::start(|_, mut socket| async move {
            while read_request(&mut socket).await.is_some() {
                answer(&mut socket, "404 Not Found", "").await;
            }
        })
        .await;
        let error = select(&mut server.remote("http").stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Unsupported, Fate::NeverSent),
            "{error:?}"
        );
        let old = Server::start(|_, mut socket| async move {
            while let Some(request) = read_request(&mut socket).await {
                match &*request.line {
                    "GET /v2 HTTP/1.1" => answer(&mut socket, "200 OK", "").await,
                    "POST /v2/pipeline HTTP/1.1" => {
                        answer(&mut socket, "200 OK", &pipeline(None)).await;
                    }
                    _ => answer(&mut socket, "404 Not Found", "").await,
                }
            }
        })
        .await;
        let mut stream = old.remote("http").stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        let error = stream.is_autocommit(Continuity::Any).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported);
        let nan = vec![Value::try_from(crate::core::ValueRef::Real(f64::NAN)).unwrap()];
        let statement = Statement::new("select ?").with_args(nan);
        let error = stream
            .execute(statement, Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Usage, Fate::NeverSent),
            "{error:?}"
        );
    });
}

#[test]
fn a_request_whose_caller_vanished_leaves_a_lost_stream_and_no_connection() {
    run(async {
        let server = Server::start(|number, mut socket| async move {
            while let Some(request) = next_pipeline(&mut socket).await {
                if number == 0 && request.json()["baton"] != Json::Null {
                    std::future::pending::<()>().await;
                }
                answer(&mut socket, "200 OK", &pipeline(Some("b"))).await;
            }
        })
        .await;
        let mut stream = server.remote("http").stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        let given_up = timeout(
            Duration::from_millis(50),
            select(&mut stream, Continuity::Same),
        )
        .await;
        assert!(given_up.is_err() && stream.is_lost());
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn a_stream_goes_on_at_its_base_url() {
    run(async {
        let other = Server::start(|_, mut socket| async move {
            while let Some(request) = next_pipeline(&mut socket).await {
                assert_eq!(request.json()["baton"], "moved");
                let body = json!({"baton": null, "results": [{"type": "ok", "response": one()}]});
                answer(&mut socket, "200 OK", &body.to_string()).await;
            }
        })
        .await;
        let port = other.port;
        let server = Server::start(move |_, mut socket| async move {
            while let Some(request) = next_pipeline(&mut socket).await {
                assert_eq!(request.json()["baton"], Json::Null);
                let body = json!({
                    "baton": "moved", "base_url": format!("http://127.0.0.1:{port}"),
                    "results": [{"type": "ok", "response": one()}],
                });
                answer(&mut socket, "200 OK", &body.to_string()).await;
            }
        })
        .await;
        let mut stream = server.remote("http").stream();
        for _ in 0..4 {
            assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        }
        assert!(other.connections() > 0);
    });
}

#[test]
fn a_cursor_that_is_cut_off_is_an_error_after_the_rows_that_came() {
    run(async {
        let lines = [
            json!({"baton": "b", "base_url": null}),
            json!({"type": "step_begin", "step": 0, "cols": [{"name": "a"}]}),
            json!({"type": "row", "row": [{"type": "integer", "value": "1"}]}),
        ];
        let text = lines.map(|line| line.to_string()).join("\n") + "\n";
        for is_silent in [false, true] {
            let text = text.clone();
            let server = Server::start(move |_, mut socket| {
                let text = text.clone();
                async move {
                    next_pipeline(&mut socket).await;
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    let chunk = format!("{head}{:x}\r\n{text}\r\n", text.len());
                    socket.write_all(chunk.as_bytes()).await.unwrap();
                    if is_silent {
                        std::future::pending::<()>().await;
                    }
                }
            })
            .await;
            let remote = server.remote_with("http", |options| {
                if is_silent {
                    options.request_timeout = SHORT;
                }
            });
            let mut stream = remote.stream();
            let mut batch = Batch::default();
            batch.push(None, Statement::new("select 1"));
            let mut cursor = stream.cursor(&batch, Continuity::Any).await.unwrap();
            let mut rows = 0;
            let error = loop {
                match cursor.next().await {
                    Ok(events) => {
                        assert!(!events.is_empty(), "the end was not noticed");
                        for event in events {
                            if let CursorEvent::Rows(batch) = event {
                                rows += batch.len();
                            }
                        }
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!(rows, 1);
            let kind = if is_silent {
                Kind::Timeout
            } else {
                Kind::Connect
            };
            assert_eq!((error.kind, error.fate), (kind, Fate::Unknown), "{error:?}");
        }
    });
}
