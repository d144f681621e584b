//! Connection: one database, for any number of tasks under any loop.
//!
//! Owns the class: what its methods take and the operations that they return.
//! Thread: any that is attached.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{Action, Amount, Loan, Phase};

use super::awaitable::Operation;
use super::cursor::{Cursor, FIRST_ROWS};
use super::encryption;
use super::exceptions;
use super::executemany::ExecuteMany;
use super::exit;
use super::lifecycle::{Exit, Open, Simple};
use super::link::Link;
use super::options::{self, Arguments, Autocommit, Control, Level};
use super::queries;
use super::replica::Follow;
use super::server::Companions;
use super::services::Truth;
use super::settings::Settings;
use super::statements::ExecuteScript;
use super::transaction::Transaction;
use super::view::View;
use super::work::{Inserted, Ready};

/// A connection to a database.
#[pyclass(frozen, subclass, weakref, generic, module = "aiolibsql")]
pub struct Connection {
    pub(super) link: Arc<Link>,
    pub(super) init_hook: Option<Py<PyAny>>,
    /// Set in a transaction block's view of a connection.
    pub(super) view: Option<View>,
    /// Set in what a borrower of a pool's connection has of it.
    pub(super) lease: Option<Arc<Loan>>,
}

impl Connection {
    pub fn link(&self) -> &Link {
        &self.link
    }

    pub const fn shared_link(&self) -> &Arc<Link> {
        &self.link
    }

    pub fn init_hook(&self) -> Option<&Py<PyAny>> {
        self.init_hook.as_ref()
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (
        database, timeout=5.0, isolation_level=Level::implicit(), *, autocommit=Autocommit::Legacy, cached_statements=128, uri=false,
        encryption_key=None, foreign_keys=false, row_factory=None, text_factory=None, iter_chunk_size=64, pragmas=None, init_hook=None,
        detect_types=0, trusted_schema=None, defensive=None, auth_token=None, tls=None, namespace=None, request_timeout=None,
        connect_timeout=None, sync_url=None, sync_interval=None, read_your_writes=None, offline=false, inline_budget=0,
    ))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        database: &Bound<'_, PyAny>,
        timeout: f64,
        isolation_level: Level,
        autocommit: Autocommit,
        cached_statements: usize,
        uri: bool,
        encryption_key: Option<&Bound<'_, PyAny>>,
        foreign_keys: bool,
        row_factory: Option<&Bound<'_, PyAny>>,
        text_factory: Option<&Bound<'_, PyAny>>,
        iter_chunk_size: usize,
        pragmas: Option<&Bound<'_, PyAny>>,
        init_hook: Option<Py<PyAny>>,
        detect_types: i32,
        trusted_schema: Option<Truth>,
        defensive: Option<Truth>,
        auth_token: Option<&Bound<'_, PyAny>>,
        tls: Option<bool>,
        namespace: Option<String>,
        request_timeout: Option<f64>,
        connect_timeout: Option<f64>,
        sync_url: Option<Bound<'_, PyString>>,
        sync_interval: Option<f64>,
        read_your_writes: Option<bool>,
        offline: bool,
        inline_budget: i64,
    ) -> PyResult<Self> {
        let control = Control::new(isolation_level, autocommit);
        let arguments = Arguments {
            database,
            timeout,
            cached_statements,
            uri,
            encryption_key,
            foreign_keys,
            pragmas,
            trusted_schema,
            defensive,
            companions: Companions {
                auth_token,
                tls,
                namespace,
                request_timeout,
                connect_timeout,
                follow: Follow::new(sync_url, sync_interval, read_your_writes, offline)?,
            },
            is_blocking: false,
            inline_budget,
        };
        let factories = (row_factory, text_factory);
        let settings = Settings::new(factories, detect_types, control, iter_chunk_size)?;
        let link = Arc::new(arguments.link(settings)?);
        exit::remember(&link);
        Ok(Self {
            link,
            init_hook,
            view: None,
            lease: None,
        })
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let open = Operation::new(Box::new(Open::new(
            "Connection.__await__",
            slf.clone().unbind(),
        )));
        Bound::new(slf.py(), open)?.call_method0("__await__")
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> Operation {
        if let Err(error) = slf.get().check_own(slf.py()) {
            return Operation::ready("Connection.__aenter__", Err(error));
        }
        Operation::new(Box::new(Open::new(
            "Connection.__aenter__",
            slf.clone().unbind(),
        )))
    }

    #[pyo3(signature = (exc_type, exc, _tb, /))]
    fn __aexit__(
        slf: &Bound<'_, Self>,
        exc_type: Option<Py<PyAny>>,
        exc: Option<Py<PyAny>>,
        _tb: &Bound<'_, PyAny>,
    ) -> Operation {
        let raised = exc.or(exc_type);
        if slf.get().link.is_inherited() && raised.is_some() {
            return Operation::leave_inherited("Connection.__aexit__", slf.py());
        }
        Operation::new(Box::new(Exit::new(slf.clone().unbind(), raised)))
    }

    #[pyo3(signature = (factory=None))]
    fn cursor<'py>(
        slf: &Bound<'py, Self>,
        factory: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Cursor>> {
        slf.get().link.check_not_closed(slf.py())?;
        match factory {
            None => Ok(Self::new_cursor(slf)?.into_bound(slf.py())),
            Some(factory) => factory.call1((slf,))?.cast_into::<Cursor>().map_err(|_| {
                PyTypeError::new_err("factory must return a cursor, not an object of another class")
            }),
        }
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let request = (sql, parameters, timeout);
        Self::execute_then(
            slf,
            "Connection.execute",
            request,
            Amount::Ahead(FIRST_ROWS),
            |_| None,
        )
    }

    #[pyo3(signature = (sql, parameters, *, timeout=None))]
    fn executemany(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "Connection.executemany";
        match Self::new_cursor(slf)
            .and_then(|cursor| ExecuteMany::new(name, cursor, sql, parameters, timeout))
        {
            Ok(work) => Operation::new(Box::new(work)),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    #[pyo3(signature = (sql_script, *, timeout=None))]
    fn executescript(
        slf: &Bound<'_, Self>,
        sql_script: &Bound<'_, PyString>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "Connection.executescript";
        match Self::new_cursor(slf)
            .and_then(|cursor| ExecuteScript::new(name, cursor, sql_script, timeout))
        {
            Ok(work) => Operation::new(Box::new(work)),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute_insert(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let request = (sql, parameters, timeout);
        Self::execute_then(
            slf,
            "Connection.execute_insert",
            request,
            Amount::Only(1),
            |cursor| Some(Box::new(Inserted::new(cursor))),
        )
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute_fetchall(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        Self::all_rows(
            slf,
            "Connection.execute_fetchall",
            (sql, parameters, timeout),
        )
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_all(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        Self::all_rows(slf, "Connection.fetch_all", (sql, parameters, timeout))
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_one(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let absent = |py: Python<'_>| Err(exceptions::no_row(py));
        Self::only_row(
            slf,
            "Connection.fetch_one",
            (sql, parameters, timeout),
            absent,
            |row| Ok(row.unbind()),
        )
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_optional(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let absent = |py: Python<'_>| Ok(py.None());
        Self::only_row(
            slf,
            "Connection.fetch_optional",
            (sql, parameters, timeout),
            absent,
            |row| Ok(row.unbind()),
        )
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_scalar(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let request = (sql, parameters, timeout);
        Self::only_value(slf, "Connection.fetch_scalar", request, |value| {
            Ok(value.unbind())
        })
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_blob(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let request = (sql, parameters, timeout);
        Self::only_value(slf, "Connection.fetch_blob", request, queries::blob)
    }

    #[pyo3(signature = (mode="DEFERRED"))]
    fn begin(slf: &Bound<'_, Self>, mode: &str) -> Operation {
        let name = "Connection.begin";
        if let Some(begin) = options::begin(mode) {
            return Self::run(slf, name, Action::Begin(begin));
        }
        let message =
            format!("begin mode must be 'DEFERRED', 'IMMEDIATE' or 'EXCLUSIVE', not '{mode}'");
        Operation::ready(name, Err(PyValueError::new_err(message)))
    }

    #[pyo3(signature = (mode="IMMEDIATE", *, force_rollback=false))]
    fn transaction<'py>(
        slf: &Bound<'py, Self>,
        mode: &str,
        force_rollback: bool,
    ) -> PyResult<Bound<'py, Transaction>> {
        Transaction::begin(slf, mode, force_rollback)
    }

    #[pyo3(signature = (name=None))]
    fn savepoint<'py>(
        slf: &Bound<'py, Self>,
        name: Option<&Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, Transaction>> {
        Transaction::savepoint(slf, name)
    }

    fn commit(slf: &Bound<'_, Self>) -> Operation {
        Self::run(slf, "Connection.commit", Action::Commit)
    }

    fn rollback(slf: &Bound<'_, Self>) -> Operation {
        Self::run(slf, "Connection.rollback", Action::Rollback)
    }

    fn rekey(slf: &Bound<'_, Self>, new_key: &Bound<'_, PyAny>) -> Operation {
        let name = "Connection.rekey";
        match encryption::read_optional(new_key, "new_key") {
            Ok(key) => Self::run(slf, name, Action::Rekey(key)),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    fn close(slf: &Bound<'_, Self>) -> Operation {
        if let Err(error) = slf.get().check_own(slf.py()) {
            return Operation::ready("Connection.close", Err(error));
        }
        Self::run(slf, "Connection.close", Action::Close)
    }

    fn stop(slf: &Bound<'_, Self>) -> PyResult<Operation> {
        slf.get().check_own(slf.py())?;
        let mut close = Simple::new("Connection.stop", slf.clone().unbind(), Action::Close);
        close.submit_now(slf.py())?;
        slf.get().link.set_stopped();
        Ok(Operation::new(Box::new(close)))
    }

    fn interrupt(&self, py: Python<'_>) -> Operation {
        let checked = self.check_lease(py);
        if checked.is_ok() {
            self.link.interrupt();
        }
        let done = checked.and_then(|()| self.link.check_not_inherited(py));
        let done = done.map(|()| py.None());
        Operation::new(Box::new(Ready::done("Connection.interrupt", done)))
    }

    fn set_autocommit(slf: &Bound<'_, Self>, value: Autocommit) -> Operation {
        let name = "Connection.set_autocommit";
        let this = slf.get();
        match this.membership(slf.py()) {
            Ok(None) => {
                let assign = Simple::assigning(name, slf.clone().unbind(), value);
                Operation::new(Box::new(assign))
            }
            Ok(Some(block)) => {
                let message = format!("set_autocommit() can't be used inside {block}");
                Operation::ready(name, Err(exceptions::programming(slf.py(), message)))
            }
            Err(error) => Operation::ready(name, Err(error)),
        }
    }

    #[getter]
    fn in_transaction(&self, py: Python<'_>) -> PyResult<bool> {
        self.link.check_open(py)?;
        Ok(self.link.status().in_transaction())
    }

    #[getter]
    fn total_changes(&self, py: Python<'_>) -> PyResult<i64> {
        self.link.check_open(py)?;
        Ok(self.link.status().total_changes())
    }

    #[getter]
    fn closed(&self) -> bool {
        self.link.is_closed()
    }

    #[getter]
    fn isolation_level(&self) -> Option<String> {
        self.link.settings().control.isolation_level.clone()
    }

    #[setter]
    fn set_isolation_level(&self, py: Python<'_>, level: Level) -> PyResult<()> {
        self.link.check_no_block(py)?;
        self.link
            .change_control(|control| control.set_isolation_level(level.0));
        Ok(())
    }

    #[getter]
    fn autocommit(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.link.settings().control.autocommit.to_python(py)
    }

    #[setter(autocommit)]
    fn set_autocommit_attribute(&self, py: Python<'_>, value: Autocommit) -> PyResult<()> {
        self.link.check_no_block(py)?;
        self.link
            .change_control(|control| control.set_autocommit(value));
        Ok(())
    }

    fn __repr__(&self) -> String {
        let phase = match self.link.status().phase() {
            Phase::Unopened => "not opened",
            Phase::Open => "open",
            Phase::Closed | Phase::Retired => "closed",
        };
        format!("<aiolibsql.Connection '{}' ({phase})>", self.link.label())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.init_hook)?;
        if let Some(view) = &self.view {
            // The settings are the connection's; it shows them to the collector itself.
            return visit.call(&view.root);
        }
        if self.lease.is_none() {
            // Else they are those of the pool's connection, which shows them itself.
            self.link.callbacks().traverse(visit)?;
        }
        self.link.own_watch().traverse(visit)?;
        match self.link.settings_lock().try_lock() {
            Ok(settings) => settings.traverse(visit),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        if self.view.is_some() {
            return;
        }
        let objects = self.link.settings().take_objects();
        drop(objects);
        if self.lease.is_none() {
            self.link.callbacks().clear();
        }
        self.link.own_watch().clear();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match (&self.view, &self.lease) {
            (Some(_), _) => {}
            (None, Some(lease)) => self.forget_lent(lease),
            (None, None) => self.link.forget(),
        }
    }
}
