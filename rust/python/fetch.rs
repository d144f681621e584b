//! The Works that fetch rows from a cursor.
//!
//! Owns the wait for rows. What they become for `fetchmany` and `fetchall` is made in `building`.
//! Thread: the driving loop's.

use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::core::{Amount, Shared};

use super::building::{Building, Built};
use super::cursor::{Cursor, Taken};
use super::factories::RowFactory;
use super::statements::Pending;
use super::work::{Step, Work};

/// Waits until a cursor has rows, or none are left.
#[derive(Default)]
struct Rows {
    pending: Pending,
    /// The statement was executed in the same await: the rows are wanted even if a close came between.
    executed_here: bool,
}

impl Rows {
    fn executed_here() -> Self {
        Self {
            executed_here: true,
            ..Self::default()
        }
    }

    /// Refuses a fetch from what is closed; one that was submitted before has its rows.
    fn check(&self, py: Python<'_>, cursor: &Cursor) -> PyResult<()> {
        if self.executed_here || self.pending.shared().is_some() {
            return Ok(());
        }
        cursor.check(py)
    }

    /// `Ready`: look again.
    fn poll(
        &mut self,
        py: Python<'_>,
        cursor: &Cursor,
        amount: Amount,
        context: &mut Context<'_>,
    ) -> Poll<PyResult<()>> {
        if self.pending.shared().is_none() {
            if let Some(ahead) = cursor.take_ahead() {
                self.pending.adopt(ahead);
            } else if let Some(rows) = cursor.unfinished() {
                match cursor.request(py, rows, amount) {
                    Ok(shared) => self.pending.adopt(shared),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        let polled = self.pending.poll(py, context).map_ok(drop);
        if polled.is_ready() {
            cursor.went_on(py);
        }
        polled
    }

    /// The caller leaves with this exception: with it the statement ends, if it was executed for these rows.
    fn leaves(&self, py: Python<'_>, cursor: &Cursor, error: &PyErr) {
        if self.executed_here {
            cursor.cancelled(py, error);
        }
    }

    fn abandon(&mut self, cursor: &Cursor) {
        self.pending.abandon(cursor.connection().get().link());
    }
}

/// One row, or what stands for "no more".
pub struct FetchOne {
    name: &'static str,
    cursor: Py<Cursor>,
    rows: Rows,
    absent: fn(Python<'_>) -> PyResult<Py<PyAny>>,
    /// What the row becomes.
    finish: fn(Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    /// Only the row's first value is wanted, whatever the row factory says.
    scalar: bool,
}

impl FetchOne {
    pub fn new(name: &'static str, cursor: Py<Cursor>) -> Self {
        let absent = |py: Python<'_>| Ok(py.None());
        Self {
            name,
            cursor,
            rows: Rows::default(),
            absent,
            finish: |row| Ok(row.unbind()),
            scalar: false,
        }
    }

    /// As `__anext__` has it.
    pub fn or_stop(name: &'static str, cursor: Py<Cursor>) -> Self {
        Self {
            absent: |_| Err(PyStopAsyncIteration::new_err(())),
            ..Self::new(name, cursor)
        }
    }

    /// The only row that its statement is executed for.
    pub fn only(
        name: &'static str,
        cursor: Py<Cursor>,
        absent: fn(Python<'_>) -> PyResult<Py<PyAny>>,
        finish: fn(Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    ) -> Self {
        Self {
            name,
            cursor,
            rows: Rows::executed_here(),
            absent,
            finish,
            scalar: false,
        }
    }

    /// What `first` makes of the first value of the only row; None without a row.
    pub fn scalar(
        name: &'static str,
        cursor: Py<Cursor>,
        first: fn(Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    ) -> Self {
        Self {
            scalar: true,
            ..Self::only(name, cursor, |py| Ok(py.None()), first)
        }
    }
}

impl Work for FetchOne {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        self.rows.check(py, cursor)?;
        loop {
            let taken = cursor.take(py, 1, |batch, rows| (Arc::clone(batch), rows.start))?;
            let value = match taken {
                Taken::Rows((batch, index)) => {
                    let mut maker = Cursor::maker(&self.cursor, py);
                    if self.scalar {
                        maker.rows = RowFactory::Tuple;
                    }
                    let mut row = maker.make(py, &batch, index)?.into_bound(py);
                    if self.scalar {
                        row = row.get_item(0)?;
                    }
                    (self.finish)(row)
                }
                Taken::End => (self.absent)(py),
                Taken::Nothing => {
                    match self
                        .rows
                        .poll(py, cursor, Amount::Ahead(cursor.chunk()), context)
                    {
                        Poll::Pending => return Ok(Step::Pending),
                        Poll::Ready(looked) => {
                            looked?;
                            continue;
                        }
                    }
                }
            };
            return value.map(Step::Ready);
        }
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        self.rows.leaves(py, self.cursor.get(), error);
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.rows.abandon(self.cursor.get());
    }

    fn takes_at_once(&self) -> bool {
        self.cursor.get().is_ready()
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.rows.pending.shared()
    }
}

/// Several rows; fewer at the end. They are taken only when all are there: a cancelled wait loses none.
pub struct FetchMany {
    cursor: Py<Cursor>,
    size: usize,
    rows: Rows,
    building: Option<Building>,
}

impl FetchMany {
    pub fn new(cursor: Py<Cursor>, size: usize) -> Self {
        Self {
            cursor,
            size,
            rows: Rows::default(),
            building: None,
        }
    }
}

impl Work for FetchMany {
    fn name(&self) -> &'static str {
        "Cursor.fetchmany"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        if self.building.is_none() {
            self.rows.check(py, cursor)?;
            loop {
                let have = cursor.available();
                if have > self.size || cursor.unfinished().is_none() {
                    break;
                }
                let amount = Amount::Exactly((self.size - have).max(1));
                match self.rows.poll(py, cursor, amount, context) {
                    Poll::Pending => return Ok(Step::Pending),
                    Poll::Ready(looked) => looked?,
                }
            }
        }
        let building = match &mut self.building {
            Some(building) => building,
            empty @ None => empty.insert(Building::new(py, &self.cursor)),
        };
        if !building.is_finishing() && matches!(building.take(py, cursor, self.size)?, Built::Slice)
        {
            return Ok(Step::Yield);
        }
        building.finish(py)
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.rows.abandon(self.cursor.get());
        if let Some(building) = self.building.take() {
            building.undo(self.cursor.get());
        }
    }

    fn takes_at_once(&self) -> bool {
        self.cursor.get().is_ready()
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(building) = &self.building {
            building.traverse(visit)?;
        }
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.rows.pending.shared()
    }
}

/// All the rows that are left.
pub struct FetchAll {
    name: &'static str,
    cursor: Py<Cursor>,
    rows: Rows,
    building: Option<Building>,
}

impl FetchAll {
    pub fn new(name: &'static str, cursor: Py<Cursor>) -> Self {
        Self {
            name,
            cursor,
            rows: Rows::default(),
            building: None,
        }
    }

    /// The rows of a statement that is executed for them.
    pub fn executed(name: &'static str, cursor: Py<Cursor>) -> Self {
        Self {
            rows: Rows::executed_here(),
            ..Self::new(name, cursor)
        }
    }
}

impl Work for FetchAll {
    fn name(&self) -> &'static str {
        self.name
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        if self.building.is_none() {
            self.rows.check(py, cursor)?;
            self.building = Some(Building::new(py, &self.cursor));
        }
        let Some(building) = &mut self.building else {
            return Ok(Step::Pending);
        };
        if building.is_finishing() {
            return building.finish(py);
        }
        loop {
            // The backend reads on while rows are converted here.
            let waiting = match self.rows.poll(py, cursor, Amount::All, context) {
                Poll::Pending => true,
                Poll::Ready(looked) => {
                    looked?;
                    false
                }
            };
            match building.take(py, cursor, usize::MAX)? {
                Built::Slice | Built::Enough => return Ok(Step::Yield),
                Built::End => return building.finish(py),
                Built::Nothing if waiting => return Ok(Step::Pending),
                Built::Nothing => {}
            }
        }
    }

    fn leaves(&mut self, py: Python<'_>, error: &PyErr) {
        self.rows.leaves(py, self.cursor.get(), error);
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.rows.abandon(self.cursor.get());
        if let Some(building) = self.building.take() {
            building.undo(self.cursor.get());
        }
    }

    fn takes_at_once(&self) -> bool {
        self.cursor.get().is_ready()
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(building) = &self.building {
            building.traverse(visit)?;
        }
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.rows.pending.shared()
    }
}

/// Waits until the iteration can go on, and sends for the rows after the next ones.
pub struct Refill {
    cursor: Py<Cursor>,
    rows: Rows,
}

impl Refill {
    pub fn new(cursor: Py<Cursor>) -> Self {
        Self {
            cursor,
            rows: Rows::default(),
        }
    }
}

impl Work for Refill {
    fn name(&self) -> &'static str {
        "Cursor.__anext__"
    }

    fn poll(&mut self, py: Python<'_>, context: &mut Context<'_>) -> PyResult<Step> {
        let cursor = self.cursor.get();
        self.rows.check(py, cursor)?;
        while !cursor.is_ready() {
            match self
                .rows
                .poll(py, cursor, Amount::Ahead(cursor.chunk()), context)
            {
                Poll::Pending => return Ok(Step::Pending),
                Poll::Ready(looked) => looked?,
            }
        }
        cursor.fetch_ahead(py)?;
        Ok(Step::Ready(py.None()))
    }

    fn abandon(&mut self, _py: Python<'_>) {
        self.rows.abandon(self.cursor.get());
    }

    fn takes_at_once(&self) -> bool {
        self.cursor.get().is_ready()
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cursor)
    }

    fn waits_for(&self) -> Option<&Shared> {
        self.rows.pending.shared()
    }
}
