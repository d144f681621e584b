//! Tokens: where they come from, and against a real server that checks them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::super::*;
use super::real::{remote, run};
use super::scripted::select;
use super::server::{Server, answer, next_pipeline, pipeline};
use super::sqld::Sqld;

/// Signs tokens; the server has its public half in a file.
struct Signer {
    pair: Ed25519KeyPair,
    file: PathBuf,
}

impl Signer {
    fn new(name: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let name = format!("aiolibsql-key-{}-{name}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, URL_SAFE_NO_PAD.encode(pair.public_key())).unwrap();
        Self { pair, file }
    }

    fn server(&self) -> Option<Sqld> {
        Sqld::start(&["--auth-jwt-key-file", self.file.to_str().unwrap()])
    }

    fn token(&self, access: &str, valid_for: i64) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = serde_json::json!({"a": access, "exp": now.cast_signed() + valid_for});
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

fn tokens_are_checked(scheme: &'static str) {
    let signer = Signer::new(scheme);
    let Some(server) = signer.server() else {
        return;
    };
    run(async move {
        let url = server.url(scheme);
        let execute = async |token: Option<&str>, sql: &str| {
            let mut stream = remote(&url, token).stream();
            stream.execute(Statement::new(sql), Continuity::Any).await
        };
        let writes = signer.token("rw", 3600);
        execute(Some(&writes), "create table t(a)").await.unwrap();
        let other = Signer::new(&format!("other-{scheme}")).token("rw", 3600);
        let old = signer.token("rw", -3600);
        for token in [None, Some("nonsense"), Some(&*other), Some(&*old)] {
            let error = execute(token, "select 1").await.unwrap_err();
            assert_eq!(error.kind, Kind::Auth, "{error:?}");
            assert_ne!(error.fate, Fate::Unknown, "{error:?}");
            assert!(token.is_none_or(|token| !format!("{error:?}").contains(token)));
        }
        let reads = signer.token("ro", 3600);
        assert_eq!(
            execute(Some(&reads), "select * from t")
                .await
                .unwrap()
                .rows
                .len(),
            0
        );
        let error = execute(Some(&reads), "insert into t values (1)")
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Auth, Fate::Refused),
            "{error:?}"
        );
        // The same stream goes on reading.
        let mut stream = remote(&url, Some(&reads)).stream();
        let insert = Statement::new("insert into t values (1)");
        assert!(stream.execute(insert, Continuity::Any).await.is_err());
        let select = Statement::new("select * from t");
        let result = stream.execute(select, Continuity::Any).await.unwrap();
        assert_eq!(result.rows.len(), 0);
    });
}

#[test]
fn tokens_are_checked_over_http() {
    tokens_are_checked("http");
}

#[test]
fn tokens_are_checked_over_a_websocket() {
    tokens_are_checked("ws");
}

#[test]
fn a_source_that_gave_an_old_token_is_asked_again() {
    struct Source(std::sync::Mutex<Vec<String>>);

    impl TokenSource for Source {
        fn token(&self, _attendance: Attendance) -> TokenFuture {
            let token = self.0.lock().unwrap().pop().unwrap();
            Box::pin(async move { Ok(Secret::new(token)) })
        }
    }

    let signer = Signer::new("source");
    let Some(server) = signer.server() else {
        return;
    };
    run(async move {
        for scheme in ["http", "ws"] {
            let tokens = vec![signer.token("rw", 3600), signer.token("rw", -3600)];
            let source = Token::Source(Arc::new(Source(tokens.into())));
            let options = Options::new(&server.url(scheme), None, None, Some(source)).unwrap();
            let mut stream = Remote::new(options).stream();
            let result = stream
                .execute(Statement::new("select 1"), Continuity::Any)
                .await;
            assert_eq!(result.unwrap().rows.len(), 1);
        }
    });
}

struct Counting(AtomicUsize);

impl TokenSource for Counting {
    fn token(&self, _attendance: Attendance) -> TokenFuture {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(Secret::new(format!("token {number}"))) })
    }
}

#[test]
fn after_a_401_another_token_is_asked_for_once() {
    run(async {
        let server = Server::start(|_, mut socket| async move {
            while let Some(request) = next_pipeline(&mut socket).await {
                if request.head.contains("Bearer token 1\r\n") {
                    answer(&mut socket, "200 OK", &pipeline(Some("b"))).await;
                } else {
                    answer(
                        &mut socket,
                        "401 Unauthorized",
                        r#"{"error":"Unauthorized"}"#,
                    )
                    .await;
                }
            }
        })
        .await;
        let source = Arc::new(Counting(AtomicUsize::new(0)));
        let supplied = Arc::clone(&source);
        let remote = server.remote_with("http", |options| {
            options.credentials = Credentials::Source(supplied);
        });
        let mut stream = remote.stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        assert_eq!(select(&mut stream, Continuity::Same).await, Ok(1));
        assert_eq!(source.0.load(Ordering::SeqCst), 2);
        // The next ones are refused too: asked for once more, not for ever.
        source.0.store(7, Ordering::SeqCst);
        let supplied = Arc::clone(&source);
        let remote = server.remote_with("http", |options| {
            options.credentials = Credentials::Source(supplied);
        });
        let error = select(&mut remote.stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Auth, Fate::Refused),
            "{error:?}"
        );
        assert_eq!(source.0.load(Ordering::SeqCst), 9);
        assert!(!format!("{error:?} {remote:?}").contains("token 8"));
        let remote = server.remote_with("http", |options| {
            options.credentials = Credentials::Token(Secret::new("s3cret"));
        });
        let error = select(&mut remote.stream(), Continuity::Any)
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Auth);
        assert!(!format!("{error:?} {remote:?}").contains("s3cret"));
    });
}

#[test]
fn a_source_that_does_not_answer_is_a_timeout() {
    struct Silent;

    impl TokenSource for Silent {
        fn token(&self, _attendance: Attendance) -> TokenFuture {
            Box::pin(std::future::pending())
        }
    }

    run(async {
        for scheme in ["http", "ws"] {
            let server = Server::start(|_, _| async {}).await;
            let remote = server.remote_with(scheme, |options| {
                options.credentials = Credentials::Source(Arc::new(Silent));
                options.connect_timeout = std::time::Duration::from_millis(300);
            });
            let error = select(&mut remote.stream(), Continuity::Any)
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Timeout, Fate::NeverSent),
                "{error:?}"
            );
            assert_eq!(server.connections(), 0);
        }
    });
}
