//! Snapshot: a write on a connection whose own half-read cursors still see an older state of a WAL database.
//!
//! SQLite refuses it with BUSY_SNAPSHOT, and waiting would not help. Those cursors are read to their end first.
//! Owns no state; these are the session's methods.
//! Must not know: Python.

use std::sync::Arc;

use crate::sqlite::code;

use super::command::{Amount, Shared};
use super::error::{Error, Kind, Result};
use super::rows::RowStream;
use super::session::Session;

/// Bytes of rows that are kept for cursors which had to be read to their end.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// Rows between two looks at that.
const ROWS_PER_LOOK: usize = 256;

impl Session {
    /// Does what writes, a second time (`work` is told so) if only this connection's own cursors were in its way.
    pub(super) fn with_fresh_snapshot<T>(
        &mut self,
        operation: &Shared,
        mut work: impl FnMut(&mut Self, bool) -> Result<T>,
    ) -> Result<T> {
        // Inside of a transaction the snapshot is the transaction's own, and cursors do not matter.
        if self.reading.is_empty() || !self.handle.is_autocommit() {
            return work(self, false);
        }
        match work(self, false) {
            Err(error) if error.kind == Kind::Sqlite(code::BUSY_SNAPSHOT) => {
                if !self.handle.is_autocommit() {
                    self.run_sql("ROLLBACK")?;
                }
                self.read_cursors_to_their_end(operation)?;
                work(self, true)
            }
            result => result,
        }
    }

    fn read_cursors_to_their_end(&mut self, operation: &Shared) -> Result<()> {
        let unfinished: Vec<Arc<RowStream>> = self
            .reading
            .values()
            .map(|reading| Arc::clone(&reading.rows))
            .collect();
        let mut kept = 0;
        for rows in unfinished {
            while let Some(reading) = self.reading.get(&rows.id()) {
                if kept + rows.size() > MOST_BYTES {
                    return Err(Error::operational(format!(
                        "this write needs the connection's unfinished cursors read to their end, and there is too \
                         much left of: {}",
                        reading.sql
                    )));
                }
                self.fetch(operation, &rows, Amount::Exactly(ROWS_PER_LOOK));
            }
            kept += rows.size();
        }
        Ok(())
    }
}
