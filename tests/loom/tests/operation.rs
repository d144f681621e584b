//! In every race over an operation exactly one side owns the result, and no wait hangs.

use std::time::Duration;

use aiolibsql_loom::caller::Caller;
use aiolibsql_loom::state::operation::{Cancelled, Event, Operation, Shield, Stop};
use loom::sync::Arc;
use loom::thread;

type Shared = Arc<Operation<u32>>;

const RESULT: u32 = 7;
const TIMED_OUT: u32 = 9;
const LONG: Duration = Duration::from_secs(3600);

fn operation(shield: Shield) -> Shared {
    Arc::new(Operation::new(shield))
}

/// What a backend does with an operation: nothing if it can't claim it. `Some(true)`: it has to undo.
fn backend(operation: &Shared) -> thread::JoinHandle<Option<bool>> {
    let operation = Arc::clone(operation);
    thread::spawn(move || operation.claim().then(|| operation.finish(RESULT).is_some()))
}

fn finished(event: Event<u32>) -> u32 {
    match event {
        Event::Finished(result) => result,
        Event::Progress => panic!("progress that nobody made"),
    }
}

#[test]
fn claim_against_cancel_runs_it_or_never_does() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        let cancelled = operation.cancel();
        let ran = worker.join().unwrap();
        match cancelled {
            Cancelled::NeverRan => assert_eq!(ran, None),
            // The backend got its result back and undoes it.
            Cancelled::Stopping => assert_eq!(ran, Some(true)),
            // The canceller has the result and undoes it.
            Cancelled::Undelivered(result) => assert_eq!((ran, result), (Some(false), RESULT)),
            other => panic!("{other:?} with {ran:?}"),
        }
    });
}

#[test]
fn abandon_has_the_same_single_owner_as_cancel() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        let abandoned = operation.abandon();
        let owners = match (abandoned, worker.join().unwrap()) {
            (Cancelled::NeverRan, None) => 1,
            (Cancelled::Stopping, Some(undone)) => u32::from(undone),
            (Cancelled::Undelivered(RESULT), Some(undone)) => 1 + u32::from(undone),
            _ => 0,
        };
        assert_eq!(owners, 1);
    });
}

#[test]
fn a_cancel_of_a_running_statement_is_seen_by_it() {
    loom::model(|| {
        let operation = operation(Shield::None);
        assert!(operation.claim());
        let canceller = Arc::clone(&operation);
        let caller = thread::spawn(move || canceller.cancel());
        let unheard = operation.finish(RESULT).is_some();
        match caller.join().unwrap() {
            Cancelled::Stopping => {
                assert!(unheard);
                assert_eq!(operation.stop(), Some(Stop::Cancelled));
                assert!(operation.must_stop_running());
            }
            Cancelled::Undelivered(RESULT) => {
                assert!(!unheard);
                assert_eq!(operation.stop(), None, "a late cancel told somebody to stop");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn finish_wakes_a_caller_wherever_its_poll_was() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        assert_eq!(finished(Caller::new().wait(&operation)), RESULT);
        assert_eq!(worker.join().unwrap(), Some(false));
    });
}

#[test]
fn finish_wakes_the_waker_of_the_latest_poll() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        let first = Caller::new().poll(&operation);
        let result = match first {
            std::task::Poll::Ready(event) => finished(event),
            // It moved to another task: only the new waker may be relied on.
            std::task::Poll::Pending => finished(Caller::new().wait(&operation)),
        };
        assert_eq!(result, RESULT);
        worker.join().unwrap();
    });
}

#[test]
fn progress_is_seen_before_the_end_and_never_lost() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let backend = Arc::clone(&operation);
        let worker = thread::spawn(move || {
            assert!(backend.claim());
            backend.progress();
            assert!(backend.finish(RESULT).is_none());
        });
        let caller = Caller::new();
        assert!(matches!(caller.wait(&operation), Event::Progress));
        assert_eq!(finished(caller.wait(&operation)), RESULT);
        worker.join().unwrap();
    });
}

#[test]
fn a_cancel_after_delivery_finds_nothing_to_undo() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        assert_eq!(finished(Caller::new().wait(&operation)), RESULT);
        assert_eq!(operation.cancel(), Cancelled::Delivered);
        worker.join().unwrap();
    });
}

#[test]
fn a_deadline_against_a_claim_ends_it_once() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        let expiring = Arc::clone(&operation);
        let deadline = thread::spawn(move || expiring.expire(TIMED_OUT));
        let result = finished(Caller::new().wait(&operation));
        deadline.join().unwrap();
        match worker.join().unwrap() {
            // The deadline was first: the backend skips it.
            None => assert_eq!(result, TIMED_OUT),
            Some(undone) => assert_eq!((result, undone), (RESULT, false)),
        }
        assert_eq!(operation.stop(), Some(Stop::TimedOut));
    });
}

#[test]
fn a_deadline_against_a_cancel_leaves_one_owner() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let expiring = Arc::clone(&operation);
        let deadline = thread::spawn(move || expiring.expire(TIMED_OUT));
        let cancelled = operation.cancel();
        deadline.join().unwrap();
        match cancelled {
            Cancelled::NeverRan | Cancelled::Stopping | Cancelled::Undelivered(TIMED_OUT) => {}
            other => panic!("{other:?}"),
        }
        assert!(!operation.claim(), "a backend could still run it");
        assert_eq!(operation.cancel(), Cancelled::Delivered, "the result was left behind");
    });
}

#[test]
fn a_sleeping_backend_wakes_when_it_is_cancelled() {
    loom::model(|| {
        let operation = operation(Shield::None);
        assert!(operation.claim());
        let sleeper = Arc::clone(&operation);
        // loom's time-outs never pass, so a lost notification is a deadlock.
        let worker = thread::spawn(move || {
            while sleeper.stop().is_none() {
                sleeper.sleep(LONG);
            }
            sleeper.finish(RESULT)
        });
        assert_eq!(operation.cancel(), Cancelled::Stopping);
        assert_eq!(worker.join().unwrap(), Some(RESULT));
    });
}

#[test]
fn a_commit_that_waits_for_a_lock_gives_up_when_cancelled() {
    loom::model(|| {
        let operation = operation(Shield::Running);
        assert!(operation.claim());
        let sleeper = Arc::clone(&operation);
        let worker = thread::spawn(move || {
            while sleeper.stop().is_none() {
                sleeper.sleep(LONG);
            }
            assert!(!sleeper.must_stop_running(), "a commit itself must not be stopped");
            sleeper.finish(RESULT)
        });
        assert_eq!(operation.cancel(), Cancelled::Shielded);
        // Shielded: the caller still gets the answer.
        assert_eq!(finished(Caller::new().wait(&operation)), RESULT);
        assert_eq!(worker.join().unwrap(), None);
    });
}

#[test]
fn a_cancelled_rollback_runs_and_is_heard() {
    loom::model(|| {
        let operation = operation(Shield::Always);
        let worker = backend(&operation);
        assert_eq!(operation.cancel(), Cancelled::Shielded);
        assert_eq!(finished(Caller::new().wait(&operation)), RESULT);
        assert_eq!(worker.join().unwrap(), Some(false));
        assert_eq!(operation.stop(), None);
    });
}

#[test]
fn a_nudge_is_never_slept_through() {
    loom::model(|| {
        let operation = operation(Shield::None);
        assert!(operation.claim());
        let sleeper = Arc::clone(&operation);
        let worker = thread::spawn(move || sleeper.sleep(LONG));
        operation.nudge();
        worker.join().unwrap();
    });
}

#[test]
fn an_interrupt_reaches_only_a_running_statement() {
    loom::model(|| {
        let operation = operation(Shield::None);
        let worker = backend(&operation);
        operation.interrupt();
        let result = finished(Caller::new().wait(&operation));
        worker.join().unwrap();
        assert_eq!(result, RESULT);
        assert!(matches!(operation.stop(), None | Some(Stop::Interrupted)));
        let stop = operation.stop();
        operation.interrupt();
        assert_eq!(operation.stop(), stop, "an interrupt hit a finished operation");
    });
}

#[test]
fn the_first_reason_to_stop_stays() {
    loom::model(|| {
        let operation = operation(Shield::None);
        assert!(operation.claim());
        let interrupting = Arc::clone(&operation);
        let other = thread::spawn(move || interrupting.interrupt());
        operation.expire(TIMED_OUT);
        let first = operation.stop();
        other.join().unwrap();
        assert!(first.is_some());
        assert_eq!(operation.stop(), first);
    });
}
