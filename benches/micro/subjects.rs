//! What is timed: each subject does its operation so many times and returns how long that took, without
//! the set-up before.

#![allow(
    clippy::expect_used,
    reason = "nothing can be measured after a failure"
)]

use std::ffi::CString;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use _aiolibsql::core::{
    Action, Amount, Backend, Bindings, Command, Event, Execute, KeySlot, Local, Operation, Options,
    Outcome, Pins, Replacements, Result, RowBatch, RowStream, Shared, Shield, TransactionMode,
};
use _aiolibsql::sqlite::{Handle, OpenOptions, StatementId, ValueRef, initialize};
use _aiolibsql::wakeup::{CompletionQueue, TicketWaker, WakeupFd};

pub struct Subject {
    pub name: &'static str,
    pub title: &'static str,
    pub run: fn(usize) -> Duration,
}

pub const SUBJECTS: &[Subject] = &[
    Subject {
        name: "queue-1",
        title: "completion queue: a ticket pushed and drained, with its eventfd",
        run: |count| queue(count, 1),
    },
    Subject {
        name: "queue-100",
        title: "completion queue: a ticket of 100 that are drained at once",
        run: |count| queue(count, 100),
    },
    Subject {
        name: "waker",
        title: "waker: made, called and its ticket drained",
        run: waker,
    },
    Subject {
        name: "operation",
        title: "operation: made, polled, claimed, finished, polled",
        run: operation,
    },
    Subject {
        name: "statement",
        title: "statement: a prepared SELECT by rowid, bound, stepped, read, reset",
        run: statement,
    },
    Subject {
        name: "batch",
        title: "batch: a row of 4 values put in",
        run: batch,
    },
    Subject {
        name: "scan",
        title: "scan: a row of 4 values stepped to and put into a batch",
        run: scan,
    },
    Subject {
        name: "round-trip",
        title: "round trip: the SELECT on an idle connection's worker, the caller parked",
        run: round_trip,
    },
];

const ROWS: i64 = 1000;
const BATCH: usize = 1000;
const TEXT: &[u8] = b"row 0000000000000001";
const BLOB: &[u8] = b"0123456789abcdef0123456789abcdef";
const POINT: &str = "SELECT value FROM kv WHERE k = ?";
const FILL: &str = "INSERT INTO kv WITH RECURSIVE n(i) AS
    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    SELECT i, 'value ' || i FROM n";
const SCAN: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    SELECT i, 0.5, 'row 0000000000000001', x'3031323334353637383961626364656630313233343536373839616263646566' FROM n";

fn queue(count: usize, at_once: usize) -> Duration {
    let queue = CompletionQueue::new(WakeupFd::new().expect("an eventfd"));
    let mut drained = Vec::with_capacity(at_once);
    let mut ticket = 0;
    let began = Instant::now();
    for _ in 0..count.div_ceil(at_once) {
        for _ in 0..at_once {
            ticket += 1;
            queue.push(ticket);
        }
        queue.drain(&mut drained);
        black_box(&drained);
        drained.clear();
    }
    began.elapsed()
}

fn waker(count: usize) -> Duration {
    let queue = Arc::new(CompletionQueue::new(WakeupFd::new().expect("an eventfd")));
    let mut drained = Vec::new();
    let began = Instant::now();
    for ticket in 0..count as u64 {
        Waker::from(Arc::new(TicketWaker::new(Arc::clone(&queue), ticket))).wake();
        queue.drain(&mut drained);
        black_box(&drained);
        drained.clear();
    }
    began.elapsed()
}

fn operation(count: usize) -> Duration {
    let mut context = Context::from_waker(Waker::noop());
    let began = Instant::now();
    for number in 0..count {
        let operation = Operation::<usize>::new(Shield::None);
        assert!(operation.poll(&mut context).is_pending());
        assert!(operation.claim());
        assert!(operation.finish(number).is_none());
        assert!(operation.poll(&mut context).is_ready());
    }
    began.elapsed()
}

fn open() -> Handle {
    initialize().expect("SQLite starts");
    let filename = CString::new(":memory:").expect("no NUL");
    Handle::open(&OpenOptions {
        filename,
        read_only: false,
        create: true,
        syncs: false,
        uri: false,
        key: None,
    })
    .expect("a database in memory")
}

fn prepare(handle: &mut Handle, sql: &str) -> StatementId {
    let prepared = handle.prepare(sql, true).expect("valid SQL");
    prepared.id.expect("a statement")
}

fn statement(count: usize) -> Duration {
    let mut handle = open();
    for sql in ["CREATE TABLE kv (k INTEGER PRIMARY KEY, value TEXT)", FILL] {
        let id = prepare(&mut handle, sql);
        assert!(!handle.statement(id).step().expect("it runs"));
    }
    let id = prepare(&mut handle, POINT);
    let began = Instant::now();
    for key in (1..=ROWS).cycle().take(count) {
        let mut statement = handle.statement(id);
        statement
            .bind(1, ValueRef::Integer(key))
            .expect("one parameter");
        assert!(statement.step().expect("it runs"));
        black_box(statement.column(0).expect("one column"));
        assert!(!statement.step().expect("it ends"));
        statement.reset();
    }
    began.elapsed()
}

fn batch(count: usize) -> Duration {
    let began = Instant::now();
    for first in (0..count).step_by(BATCH) {
        let mut batch = RowBatch::new(4, BATCH);
        for _ in first..count.min(first + BATCH) {
            let values = [
                ValueRef::Integer(1),
                ValueRef::Real(0.5),
                ValueRef::Text(TEXT),
                ValueRef::Blob(BLOB),
            ];
            for value in values {
                batch.push(black_box(value)).expect("it is small");
            }
            batch.finish_row();
        }
        black_box(&batch);
    }
    began.elapsed()
}

fn scan(count: usize) -> Duration {
    let mut handle = open();
    let id = prepare(&mut handle, SCAN);
    let mut statement = handle.statement(id);
    let began = Instant::now();
    for first in (0..count).step_by(BATCH) {
        let mut batch = RowBatch::new(4, BATCH);
        for _ in first..count.min(first + BATCH) {
            assert!(statement.step().expect("it runs"));
            for column in 0..4 {
                let value = statement.column(column).expect("four columns");
                batch.push(value).expect("it is small");
            }
            batch.finish_row();
        }
        black_box(&batch);
    }
    let took = began.elapsed();
    statement.reset();
    took
}

/// Lets the calling thread go on.
struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait(operation: &Shared, context: &mut Context<'_>) -> Result<Outcome> {
    loop {
        match operation.poll(context) {
            Poll::Ready(Event::Finished(result)) => return result,
            Poll::Ready(Event::Progress) => {}
            Poll::Pending => std::thread::park(),
        }
    }
}

fn submit(connection: &Arc<Local>, action: Action) -> Shared {
    let command = Command::new(action, Vec::new(), None);
    let operation = Arc::clone(&command.operation);
    connection.submit(command);
    operation
}

fn execute(sql: &Arc<str>, key: Option<i64>) -> Action {
    let mut rows = RowBatch::new(usize::from(key.is_some()), 1);
    if let Some(key) = key {
        rows.push(ValueRef::Integer(key)).expect("it is small");
    }
    rows.finish_row();
    Action::Execute(Execute {
        sql: Arc::clone(sql),
        parameters: Bindings { names: None, rows },
        rows: Arc::<RowStream>::default(),
        amount: Amount::All,
        wants_decltypes: false,
    })
}

fn round_trip(count: usize) -> Duration {
    initialize().expect("SQLite starts");
    let waker = Waker::from(Arc::new(Unparker(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let connection = Local::new(Options {
        filename: CString::new(":memory:").expect("no NUL"),
        uri: false,
        read_only: false,
        key: KeySlot::default(),
        timeout: Duration::from_secs(5),
        cached_statements: 8,
        pins: Pins::default(),
        foreign_keys: false,
        keeps_log: false,
        replacements: Replacements::default(),
        switches: Vec::new(),
        pragmas: Vec::new(),
        mode: TransactionMode::Autocommit { manual_end: true },
        is_blocking: false,
        inline_budget: 0,
    });
    let mut run = |action| {
        wait(&submit(&connection, action), &mut context).expect("it runs");
    };
    run(Action::Open);
    for sql in ["CREATE TABLE kv (k INTEGER PRIMARY KEY, value TEXT)", FILL] {
        run(execute(&sql.into(), None));
    }
    let point: Arc<str> = POINT.into();
    let began = Instant::now();
    for key in (1..=ROWS).cycle().take(count) {
        run(execute(&point, Some(key)));
    }
    let took = began.elapsed();
    run(Action::Close);
    took
}
