//! What `connect` was given for a database at a server.
//!
//! Owns the reading of a URL's companions, and the callable that gives auth tokens, which is one of the connection's
//! callbacks.
//! Thread: the caller's; the callable is called by a thread of the network runtime, in the caller's context.
//! Invariant: no message shows a token, a password or a URL's query.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::{Channel, TransactionMode};
use crate::hosted::{self, Hosted};
use crate::remote::{self, Attendance, Remote, Secret, Token};

use super::callbacks::{self, Callback};
use super::exceptions;
use super::home::Home;
use super::link::Link;
use super::options::Arguments;
use super::parameters::seconds;
use super::replica::Follow;
use super::settings::Settings;

/// Where the callback of a callable will be, and how it talks with whoever needs a token.
pub type Slot = Arc<OnceLock<(Callback, Arc<Channel>)>>;

/// A callable that gives tokens.
type Source<'a, 'py> = (&'a Bound<'py, PyAny>, Slot);

/// The keywords that only a database at a server has a use for.
#[derive(Default)]
pub struct Companions<'a, 'py> {
    pub auth_token: Option<&'a Bound<'py, PyAny>>,
    pub tls: Option<bool>,
    pub namespace: Option<String>,
    pub request_timeout: Option<f64>,
    pub connect_timeout: Option<f64>,
    pub follow: Follow,
}

/// Whether a database is at a server.
pub fn is_url(label: &str) -> bool {
    label.split_once("://").is_some_and(|(scheme, _)| {
        ["libsql", "http", "https", "ws", "wss"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

impl Companions<'_, '_> {
    /// Refuses them for a database that is at no server.
    pub fn refuse(&self, py: Python<'_>) -> PyResult<()> {
        let given = [
            ("auth_token", self.auth_token.is_some()),
            ("tls", self.tls.is_some()),
            ("namespace", self.namespace.is_some()),
            ("request_timeout", self.request_timeout.is_some()),
            ("connect_timeout", self.connect_timeout.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                let message = format!(
                    "{name} is for remote databases: the parameter database is not the URL of one, nor is sync_url given"
                );
                Err(exceptions::programming(py, message))
            }
            None => Ok(()),
        }
    }

    /// Connects a link to the database at a URL.
    pub fn link(
        &self,
        url: &Bound<'_, PyString>,
        arguments: &Arguments<'_, '_>,
        settings: Settings,
    ) -> PyResult<Link> {
        let py = url.py();
        refuse_local(py, arguments)?;
        self.follow
            .refuse(py, "the parameter database is a remote one's URL")?;
        let (remote, callable) = self.remote(url)?;
        let mode: TransactionMode = settings.control.mode();
        let hosted = Hosted::new(hosted::Options {
            remote: Remote::new(remote),
            timeout: seconds(arguments.timeout, "timeout")?,
            mode,
            is_blocking: arguments.is_blocking,
            detour: None,
        });
        let link = Link::new(Home::Hosted(hosted), shown(url.to_str()?), settings);
        set_source(&link, callable)?;
        Ok(link)
    }

    /// How the server at a URL is spoken to, and the callable that gives tokens, with the place for its callback.
    pub fn remote(
        &self,
        url: &Bound<'_, PyString>,
    ) -> PyResult<(remote::Options, Option<Source<'_, '_>>)> {
        let py = url.py();
        // UnicodeEncodeError would carry the whole URL in its arguments.
        let url = url
            .to_str()
            .map_err(|_| PyValueError::new_err("the URL of a database has surrogates"))?;
        let callback = Arc::new(OnceLock::new());
        let (token, callable) = match self.auth_token {
            None => (None, None),
            Some(given) => match given.cast::<PyString>() {
                Ok(token) => (Some(Token::Fixed(secret(token)?)), None),
                Err(_) if given.is_callable() => {
                    let source = source(Arc::clone(&callback), callbacks::is_async(given)?);
                    (Some(Token::Source(source)), Some(given))
                }
                Err(_) => {
                    let kind = given.get_type().qualname()?;
                    let message = format!(
                        "auth_token must be str or a callable that returns one, not {kind}"
                    );
                    return Err(PyTypeError::new_err(message));
                }
            },
        };
        let read = remote::Options::new(url, self.tls, self.namespace.as_deref(), token);
        let mut remote =
            read.map_err(|error| exceptions::to_python(py, crate::core::Error::from(error)))?;
        for (limit, given, name) in [
            (
                &mut remote.request_timeout,
                self.request_timeout,
                "request_timeout",
            ),
            (
                &mut remote.connect_timeout,
                self.connect_timeout,
                "connect_timeout",
            ),
        ] {
            if let Some(given) = given {
                *limit = limit_of(given, name)?;
            }
        }
        Ok((remote, callable.map(|callable| (callable, callback))))
    }
}

/// Refuses the keywords that only a database in this process has a use for.
fn refuse_local(py: Python<'_>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
    let given = [
        ("encryption_key", arguments.encryption_key.is_some()),
        ("foreign_keys", arguments.foreign_keys),
        ("pragmas", arguments.pragmas.is_some()),
        ("trusted_schema", arguments.trusted_schema.is_some()),
        ("defensive", arguments.defensive.is_some()),
        ("inline_budget", arguments.inline_budget != 0),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => {
            let message = format!(
                "{name} is for local databases: the parameter database is a remote one's URL"
            );
            Err(exceptions::programming(py, message))
        }
        None => Ok(()),
    }
}

fn limit_of(given: f64, name: &str) -> PyResult<Duration> {
    let limit = seconds(given, name)?;
    if limit.is_zero() {
        return Err(PyValueError::new_err(format!(
            "{name} must be more than 0 seconds"
        )));
    }
    Ok(limit)
}

/// A URL without what is secret in it.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

fn secret(token: &Bound<'_, PyString>) -> PyResult<Secret> {
    // UnicodeEncodeError would carry the whole text in its arguments.
    let text = token
        .to_str()
        .map_err(|_| PyValueError::new_err("auth_token has surrogates"))?;
    Ok(Secret::new(text))
}

/// Makes a callable one of the callbacks of its connection.
pub fn set_source(link: &Link, callable: Option<Source<'_, '_>>) -> PyResult<()> {
    if let Some((callable, slot)) = callable {
        let callback = link.callbacks().add_callable(callable)?;
        let _ = slot.set((callback, Arc::clone(link.backend().server_channel())));
    }
    Ok(())
}

/// Where tokens come from: a callback, which is there before anybody asks.
fn source(slot: Slot, is_async: bool) -> Arc<dyn remote::TokenSource> {
    let ask = move |attendance| {
        let failed = |message: &str| {
            let error = remote::Error::new(remote::Kind::Auth, remote::Fate::NeverSent, message);
            error.with_code("AUTH_TOKEN")
        };
        let (callback, channel) = slot
            .get()
            .ok_or_else(|| failed("there is no auth token callable"))?;
        // What runs at the same time is not what the token is for.
        let nobodys = Channel::default();
        let channel = match attendance {
            Attendance::Attended => channel,
            Attendance::Unattended => &nobodys,
        };
        let what = "the auth_token callable failed";
        let asked = callback.run_in(Some(channel), what, |callable, call| {
            let token = call.call(callable, PyTuple::empty(callable.py()))?;
            let token = token
                .cast::<PyString>()
                .map_err(|_| PyTypeError::new_err("the auth_token callable must return str"))?;
            secret(token)
        });
        asked.map_err(|failure| failed(&failure.message))
    };
    hosted::token_source(ask, is_async)
}
