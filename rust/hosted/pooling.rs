//! A connection at a server as a handle of a pool.
//!
//! Owns no state; where statements belong is learnt from their texts, for a server is asked to compile nothing.
//! Threads: commands are taken on the runtime's; `join` and `kick` on any.
//! Must not know: Python.

use std::sync::{Arc, Weak};

use crate::core::{
    Action, Backend as _, Command, Condition, Error, Handle, Kind, Lifetimes, Limits, Membership,
    Phase, Pool, Pulled, Result, Role, Route, Service, StatementKind, UNLENT, code,
};

use super::backend::{Hosted, State};
use super::session::writes;
use super::statement::Statement;

/// Where a text belongs in a pool of connections at a server.
pub fn route(sql: &str) -> Route {
    let read = Statement::read(sql);
    if read.kind == StatementKind::Other {
        // Nobody but the server can say what is wrong with it.
        return Route::Writer;
    }
    let pragma = Statement::pragma_name(sql);
    let allowed = pragma
        .as_ref()
        .filter(|(name, has_argument)| Route::allows_pragma(name.as_bytes(), *has_argument));
    let allowed = allowed.map(|(name, _)| name.as_str());
    Route::of_kind(read.kind, Statement::is_tied(sql), allowed)
}

/// What a task does next for a pool.
pub(super) enum Turn {
    Run(Vec<Command>),
    /// Leave the pool.
    Retire,
    Nothing,
}

impl Handle for Hosted {
    fn kick(self: Arc<Self>) {
        self.kick_task();
    }

    fn take_back(self: Arc<Self>) {
        let release = Action::Serve(Service::Release);
        self.submit(Command::new(release, Vec::new(), None));
    }

    fn membership(&self) -> Option<&Membership> {
        self.pool.get()
    }
}

impl Hosted {
    /// Becomes a handle of a pool, for good; not open yet.
    pub fn join_pool(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        place: (Role, u32),
        limits: Limits,
        lifetimes: Lifetimes,
    ) {
        let own: Weak<Self> = Arc::downgrade(self);
        *self.mode() = UNLENT;
        let member = Membership::new(pool, place, own, limits, lifetimes, false);
        let _ = self.pool.set(member);
    }

    /// From now on it takes commands of the pool.
    pub fn serve_pool(self: &Arc<Self>) {
        if let Some(pool) = self.pool.get()
            && pool.serve(self.status.phase() == Phase::Open)
        {
            self.kick_task();
        }
    }

    /// What the pool has for it, after its own commands, which are of whoever holds it.
    pub(super) fn pull(&self, state: &State) -> Turn {
        let Some(pool) = self.pool.get().filter(|pool| pool.serves()) else {
            return Turn::Nothing;
        };
        let condition = match state {
            State::Open(session) => pool.condition(session.is_free(), None),
            State::Running => Condition::Held,
            State::Unopened | State::Closed => {
                pool.leave(false, false);
                return Turn::Nothing;
            }
            State::Broken(_) => {
                pool.leave(false, true);
                return Turn::Nothing;
            }
        };
        match pool.pull(condition) {
            Pulled::One(command) => Turn::Run(vec![command]),
            Pulled::Group(commands) => Turn::Run(commands),
            Pulled::Retire(_) => Turn::Retire,
            Pulled::Restore | Pulled::Nothing => Turn::Nothing,
        }
    }

    /// Closes a connection that its pool does not want any more.
    pub(super) async fn retire(&self, state: State) -> State {
        if let State::Open(session) = state {
            session.close(&self.status).await;
        }
        // Cursors that have read all their rows are still read from.
        self.status.set_phase(Phase::Retired);
        self.status.publish(false, 0, false);
        if let Some(pool) = self.pool.get() {
            pool.leave(true, false);
        }
        State::Closed
    }

    /// The caller of a command is about to hear of its end, after which the connection is free, or closed.
    pub(super) fn announce(&self, state: &State) {
        let Some(pool) = self.pool.get().filter(|pool| pool.serves()) else {
            return;
        };
        match state {
            State::Open(session) if session.is_free() => pool.announce(),
            State::Closed => pool.leave(false, false),
            _ => {}
        }
    }

    /// Refuses what writes on a connection of a pool that only reads.
    ///
    /// # Errors
    /// As SQLite's of a database that was opened so.
    pub(super) fn check_role(&self, action: &Action) -> Result<()> {
        let is_reader = self
            .pool
            .get()
            .is_some_and(|pool| pool.role() == Role::Reader);
        if is_reader && writes(action) {
            let message = "attempt to write a readonly database";
            return Err(Error::new(Kind::Sqlite(code::READONLY), message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::core::Route;

    use super::route;

    fn kind(sql: &str) -> &'static str {
        match route(sql) {
            Route::Reader => "reader",
            Route::Group => "group",
            Route::Writer => "writer",
            Route::Refused(_) => "refused",
        }
    }

    #[test]
    fn texts_say_where_they_belong() {
        let cases = [
            ("SELECT 1", "reader"),
            ("with a as (select 1) select * from a", "reader"),
            ("EXPLAIN DELETE FROM t", "reader"),
            ("PRAGMA table_info(t)", "reader"),
            ("pragma main . \"Table_Info\"('t')", "reader"),
            ("PRAGMA journal_mode", "reader"),
            ("-- c\nINSERT INTO t VALUES (1)", "group"),
            ("with a as (select 1) delete from t", "group"),
            ("REPLACE INTO t VALUES ('last_insert_rowid()')", "group"),
            ("CREATE TABLE t (changes)", "writer"),
            (
                "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
                "writer",
            ),
            ("PRAGMA user_version = 3", "writer"),
            ("VACUUM", "writer"),
            ("SELEC 1", "writer"),
            ("", "writer"),
            ("PRAGMA foreign_keys = ON", "refused"),
            ("PRAGMA foreign_keys", "refused"),
            ("PRAGMA journal_mode = WAL", "refused"),
            ("PRAGMA", "refused"),
            ("begin", "refused"),
            ("ROLLBACK TO s", "refused"),
            ("ATTACH 'x' AS y", "refused"),
            ("CREATE TEMP TABLE t (a)", "refused"),
            ("; create temporary view v as select 1", "refused"),
            ("SELECT last_insert_rowid ()", "refused"),
            ("INSERT INTO t SELECT \"Changes\"(/* */)", "refused"),
        ];
        for (sql, expected) in cases {
            assert_eq!(kind(sql), expected, "{sql}");
        }
    }
}
