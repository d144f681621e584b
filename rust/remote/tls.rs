//! TLS by rustls: which certificates are trusted.
//!
//! Owns the configuration, made once for each setting of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
//! Thread: any.
//! Invariant: nothing waits for the lock, which a fork may have left taken for ever in a child.
//! Must not know: who is connected to.

use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};

use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{Error, Result};

type Setting = (Option<OsString>, Option<OsString>);

static MADE: Mutex<Option<(Setting, Arc<ClientConfig>)>> = Mutex::new(None);

/// Begins TLS over a connection to `host`.
///
/// # Errors
/// `Connect`, for a certificate that is not trusted too.
pub async fn begin<S>(socket: S, host: &str) -> Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = config().await?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::usage("the host of the database URL can't be in a certificate"))?;
    TlsConnector::from(config)
        .connect(name, socket)
        .await
        .map_err(|error| Error::connect(format!("TLS with {host} failed: {error}")))
}

async fn config() -> Result<Arc<ClientConfig>> {
    let setting = (
        std::env::var_os("SSL_CERT_FILE"),
        std::env::var_os("SSL_CERT_DIR"),
    );
    if let Ok(made) = MADE.try_lock()
        && let Some((of, config)) = &*made
        && *of == setting
    {
        return Ok(Arc::clone(config));
    }
    // It reads files.
    let config = tokio::task::spawn_blocking(make)
        .await
        .map_err(|_| Error::connect("TLS can't be set up: the client is shutting down"))??;
    let config = Arc::new(config);
    if let Ok(mut made) = MADE.try_lock() {
        *made = Some((setting, Arc::clone(&config)));
    }
    Ok(config)
}

fn make() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // These two variables come first in it, then the system's store.
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        let is_chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
        if is_chosen {
            return Err(Error::connect(
                "SSL_CERT_FILE and SSL_CERT_DIR hold no certificate that can be read",
            ));
        }
        // Containers often have no store. Where there is one, it alone says who is trusted.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::connect(format!("TLS can't be set up: {error}")))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
