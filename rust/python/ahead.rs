//! Fetching ahead: the rows of an `async for` that are read before anybody asks for them.
//!
//! Owns nothing; the command that was sent is the cursor's until a fetch takes it over.
//! Thread: any that is attached.
//! Invariant: nobody waits for what was sent ahead, so a statement that may need its caller is never read ahead.

use pyo3::prelude::*;

use crate::core::{Amount, Shared};

use super::cursor::Cursor;

impl Cursor {
    /// Takes over a fetch that was sent ahead.
    pub fn take_ahead(&self) -> Option<Shared> {
        self.state().ahead.take()
    }

    /// Sends for the next rows before anybody asks, in growing batches.
    pub fn fetch_ahead(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state();
        if state.ahead.is_some() {
            return Ok(());
        }
        let Some(rows) = state.rows.clone().filter(|rows| !rows.has_ended()) else {
            return Ok(());
        };
        let amount = Amount::Ahead(state.chunk);
        state.chunk = state.chunk.saturating_mul(2).clamp(1, 1024);
        drop(state);
        if self.connection().get().link().callbacks().may_await() {
            return Ok(());
        }
        let ahead = self.request(py, rows, amount)?;
        ahead.dialogue().set_attended(false);
        self.state().ahead = Some(ahead);
        Ok(())
    }
}
