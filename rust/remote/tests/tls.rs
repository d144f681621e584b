//! TLS with a certificate that only `SSL_CERT_FILE` makes trusted.
//!
//! The variable can be set for another process only, so tests run themselves again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::super::*;
use super::real::run;
use super::server::{Server, agree, answer, greet, next_pipeline, pipeline, receive};

/// What a test tells its second run.
const INNER: &str = "AIOLIBSQL_TEST_TLS_INNER";

/// Runs a test again, trusting what is in a file by the time of the first connection.
fn run_again(test: &str, trusted: &Path, told: &str) {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("remote::tests::{test}")])
        .env("SSL_CERT_FILE", trusted)
        .env(INNER, told)
        .output()
        .unwrap();
    std::fs::remove_file(trusted).unwrap();
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

/// Where to write whom to trust, in the second run of a test; the first one is this call.
pub fn trusted_file(test: &str) -> Option<PathBuf> {
    if let Ok(file) = std::env::var(INNER) {
        return Some(file.into());
    }
    let file = temporary(&test.replace("::", "-"));
    run_again(test, &file, file.to_str().unwrap());
    None
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("aiolibsql-ca-{}-{name}.pem", std::process::id()))
}

async fn select(url: String) -> Result<usize> {
    let options = Options::new(&url, None, None, None).unwrap();
    let mut stream = Remote::new(options).stream();
    let result = stream
        .execute(Statement::new("select 1"), Continuity::Any)
        .await?;
    Ok(result.rows.len())
}

/// A server before another one that adds TLS, and the authority that it is trusted by.
pub async fn with_tls(port: u16) -> (Server, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |_, socket| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut outer) = acceptor.accept(socket).await else {
                return;
            };
            let mut inner = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            drop(copy_bidirectional(&mut outer, &mut inner).await);
        }
    })
    .await;
    (server, authority)
}

#[test]
fn a_certificate_is_trusted_by_ssl_cert_file() {
    run(async {
        if let Ok(ports) = std::env::var(INNER) {
            let (http, web) = ports.split_once(' ').unwrap();
            assert_eq!(select(format!("libsql://localhost:{http}")).await, Ok(1));
            assert_eq!(select(format!("wss://localhost:{web}")).await, Ok(1));
            // The certificate is for another name.
            let error = select(format!("https://127.0.0.1:{http}"))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind, error.fate),
                (Kind::Connect, Fate::NeverSent),
                "{error:?}"
            );
            return;
        }
        let http = Server::start(|_, mut socket| async move {
            while next_pipeline(&mut socket).await.is_some() {
                answer(&mut socket, "200 OK", &pipeline(None)).await;
            }
        })
        .await;
        let web = Server::start(|_, socket| async move {
            let mut web = greet(socket).await;
            while let Some(message) = receive(&mut web).await {
                agree(&mut web, &message).await;
            }
        })
        .await;
        let (http, http_authority) = with_tls(http.port).await;
        let (web, web_authority) = with_tls(web.port).await;
        let error = select(format!("libsql://localhost:{}", http.port))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Connect, Fate::NeverSent),
            "{error:?}"
        );
        assert!(error.message.contains("TLS"), "{error:?}");

        let file = temporary("both");
        std::fs::write(&file, format!("{http_authority}{web_authority}")).unwrap();
        let ports = format!("{} {}", http.port, web.port);
        let test = "tls::a_certificate_is_trusted_by_ssl_cert_file";
        tokio::task::spawn_blocking(move || run_again(test, &file, &ports))
            .await
            .unwrap();
    });
}
