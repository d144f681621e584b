//! Requests over HTTP whose caller goes while they are on their way.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::super::*;
use super::real::run;
use super::scripted::select;
use super::server::{Server, answer, next_pipeline, pipeline, read_request};
use super::tls::{trusted_file, with_tls};

/// Long enough for all that the system takes to be written.
const MOMENT: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(20);

fn gate(stream: &Stream) -> Gate {
    stream.gate().unwrap().clone()
}

async fn next(receiver: &mut mpsc::UnboundedReceiver<Json>) -> Json {
    timeout(LIMIT, receiver.recv()).await.unwrap().unwrap()
}

/// The client is given the server and asks it, directly or not.
fn half_of_a_request_goes_out(connect: impl AsyncFnOnce(&Server) -> Arc<Remote>) {
    run(async {
        let go_on = Arc::new(Notify::new());
        let (sender, mut arrived) = mpsc::unbounded_channel();
        let told = Arc::clone(&go_on);
        let server = Server::start(move |_, mut socket| {
            let (told, sender) = (Arc::clone(&told), sender.clone());
            async move {
                let first = next_pipeline(&mut socket).await.unwrap().json();
                let baton = first["baton"].clone();
                drop(sender.send(baton.clone()));
                answer(&mut socket, "200 OK", &pipeline(Some("b"))).await;
                if baton.is_null() {
                    told.notified().await;
                    let second = read_request(&mut socket).await;
                    drop(sender.send(json!(second.is_none())));
                }
            }
        })
        .await;
        let mut stream = connect(&server).await.stream();
        assert_eq!(select(&mut stream, Continuity::Any).await, Ok(1));
        assert_eq!(next(&mut arrived).await, Json::Null);

        let gate = gate(&stream);
        // More than two sockets hold.
        let large = Statement::new(&*"x".repeat(64 << 20));
        {
            let mut running = pin!(stream.execute(large, Continuity::Any));
            assert!(timeout(MOMENT, &mut running).await.is_err());
            gate.shut();
            // The server takes more only now.
            go_on.notify_one();
            let error = timeout(LIMIT, running).await.unwrap().unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Connect, Fate::NeverSent),
                "{error:?}"
            );
        }
        assert_eq!(next(&mut arrived).await, json!(true));
        assert!(stream.is_open());
        // The script answers it as a SELECT, which is not what is asked here.
        drop(stream.close().await);
        assert_eq!(next(&mut arrived).await, json!("b"));
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn half_of_a_request_is_all_that_goes_out_and_its_stream_can_be_closed() {
    half_of_a_request_goes_out(async |server| server.remote("http"));
}

#[test]
fn half_of_a_request_is_all_that_goes_out_under_tls() {
    let test = "gate::half_of_a_request_is_all_that_goes_out_under_tls";
    let Some(trusted) = trusted_file(test) else {
        return;
    };
    let mut front = None;
    half_of_a_request_goes_out(async |server| {
        let (tls, authority) = with_tls(server.port).await;
        std::fs::write(trusted, authority).unwrap();
        let url = format!("https://localhost:{}", tls.port);
        front = Some(tls);
        Remote::new(Options::new(&url, None, None, None).unwrap())
    });
}

#[test]
fn the_answer_to_what_went_out_is_heard_and_closes_the_stream() {
    run(async {
        let (sender, mut arrived) = mpsc::unbounded_channel();
        let go_on = Arc::new(Notify::new());
        let told = Arc::clone(&go_on);
        let server = Server::start(move |_, mut socket| {
            let (told, sender) = (Arc::clone(&told), sender.clone());
            async move {
                while let Some(request) = next_pipeline(&mut socket).await {
                    drop(sender.send(request.json()["baton"].clone()));
                    told.notified().await;
                    answer(&mut socket, "200 OK", &pipeline(Some("b"))).await;
                }
            }
        })
        .await;
        let mut stream = server.remote("http").stream();
        let gate = gate(&stream);
        {
            let mut running = pin!(select(&mut stream, Continuity::Any));
            assert!(timeout(MOMENT, &mut running).await.is_err());
            assert_eq!(next(&mut arrived).await, Json::Null);
            gate.shut();
            go_on.notify_one();
            assert_eq!(timeout(LIMIT, running).await.unwrap(), Ok(1));
        }
        go_on.notify_one();
        drop(stream.close().await);
        assert_eq!(next(&mut arrived).await, json!("b"));
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn what_is_refused_or_not_begun_is_not_sent_again() {
    run(async {
        // Where it is when its caller goes: the server is being asked what it speaks, or has the request.
        for place in [0, 1] {
            let (sender, mut arrived) = mpsc::unbounded_channel();
            let go_on = Arc::new(Notify::new());
            let told = Arc::clone(&go_on);
            let server = Server::start(move |_, mut socket| {
                let (told, sender) = (Arc::clone(&told), sender.clone());
                async move {
                    if place == 0 {
                        told.notified().await;
                    }
                    while next_pipeline(&mut socket).await.is_some() {
                        drop(sender.send(json!("request")));
                        told.notified().await;
                        let expired =
                            json!({"message": "gone", "code": "STREAM_EXPIRED"}).to_string();
                        answer(&mut socket, "400 Bad Request", &expired).await;
                    }
                    drop(sender.send(json!("end")));
                }
            })
            .await;
            let mut stream = server.remote("http").stream();
            let gate = gate(&stream);
            {
                let mut running = pin!(select(&mut stream, Continuity::Any));
                assert!(timeout(MOMENT, &mut running).await.is_err());
                gate.shut();
                go_on.notify_one();
                let error = timeout(LIMIT, running).await.unwrap().unwrap_err();
                assert_ne!(error.fate, Fate::Unknown, "{error:?}");
            }
            drop(stream);
            if place == 1 {
                assert_eq!(next(&mut arrived).await, json!("request"));
            }
            assert_eq!(next(&mut arrived).await, json!("end"));
            assert_eq!(server.connections(), 1);
        }
    });
}
