//! A database's URL: where the server is, how it is spoken to, and what the URL says of its user.
//!
//! Owns the rules of libsql-client: which schemes and parameters there are, and which contradict each other.
//! Invariant: what is secret in a URL is in a [`Secret`] at once, and in no message.
//! Must not know: sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::http::HeaderValue;
use hyper::http::uri::{Authority, Uri};
use percent_encoding::percent_decode_str;

use super::auth::Secret;
use super::error::{Error, Result};

/// What carries the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Http,
    WebSocket,
}

/// A server, and the database on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    pub tls: bool,
    /// What is resolved and, over TLS, has to be in the certificate; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Before every path of ours; empty, or begins with a slash.
    pub path: String,
    /// The `Host` header, by which servers tell namespaces apart.
    pub authority: HeaderValue,
}

/// What a URL holds.
#[derive(Debug)]
pub struct Location {
    pub target: Target,
    /// `?authToken=`.
    pub token: Option<Secret>,
    /// The user and password before the host, as the value of an `Authorization` header.
    pub basic: Option<Secret>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::usage(message).with_code("URL_INVALID")
}

impl Location {
    /// Reads a URL; `tls` and `namespace` are the parameters beside it.
    ///
    /// # Errors
    /// `Usage`, with libsql-client's code for it.
    pub fn parse(url: &str, tls: Option<bool>, namespace: Option<&str>) -> Result<Self> {
        if url.contains('#') {
            return Err(invalid("a database URL has no fragment ('#')"));
        }
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(query)?;
        let uri: Uri = url.parse().map_err(|_| {
            invalid("the database URL can't be parsed; non-ASCII hosts have to be in punycode")
        })?;
        let (transport, default_tls) = match uri.scheme_str() {
            Some("libsql" | "https") => (Transport::Http, true),
            Some("http") => (Transport::Http, false),
            Some("wss") => (Transport::WebSocket, true),
            Some("ws") => (Transport::WebSocket, false),
            Some(scheme) => {
                let message = format!(
                    "the scheme '{scheme}:' is not supported: use libsql:, https:, http:, wss: or ws:"
                );
                return Err(Error::usage(message).with_code("URL_SCHEME_NOT_SUPPORTED"));
            }
            None => return Err(invalid("the database URL has no scheme, such as 'libsql:'")),
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty())
            .ok_or_else(|| invalid("the database URL has no host"))?;
        let tls = choose_tls(scheme, default_tls, query.tls, tls)?;
        let port = port_of(authority)?;
        if scheme == "libsql" && !tls && port.is_none() {
            return Err(invalid("a 'libsql:' URL without TLS has to name its port"));
        }
        let basic = basic_of(authority)?;
        if basic.is_some() && query.token.is_some() {
            return Err(invalid(
                "the database URL has both a user and an 'authToken': use one of them",
            ));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = host_header(authority.host(), namespace)?;
        let authority = match port {
            Some(port) => format!("{name}:{port}"),
            None => name,
        };
        Ok(Self {
            target: Target {
                transport,
                tls,
                host,
                port: port.unwrap_or(if tls { 443 } else { 80 }),
                path: uri.path().trim_end_matches('/').to_owned(),
                authority: HeaderValue::try_from(authority)
                    .map_err(|_| invalid("the host of the database URL can't be a header"))?,
            },
            token: query.token,
            basic,
        })
    }
}

fn choose_tls(
    scheme: &str,
    default: bool,
    in_url: Option<bool>,
    parameter: Option<bool>,
) -> Result<bool> {
    if let (Some(in_url), Some(parameter)) = (in_url, parameter)
        && in_url != parameter
    {
        return Err(invalid(
            "the parameter tls and the URL's '?tls=' contradict each other",
        ));
    }
    let wanted = in_url.or(parameter).unwrap_or(default);
    if scheme != "libsql" && wanted != default {
        let (what, instead) = match scheme {
            "http" => ("with TLS", "https:"),
            "ws" => ("with TLS", "wss:"),
            "https" => ("without TLS", "http:"),
            _ => ("without TLS", "ws:"),
        };
        let message =
            format!("a '{scheme}:' URL {what} is a contradiction: use '{instead}' or 'libsql:'");
        return Err(invalid(message));
    }
    Ok(wanted)
}

fn port_of(authority: &Authority) -> Result<Option<u16>> {
    match authority.port() {
        // "http://host:" is allowed to mean nothing.
        Some(port) if port.as_str().is_empty() => Ok(None),
        Some(port) if port.as_u16() == 0 => Err(invalid("the port 0 can't be connected to")),
        Some(port) => Ok(Some(port.as_u16())),
        None => {
            let has_port = authority
                .as_str()
                .rsplit('@')
                .next()
                .and_then(|host| host.rsplit(']').next())
                .is_some_and(|rest| rest.trim_end_matches(':').contains(':'));
            if has_port {
                return Err(invalid(
                    "the port of the database URL is not a number up to 65535",
                ));
            }
            Ok(None)
        }
    }
}

/// The user and password as `Basic` credentials.
fn basic_of(authority: &Authority) -> Result<Option<Secret>> {
    let Some((user_info, _)) = authority.as_str().rsplit_once('@') else {
        return Ok(None);
    };
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decode = |part| {
        percent_decode_str(part)
            .decode_utf8()
            .map_err(|_| invalid("the user or password of the database URL is not UTF-8"))
    };
    let pair = format!("{}:{}", decode(user)?, decode(password)?);
    Ok(Some(Secret::new(format!(
        "Basic {}",
        STANDARD.encode(pair)
    ))))
}

/// The host by which the server knows the database: its first label is the namespace.
fn host_header(host: &str, namespace: Option<&str>) -> Result<String> {
    let Some(namespace) = namespace else {
        return Ok(host.to_owned());
    };
    let is_label = !namespace.is_empty()
        && namespace.len() <= 63
        && namespace
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_label {
        let message = "the namespace is not a name of letters, digits, '-' and '_', which a host's label has to be";
        return Err(Error::usage(message));
    }
    // A label before an address makes no host.
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let domain = if is_address { "localhost" } else { host };
    Ok(format!("{namespace}.{domain}"))
}

#[derive(Debug, Default)]
struct Query {
    token: Option<Secret>,
    tls: Option<bool>,
}

impl Query {
    fn parse(query: &str) -> Result<Self> {
        let mut found = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_repeated = match key {
                "authToken" => {
                    let value = percent_decode_str(value)
                        .decode_utf8()
                        .map_err(|_| invalid("the 'authToken' of the database URL is not UTF-8"))?;
                    found.token.replace(Secret::new(value)).is_some()
                }
                "tls" => {
                    let value = match value {
                        "0" => false,
                        "1" => true,
                        _ => return Err(invalid("the URL's 'tls' has to be 0 or 1")),
                    };
                    found.tls.replace(value).is_some()
                }
                // Not named: it may be a secret that ended up in the wrong place.
                _ => {
                    let message = "a database URL takes the parameters 'authToken' and 'tls' only";
                    return Err(Error::usage(message).with_code("URL_PARAM_NOT_SUPPORTED"));
                }
            };
            if is_repeated {
                return Err(invalid(format!("the database URL has '{key}' twice")));
            }
        }
        Ok(found)
    }
}

impl Target {
    /// The addresses of a host that needs no resolver: an address, `localhost` and the names below it, which not every
    /// resolver knows.
    pub fn known_addresses(&self) -> Option<Vec<IpAddr>> {
        if let Ok(address) = self.host.parse() {
            return Some(vec![address]);
        }
        let host = self.host.trim_end_matches('.').to_ascii_lowercase();
        (host == "localhost" || host.ends_with(".localhost"))
            .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// Where a stream goes on, if its server wants that elsewhere.
    ///
    /// # Errors
    /// `Protocol` for what is not an HTTP URL, or less safe than this one.
    pub fn moved(&self, base_url: &str) -> Result<Self> {
        let wrong = |_| Error::protocol("the base URL of the stream is not an HTTP URL");
        let location = Location::parse(base_url, None, None).map_err(wrong)?;
        let target = location.target;
        if target.transport != Transport::Http || (self.tls && !target.tls) {
            return Err(Error::protocol(
                "the base URL of the stream is not as safe as the database's URL",
            ));
        }
        Ok(target)
    }
}
