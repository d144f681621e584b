//! Replicas: what `connect` was given for one, and the methods that only they have.
//!
//! Owns the reading of the keywords that begin with `sync_`.
//! Thread: the caller's.
//! Invariant: as `server`: no message shows a token or a URL's query.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::core::{Options, Reply, Service, Synced};
use crate::replica::{self, Offline, Replica};

use super::awaitable::Operation;
use super::cached::interned;
use super::callbacks;
use super::connection::Connection;
use super::encryption;
use super::exceptions;
use super::home::Home;
use super::link::Link;
use super::options::Arguments;
use super::parameters::seconds;
use super::server::{Companions, set_source};
use super::services::Serve;
use super::settings::Settings;

/// The keywords of a replica.
#[derive(Default)]
pub struct Follow {
    url: Option<Py<PyString>>,
    interval: Option<Duration>,
    reads_own_writes: Option<bool>,
    offline: bool,
}

impl Follow {
    pub fn new(
        url: Option<Bound<'_, PyString>>,
        interval: Option<f64>,
        reads_own_writes: Option<bool>,
        offline: bool,
    ) -> PyResult<Self> {
        let interval = interval
            .map(|interval| seconds(interval, "sync_interval"))
            .transpose()?;
        if interval.is_some_and(|interval| interval.is_zero()) {
            return Err(PyValueError::new_err(
                "sync_interval must be more than 0 seconds",
            ));
        }
        Ok(Self {
            url: url.map(Bound::unbind),
            interval,
            reads_own_writes,
            offline,
        })
    }

    pub const fn is_replica(&self) -> bool {
        self.url.is_some()
    }

    /// Refuses them for what is no replica.
    pub fn refuse(&self, py: Python<'_>, why: &str) -> PyResult<()> {
        let given = [
            ("sync_url", self.url.is_some()),
            ("sync_interval", self.interval.is_some()),
            ("read_your_writes", self.reads_own_writes.is_some()),
            ("offline", self.offline),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                let message = format!("{name} is for replicas: {why}");
                Err(exceptions::programming(py, message))
            }
            None => Ok(()),
        }
    }
}

impl Companions<'_, '_> {
    /// Connects a link to a file and to the database that it follows.
    pub fn replica(
        &self,
        arguments: &Arguments<'_, '_>,
        file: Options,
        label: String,
        settings: Settings,
    ) -> PyResult<Link> {
        let py = arguments.database.py();
        let Some(url) = &self.follow.url else {
            return Err(PyValueError::new_err("sync_url is not given"));
        };
        if file.uri || encryption::is_memory(file.filename.to_bytes()) {
            let message = format!(
                "the parameter database is '{label}', but sync_url needs the path of a file"
            );
            return Err(exceptions::programming(py, message));
        }
        if arguments.inline_budget != 0 {
            let message = "inline_budget can't be combined with sync_url";
            return Err(exceptions::programming(py, message));
        }
        if self.follow.offline && arguments.encryption_key.is_some() {
            let message = "encryption_key together with offline=True is not supported: the server gets the file's pages as they are";
            return Err(exceptions::not_supported(py, message));
        }
        if self.follow.offline && self.follow.reads_own_writes == Some(false) {
            let message = "read_your_writes=False can't be combined with offline=True: what is written is in the file at once";
            return Err(exceptions::programming(py, message));
        }
        let (remote, callable) = self.remote(url.bind(py))?;
        let path = Path::new(OsStr::from_bytes(file.filename.to_bytes())).to_owned();
        if self.follow.offline {
            if let Some((callable, _)) = &callable
                && callbacks::is_async(callable)?
            {
                let message =
                    "an async def as auth_token together with offline=True is not supported";
                return Err(exceptions::not_supported(py, message));
            }
            let offline = Offline::new(&path, file, remote, self.follow.interval);
            let link = Link::new(Home::Offline(offline), label, settings);
            set_source(&link, callable)?;
            return Ok(link);
        }
        let replica = Replica::new(replica::Options {
            path,
            file,
            remote,
            reads_own_writes: self.follow.reads_own_writes.unwrap_or(true),
            interval: self.follow.interval,
            is_blocking: arguments.is_blocking,
        });
        let link = Link::new(Home::Replica(replica), label, settings);
        set_source(&link, callable)?;
        Ok(link)
    }
}

/// `SyncResult(frames, replication_index)`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "one of several ways to read a reply"
)]
fn synced(py: Python<'_>, reply: Option<Reply>) -> PyResult<Py<PyAny>> {
    let Some(Reply::Synced(Synced {
        frames,
        sent,
        index,
    })) = reply
    else {
        return Ok(py.None());
    };
    let class = py
        .import(interned!(py, "aiolibsql._replicas"))?
        .getattr(interned!(py, "SyncResult"))?;
    Ok(class.call1((frames, index, sent))?.unbind())
}

fn status(py: Python<'_>, reply: Option<Reply>) -> PyResult<Py<PyAny>> {
    let Some(Reply::SyncStatus(status)) = reply else {
        return Ok(py.None());
    };
    let last = status
        .last
        .and_then(|last| last.duration_since(UNIX_EPOCH).ok())
        .map(|since| since.as_secs_f64());
    let values = PyDict::new(py);
    values.set_item("replication_index", status.index)?;
    values.set_item("syncs", status.syncs)?;
    values.set_item("failures", status.failures)?;
    values.set_item("frames", status.frames)?;
    values.set_item("pushed", status.sent)?;
    values.set_item("last_sync", last)?;
    values.set_item("last_error", status.last_error)?;
    let class = py
        .import(interned!(py, "aiolibsql._replicas"))?
        .getattr(interned!(py, "SyncStats"))?;
    Ok(class.call((), Some(&values))?.unbind())
}

impl Connection {
    /// The operation of what only replicas do; other backends refuse it.
    fn of_replica(
        slf: &Bound<'_, Self>,
        name: &'static str,
        service: Service,
        convert: fn(Python<'_>, Option<Reply>) -> PyResult<Py<PyAny>>,
    ) -> Operation {
        let work = Serve::new(name, slf.clone().unbind(), service, convert);
        Operation::new(Box::new(work))
    }
}

#[pymethods]
impl Connection {
    fn sync(slf: &Bound<'_, Self>) -> Operation {
        Self::of_replica(
            slf,
            "Connection.sync",
            Service::Sync { until: None },
            synced,
        )
    }

    #[pyo3(signature = (replication_index, /))]
    fn sync_until(slf: &Bound<'_, Self>, replication_index: u64) -> Operation {
        let service = Service::Sync {
            until: Some(replication_index),
        };
        Self::of_replica(slf, "Connection.sync_until", service, synced)
    }

    fn sync_stats(slf: &Bound<'_, Self>) -> Operation {
        Self::of_replica(slf, "Connection.sync_stats", Service::SyncStatus, status)
    }
}
