//! Pool: what ConnectionPool is made of.
//!
//! Owns the pool's connections, by their places in it; ConnectionPool itself, which lends them for blocks, is Python on
//! top of this class.
//! Thread: any that is attached. Invariant: its lock is never held while Python code may run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::core::{self, Amount, Error, Limits, Outcome, Role, Service, Shared, Shield};

use super::awaitable::Operation;
use super::cached::interned;
use super::common::Common;
use super::connection::Connection;
use super::cursor::{Cursor, FIRST_ROWS};
use super::diagnostics::Watch;
use super::exceptions;
use super::fetch::{FetchAll, FetchOne};
use super::parameters;
use super::pool_works::{Acquire, Drained, Pooled, Release};
use super::queries;
use super::work::Work;

/// How many connections are lent, and who waits until none is.
#[derive(Debug, Default)]
pub struct Loans(Mutex<Lent>);

#[derive(Debug, Default)]
struct Lent {
    count: usize,
    waiting: Vec<Shared>,
}

impl Loans {
    fn count(&self) -> usize {
        self.lock().count
    }

    fn note_return(&self) {
        let mut lent = self.lock();
        lent.count = lent.count.saturating_sub(1);
        let waiting = if lent.count == 0 {
            std::mem::take(&mut lent.waiting)
        } else {
            Vec::new()
        };
        drop(lent);
        waiting.iter().for_each(end);
    }

    /// Ends when nothing is lent.
    pub fn drained(&self) -> Shared {
        let operation: Shared = Arc::new(core::Operation::new(Shield::None));
        let mut lent = self.lock();
        if lent.count == 0 {
            drop(lent);
            end(&operation);
        } else {
            lent.waiting.push(Arc::clone(&operation));
        }
        operation
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is lent any more, as far as this waited for it and its time is not up.
fn end(operation: &Shared) {
    if operation.claim() {
        drop(operation.finish(Ok(Outcome::default())));
    }
}

/// What a borrower has of a connection. It ends when the connection is given back.
#[derive(Debug)]
pub struct Lease {
    loans: Arc<Loans>,
    is_over: AtomicBool,
}

impl Lease {
    fn new(loans: &Arc<Loans>) -> Self {
        loans.lock().count += 1;
        Self {
            loans: Arc::clone(loans),
            is_over: AtomicBool::new(false),
        }
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// `false`: it was over.
    pub fn end(&self) -> bool {
        let ended = !self.is_over.swap(true, Ordering::SeqCst);
        if ended {
            self.loans.note_return();
        }
        ended
    }
}

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
    /// Those that were opened, by their places.
    members: Mutex<Vec<Py<Connection>>>,
    limits: Limits,
    loans: Arc<Loans>,
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
    pub fn core(&self) -> &core::Pool {
        &self.core
    }

    pub const fn limits(&self) -> Limits {
        self.limits
    }

    pub fn watch(&self) -> &Watch {
        &self.common.watch
    }

    /// Raises where an await of the pool could never end.
    pub fn check_reentrancy(&self, py: Python<'_>) -> PyResult<()> {
        self.common.reentrancy.check(py)
    }

    pub fn loans(&self) -> &Loans {
        &self.loans
    }

    /// Lends the connection at a place.
    pub fn lend(&self, py: Python<'_>, index: u32) -> PyResult<Py<Connection>> {
        let member = self.member(py, index)?;
        Py::new(py, Connection::lent(&member, Lease::new(&self.loans)))
    }

    /// The connection at a place.
    pub fn member(&self, py: Python<'_>, index: u32) -> PyResult<Py<Connection>> {
        let members = self.members();
        let member = usize::try_from(index)
            .ok()
            .and_then(|index| members.get(index));
        member
            .map(|member| member.clone_ref(py))
            .ok_or_else(|| exceptions::to_python(py, Error::pool_closed()))
    }

    /// The connection that a borrower sees as this one.
    pub fn member_of(&self, py: Python<'_>, lent: &Connection) -> PyResult<Py<Connection>> {
        let members = self.members();
        let member = members
            .iter()
            .find(|member| Arc::ptr_eq(member.get().shared_link(), lent.shared_link()));
        member
            .map(|member| member.clone_ref(py))
            .ok_or_else(|| exceptions::to_python(py, Error::pool_closed()))
    }

    /// The connection that the running task has borrowed.
    pub fn held(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Connection>>> {
        if slf.get().loans.count() == 0 {
            return Ok(None);
        }
        slf.call_method0(interned!(slf.py(), "_held"))?
            .extract()
            .map_err(PyErr::from)
    }

    fn members(&self) -> MutexGuard<'_, Vec<Py<Connection>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
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
    #[pyo3(signature = (acquire_timeout, max_waiting, is_single))]
    fn new(acquire_timeout: f64, max_waiting: Option<usize>, is_single: bool) -> PyResult<Self> {
        Ok(Self {
            core: Arc::new(core::Pool::new(is_single)),
            members: Mutex::default(),
            limits: Limits {
                patience: parameters::seconds(acquire_timeout, "acquire_timeout")?,
                most: max_waiting,
            },
            loans: Arc::default(),
            common: Arc::default(),
        })
    }

    /// Add a connection that is not open yet.
    fn _join(&self, connection: &Bound<'_, Connection>, readonly: bool) -> PyResult<()> {
        let role = if readonly { Role::Reader } else { Role::Writer };
        let mut members = self.members();
        let index = u32::try_from(members.len())
            .map_err(|_| PyValueError::new_err("too many connections"))?;
        let link = connection.get().link();
        link.local().join_pool(&self.core, index, role, self.limits);
        link.join_pool(&self.common);
        members.push(connection.clone().unbind());
        Ok(())
    }

    /// Let the connection at a place take commands of the pool.
    fn _serve(&self, py: Python<'_>, index: u32) -> PyResult<()> {
        self.member(py, index)?.get().link().local().serve_pool();
        Ok(())
    }

    /// Return how many commands wait for readers, and for the writer.
    fn _waiting(&self) -> (usize, usize) {
        self.core.waiting()
    }

    /// Return how many connections are lent.
    fn _borrowed(&self) -> usize {
        self.loans.count()
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
        match self.members.try_lock() {
            Ok(members) => members.iter().try_for_each(|member| visit.call(member)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let members = std::mem::take(&mut *self.members());
        drop(members);
        self.common.watch.clear();
    }
}

/// What a borrower's connection tells the backend when it is given back.
pub const RELEASE: core::Action = core::Action::Serve(Service::Release);
