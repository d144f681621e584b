//! RowIterator: `async for row in cursor`.
//!
//! Owns the position within a batch's turn of the loop. Each step is an await of the iterator itself, which
//! returns a row that is there without any call but the C slot; between batches it drives an Operation.
//! Thread: the driving loop's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::RowBatch;

use super::awaitable::{Operation, as_method, thrown};
use super::convert::RowMaker;
use super::cursor::{Cursor, Taken};
use super::exit;
use super::fetch::Refill;
use super::ffi::{Coroutine, Sent, Steps};

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u32 = 64;

/// Iterates over the rows of a cursor.
#[pyclass(frozen, generic, module = "aiolibsql._aiolibsql")]
pub struct RowIterator {
    cursor: Py<Cursor>,
    /// A step is suspended: there is a refill.
    is_waiting: AtomicBool,
    /// Held during a step and never waited for: a step inside a step is an error.
    inner: Mutex<Inner>,
}

struct Inner {
    /// The one that the last row came from.
    batch: Option<Arc<RowBatch>>,
    /// Makes the rows of one execution, and the name of its stream.
    maker: Option<(RowMaker, Option<u64>)>,
    rows: u32,
    refill: Option<Py<Operation>>,
}

impl RowIterator {
    pub const fn new(cursor: Py<Cursor>) -> Self {
        let inner = Inner {
            batch: None,
            maker: None,
            // The first step is a checkpoint, also of a result without rows.
            rows: ROWS_PER_LOOK,
            refill: None,
        };
        Self {
            cursor,
            is_waiting: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> PyResult<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(inner) => Ok(inner),
            Err(TryLockError::Poisoned(inner)) => Ok(inner.into_inner()),
            Err(TryLockError::WouldBlock) => {
                let message = "the iterator over the rows of a cursor is already executing";
                Err(PyValueError::new_err(message))
            }
        }
    }

    /// Goes on with the refill that a step waits for.
    fn resume_refill(
        &self,
        py: Python<'_>,
        resume: impl FnOnce(&Bound<'_, Operation>) -> PyResult<Sent>,
    ) -> PyResult<Option<Sent>> {
        let mut inner = self.inner()?;
        let Some(refill) = inner.refill.take() else {
            return Ok(None);
        };
        let sent = resume(refill.bind(py));
        if let Ok(Sent::Yield(value)) = sent {
            inner.refill = Some(refill);
            return Ok(Some(Sent::Yield(value)));
        }
        self.is_waiting.store(false, Ordering::Relaxed);
        sent.map(|_| None)
    }

    /// A new batch may come from another execution of the cursor, with other columns.
    fn follow(&self, py: Python<'_>, inner: &mut Inner) {
        let stream = self.cursor.get().rows().map(|rows| rows.id());
        if !matches!(&inner.maker, Some((_, own)) if *own == stream) {
            inner.maker = Some((Cursor::maker(&self.cursor, py), stream));
        }
    }

    fn step(&self, py: Python<'_>) -> PyResult<Sent> {
        let mut inner = self.inner()?;
        let inner = &mut *inner;
        let cursor = self.cursor.get();
        loop {
            inner.rows += 1;
            if inner.rows <= ROWS_PER_LOOK {
                let taken = cursor.take(py, 1, |batch, rows| {
                    let is_known = inner
                        .batch
                        .as_ref()
                        .is_some_and(|own| Arc::ptr_eq(own, batch));
                    let replaced = (!is_known).then(|| inner.batch.replace(Arc::clone(batch)));
                    (rows.start, replaced)
                })?;
                match taken {
                    Taken::Rows((row, replaced)) => {
                        if replaced.is_some() {
                            self.follow(py, inner);
                        }
                        drop(replaced);
                        let (Some(batch), Some((maker, _))) = (&inner.batch, &inner.maker) else {
                            return Err(PyRuntimeError::new_err("a row without a batch"));
                        };
                        return maker.make(py, batch, row).map(Sent::Return);
                    }
                    Taken::End => {
                        cursor.check(py)?;
                        return Err(PyStopAsyncIteration::new_err(()));
                    }
                    Taken::Nothing => {}
                }
            }
            inner.rows = 0;
            let _inside = exit::enter(py)?;
            let refill = Refill::new(self.cursor.clone_ref(py));
            let operation = Bound::new(py, Operation::new(Box::new(refill)))?;
            if let Sent::Yield(value) = Operation::resume(&operation, None)? {
                inner.refill = Some(operation.unbind());
                self.is_waiting.store(true, Ordering::Relaxed);
                return Ok(Sent::Yield(value));
            }
        }
    }
}

impl Coroutine for RowIterator {
    fn resume(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent> {
        let (this, py) = (slf.get(), slf.py());
        if this.is_waiting.load(Ordering::Relaxed) {
            let resume = |refill: &Bound<'_, Operation>| Operation::resume(refill, value);
            if let Some(sent) = this.resume_refill(py, resume)? {
                return Ok(sent);
            }
        }
        this.step(py)
    }
}

impl Steps for RowIterator {
    fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }

    fn waits_already() -> PyErr {
        PyRuntimeError::new_err("anext(): the iterator is waiting for rows already")
    }
}

#[pymethods]
impl RowIterator {
    const fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    const fn __anext__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().is_waiting() {
            return Err(Self::waits_already());
        }
        Ok(slf)
    }

    const fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        as_method(Self::resume(slf, None))
    }

    /// Continue the wait for a row, as `coroutine.send`.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        as_method(Self::resume(
            slf,
            Some(value).filter(|value| !value.is_none()),
        ))
    }

    /// Raise an exception where the iteration waits, as `coroutine.throw`.
    #[pyo3(signature = (typ, val=None, tb=None, /))]
    fn throw(
        slf: &Bound<'_, Self>,
        typ: &Bound<'_, PyAny>,
        val: Option<&Bound<'_, PyAny>>,
        tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (this, py) = (slf.get(), slf.py());
        let error = thrown(typ, val, tb)?;
        if !this.is_waiting.load(Ordering::Relaxed) {
            return Err(error);
        }
        let sent = this.resume_refill(py, |refill| Operation::throw_into(refill, error))?;
        as_method(sent.map_or_else(|| this.step(py), Ok))
    }

    /// End the wait for a row, as `coroutine.close`.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let refill = this.inner()?.refill.take();
        this.is_waiting.store(false, Ordering::Relaxed);
        refill.map_or(Ok(()), |refill| Operation::close(refill.bind(slf.py())))
    }

    fn __clear__(&self) {
        let refill = self.inner().ok().and_then(|mut inner| inner.refill.take());
        drop(refill);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)?;
        match self.inner.try_lock() {
            Ok(inner) => {
                if let Some((maker, _)) = &inner.maker {
                    maker.traverse(visit)?;
                }
                visit.call(&inner.refill)
            }
            Err(_) => Ok(()),
        }
    }
}
