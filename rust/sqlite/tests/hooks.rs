//! Tests of the hooks: stops, user callbacks beside our own, panics contained.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::{Authorization, Change, TraceEvent, ValueRef, code};
use super::{ENDLESS, Flag, assert_healthy, integer, memory, prepare, run};

#[test]
fn stop_ends_an_endless_statement_and_nothing_else() {
    let mut handle = memory();
    let paused = prepare(&mut handle, "VALUES (1), (2)");
    assert!(handle.statement(paused).step().unwrap());
    let endless = prepare(&mut handle, ENDLESS);
    let flag = Flag::raised_at(10);
    handle.set_stop(Some(flag.clone()));
    assert_eq!(
        handle.statement(endless).step().unwrap_err().code,
        code::INTERRUPT
    );
    assert_eq!(flag.looks(), 10);
    handle.finalize(endless);
    handle.set_stop(None);
    assert!(handle.statement(paused).step().unwrap());
    assert_eq!(
        handle.statement(paused).column(0).unwrap(),
        ValueRef::Integer(2)
    );
    assert_eq!(integer(&mut handle, "SELECT 7"), 7);
}

#[test]
fn stop_reaches_a_running_statement_from_another_thread() {
    let mut handle = memory();
    let endless = prepare(&mut handle, ENDLESS);
    let flag = Arc::new(Flag::default());
    handle.set_stop(Some(flag.clone()));
    let runner = std::thread::spawn(move || {
        let code = handle.statement(endless).step().unwrap_err().code;
        (handle, code)
    });
    while flag.looks() == 0 {
        std::thread::yield_now();
    }
    flag.is_raised.store(true, Ordering::Relaxed);
    let (mut handle, code) = runner.join().unwrap();
    assert_eq!(code, code::INTERRUPT);
    handle.set_stop(None);
    assert_eq!(integer(&mut handle, "SELECT 7"), 7);
}

/// Counts the calls of a user's handler during a statement of about 1.2 million steps.
fn calls_of_progress_handler(every: u32) -> (usize, usize) {
    let mut handle = memory();
    let (calls, flag) = (Arc::new(AtomicUsize::new(0)), Arc::new(Flag::default()));
    let counter = Arc::clone(&calls);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    handle.set_stop(Some(flag.clone()));
    handle.set_progress_handler(every, Some(Box::new(count)));
    run(&mut handle, &ENDLESS.replace("100000000", "100000")).unwrap();
    (calls.load(Ordering::Relaxed), flag.looks())
}

#[test]
fn user_progress_handler_is_called_at_its_own_pace_beside_the_stop() {
    let (steps, _) = calls_of_progress_handler(1);
    assert!(steps > 500_000, "{steps}");
    for every in [7_usize, 300, 500, 700, 5000, 100_000] {
        let (calls, looks) = calls_of_progress_handler(u32::try_from(every).unwrap());
        let expected = steps / every;
        assert!(
            calls.abs_diff(expected) <= expected / 100 + 1,
            "{calls} calls every {every} steps of {steps}"
        );
        assert!(
            looks >= steps / 1000 && looks <= steps / 500 + 1,
            "{looks} looks in {steps} steps"
        );
    }
}

#[test]
fn user_progress_handler_stops_a_statement_and_goes_away() {
    let mut handle = memory();
    handle.set_progress_handler(1000, Some(Box::new(|| true)));
    assert_eq!(run(&mut handle, ENDLESS).unwrap_err().code, code::INTERRUPT);
    handle.set_progress_handler(0, Some(Box::new(|| true)));
    run(&mut handle, &ENDLESS.replace("100000000", "100000")).unwrap();
    handle.set_progress_handler(10, None);
    let flag = Flag::raised();
    handle.set_stop(Some(flag.clone()));
    assert_eq!(run(&mut handle, ENDLESS).unwrap_err().code, code::INTERRUPT);
    assert_eq!(flag.looks(), 1);
}

#[test]
fn authorizer_is_asked_about_statements_prepared_before() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t(a, b)").unwrap();
    run(&mut handle, "INSERT INTO t VALUES (1, 2)").unwrap();
    let select = prepare(&mut handle, "SELECT a, b FROM t");
    handle.set_authorizer(Some(Box::new(|action| {
        match (action.code, action.second) {
            (20, Some(b"b")) => {
                assert_eq!(
                    (action.first, action.database, action.accessor),
                    (Some(&b"t"[..]), Some(&b"main"[..]), None)
                );
                Authorization::Ignore
            }
            (18, _) => Authorization::Deny,
            _ => Authorization::Allow,
        }
    })));
    assert!(handle.statement(select).step().unwrap());
    assert_eq!(
        handle.statement(select).column(0).unwrap(),
        ValueRef::Integer(1)
    );
    assert_eq!(handle.statement(select).column(1).unwrap(), ValueRef::Null);
    handle.statement(select).reset();
    let error = handle
        .prepare("INSERT INTO t VALUES (3, 4)", false)
        .unwrap_err();
    assert_eq!(
        (error.code, error.to_string().as_str()),
        (code::AUTH, "not authorized")
    );
    handle.set_authorizer(None);
    assert!(handle.statement(select).step().unwrap());
    assert_eq!(
        handle.statement(select).column(1).unwrap(),
        ValueRef::Integer(2)
    );
    run(&mut handle, "INSERT INTO t VALUES (3, 4)").unwrap();
}

#[test]
fn set_authorizer_lets_a_running_statement_go_on() {
    let mut handle = memory();
    let id = prepare(&mut handle, "VALUES (1), (2)");
    assert!(handle.statement(id).step().unwrap());
    handle.set_authorizer(Some(Box::new(|_| Authorization::Deny)));
    assert!(handle.statement(id).step().unwrap());
    assert!(!handle.statement(id).step().unwrap());
    handle.statement(id).reset();
    assert_eq!(handle.statement(id).step().unwrap_err().code, code::AUTH);
}

#[test]
fn trace_is_not_told_how_the_kind_was_found_out() {
    let mut handle = memory();
    let events = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&events);
    handle.set_trace(Some(Box::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    })));
    let id = prepare(&mut handle, "DROP TABLE IF EXISTS missing");
    assert_eq!(events.load(Ordering::Relaxed), 0);
    handle.statement(id).step().unwrap();
    assert_eq!(events.load(Ordering::Relaxed), 2);
}

#[test]
fn trace_tells_statements_triggers_and_times() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t(a)").unwrap();
    run(
        &mut handle,
        "CREATE TRIGGER fire AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = 0; END",
    )
    .unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    handle.set_trace(Some(Box::new(move |event| {
        let (name, sql, expanded) = match event {
            TraceEvent::Statement { sql, expanded } => ("statement", sql, expanded),
            TraceEvent::Profile { sql, expanded, .. } => ("profile", sql, expanded),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        seen.lock().unwrap().push(format!(
            "{name}: {} = {}",
            text(sql),
            text(&expanded.to_bytes().unwrap())
        ));
    })));
    let id = prepare(&mut handle, "INSERT INTO t VALUES (?)");
    handle.statement(id).bind(1, ValueRef::Integer(5)).unwrap();
    assert!(!handle.statement(id).step().unwrap());
    handle.set_trace(None);
    run(&mut handle, "SELECT 1").unwrap();
    assert_eq!(
        *events.lock().unwrap(),
        [
            "statement: INSERT INTO t VALUES (?) = INSERT INTO t VALUES (5)",
            "statement: -- TRIGGER fire = -- TRIGGER fire",
            "statement: -- DELETE FROM t WHERE a = 0 = -- DELETE FROM t WHERE a = 0",
            "profile: INSERT INTO t VALUES (?) = INSERT INTO t VALUES (5)",
        ]
    );
}

#[test]
fn panicking_progress_handler_is_contained() {
    let mut handle = memory();
    handle.set_progress_handler(100, Some(Box::new(|| panic!("on purpose"))));
    let error = run(&mut handle, ENDLESS).unwrap_err();
    assert_eq!(
        (error.code, error.to_string().as_str()),
        (code::INTERNAL, "a callback panicked")
    );
    handle.set_progress_handler(0, None);
    assert_healthy(&mut handle);
}

#[test]
fn panicking_authorizer_is_contained() {
    let mut handle = memory();
    handle.set_authorizer(Some(Box::new(|_| panic!("on purpose"))));
    assert_eq!(
        handle.prepare("SELECT 1", false).unwrap_err().code,
        code::INTERNAL
    );
    handle.set_authorizer(None);
    assert_healthy(&mut handle);
}

#[test]
fn panicking_trace_callback_is_contained() {
    let mut handle = memory();
    handle.set_trace(Some(Box::new(|event| {
        assert!(!matches!(event, TraceEvent::Statement { .. }), "on purpose");
    })));
    assert_eq!(run(&mut handle, ENDLESS).unwrap_err().code, code::INTERNAL);
    handle.set_trace(None);
    assert_healthy(&mut handle);
    // At the end of a statement there may be no step any more that could report it.
    handle.set_trace(Some(Box::new(|event| {
        assert!(!matches!(event, TraceEvent::Profile { .. }), "on purpose");
    })));
    let id = prepare(&mut handle, "VALUES (1), (2)");
    assert!(handle.statement(id).step().unwrap());
    handle.statement(id).reset();
    assert!(handle.statement(id).step().unwrap());
    handle.finalize(id);
    handle.set_trace(None);
    assert_healthy(&mut handle);
}

#[test]
fn update_hook_hears_of_each_row() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t (x)").unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    handle.set_update_hook(Some(Box::new(move |update| {
        assert_eq!((update.database, update.table), (&b"main"[..], &b"t"[..]));
        log.lock().unwrap().push((update.change, update.rowid));
    })));
    run(&mut handle, "INSERT INTO t VALUES (1), (2)").unwrap();
    run(&mut handle, "UPDATE t SET x = 3 WHERE x = 2").unwrap();
    run(&mut handle, "DELETE FROM t WHERE x = 1").unwrap();
    let expected = [
        (Change::Insert, 1),
        (Change::Insert, 2),
        (Change::Update, 2),
        (Change::Delete, 1),
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
    handle.set_update_hook(None);
    run(&mut handle, "INSERT INTO t VALUES (4)").unwrap();
    assert_eq!(heard.lock().unwrap().len(), 4);
    assert_eq!(Arc::strong_count(&heard), 1);
}

#[test]
fn commit_hook_may_refuse_and_rollback_hook_hears_of_it() {
    let mut handle = memory();
    run(&mut handle, "CREATE TABLE t (x)").unwrap();
    let (commits, rollbacks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, undone) = (Arc::clone(&commits), Arc::clone(&rollbacks));
    handle.set_commit_hook(Some(Box::new(move || {
        // The second one is refused, the third panics.
        match count.fetch_add(1, Ordering::SeqCst) {
            1 => false,
            2 => panic!("no"),
            _ => true,
        }
    })));
    handle.set_rollback_hook(Some(Box::new(move || {
        undone.fetch_add(1, Ordering::SeqCst);
    })));
    run(&mut handle, "INSERT INTO t VALUES (1)").unwrap();
    let refused = run(&mut handle, "INSERT INTO t VALUES (2)").unwrap_err();
    assert_eq!(refused.primary(), code::CONSTRAINT);
    let panicked = run(&mut handle, "INSERT INTO t VALUES (3)").unwrap_err();
    assert_eq!(panicked.code, code::INTERNAL);
    assert_eq!(integer(&mut handle, "SELECT count(*) FROM t"), 1);
    assert_eq!(rollbacks.load(Ordering::SeqCst), 2);
    handle.set_commit_hook(None);
    handle.set_rollback_hook(None);
    run(&mut handle, "INSERT INTO t VALUES (4)").unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), 3);
    assert_eq!(Arc::strong_count(&rollbacks), 1);
    assert_healthy(&mut handle);
}
