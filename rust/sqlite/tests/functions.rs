//! SQL functions, aggregates, window functions and collations written in Rust.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{
    Aggregate, Answer, Arguments, Error, Failure, FunctionOptions, Handle, ValueRef, code,
};
use super::{assert_healthy, integer, memory, prepare, run};

const ANY: FunctionOptions = FunctionOptions {
    arguments: -1,
    is_deterministic: false,
};

const ONE: FunctionOptions = FunctionOptions {
    arguments: 1,
    is_deterministic: true,
};

fn name(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn failed(message: &str) -> Failure {
    Failure {
        code: code::ERROR,
        message: message.to_owned(),
    }
}

/// Counts how many of it there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A sum that fails where it is told to.
struct Sum {
    sum: i64,
    _counted: Counted,
}

fn number(arguments: &Arguments<'_>) -> Result<i64, Failure> {
    match arguments.iter().next().and_then(Result::ok) {
        Some(ValueRef::Integer(-1)) => Err(failed("no -1")),
        Some(ValueRef::Integer(-2)) => panic!("no -2"),
        Some(ValueRef::Integer(number)) => Ok(number),
        _ => Err(failed("a number")),
    }
}

impl Aggregate for Sum {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<(), Failure> {
        self.sum += number(arguments)?;
        Ok(())
    }

    fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<(), Failure> {
        self.sum -= number(arguments)?;
        Ok(())
    }

    fn value(&mut self) -> Result<Answer, Failure> {
        Ok(Answer::Integer(self.sum))
    }

    fn finish(self: Box<Self>) -> Result<Answer, Failure> {
        if self.sum == 13 {
            return Err(failed("no 13"));
        }
        Ok(Answer::Integer(self.sum))
    }
}

fn with_sum(is_window: bool) -> (Handle, Arc<AtomicUsize>) {
    let mut handle = memory();
    let counter = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&counter);
    let factory = Box::new(move || {
        let own_share = Counted::new(&own);
        Ok(Box::new(Sum {
            sum: 0,
            _counted: own_share,
        }) as Box<dyn Aggregate>)
    });
    handle
        .create_aggregate(&name("own_sum"), ONE, is_window, Some(factory))
        .unwrap();
    run(&mut handle, "CREATE TABLE t (g, x)").unwrap();
    (handle, counter)
}

fn message(result: Result<(), Error>) -> String {
    result.unwrap_err().message
}

#[test]
fn function_gets_and_gives_values_of_every_type() {
    let mut handle = memory();
    let same = Box::new(|arguments: &Arguments<'_>| {
        assert!(!arguments.is_empty());
        Ok(match arguments.iter().last().and_then(Result::ok) {
            None | Some(ValueRef::Null) => Answer::Null,
            Some(ValueRef::Integer(integer)) => Answer::Integer(integer),
            Some(ValueRef::Real(real)) => Answer::Real(real),
            Some(ValueRef::Text(text)) => Answer::Text(text.to_vec()),
            Some(ValueRef::Blob(blob)) => Answer::Blob(blob.to_vec()),
        })
    });
    handle
        .create_function(&name("last"), ANY, Some(same))
        .unwrap();
    for value in [
        "NULL",
        "7",
        "-9223372036854775808",
        "1.5",
        "'text'",
        "''",
        "char(0)",
        "'ü'",
        "x'00ff'",
        "zeroblob(0)",
        "zeroblob(5)",
    ] {
        let sql = format!(
            "SELECT last(1, {value}) IS {value} AND typeof(last({value})) = typeof({value})"
        );
        assert_eq!(integer(&mut handle, &sql), 1, "{value}");
    }
    assert_eq!(integer(&mut handle, "SELECT last(last(last(3)))"), 3);
}

#[test]
fn failure_and_panic_of_a_function_fail_the_statement_and_nothing_else() {
    let mut handle = memory();
    let bad = Box::new(|arguments: &Arguments<'_>| match arguments.len() {
        0 => Err(failed("with\0NUL")),
        1 => Err(Failure {
            code: code::TOOBIG,
            message: "big".to_owned(),
        }),
        _ => panic!("bad"),
    });
    handle
        .create_function(&name("bad"), ANY, Some(bad))
        .unwrap();
    assert_eq!(message(run(&mut handle, "SELECT bad()")), "with?NUL");
    let error = run(&mut handle, "SELECT bad(1)").unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (code::TOOBIG, "big"));
    let error = run(&mut handle, "SELECT bad(1, 2)").unwrap_err();
    assert_eq!(error.code, code::INTERNAL);
    assert_healthy(&mut handle);
}

#[test]
fn state_goes_with_its_function_and_with_the_connection() {
    let counter = Arc::new(AtomicUsize::new(0));
    let mut handle = memory();
    let make = |handle: &mut Handle, name: &CString| {
        let own_share = Counted::new(&counter);
        let function = Box::new(move |_: &Arguments<'_>| {
            let _ = &own_share;
            Ok(Answer::Null)
        });
        handle.create_function(name, ANY, Some(function))
    };
    make(&mut handle, &name("a")).unwrap();
    make(&mut handle, &name("a")).unwrap();
    make(&mut handle, &name("b")).unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 2);
    assert!(make(&mut handle, &name(&"n".repeat(300))).is_err());
    assert_eq!(counter.load(Ordering::SeqCst), 2);
    handle.create_function(&name("a"), ANY, None).unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 1);
    assert!(handle.prepare("SELECT a()", false).is_err());
    handle.close().unwrap();
    assert_eq!(counter.load(Ordering::SeqCst), 0);
}

#[test]
fn deterministic_function_may_be_indexed() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t (x)").unwrap();
    for (options, is_fine) in [
        (ONE, true),
        (
            FunctionOptions {
                is_deterministic: false,
                ..ONE
            },
            false,
        ),
    ] {
        let function = Box::new(|_: &Arguments<'_>| Ok(Answer::Integer(1)));
        handle
            .create_function(&name("f"), options, Some(function))
            .unwrap();
        let made = run(&mut handle, "CREATE INDEX i ON t (f(x))");
        assert_eq!(made.is_ok(), is_fine);
        if is_fine {
            run(&mut handle, "DROP INDEX i").unwrap();
        }
    }
}

#[test]
fn aggregate_has_a_state_for_each_group_and_leaves_none() {
    let (mut handle, counter) = with_sum(false);
    run(
        &mut handle,
        "INSERT INTO t VALUES (1, 1), (1, 2), (2, 30), (3, 4)",
    )
    .unwrap();
    let sql =
        "SELECT group_concat(s, ' ') = '3 30 4' FROM (SELECT own_sum(x) AS s FROM t GROUP BY g)";
    assert_eq!(integer(&mut handle, sql), 1);
    assert_eq!(integer(&mut handle, "SELECT own_sum(x) FROM t WHERE 0"), 0);
    assert_eq!(counter.load(Ordering::SeqCst), 0);
    // Interrupted in the middle of a group.
    let id = prepare(
        &mut handle,
        "SELECT g, own_sum(x) FROM t GROUP BY g ORDER BY g",
    );
    assert!(handle.statement(id).step().unwrap());
    handle.finalize(id);
    assert_eq!(counter.load(Ordering::SeqCst), 0);
}

#[test]
fn failure_of_an_aggregate_ends_its_group_once() {
    let (mut handle, counter) = with_sum(false);
    run(
        &mut handle,
        "INSERT INTO t VALUES (1, 5), (1, -1), (2, -2), (3, 13)",
    )
    .unwrap();
    for (group, expected) in [(1, "no -1"), (2, "a callback panicked"), (3, "no 13")] {
        let sql = format!("SELECT own_sum(x) FROM t WHERE g = {group}");
        assert_eq!(message(run(&mut handle, &sql)), expected);
        assert_eq!(counter.load(Ordering::SeqCst), 0);
    }
    assert_healthy(&mut handle);
}

#[test]
fn factory_that_fails_fails_the_statement() {
    let mut handle = memory();
    let factory = Box::new(|| Err::<Box<dyn Aggregate>, _>(failed("no state")));
    handle
        .create_aggregate(&name("own_sum"), ONE, false, Some(factory))
        .unwrap();
    assert_eq!(message(run(&mut handle, "SELECT own_sum(1)")), "no state");
    let none = "SELECT own_sum(x) FROM (SELECT 1 AS x) WHERE 0";
    assert_eq!(message(run(&mut handle, none)), "no state");
    assert_healthy(&mut handle);
}

#[test]
fn window_function_adds_and_takes_away() {
    let (mut handle, counter) = with_sum(true);
    run(
        &mut handle,
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
    )
    .unwrap();
    let sql = "SELECT group_concat(s, ' ') = '3 6 9 7' FROM (SELECT own_sum(x) OVER \
               (ORDER BY g ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s FROM t)";
    assert_eq!(integer(&mut handle, sql), 1);
    assert_eq!(integer(&mut handle, "SELECT own_sum(x) FROM t"), 10);
    let plain = with_sum(false);
    let mut plain = plain.0;
    assert!(
        plain
            .prepare("SELECT own_sum(x) OVER () FROM t", false)
            .is_err()
    );
    assert_eq!(counter.load(Ordering::SeqCst), 0);
}

#[test]
fn collation_orders_and_survives_its_panic() {
    let mut handle = memory();
    let backwards = Box::new(|left: &[u8], right: &[u8]| {
        assert!(left != b"panic" && right != b"panic");
        Some(right.cmp(left))
    });
    handle
        .create_collation(&name("backwards"), Some(backwards))
        .unwrap();
    let sql = "SELECT group_concat(x, '') = 'cba' FROM \
               (SELECT column1 AS x FROM (VALUES ('a'), ('c'), ('b')) ORDER BY x COLLATE backwards)";
    assert_eq!(integer(&mut handle, sql), 1);
    assert_eq!(
        integer(&mut handle, "SELECT 'panic' = 'x' COLLATE backwards"),
        1
    );
    handle.create_collation(&name("backwards"), None).unwrap();
    assert!(run(&mut handle, "SELECT 'a' = 'b' COLLATE backwards").is_err());
    assert_healthy(&mut handle);
}

#[test]
fn collation_without_an_answer_fails_its_statement_and_nothing_of_it_is_kept() {
    let mut handle = memory();
    let silent = Arc::new(AtomicUsize::new(0));
    let is_silent = Arc::clone(&silent);
    let collation = Box::new(move |left: &[u8], right: &[u8]| {
        (is_silent.load(Ordering::SeqCst) == 0).then(|| left.cmp(right))
    });
    handle
        .create_collation(&name("own"), Some(collation))
        .unwrap();
    run(&mut handle, "CREATE TABLE t (x COLLATE own UNIQUE)").unwrap();
    run(&mut handle, "INSERT INTO t VALUES ('b'), ('d')").unwrap();
    let write = "INSERT OR IGNORE INTO t VALUES ('c')";
    for transaction in [None, Some("BEGIN")] {
        if let Some(begin) = transaction {
            run(&mut handle, begin).unwrap();
        }
        silent.store(1, Ordering::SeqCst);
        let error = run(&mut handle, write).unwrap_err();
        assert_eq!(error.primary(), code::INTERRUPT);
        // In autocommit SQLite has rolled back by itself.
        assert_eq!(handle.is_autocommit(), transaction.is_none());
        handle.take_taint();
        silent.store(0, Ordering::SeqCst);
        if transaction.is_some() {
            run(&mut handle, "ROLLBACK").unwrap();
        }
        assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), 2);
    }
    silent.store(1, Ordering::SeqCst);
    assert!(run(&mut handle, "SELECT 'a' = 'b' COLLATE own").is_err());
    silent.store(0, Ordering::SeqCst);
    run(&mut handle, write).unwrap();
    assert_healthy(&mut handle);
}
