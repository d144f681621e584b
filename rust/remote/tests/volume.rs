//! A real server with many rows and many streams, and how long that takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{RowBatch, ValueRef};

use super::super::*;
use super::real::{both, cells, execute, remote, run, scalar};
use super::sqld::Sqld;

both!(many_rows_arrive, many_rows,);
both!(cursors_stream, cursors,);
both!(answers_have_a_limit, limited,);
both!(statements_of_many_streams_run, concurrency,);
both!(latency, latencies,);

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

async fn limited(server: Sqld, scheme: &str) {
    let mut options = Options::new(&server.url(scheme), None, None, None).unwrap();
    options.largest_answer = 100_000;
    let remote = Remote::new(options);
    let mut stream = remote.stream();
    let mut neighbour = remote.stream();
    for _ in 0..3 {
        let (large, small) = tokio::join!(
            execute(&mut stream, NUMBERS),
            execute(&mut neighbour, "select 1")
        );
        let error = large.unwrap_err();
        assert_eq!(error.kind, Kind::TooLarge, "{error:?}");
        assert_eq!(error.code.as_deref(), Some(ANSWER_TOO_LARGE));
        // Over HTTP the baton was in the answer.
        assert_eq!(stream.is_lost(), scheme == "http");
        assert_eq!(small.unwrap().rows.len(), 1);
        assert!(neighbour.is_open());
    }
    assert_eq!(scalar(&mut stream, "select 7").await, 7);
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
    for with_autocommit in [false, true] {
        let mut times = Vec::new();
        for number in 0..2000 {
            let mut requests = vec![select(number % 1000)];
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
                let request = [select(number)];
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

fn select(number: i64) -> Request {
    let args = vec![Value::try_from(ValueRef::Integer(number + 1)).unwrap()];
    Request::Execute(Statement::new("select name from t where id = ?1").with_args(args))
}
