//! RowIterator: `async for row in cursor`.
//!
//! Owns the position within a batch's turn of the loop. Each step is an await of the iterator itself, which
//! returns a row that is there without any call but the C slot; between batches it drives an Operation.
//! Thread: the driving loop's.

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::awaitable::{Operation, thrown};
use super::convert::RowMaker;
use super::cursor::{Cursor, Found};
use super::exit;
use super::fetch::Refill;
use super::ffi::{Coroutine, Sent};

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u32 = 64;

/// Iterates over the rows of a cursor.
#[pyclass(generic, module = "aiolibsql._aiolibsql")]
pub struct RowIterator {
    cursor: Py<Cursor>,
    maker: Option<RowMaker>,
    refill: Option<Py<Operation>>,
    rows: u32,
}

impl RowIterator {
    pub const fn new(cursor: Py<Cursor>) -> Self {
        Self {
            cursor,
            maker: None,
            refill: None,
            // The first step is a checkpoint, also of a result without rows.
            rows: ROWS_PER_LOOK,
        }
    }

    fn refilled(slf: &Bound<'_, Self>, sent: PyResult<Sent>) -> PyResult<Sent> {
        match sent {
            Ok(Sent::Yield(value)) => Ok(Sent::Yield(value)),
            Ok(Sent::Return(_)) => {
                slf.borrow_mut().refill = None;
                Self::step(slf)
            }
            Err(error) => {
                slf.borrow_mut().refill = None;
                Err(error)
            }
        }
    }

    fn step(slf: &Bound<'_, Self>) -> PyResult<Sent> {
        let py = slf.py();
        loop {
            let (cursor, look) = {
                let mut this = slf.borrow_mut();
                this.rows += 1;
                (this.cursor.clone_ref(py), this.rows > ROWS_PER_LOOK)
            };
            if !look {
                match cursor.get().take_row(py)? {
                    Found::Row(batch, index) => {
                        let maker = slf.borrow_mut().maker.take();
                        let maker = maker.unwrap_or_else(|| Cursor::maker(&cursor, py));
                        let row = maker.make(py, &batch, index);
                        slf.borrow_mut().maker = Some(maker);
                        return row.map(Sent::Return);
                    }
                    Found::End => {
                        cursor.get().check(py)?;
                        return Err(PyStopAsyncIteration::new_err(()));
                    }
                    Found::Nothing => {}
                }
            }
            slf.borrow_mut().rows = 0;
            let operation = Bound::new(py, Operation::new(Box::new(Refill::new(cursor))))?;
            if let Sent::Yield(value) = Operation::resume(&operation, None)? {
                slf.borrow_mut().refill = Some(operation.unbind());
                return Ok(Sent::Yield(value));
            }
        }
    }
}

impl Coroutine for RowIterator {
    fn resume(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Sent> {
        let _inside = exit::enter(slf.py())?;
        let refill = slf
            .borrow()
            .refill
            .as_ref()
            .map(|refill| refill.clone_ref(slf.py()));
        match refill {
            Some(refill) => {
                let sent = Operation::resume(refill.bind(slf.py()), value);
                Self::refilled(slf, sent)
            }
            None => Self::step(slf),
        }
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
        if slf.borrow().refill.is_some() {
            let message = "anext(): the iterator is waiting for rows already";
            return Err(PyRuntimeError::new_err(message));
        }
        Ok(slf)
    }

    const fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        super::awaitable::as_method(Self::resume(slf, None))
    }

    /// Continue the wait for a row, as `coroutine.send`.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        super::awaitable::as_method(Self::resume(
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
        let refill = slf
            .borrow()
            .refill
            .as_ref()
            .map(|refill| refill.clone_ref(slf.py()));
        let Some(refill) = refill else {
            return Err(thrown(typ, val, tb)?);
        };
        let sent = Operation::throw_into(refill.bind(slf.py()), thrown(typ, val, tb)?);
        super::awaitable::as_method(Self::refilled(slf, sent))
    }

    /// End the wait for a row, as `coroutine.close`.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let refill = slf.borrow_mut().refill.take();
        refill.map_or(Ok(()), |refill| Operation::close(refill.bind(slf.py())))
    }

    fn __clear__(&mut self) {
        self.maker = None;
        let refill = self.refill.take();
        drop(refill);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)?;
        if let Some(maker) = &self.maker {
            maker.traverse(visit)?;
        }
        visit.call(&self.refill)
    }
}
