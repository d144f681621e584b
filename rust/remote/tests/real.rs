//! The client against a real server, over HTTP and over WebSockets.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

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

pub fn cells(rows: &RowBatch, row: usize) -> Vec<ValueRef<'_>> {
    rows.row(row).iter().map(|cell| rows.value(*cell)).collect()
}

pub async fn scalar(stream: &mut Stream, sql: &str) -> i64 {
    let result = stream
        .execute(Statement::new(sql), Continuity::Any)
        .await
        .unwrap();
    match cells(&result.rows, 0)[0] {
        ValueRef::Integer(integer) => integer,
        other => panic!("not an integer: {other:?}"),
    }
}

pub async fn execute(stream: &mut Stream, sql: &str) -> Result<StatementResult> {
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

pub(super) use both;

both!(values_round_trip, values,);
both!(errors_have_codes, errors,);
both!(batches_follow_conditions, batches,);
both!(transactions_hold, transactions,);
both!(streams_that_expired_are_reopened, idle,);
both!(a_restart_is_survived, restart,);
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
    let big = "with recursive n(i) as (values (1) union all select i + 1 from n where i < 40) \
               select zeroblob(500000) from n";
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
    // It may be sent before the end of the connection is noticed; then nobody knows what became of it.
    let error = execute(&mut stream, "select 1").await.unwrap_err();
    assert_eq!(error.kind, Kind::Connect, "{error:?}");
    let error = execute(&mut stream, "select 1").await.unwrap_err();
    assert_eq!(
        (error.kind, error.fate),
        (Kind::Connect, Fate::NeverSent),
        "{error:?}"
    );
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
