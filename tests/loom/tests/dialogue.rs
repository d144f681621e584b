//! A backend that asks is never left waiting, and a caller that leaves hears when it is through.

use aiolibsql_loom::caller::Caller;
use aiolibsql_loom::state::dialogue::Asked;
use aiolibsql_loom::state::operation::{Cancelled, Event, Operation, Shield};
use loom::sync::Arc;
use loom::thread;

type Shared = Arc<Operation<u32, u32>>;

const QUESTION: u32 = 3;
const RESULT: u32 = 7;
const TIMED_OUT: u32 = 9;

/// Every order of events with at most two switches that no side asked for: all of them would take hours.
fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(test);
}

fn attended(shield: Shield) -> Shared {
    let operation = Arc::new(Operation::new(shield));
    operation.dialogue().set_attended(true);
    operation
}

/// A backend that asks once, and undoes what nobody takes. loom's time-outs never pass: it would wait for ever.
fn backend(operation: &Shared) -> thread::JoinHandle<Asked<u32>> {
    let operation = Arc::clone(operation);
    thread::spawn(move || {
        assert!(operation.claim());
        let asked = operation.ask(QUESTION, || false);
        if operation.finish(RESULT).is_some() {
            operation.leave();
        }
        asked
    })
}

#[test]
fn a_question_is_heard_and_answered_wherever_the_poll_was() {
    model(|| {
        let operation = attended(Shield::None);
        let worker = backend(&operation);
        let caller = Caller::new();
        match caller.hear(&operation) {
            Ok(question) => operation.dialogue().answer(question + 1),
            Err(event) => panic!("{event:?} without an answer"),
        }
        assert!(matches!(caller.wait(&operation), Event::Finished(RESULT)));
        assert_eq!(worker.join().unwrap(), Asked::Answer(QUESTION + 1));
    });
}

#[test]
fn a_cancel_against_a_question_ends_both_sides() {
    model(|| {
        let operation = attended(Shield::None);
        assert!(operation.claim());
        let asking = Arc::clone(&operation);
        let worker = thread::spawn(move || {
            let asked = asking.ask(QUESTION, || false);
            assert!(asking.finish(RESULT).is_some());
            asking.leave();
            asked
        });
        assert_eq!(operation.cancel(), Cancelled::Stopping);
        Caller::new().wait_for_end(&operation);
        assert_eq!(worker.join().unwrap(), Asked::Stopped(QUESTION));
    });
}

#[test]
fn a_caller_that_heard_and_leaves_hears_of_the_end() {
    model(|| {
        let operation = attended(Shield::None);
        let worker = backend(&operation);
        let caller = Caller::new();
        assert_eq!(caller.hear(&operation).unwrap(), QUESTION);
        assert_eq!(operation.cancel(), Cancelled::Stopping);
        operation.dialogue().decline();
        caller.wait_for_end(&operation);
        assert_eq!(worker.join().unwrap(), Asked::Declined);
    });
}

#[test]
fn a_shielded_operation_whose_caller_leaves_asks_nobody() {
    model(|| {
        let operation = attended(Shield::Always);
        let worker = backend(&operation);
        assert_eq!(operation.abandon(), Cancelled::Shielded);
        Caller::new().wait_for_end(&operation);
        assert_eq!(worker.join().unwrap(), Asked::Nobody(QUESTION));
    });
}

#[test]
fn a_stop_reaches_whoever_works_on_the_answer() {
    model(|| {
        let operation = attended(Shield::None);
        let worker = backend(&operation);
        let caller = Caller::new();
        let expiring = Arc::clone(&operation);
        match caller.hear(&operation) {
            Ok(_) => {
                let deadline = thread::spawn(move || expiring.expire(TIMED_OUT));
                // A lost alarm is a deadlock.
                while !operation.must_stop_running() {
                    caller.sleep();
                }
                operation.dialogue().decline();
                deadline.join().unwrap();
            }
            Err(event) => panic!("{event:?} without an answer"),
        }
        assert!(matches!(caller.wait(&operation), Event::Finished(RESULT)));
        assert_eq!(worker.join().unwrap(), Asked::Declined);
    });
}

#[test]
fn a_deadline_against_a_question_leaves_nobody_waiting() {
    model(|| {
        let operation = attended(Shield::None);
        assert!(operation.claim());
        let asking = Arc::clone(&operation);
        let worker = thread::spawn(move || asking.ask(QUESTION, || false));
        operation.expire(TIMED_OUT);
        assert_eq!(worker.join().unwrap(), Asked::Stopped(QUESTION));
    });
}
