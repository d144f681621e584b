//! URLs and the parameters beside them.

use super::super::url::{Location, Transport};
use super::super::*;

fn parse(url: &str) -> Location {
    Location::parse(url, None, None).unwrap()
}

#[test]
fn schemes_say_transport_tls_and_port() {
    let cases = [
        ("libsql://db.example.com", Transport::Http, true, 443),
        ("libsql://h:8080?tls=0", Transport::Http, false, 8080),
        ("libsql://h:8080?tls=1", Transport::Http, true, 8080),
        ("https://h", Transport::Http, true, 443),
        ("http://h", Transport::Http, false, 80),
        ("http://h?tls=0", Transport::Http, false, 80),
        ("wss://h", Transport::WebSocket, true, 443),
        ("ws://h:1", Transport::WebSocket, false, 1),
    ];
    for (url, transport, tls, port) in cases {
        let target = parse(url).target;
        assert_eq!(
            (target.transport, target.tls, target.port),
            (transport, tls, port),
            "{url}"
        );
    }
}

#[test]
fn contradictions_are_refused_with_libsql_clients_codes() {
    let cases = [
        ("libsql://h?tls=0", "URL_INVALID"),
        ("http://h?tls=1", "URL_INVALID"),
        ("https://h?tls=0", "URL_INVALID"),
        ("ws://h?tls=1", "URL_INVALID"),
        ("wss://h?tls=0", "URL_INVALID"),
        ("http://h?tls=2", "URL_INVALID"),
        ("http://h?tls=0&tls=0", "URL_INVALID"),
        ("http://h?authToken=a&authToken=b", "URL_INVALID"),
        ("http://u:p@h?authToken=a", "URL_INVALID"),
        ("http://h#x", "URL_INVALID"),
        ("http://h:99999", "URL_INVALID"),
        ("http://h:0", "URL_INVALID"),
        ("http://h:port", "URL_INVALID"),
        ("http://", "URL_INVALID"),
        ("http:///path", "URL_INVALID"),
        ("h:8080", "URL_INVALID"),
        ("no url", "URL_INVALID"),
        ("http://h\u{e9}", "URL_INVALID"),
        ("", "URL_INVALID"),
        ("http://h?x=1", "URL_PARAM_NOT_SUPPORTED"),
        ("ftp://h", "URL_SCHEME_NOT_SUPPORTED"),
    ];
    for (url, code) in cases {
        let error = Location::parse(url, None, None).unwrap_err();
        assert_eq!(error.kind, Kind::Usage, "{url}");
        assert_eq!(error.code.as_deref(), Some(code), "{url}: {error:?}");
    }
    assert!(Location::parse("libsql://h:1", Some(false), None).is_ok());
    assert!(Location::parse("libsql://h:1?tls=1", Some(false), None).is_err());
    assert!(Location::parse("http://h", Some(true), None).is_err());
    assert!(Location::parse("https://h", Some(true), None).is_ok());
}

#[test]
fn secrets_are_read_and_never_shown() {
    let location = parse("libsql://h?authToken=a%2Fb%20c");
    assert_eq!(location.token.as_ref().unwrap().reveal(), "a/b c");
    assert!(!format!("{location:?}").contains("a/b"));
    let location = parse("http://user:p%40ss@h:1");
    assert_eq!(
        location.basic.as_ref().unwrap().reveal(),
        "Basic dXNlcjpwQHNz"
    );
    assert!(!format!("{location:?}").contains("dXNlcjpwQHNz"));
    assert_eq!(location.target.authority, "h:1");
    let secret = "s3cret";
    for url in [
        "http://h?authToken=s3cret&x=s3cret",
        "http://u:s3cret@h:x",
        "http://s3cret:@?",
    ] {
        let error = Location::parse(url, None, None).unwrap_err();
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
}

#[test]
fn hosts_and_namespaces_make_the_host_header() {
    let cases = [
        (
            "http://h.example.com",
            None,
            "h.example.com",
            "h.example.com",
        ),
        ("http://h:81/p/q/", Some("ns"), "h", "ns.h:81"),
        (
            "http://127.0.0.1:8080",
            Some("ns"),
            "127.0.0.1",
            "ns.localhost:8080",
        ),
        (
            "http://[::1]:8080",
            Some("n-1"),
            "::1",
            "n-1.localhost:8080",
        ),
        ("http://[::1]:8080", None, "::1", "[::1]:8080"),
        ("http://ns.localhost", None, "ns.localhost", "ns.localhost"),
    ];
    for (url, namespace, host, header) in cases {
        let target = Location::parse(url, None, namespace).unwrap().target;
        assert_eq!(
            (&*target.host, target.authority.to_str().unwrap()),
            (host, header),
            "{url}"
        );
    }
    assert_eq!(parse("http://h/p/q/").target.path, "/p/q");
    for namespace in ["", "a.b", "a b", "a/b", "\u{e9}", &"x".repeat(64)] {
        assert!(
            Location::parse("http://h", None, Some(namespace)).is_err(),
            "{namespace}"
        );
    }
    let known = |url| parse(url).target.known_addresses().is_some();
    assert!(known("http://a.b.LOCALHOST") && known("http://localhost.") && known("http://[::1]"));
    assert!(!known("http://localhost.example.com") && !known("http://xlocalhost"));
}

#[test]
fn a_base_url_may_not_be_less_safe() {
    let target = parse("https://h").target;
    assert!(target.moved("https://other:1").is_ok());
    for url in ["http://h", "wss://h", "nonsense", "libsql://h:1?tls=0"] {
        assert_eq!(target.moved(url).unwrap_err().kind, Kind::Protocol, "{url}");
    }
    assert!(parse("http://h").target.moved("https://h").is_ok());
}

#[test]
fn credentials_come_from_one_place() {
    let token = |text: &str| Some(Token::Fixed(Secret::new(text)));
    let options = |url, token| Options::new(url, None, None, token);
    assert!(options("http://h?authToken=a", token("a")).is_ok());
    for url in ["http://h?authToken=a", "http://u@h"] {
        let error = options(url, token("b")).unwrap_err();
        assert!(error.message.contains("auth_token"), "{error:?}");
    }
    assert!(matches!(
        options("http://h", None).unwrap().credentials,
        Credentials::None
    ));
    assert!(matches!(
        options("http://u@h", None).unwrap().credentials,
        Credentials::Basic(_)
    ));
}
