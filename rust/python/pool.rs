//! Pool: what ConnectionPool is made of.
//!
//! Owns the pool's connections, by their places in it; ConnectionPool itself, which lends them for blocks, is Python on
//! top of this class.
//! Thread: any that is attached. Invariant: its lock is never held while Python code may run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::core::{self, Amount, Error, Lifetimes, Limits, Loan, Opening, QueueState, Service};
use crate::hosted;

use super::awaitable::Operation;
use super::cached::interned;
use super::common::Common;
use super::connection::Connection;
use super::cursor::{Cursor, FIRST_ROWS};
use super::diagnostics::Watch;
use super::exceptions;
use super::fetch::{FetchAll, FetchOne};
use super::parameters;
use super::pool_members::OpenNext;
use super::pool_works::{Acquire, Drained, Pooled, Release};
use super::queries;
use super::work::Work;

/// Connections to one database that share their work.
#[pyclass(
    frozen,
    subclass,
    weakref,
    module = "aiolibsql._aiolibsql",
    name = "_Pool"
)]
pub struct Pool {
    core: Arc<core::Pool>,
    /// The last one of each place; the first is there before it is opened, for what is the same in all.
    members: Mutex<BTreeMap<u32, Py<Connection>>>,
    /// Those that are being opened, or were not after all.
    coming: Mutex<BTreeMap<u32, Py<Connection>>>,
    limits: Limits,
    lifetimes: Lifetimes,
    /// What its connections have in common.
    common: Arc<Common>,
}

/// A statement as the methods take it.
type Request<'a, 'py> = (
    &'a Bound<'py, PyString>,
    Option<&'a Bound<'py, PyAny>>,
    Option<f64>,
);

impl Pool {
    pub const fn core(&self) -> &Arc<core::Pool> {
        &self.core
    }

    pub const fn limits(&self) -> Limits {
        self.limits
    }

    pub fn watch(&self) -> &Arc<Watch> {
        &self.common.watch
    }

    /// Raises where an await of the pool could never end.
    pub fn check_reentrancy(&self, py: Python<'_>) -> PyResult<()> {
        self.common.reentrancy.check(py)
    }

    /// Lends a connection.
    pub fn lend(&self, py: Python<'_>, loan: Arc<Loan>) -> PyResult<Py<Connection>> {
        let member = self.member(py, loan.index())?;
        Py::new(py, Connection::lent(py, &member, loan)?)
    }

    /// Makes a connection that is not open yet one of the pool's.
    pub fn join(&self, connection: Py<Connection>, opening: &Opening) {
        let place = (opening.role(), opening.index());
        let link = connection.get().link();
        link.backend()
            .join_pool(&self.core, place, self.limits, self.lifetimes);
        link.join_pool(&self.common);
        let before = lock(&self.coming).insert(opening.index(), connection);
        drop(before);
    }

    /// It has this place from now on.
    pub fn add(&self, index: u32, connection: Py<Connection>) {
        let coming = lock(&self.coming).remove(&index);
        let before = self.members().insert(index, connection);
        drop((coming, before));
    }

    /// The connection at a place.
    pub fn member(&self, py: Python<'_>, index: u32) -> PyResult<Py<Connection>> {
        let members = self.members();
        let member = members.get(&index);
        member
            .map(|member| member.clone_ref(py))
            .ok_or_else(|| exceptions::to_python(py, Error::pool_closed()))
    }

    /// The connection that a borrower sees as this one.
    pub fn member_of(&self, py: Python<'_>, lent: &Connection) -> PyResult<Py<Connection>> {
        let members = self.members();
        let mut members = members.values();
        let member = members.find(|member| member.get().link().is_same(lent.link()));
        member
            .map(|member| member.clone_ref(py))
            .ok_or_else(|| exceptions::to_python(py, Error::pool_closed()))
    }

    /// The connection that the running task has borrowed.
    pub fn held(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Connection>>> {
        if slf.get().core.lent() == 0 {
            return Ok(None);
        }
        slf.call_method0(interned!(slf.py(), "_held"))?
            .extract()
            .map_err(PyErr::from)
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u32, Py<Connection>>> {
        lock(&self.members)
    }

    pub fn execute_then(
        slf: &Bound<'_, Self>,
        name: &'static str,
        request: Request<'_, '_>,
        amount: Amount,
        then: impl FnOnce(Py<Cursor>) -> Option<Box<dyn Work>> + Send + Sync + 'static,
    ) -> Operation {
        match Pooled::new(name, slf, request, amount, Box::new(then)) {
            Ok(work) => Operation::new(Box::new(work)),
            Err(error) => Operation::ready(name, Err(error)),
        }
    }
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (acquire_timeout, max_waiting, is_single, is_remote, max_lifetime=None, max_idle=None))]
    fn new(
        acquire_timeout: f64,
        max_waiting: Option<usize>,
        is_single: bool,
        is_remote: bool,
        max_lifetime: Option<f64>,
        max_idle: Option<f64>,
    ) -> PyResult<Self> {
        let time = |seconds: Option<f64>, name| {
            let time = seconds.map(|seconds| parameters::seconds(seconds, name));
            time.transpose()
        };
        let router = is_remote.then_some(hosted::route as core::Router);
        Ok(Self {
            core: Arc::new(core::Pool::new(is_single, router)),
            members: Mutex::default(),
            coming: Mutex::default(),
            limits: Limits {
                patience: parameters::seconds(acquire_timeout, "acquire_timeout")?,
                most: max_waiting,
            },
            lifetimes: Lifetimes {
                longest: time(max_lifetime, "max_lifetime")?,
                idle: time(max_idle, "max_idle")?,
            },
            common: Arc::default(),
        })
    }

    /// Keep a connection that is never opened, for what is the same in all.
    fn _keep_model(&self, connection: Py<Connection>) {
        connection.get().link().join_pool(&self.common);
        self.add(0, connection);
    }

    /// Take commands from now on.
    fn _admit(&self) {
        self.core.admit();
    }

    /// Set how many readers there may be, and how many are kept open.
    fn _set_readers(&self, most: usize, least: usize) {
        self.core.set_readers(most, least);
    }

    /// Open the next of the connections that are kept open; False if all of them are.
    fn _open_next(slf: &Bound<'_, Self>) -> Operation {
        Operation::new(Box::new(OpenNext::new(slf.clone().unbind())))
    }

    /// Return the connections that have places, or would have, the writer last.
    fn _members(&self, py: Python<'_>) -> Vec<Py<Connection>> {
        let both = [lock(&self.coming), self.members()];
        let mut all: Vec<_> = both.iter().flat_map(|these| these.iter()).collect();
        all.sort_by_key(|(index, _)| std::cmp::Reverse(**index));
        all.iter().map(|(_, member)| member.clone_ref(py)).collect()
    }

    /// Return the numbers of `PoolStats`.
    fn _state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let state = self.core.state();
        let gauges = [
            state.sum(|queue| queue.open),
            state.readers.open,
            state.sum(|queue| queue.idle),
            state.sum(|queue| queue.opening),
            state.sum(|queue| queue.lent),
            state.sum(|queue| queue.waiting),
        ];
        let counts: [fn(&QueueState) -> u64; 8] = [
            |queue| queue.acquired,
            |queue| queue.queued,
            |queue| queue.timeouts,
            |queue| queue.opened,
            |queue| queue.failed,
            |queue| queue.closed,
            |queue| queue.lost,
            |queue| queue.groups,
        ];
        let mut values: Vec<Bound<'py, PyAny>> = Vec::new();
        for gauge in gauges {
            values.push(gauge.into_pyobject(py)?.into_any());
        }
        for count in counts {
            values.push(state.sum(count).into_pyobject(py)?.into_any());
        }
        values.push(
            state
                .sum(|queue| queue.grouped)
                .into_pyobject(py)?
                .into_any(),
        );
        values.push(state.statements.into_pyobject(py)?.into_any());
        let waited = state.sum(|queue| queue.waited);
        values.push(waited.as_secs_f64().into_pyobject(py)?.into_any());
        PyTuple::new(py, values)
    }

    /// Return how many commands wait for readers, and for the writer.
    fn _waiting(&self) -> (usize, usize) {
        let state = self.core.state();
        (state.readers.waiting, state.writer.waiting)
    }

    /// Return how many connections are lent.
    fn _borrowed(&self) -> usize {
        self.core.lent()
    }

    /// Return whether a connection has not been given back.
    #[allow(clippy::unused_self, reason = "a method, as its neighbours")]
    fn _is_lent(&self, connection: &Bound<'_, Connection>) -> bool {
        let lease = connection.get().lease();
        lease.is_some_and(|lease| !lease.is_over())
    }

    /// Refuse what waits, and what comes.
    fn _shut(&self) {
        self.core.close(&Error::pool_closed());
    }

    fn _drained(slf: &Bound<'_, Self>) -> Operation {
        Operation::new(Box::new(Drained::new(slf.clone().unbind())))
    }

    #[pyo3(signature = (readonly, timeout=None, plain=false))]
    fn _acquire(
        slf: &Bound<'_, Self>,
        readonly: bool,
        timeout: Option<f64>,
        plain: bool,
    ) -> PyResult<Operation> {
        let limits = slf.get().limits;
        let patience = match timeout {
            Some(timeout) => parameters::seconds(timeout, "timeout")?,
            None => limits.patience,
        };
        let limits = Limits { patience, ..limits };
        let acquire = Acquire::new(slf.clone().unbind(), readonly, plain, limits);
        Ok(Operation::new(Box::new(acquire)))
    }

    fn _release(slf: &Bound<'_, Self>, connection: &Bound<'_, Connection>) -> Operation {
        let release = Release::new(slf.clone().unbind(), connection.clone().unbind());
        Operation::new(Box::new(release))
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn execute(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.execute";
        let amount = Amount::Ahead(FIRST_ROWS);
        Self::execute_then(slf, name, (sql, parameters, timeout), amount, |_| None)
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_all(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.fetch_all";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::All, move |cursor| {
            Some(Box::new(FetchAll::executed(name, cursor)))
        })
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_one(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.fetch_one";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::Only(1), move |cursor| {
            let absent = |py: Python<'_>| Err(exceptions::no_row(py));
            let finish = |row: Bound<'_, PyAny>| Ok(row.unbind());
            Some(Box::new(FetchOne::only(name, cursor, absent, finish)))
        })
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_optional(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.fetch_optional";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::Only(1), move |cursor| {
            let absent = |py: Python<'_>| Ok(py.None());
            let finish = |row: Bound<'_, PyAny>| Ok(row.unbind());
            Some(Box::new(FetchOne::only(name, cursor, absent, finish)))
        })
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_scalar(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.fetch_scalar";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::Only(1), move |cursor| {
            let finish = |value: Bound<'_, PyAny>| Ok(value.unbind());
            Some(Box::new(FetchOne::scalar(name, cursor, finish)))
        })
    }

    #[pyo3(signature = (sql, parameters=None, *, timeout=None))]
    fn fetch_blob(
        slf: &Bound<'_, Self>,
        sql: &Bound<'_, PyString>,
        parameters: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> Operation {
        let name = "ConnectionPool.fetch_blob";
        let request = (sql, parameters, timeout);
        Self::execute_then(slf, name, request, Amount::Only(1), move |cursor| {
            Some(Box::new(FetchOne::scalar(name, cursor, queries::blob)))
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.watch.traverse(visit)?;
        for these in [&self.members, &self.coming] {
            if let Ok(members) = these.try_lock() {
                members.values().try_for_each(|member| visit.call(member))?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let members = std::mem::take(&mut *self.members());
        let coming = std::mem::take(&mut *lock(&self.coming));
        drop((members, coming));
        self.common.watch.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a borrower's connection tells the backend when it is given back.
pub const RELEASE: core::Action = core::Action::Serve(Service::Release);
