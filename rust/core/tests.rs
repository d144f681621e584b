//! Tests of sessions and the local backend as the Python layer drives them, without Python.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

use std::ffi::CString;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::sqlite::{self, ValueRef};

use super::session::Session;
use super::{
    Action, Amount, Backend, Begin, Bindings, Cancelled, Cell, Command, Error, Event, Execute,
    KeySlot, Kind, Local, Next, Observer, Options, Outcome, Phase, Pins, Replacements, Result,
    RowBatch, RowStream, Shared, TransactionMode, end_at,
};

pub(super) fn options(mode: TransactionMode) -> Options {
    Options {
        filename: CString::new(":memory:").unwrap(),
        uri: false,
        read_only: false,
        key: KeySlot::default(),
        timeout: Duration::from_secs(5),
        cached_statements: 8,
        pins: Pins::default(),
        foreign_keys: false,
        switches: Vec::new(),
        pragmas: Vec::new(),
        mode,
        keeps_log: false,
        replacements: Replacements::default(),
        is_blocking: false,
        inline_budget: 0,
    }
}

pub(super) fn execute(sql: &str, rows: &Arc<RowStream>, amount: Amount) -> Action {
    let mut values = RowBatch::new(0, 1);
    values.finish_row();
    Action::Execute(Execute {
        sql: sql.into(),
        parameters: Bindings {
            names: None,
            rows: values,
        },
        rows: Arc::clone(rows),
        amount,
        wants_decltypes: false,
    })
}

pub(super) fn wait(operation: &Shared) -> Result<Outcome> {
    let limit = Instant::now() + Duration::from_secs(20);
    while Instant::now() < limit {
        match operation.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Event::Finished(result)) => return result,
            Poll::Ready(Event::Progress) => {}
            Poll::Pending => std::thread::yield_now(),
        }
    }
    panic!("the operation did not finish");
}

fn submit(connection: &Arc<Local>, action: Action) -> Shared {
    let command = Command::new(action, Vec::new(), None);
    let operation = Arc::clone(&command.operation);
    connection.submit(command);
    operation
}

fn run(connection: &Arc<Local>, sql: &str) -> Result<Outcome> {
    wait(&submit(
        connection,
        execute(sql, &Arc::default(), Amount::All),
    ))
}

fn opened(mode: TransactionMode) -> Arc<Local> {
    let connection = Local::new(options(mode));
    assert!(wait(&submit(&connection, Action::Open)).unwrap().opened);
    connection
}

const IMPLICIT: TransactionMode = TransactionMode::Implicit(Begin::Plain);
const ENDLESS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Log {
    fn started(&mut self, sql: &str) {
        self.add(format!("start {sql}"));
    }

    fn rows(&mut self, _sql: &str, count: usize) {
        self.add(format!("rows {count}"));
    }

    fn ended(&mut self, sql: &str, _took: Duration) {
        self.add(format!("end {sql}"));
    }

    fn failed(&mut self, sql: &str, error: &Error) {
        self.add(format!("error {sql}: {error}"));
    }
}

#[test]
fn observer_sees_start_rows_end_and_error_of_every_step_of_work() {
    let opening = Command::new(Action::Open, Vec::new(), None).operation;
    let mut session = Session::open(&options(IMPLICIT), false, IMPLICIT, &opening).unwrap();
    let log = Log::default();
    session.observer = Some(Box::new(log.clone()));
    let operation = Command::new(Action::SetMode, Vec::new(), None).operation;
    let rows = Arc::<RowStream>::default();
    let sql = "VALUES (1), (2), (3), (4)";

    session
        .run(&operation, execute(sql, &rows, Amount::Ahead(2)), &[], None)
        .unwrap();
    let fetch = Action::Fetch {
        rows: Arc::clone(&rows),
        amount: Amount::All,
    };
    session.run(&operation, fetch, &[], None).unwrap();
    let failing = "SELECT abs(-9223372036854775808)";
    session
        .run(
            &operation,
            execute(failing, &Arc::default(), Amount::All),
            &[],
            None,
        )
        .unwrap_err();

    let error = format!("error {failing}: integer overflow");
    let expected = [
        "start VALUES (1), (2), (3), (4)",
        "rows 3",
        "end VALUES (1), (2), (3), (4)",
        "start VALUES (1), (2), (3), (4)",
        "rows 1",
        "end VALUES (1), (2), (3), (4)",
        &format!("start {failing}"),
        &error,
    ];
    assert_eq!(*log.0.lock().unwrap(), expected);
}

#[test]
fn rows_read_before_an_error_come_before_it() {
    let connection = opened(IMPLICIT);
    let rows = Arc::<RowStream>::default();
    let sql = "SELECT abs(column1) FROM (VALUES (1), (2), (-9223372036854775808))";
    wait(&submit(&connection, execute(sql, &rows, Amount::Ahead(64)))).unwrap();

    let Next::Batch(batch) = rows.next() else {
        panic!("no rows")
    };
    assert_eq!((batch.len(), batch.row(1)), (2, &[Cell::Integer(2)][..]));
    let Next::Failed(error) = rows.next() else {
        panic!("no error")
    };
    assert_eq!(error.sql.as_deref(), Some(sql));
    assert!(matches!(rows.next(), Next::End));
}

#[test]
fn begin_that_nobody_heard_of_is_undone_unless_something_ran_in_it() {
    let connection = opened(IMPLICIT);
    let serial = wait(&submit(&connection, Action::Begin(Begin::Immediate)))
        .unwrap()
        .began
        .unwrap();
    wait(&submit(&connection, Action::UndoBegin(serial))).unwrap();
    assert!(!connection.status().in_transaction());

    let serial = wait(&submit(&connection, Action::Begin(Begin::Immediate)))
        .unwrap()
        .began
        .unwrap();
    run(&connection, "CREATE TABLE t (a)").unwrap();
    wait(&submit(&connection, Action::UndoBegin(serial))).unwrap();
    assert!(connection.status().in_transaction());
}

#[test]
fn cancelled_write_in_a_transaction_is_reported_once_and_never_autocommits() {
    let connection = opened(TransactionMode::Autocommit { manual_end: true });
    run(&connection, "CREATE TABLE t (a)").unwrap();
    wait(&submit(&connection, Action::Begin(Begin::Immediate))).unwrap();
    let endless = format!("INSERT INTO t {ENDLESS}");
    let operation = submit(&connection, execute(&endless, &Arc::default(), Amount::All));
    while !operation.is_running() {
        std::thread::yield_now();
    }
    assert!(matches!(operation.cancel(), Cancelled::Stopping));

    let error = run(&connection, "INSERT INTO t VALUES (1)").unwrap_err();
    assert_eq!(error.kind, Kind::Operational);
    assert!(
        error.message.starts_with("the transaction was rolled back"),
        "{error}"
    );
    assert!(!connection.status().in_transaction());
    run(&connection, "INSERT INTO t VALUES (2)").unwrap();
}

#[test]
fn abandoned_open_leaves_the_connection_unopened_and_it_can_be_opened_again() {
    let connection = Local::new(options(IMPLICIT));
    let operation = submit(&connection, Action::Open);
    while connection.status().phase() != Phase::Open {
        std::thread::yield_now();
    }
    if let Cancelled::Undelivered(Ok(outcome)) = operation.cancel() {
        assert!(outcome.opened);
        wait(&submit(&connection, Action::UndoOpen)).unwrap();
    } else {
        // It was cancelled before its result was stored: the worker undoes it.
        assert!(run(&connection, "SELECT 1").is_err());
    }
    assert_eq!(connection.status().phase(), Phase::Unopened);
    assert!(wait(&submit(&connection, Action::Open)).unwrap().opened);
}

#[test]
fn deadline_ends_a_running_and_a_queued_operation() {
    let connection = opened(IMPLICIT);
    let soon = Instant::now() + Duration::from_millis(30);
    let running = submit(&connection, execute(ENDLESS, &Arc::default(), Amount::All));
    let queued = submit(
        &connection,
        execute("SELECT 1", &Arc::default(), Amount::All),
    );
    end_at(soon, &queued).unwrap();
    assert_eq!(wait(&queued).unwrap_err().kind, Kind::Timeout);
    end_at(soon, &running).unwrap();
    assert_eq!(wait(&running).unwrap_err().kind, Kind::Timeout);
    run(&connection, "SELECT 1").unwrap();
}

#[test]
fn interrupt_stops_the_running_statement_only() {
    let connection = opened(IMPLICIT);
    connection.interrupt(None);
    let running = submit(&connection, execute(ENDLESS, &Arc::default(), Amount::All));
    let queued = submit(
        &connection,
        execute("SELECT 1", &Arc::default(), Amount::All),
    );
    let limit = Instant::now() + Duration::from_secs(20);
    let error = loop {
        connection.interrupt(None);
        if let Poll::Ready(Event::Finished(result)) =
            running.poll(&mut Context::from_waker(Waker::noop()))
        {
            break result.unwrap_err();
        }
        assert!(Instant::now() < limit);
    };
    assert_eq!(error.primary_code(), Some(sqlite::code::INTERRUPT));
    drop(wait(&queued));
    run(&connection, "SELECT 1").unwrap();
}

#[test]
fn batch_keeps_text_with_nul_apart_from_blobs_and_other_text() {
    let mut batch = RowBatch::new(3, 1);
    for value in [
        ValueRef::Text(b"a\0b"),
        ValueRef::Text("\u{e9}".as_bytes()),
        ValueRef::Blob(b""),
    ] {
        batch.push(value).unwrap();
    }
    batch.finish_row();
    batch.push(ValueRef::Null).unwrap();
    batch.discard_unfinished();
    let [Cell::Ascii(ascii), Cell::Text(text), Cell::Blob(blob)] = *batch.row(0) else {
        panic!("{batch:?}")
    };
    assert_eq!(batch.bytes(ascii), b"a\0b");
    assert_eq!(batch.bytes(text), "\u{e9}".as_bytes());
    assert_eq!(batch.bytes(blob), b"");
    assert_eq!(batch.len(), 1);
}

#[test]
fn pinned_statement_stays_prepared_beyond_the_capacity_until_it_is_unpinned() {
    let opening = Command::new(Action::Open, Vec::new(), None).operation;
    let options = Options {
        cached_statements: 1,
        ..options(IMPLICIT)
    };
    let mut session = Session::open(&options, false, IMPLICIT, &opening).unwrap();
    let operation = Command::new(Action::SetMode, Vec::new(), None).operation;
    let run = |session: &mut Session, sql: &str| {
        let statement = execute(sql, &Arc::default(), Amount::All);
        session.run(&operation, statement, &[], None).unwrap();
    };
    let is_kept = |session: &mut Session, sql: &str| {
        let sql = Arc::from(sql);
        let kept = session.cache.take(&sql);
        if let Some(id) = kept {
            session.cache.give_back(&mut session.handle, &sql, id);
        }
        kept.is_some()
    };
    let pinned = "SELECT 'pinned'";

    let (first, second) = (
        options.pins.pin(pinned.into()),
        options.pins.pin(pinned.into()),
    );
    for sql in [pinned, "SELECT 1", "SELECT 2", "SELECT 3"] {
        run(&mut session, sql);
    }
    assert!(is_kept(&mut session, pinned));
    assert!(is_kept(&mut session, "SELECT 3"));
    assert!(!is_kept(&mut session, "SELECT 2"));

    drop(first);
    for sql in [pinned, "SELECT 1", "SELECT 2"] {
        run(&mut session, sql);
    }
    assert!(is_kept(&mut session, pinned));

    drop(second);
    for sql in ["SELECT 1", "SELECT 2"] {
        run(&mut session, sql);
    }
    assert!(!is_kept(&mut session, pinned));
    assert!(!is_kept(&mut session, "SELECT 1"));
    assert!(is_kept(&mut session, "SELECT 2"));
}

pub(super) fn blocking() -> Arc<Local> {
    let connection = Local::new(Options {
        is_blocking: true,
        ..options(IMPLICIT)
    });
    assert!(here(&connection, Action::Open, || false).unwrap().opened);
    connection
}

pub(super) fn here(connection: &Local, action: Action, look: super::Look) -> Result<Outcome> {
    let command = Command::new(action, Vec::new(), None);
    let operation = Arc::clone(&command.operation);
    assert!(connection.run_now(command, look));
    let mut context = Context::from_waker(Waker::noop());
    match operation.poll(&mut context) {
        Poll::Ready(Event::Finished(result)) => result,
        other => panic!("not finished: {other:?}"),
    }
}

#[test]
fn blocking_command_has_ended_when_the_call_returns() {
    let connection = blocking();
    let rows = Arc::default();
    let action = execute("SELECT 1", &rows, Amount::All);
    assert!(here(&connection, action, || false).is_ok());
    assert_eq!(rows.available(), 1);
    assert!(!connection.is_claimed_here());
}

#[test]
fn blocking_connection_runs_what_nobody_waits_for_before_the_next_command() {
    let connection = blocking();
    let rows = Arc::default();
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";
    here(
        &connection,
        execute(many, &rows, Amount::Exactly(2)),
        || false,
    )
    .unwrap();
    assert!(!rows.has_ended());
    drop(submit(&connection, Action::CloseRows(Arc::clone(&rows))));
    assert!(!rows.has_ended());
    here(&connection, Action::Commit, || false).unwrap();
    assert!(rows.has_ended());
}

#[test]
fn blocking_statement_stops_when_its_thread_must() {
    let connection = blocking();
    let action = execute(ENDLESS, &Arc::default(), Amount::All);
    let error = here(&connection, action, || true).unwrap_err();
    assert_eq!(error.primary_code(), Some(sqlite::code::INTERRUPT));
}

#[test]
fn blocking_threads_run_their_own_commands_one_after_the_other() {
    let connection = blocking();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let rows = Arc::default();
                    here(&connection, execute("SELECT 1", &rows, Amount::All), || {
                        false
                    })
                    .unwrap();
                    assert_eq!(rows.available(), 1);
                }
            });
        }
    });
}
