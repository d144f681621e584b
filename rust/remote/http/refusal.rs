//! What an HTTP status other than success means.
//!
//! Owns the classification, by status and by the code in the body. A server's own words are shown, shortened.
//! Must not know: connections.

use hyper::http::{HeaderMap, StatusCode, header};

use super::super::error::{Error, Fate, Kind};
use super::super::proto::Encoding;

/// Characters of a server's text that are shown.
const SHOWN: usize = 300;

/// The error for an answer that is none.
pub(super) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    encoding: Encoding,
    had_baton: bool,
) -> Error {
    if status.is_redirection() {
        let message = format!(
            "the server answers with a redirection ({status}), which is not followed: use the URL that it leads to"
        );
        return Error::new(Kind::Server, Fate::Refused, message);
    }
    let (code, text) = explanation(headers, body, encoding);
    let message = match &text {
        Some(text) => format!("the server refused the request ({status}): {text}"),
        None => format!("the server refused the request ({status})"),
    };
    let (kind, fate) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (Kind::Auth, Fate::Refused),
        _ if status.is_client_error() => (Kind::Server, Fate::Refused),
        // It may have failed before, while or after it did something.
        _ => (Kind::Server, Fate::Unknown),
    };
    if let Some(code) = &code {
        let told = Error::from_server(Some(code), text.clone().unwrap_or_default());
        if told.kind != Kind::Sql {
            return told;
        }
    }
    // For a baton that it does not know, after a restart for example, a server has no code but these words only.
    let is_about_baton = text.is_some_and(|text| text.contains("baton"));
    if had_baton && status == StatusCode::BAD_REQUEST && code.is_none() && is_about_baton {
        return Error::expired(
            "the stream does not exist any more: the server was restarted, or forgot it",
        );
    }
    let message = match fate {
        Fate::Unknown => format!("{message}; whether it was carried out is unknown"),
        _ => message,
    };
    let code = code.unwrap_or_else(|| format!("HTTP_{}", status.as_u16()));
    Error::new(kind, fate, message).with_code(code)
}

/// The code and the text in a refusal's body.
fn explanation(
    headers: &HeaderMap,
    body: &[u8],
    encoding: Encoding,
) -> (Option<String>, Option<String>) {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if encoding == Encoding::Protobuf
        && kind.starts_with("application/x-protobuf")
        && let Some(error) = encoding.read_error(body)
    {
        return (error.code, Some(shorten(&error.message)));
    }
    if let Ok(object) = serde_json::from_slice::<serde_json::Value>(body) {
        let field = |name| object.get(name).and_then(serde_json::Value::as_str);
        let text = field("message").or_else(|| field("error")).map(shorten);
        return (field("code").map(shorten), text);
    }
    let text = String::from_utf8_lossy(body);
    let is_shown = kind.starts_with("text/plain") && !text.trim().is_empty();
    (None, is_shown.then(|| shorten(text.trim())))
}

/// A server's text as one line that is not too long.
fn shorten(text: &str) -> String {
    text.chars()
        .take(SHOWN)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}
