//! The Works that fetch rows from a cursor.
//!
//! Owns the rows that one await has taken so far. Large results are converted in slices, so that the loop is
//! never held for longer than about 0.2 ms.
//! Thread: the driving loop's.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::core::{Amount, RowStream, Shared};

use super::convert::RowMaker;
use super::cursor::{Cursor, Taken};
use super::factories::RowFactory;
use super::results::Piece;
use super::statements::{Pending, SLICE};
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
        self.pending.poll(py, context).map_ok(drop)
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
        match building.take(py, cursor, self.size)? {
            Built::Slice => Ok(Step::Yield),
            Built::Enough | Built::Nothing | Built::End => {
                Ok(Step::Ready(building.list.clone_ref(py).into_any()))
            }
        }
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
                Built::End => return Ok(Step::Ready(building.list.clone_ref(py).into_any())),
                Built::Nothing if waiting => return Ok(Step::Pending),
                Built::Nothing => {}
            }
        }
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

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: usize = 32;

/// A list of rows under construction.
struct Building {
    list: Py<PyList>,
    maker: RowMaker,
    /// Where its rows came from, to give them back if nobody gets the list.
    pieces: Vec<Piece>,
    source: Option<Arc<RowStream>>,
}

/// How far a list has come.
enum Built {
    Enough,
    /// The backend has to be asked for more.
    Nothing,
    /// There are no more.
    End,
    /// The time is up.
    Slice,
}

impl Building {
    fn new(py: Python<'_>, cursor: &Py<Cursor>) -> Self {
        Self {
            list: PyList::empty(py).unbind(),
            maker: Cursor::maker(cursor, py),
            pieces: Vec::new(),
            source: cursor.get().rows(),
        }
    }

    /// Converts rows that are there, until the list has `size` of them.
    fn take(&mut self, py: Python<'_>, cursor: &Cursor, size: usize) -> PyResult<Built> {
        let started = Instant::now();
        let list = self.list.clone_ref(py).into_bound(py);
        let mut length = list.len();
        while length < size {
            let most = ROWS_PER_LOOK.min(size - length);
            let taken = cursor.take(py, most, |batch, rows| Piece {
                batch: Arc::clone(batch),
                next: rows.start,
                end: rows.end,
            })?;
            let piece = match taken {
                Taken::Rows(piece) => piece,
                Taken::Nothing => return Ok(Built::Nothing),
                Taken::End => return Ok(Built::End),
            };
            let (batch, rows) = (Arc::clone(&piece.batch), piece.next..piece.end);
            length += rows.len();
            self.note(piece);
            for index in rows.clone() {
                let made = self.maker.make(py, &batch, index);
                if let Err(error) = made.and_then(|row| list.append(row)) {
                    // As in sqlite3 the rows after this one can still be fetched.
                    let rest = Piece {
                        batch,
                        next: index + 1,
                        end: rows.end,
                    };
                    cursor.take_back(vec![rest], self.source.as_ref());
                    return Err(error);
                }
            }
            if started.elapsed() > SLICE {
                return Ok(Built::Slice);
            }
        }
        Ok(Built::Enough)
    }

    fn note(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if Arc::ptr_eq(&last.batch, &piece.batch) && last.end == piece.next => {
                last.end = piece.end;
            }
            _ => self.pieces.push(piece),
        }
    }

    /// Nobody gets the list: the rows are the cursor's again.
    fn undo(self, cursor: &Cursor) {
        cursor.take_back(self.pieces, self.source.as_ref());
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.list)?;
        self.maker.traverse(visit)
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
