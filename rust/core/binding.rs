//! Binding: the values of one row go to the places of a statement's parameters.
//!
//! Owns no state; these are the session's methods that bind.
//! Must not know: Python.

use crate::sqlite::{self, StatementId};

use super::command::Bindings;
use super::error::{Error, Result};
use super::session::Session;

impl Session {
    /// For each parameter the place of its value in a row; `None`: the same.
    fn places(&mut self, id: StatementId, names: &[Box<str>]) -> Result<Vec<usize>> {
        let statement = self.handle.statement(id);
        let find = |index: usize| {
            let Some(name) = statement.parameter_name(index) else {
                return Err(Error::programming(format!(
                    "Binding {index} has no name, but you supplied a dictionary (which has only names)."
                )));
            };
            let bare = &name[1..];
            names
                .iter()
                .position(|candidate| **candidate == *bare)
                .ok_or_else(|| {
                    Error::programming(format!(
                        "You did not supply a value for binding parameter :{bare}."
                    ))
                })
        };
        (1..=statement.parameter_count()).map(find).collect()
    }

    pub(super) fn bind(
        &mut self,
        id: StatementId,
        bindings: &Bindings,
        row: usize,
        places: Option<&[usize]>,
    ) -> Result<()> {
        let mut statement = self.handle.statement(id);
        let batch = &bindings.rows;
        let cells = batch.row(row);
        let wanted = statement.parameter_count();
        if places.is_none() && wanted != cells.len() {
            return Err(wrong_count(wanted, cells.len()));
        }
        for index in 0..wanted {
            let place = places.map_or(index, |places| places[index]);
            statement
                .bind(index + 1, batch.value(cells[place]))
                .map_err(|error| {
                    let label = statement
                        .parameter_name(index + 1)
                        .map_or_else(|| (index + 1).to_string(), |n| format!("'{n}'"));
                    sqlite::Error::new(
                        error.code,
                        format!("Error binding parameter {label}: {}", error.message),
                    )
                })?;
        }
        Ok(())
    }

    pub(super) fn places_of(
        &mut self,
        id: StatementId,
        bindings: &Bindings,
    ) -> Result<Option<Vec<usize>>> {
        bindings
            .names
            .as_ref()
            .map(|names| self.places(id, names))
            .transpose()
    }
}

pub(super) fn wrong_count(wanted: usize, given: usize) -> Error {
    Error::programming(format!(
        "Incorrect number of bindings supplied. The current statement uses {wanted}, and there are {given} supplied."
    ))
}
