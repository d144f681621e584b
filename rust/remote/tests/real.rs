//! The client against a real server, over HTTP and over WebSockets.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{RowBatch, ValueRef};

use super::super::*;
use super::sqld::Sqld;

/// Runs a test on a runtime as the crate's own.
pub fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(120), test)
                .await
                .expect("the test hangs");
        });
}

pub fn remote(url: &str, token: Option<&str>) -> Arc<Remote> {
    let token = token.map(|token| Token::Fixed(Secret::new(token)));
    Remote::new(Options::new(url, None, None, token).unwrap())
}

fn cells(rows: &RowBatch, row: usize) -> Vec<ValueRef<'_>> {
    rows.row(row).iter().map(|cell| rows.value(*cell)).collect()
}

async fn scalar(stream: &mut Stream, sql: &str) -> i64 {
    let result = stream
        .execute(Statement::new(sql), Continuity::Any)
        .await
        .unwrap();
    match cells(&result.rows, 0)[0] {
        ValueRef::Integer(integer) => integer,
        other => panic!("not an integer: {other:?}"),
    }
}

async fn execute(stream: &mut Stream, sql: &str) -> Result<StatementResult> {
    stream.execute(Statement::new(sql), Continuity::Any).await
}

/// Both transports of one server.
macro_rules! both {
    ($name:ident, $test:ident, $($argument:expr),*) => {
        mod $name {
            #[test]
            fn over_http() {
                let Some(server) = super::Sqld::start(&[$($argument),*]) else { return };
                super::run(super::$test(server, "http"));
            }

            #[test]
            fn over_a_websocket() {
                let Some(server) = super::Sqld::start(&[$($argument),*]) else { return };
                super::run(super::$test(server, "ws"));
            }
        }
    };
}

both!(values_round_trip, values,);
both!(errors_have_codes, errors,);
both!(batches_follow_conditions, batches,);
both!(transactions_hold, transactions,);
both!(streams_that_expired_are_reopened, idle,);
both!(a_restart_is_survived, restart,);
both!(many_rows_arrive, many_rows,);
both!(cursors_stream, cursors,);
both!(
    namespaces_are_told_by_host,
    namespaces,
    "--enable-namespaces"
);
both!(
    users_have_passwords,
    basic,
    "--http-auth",
    "basic:dXNlcjpwYXNz"
);
both!(statements_of_many_streams_run, concurrency,);
both!(latency, latencies,);

async fn values(server: Sqld, scheme: &str) {
    let mut stream = remote(&server.url(scheme), None).stream();
    let blob: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = [
        ValueRef::Null,
        ValueRef::Integer(i64::MAX),
        ValueRef::Integer(i64::MIN),
        ValueRef::Integer(0),
        ValueRef::Integer(-1),
        ValueRef::Real(f64::INFINITY),
        ValueRef::Real(f64::NEG_INFINITY),
        ValueRef::Real(-0.5),
        ValueRef::Text(b""),
        ValueRef::Text(b"a\0b"),
        ValueRef::Text("h\u{e9} \u{1f980} \u{4e2d}".as_bytes()),
        ValueRef::Blob(b""),
        ValueRef::Blob(&blob),
    ];
    let places: Vec<_> = (1..=sent.len()).map(|n| format!("?{n}")).collect();
    let sql = format!("select {}", places.join(", "));
    let args: Vec<_> = sent
        .iter()
        .map(|value| Value::try_from(*value).unwrap())
        .collect();
    let statement = Statement::new(&*sql).with_args(args);
    let result = stream.execute(statement, Continuity::Any).await.unwrap();
    assert_eq!(cells(&result.rows, 0), sent);

    // SQLite makes NULL of what is not a number.
    let nan = vec![Value::try_from(ValueRef::Real(f64::NAN)).unwrap()];
    let statement = Statement::new("select ?1").with_args(nan);
    let result = stream.execute(statement, Continuity::Any).await.unwrap();
    assert_eq!(cells(&result.rows, 0), [ValueRef::Null]);

    let named = Statement {
        named_args: vec![NamedValue {
            name: ":a".into(),
            value: Value::try_from(ValueRef::Integer(7)).unwrap(),
        }],
        ..Statement::new("select :a as b, typeof(:a)")
    };
    let result = stream.execute(named, Continuity::Any).await.unwrap();
    assert_eq!(
        cells(&result.rows, 0),
        [ValueRef::Integer(7), ValueRef::Text(b"integer")]
    );
    assert_eq!(result.columns[0].name.as_deref(), Some("b"));

    execute(&mut stream, "create table t(a integer, b text)")
        .await
        .unwrap();
    let result = execute(&mut stream, "insert into t values (1, 'x'), (2, 'y')")
        .await
        .unwrap();
    assert_eq!(
        (result.affected_row_count, result.last_insert_rowid),
        (2, Some(2))
    );
    let result = execute(&mut stream, "select a, b from t where 0")
        .await
        .unwrap();
    assert_eq!((result.rows.len(), result.rows.width()), (0, 2));
    let types: Vec<_> = result
        .columns
        .iter()
        .map(|column| column.decltype.as_deref())
        .collect();
    assert!(
        types[0].is_some_and(|name| name.eq_ignore_ascii_case("integer")),
        "{types:?}"
    );

    let description = stream
        .describe("select ?1, :a", Continuity::Any)
        .await
        .unwrap();
    assert_eq!(description.parameters.len(), 2);
    assert!(description.is_readonly && !description.is_explain);
    assert!(stream.is_autocommit(Continuity::Any).await.unwrap());
    stream.close().await.unwrap();
}

async fn errors(server: Sqld, scheme: &str) {
    let mut stream = remote(&server.url(scheme), None).stream();
    stream
        .sequence(
            "create table t(a unique, b not null, c check (c > 0)); insert into t values (1, 1, 1)",
            Continuity::Any,
        )
        .await
        .unwrap();
    let cases = [
        ("insert into t values (1, 1, 1)", 2067),
        ("insert into t values (2, null, 1)", 1299),
        ("insert into t values (2, 1, 0)", 275),
        ("select * from missing", 1),
        ("selec", 1),
        ("select 1 frm t frm", 1),
    ];
    for (sql, code) in cases {
        let error = execute(&mut stream, sql).await.unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Sql, Fate::Refused),
            "{error:?}"
        );
        let error = crate::core::Error::from(error);
        assert_eq!(error.kind, crate::core::Kind::Sqlite(code), "{error:?}");
        assert!(!error.message.starts_with("SQLite error: "), "{error:?}");
    }
    let error = execute(&mut stream, "select 1; select 2")
        .await
        .unwrap_err();
    assert_eq!(error.code.as_deref(), Some("SQL_MANY_STATEMENTS"));
    let error = execute(&mut stream, "select ?1").await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("ARGS_INVALID"));
    // One statement's error is not another's.
    let requests = ["insert into t values (1, 1, 1)", "select 5"]
        .map(|sql| Request::Execute(Statement::new(sql)));
    let results = stream.run(&requests, Continuity::Any).await.unwrap();
    assert!(results[0].is_err() && results[1].is_ok());
    let big = "select zeroblob(9000000), zeroblob(9000000)";
    let error = execute(&mut stream, big).await.unwrap_err();
    assert_eq!(error.kind, Kind::TooLarge, "{error:?}");
    assert_eq!(scalar(&mut stream, "select 1").await, 1);
}

async fn batches(server: Sqld, scheme: &str) {
    let remote = remote(&server.url(scheme), None);
    let mut stream = remote.stream();
    execute(&mut stream, "create table t(a unique)")
        .await
        .unwrap();
    let id = remote.next_sql_id();
    let mut batch = Batch::default();
    let mut last = batch.push(None, Statement::new("begin"));
    for number in 0..1000 {
        let args = vec![Value::try_from(ValueRef::Integer(number % 999)).unwrap()];
        let statement = Statement::new(Sql::Stored(id))
            .with_args(args)
            .without_rows();
        last = batch.push(Some(Condition::ok(last)), statement);
    }
    let commit = batch.push(Some(Condition::ok(last)), Statement::new("commit"));
    let failed = Condition::all(vec![!Condition::ok(commit), !Condition::is_autocommit()]);
    let rollback = batch.push(Some(failed), Statement::new("rollback"));
    let sql = "insert into t values (?)".to_owned();
    let requests = [
        Request::StoreSql { id, sql },
        Request::Batch(batch),
        Request::CloseSql { id },
        Request::GetAutocommit,
    ];
    let mut results = stream.run(&requests, Continuity::Any).await.unwrap();
    assert_eq!(
        results.pop().unwrap().unwrap(),
        Response::GetAutocommit(true)
    );
    let Response::Batch(result) = results.swap_remove(1).unwrap() else {
        panic!("not a batch");
    };
    assert!(result.steps[&999].is_ok());
    let error = result.steps[&last].as_ref().unwrap_err();
    assert!(error.message.contains("UNIQUE"), "{error:?}");
    assert!(!result.steps.contains_key(&commit));
    assert!(result.steps[&rollback].is_ok());
    assert_eq!(scalar(&mut stream, "select count(*) from t").await, 0);
}

async fn transactions(server: Sqld, scheme: &str) {
    let remote = remote(&server.url(scheme), None);
    let (mut stream, mut other) = (remote.stream(), remote.stream());
    execute(&mut stream, "create table t(a)").await.unwrap();
    execute(&mut stream, "begin").await.unwrap();
    for sql in [
        "insert into t values (1)",
        "savepoint s",
        "insert into t values (2)",
        "rollback to s",
    ] {
        stream
            .execute(Statement::new(sql), Continuity::Same)
            .await
            .unwrap();
    }
    assert!(!stream.is_autocommit(Continuity::Same).await.unwrap());
    assert_eq!(scalar(&mut other, "select count(*) from t").await, 0);
    stream
        .execute(Statement::new("commit"), Continuity::Same)
        .await
        .unwrap();
    assert_eq!(scalar(&mut other, "select count(*) from t").await, 1);
    // What is left open goes with its stream.
    execute(&mut stream, "begin immediate").await.unwrap();
    execute(&mut stream, "insert into t values (3)")
        .await
        .unwrap();
    stream.close().await.unwrap();
    let error = stream
        .execute(Statement::new("commit"), Continuity::Same)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Expired);
    execute(&mut other, "insert into t values (4)")
        .await
        .unwrap();
    assert_eq!(scalar(&mut stream, "select count(*) from t").await, 2);
}

async fn idle(server: Sqld, scheme: &str) {
    let remote = remote(&server.url(scheme), None);
    let (mut stream, mut busy) = (remote.stream(), remote.stream());
    assert_eq!(scalar(&mut stream, "select 1").await, 1);
    execute(&mut busy, "begin").await.unwrap();
    tokio::time::sleep(Duration::from_millis(11_500)).await;
    assert_eq!(scalar(&mut stream, "select 2").await, 2);
    let result = busy
        .execute(Statement::new("select 3"), Continuity::Same)
        .await;
    if scheme == "http" {
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind, error.fate),
            (Kind::Expired, Fate::Refused),
            "{error:?}"
        );
        assert!(!busy.is_open());
    } else {
        result.unwrap();
    }
    assert_eq!(scalar(&mut busy, "select 4").await, 4);
}

async fn restart(mut server: Sqld, scheme: &str) {
    let remote = remote(&server.url(scheme), None);
    let (mut stream, mut busy) = (remote.stream(), remote.stream());
    execute(&mut stream, "create table t(a)").await.unwrap();
    execute(&mut busy, "begin").await.unwrap();
    server.restart();
    execute(&mut stream, "insert into t values (1)")
        .await
        .unwrap();
    let error = busy
        .execute(Statement::new("select 1"), Continuity::Same)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Expired, "{error:?}");
    assert_eq!(scalar(&mut busy, "select count(*) from t").await, 1);
    server.kill();
    let error = execute(&mut stream, "select 1").await.unwrap_err();
    assert_eq!(
        (error.kind, error.fate),
        (Kind::Connect, Fate::NeverSent),
        "{error:?}"
    );
}

const NUMBERS: &str = "with recursive n(i) as (values (0) union all select i + 1 from n where i < 49999) \
                       select i, i * 1.5, 'row ' || i, x'00ff' from n";

fn check(rows: &RowBatch, row: usize, number: i64) {
    let text = format!("row {number}");
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let real = number as f64 * 1.5;
    let expected = [
        ValueRef::Integer(number),
        ValueRef::Real(real),
        ValueRef::Text(text.as_bytes()),
        ValueRef::Blob(&[0, 255]),
    ];
    assert_eq!(cells(rows, row), expected);
}

async fn many_rows(server: Sqld, scheme: &str) {
    let mut stream = remote(&server.url(scheme), None).stream();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        let result = execute(&mut stream, NUMBERS).await.unwrap();
        best = best.min(begin.elapsed());
        assert_eq!(result.rows.len(), 50_000);
        check(&result.rows, 49_999, 49_999);
    }
    println!("{scheme}: 50,000 rows x 4 in {best:?}");
}

async fn cursors(server: Sqld, scheme: &str) {
    let mut stream = remote(&server.url(scheme), None).stream();
    let mut batch = Batch::default();
    batch.push(None, Statement::new("select 1 where 0"));
    batch.push(Some(Condition::ok(0)), Statement::new(NUMBERS));
    batch.push(None, Statement::new("select * from missing"));
    for read_all in [true, false, true] {
        let begin = Instant::now();
        let mut cursor = stream.cursor(&batch, Continuity::Any).await.unwrap();
        let (mut count, mut steps, mut errors, mut largest) = (0, Vec::new(), 0, 0);
        'cursor: loop {
            let events = cursor.next().await.unwrap();
            if events.is_empty() {
                break;
            }
            for event in events {
                match event {
                    CursorEvent::StepBegin { step, columns } => steps.push((step, columns.len())),
                    CursorEvent::Rows(rows) => {
                        check(&rows, 0, count);
                        largest = largest.max(rows.size());
                        count += i64::try_from(rows.len()).unwrap();
                    }
                    CursorEvent::StepError { step, .. } => {
                        assert_eq!(step, 2);
                        errors += 1;
                    }
                    CursorEvent::StepEnd { .. } => {}
                    CursorEvent::Error(error) => panic!("{error:?}"),
                }
            }
            if !read_all {
                break 'cursor;
            }
        }
        drop(cursor);
        if read_all {
            println!(
                "{scheme}: a cursor over 50,000 rows x 4 in {:?}",
                begin.elapsed()
            );
            assert_eq!((count, errors), (50_000, 1));
            assert_eq!(steps, [(0, 1), (1, 4)]);
            assert!(largest < 1 << 20, "{largest}");
        }
        assert_eq!(scalar(&mut stream, "select 1").await, 1);
    }
    let mut batch = Batch::default();
    batch.push(None, Statement::new("selec"));
    assert!(stream.cursor(&batch, Continuity::Any).await.is_err());
    assert_eq!(scalar(&mut stream, "select 1").await, 1);
}

async fn namespaces(server: Sqld, scheme: &str) {
    server.create_namespace("one");
    server.create_namespace("two");
    let url = |name: &str| format!("{scheme}://{name}.localhost:{}", server.port);
    let mut one = remote(&url("one"), None).stream();
    execute(&mut one, "create table only_in_one(a)")
        .await
        .unwrap();
    let by_parameter = |name| {
        let options = Options::new(&server.url(scheme), None, Some(name), None).unwrap();
        Remote::new(options).stream()
    };
    let sql = "select count(*) from sqlite_schema where name = 'only_in_one'";
    assert_eq!(scalar(&mut by_parameter("one"), sql).await, 1);
    assert_eq!(scalar(&mut by_parameter("two"), sql).await, 0);
    let error = execute(&mut by_parameter("three"), "select 1")
        .await
        .unwrap_err();
    println!("{scheme}: unknown namespace: {error:?}");
    assert_eq!(
        error.fate,
        if scheme == "ws" {
            error.fate
        } else {
            Fate::Refused
        }
    );
}

async fn basic(server: Sqld, scheme: &str) {
    let url = |user: &str| format!("{scheme}://{user}127.0.0.1:{}", server.port);
    let error = execute(&mut remote(&url(""), None).stream(), "select 1")
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Auth, "{error:?}");
    let error = execute(&mut remote(&url("user:wrong@"), None).stream(), "select 1")
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Auth, "{error:?}");
    assert_eq!(
        scalar(&mut remote(&url("user:pass@"), None).stream(), "select 1").await,
        1
    );
}

async fn concurrency(server: Sqld, scheme: &str) {
    let remote = remote(&server.url(scheme), None);
    execute(&mut remote.stream(), "create table t(a)")
        .await
        .unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let remote = Arc::clone(&remote);
            tokio::spawn(async move {
                let mut stream = remote.stream();
                for turn in 0..20 {
                    let sql = format!("select {number} * 100 + {turn}");
                    assert_eq!(scalar(&mut stream, &sql).await, number * 100 + turn);
                }
                // One that nobody waits for.
                let slow = "with recursive n(i) as (values (0) union all select i + 1 from n limit 300000) select count(*) from n";
                let given_up = tokio::time::timeout(Duration::from_millis(2), execute(&mut stream, slow));
                drop(given_up.await);
                stream.reset();
                assert_eq!(scalar(&mut stream, "select 7").await, 7);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn latencies(server: Sqld, scheme: &str) {
    let remote = remote(&server.url(scheme), None);
    let mut stream = remote.stream();
    stream
        .sequence(
            "create table t(id integer primary key, name text); \
             insert into t with recursive n(i) as (values (1) union all select i + 1 from n where i < 1000) \
             select i, 'name ' || i from n",
            Continuity::Any,
        )
        .await
        .unwrap();
    let select = |number: i64| {
        let args = vec![Value::try_from(ValueRef::Integer(number)).unwrap()];
        Request::Execute(Statement::new("select name from t where id = ?1").with_args(args))
    };
    for with_autocommit in [false, true] {
        let mut times = Vec::new();
        for number in 0..2000 {
            let mut requests = vec![select(number % 1000 + 1)];
            if with_autocommit {
                requests.push(Request::GetAutocommit);
            }
            let begin = Instant::now();
            let results = stream.run(&requests, Continuity::Any).await.unwrap();
            times.push(begin.elapsed());
            assert!(results[0].is_ok());
        }
        times.sort();
        println!(
            "{scheme}: point select, autocommit asked: {with_autocommit}: median {:?}",
            times[1000]
        );
    }
    let begin = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let remote = Arc::clone(&remote);
            tokio::spawn(async move {
                let mut stream = remote.stream();
                let request = [select_owned(number)];
                for _ in 0..50 {
                    assert!(stream.run(&request, Continuity::Any).await.unwrap()[0].is_ok());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!(
        "{scheme}: 100 streams x 50 point selects: {:?} each",
        begin.elapsed() / 5000
    );
}

fn select_owned(number: i64) -> Request {
    let args = vec![Value::try_from(ValueRef::Integer(number + 1)).unwrap()];
    Request::Execute(Statement::new("select name from t where id = ?1").with_args(args))
}
