//! No interleaving of pushes and drains loses a wakeup.

use aiolibsql_loom::bell::ReadableFd;
use aiolibsql_loom::queue::completions::CompletionQueue;
use loom::sync::Arc;
use loom::thread;

type Queue = CompletionQueue<ReadableFd>;

fn queue() -> Arc<Queue> {
    Arc::new(CompletionQueue::new(ReadableFd::new()))
}

fn pusher(queue: &Arc<Queue>, tickets: &'static [u64]) -> thread::JoinHandle<()> {
    let queue = Arc::clone(queue);
    thread::spawn(move || tickets.iter().for_each(|ticket| queue.push(*ticket)))
}

/// Runs a loop until it has seen `count` tickets.
fn drain_until(queue: &Queue, count: usize) -> Vec<u64> {
    let (mut seen, mut batch) = (Vec::new(), Vec::new());
    while seen.len() < count {
        queue.bell().wait_readable();
        queue.drain(&mut batch);
        seen.append(&mut batch);
    }
    seen
}

#[test]
fn two_pushers_and_a_sleeping_loop_lose_no_ticket() {
    loom::model(|| {
        let queue = queue();
        let threads = [pusher(&queue, &[1]), pusher(&queue, &[2])];
        let mut seen = drain_until(&queue, 2);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn tickets_of_one_pusher_keep_their_order() {
    loom::model(|| {
        let queue = queue();
        let thread = pusher(&queue, &[1, 2, 3]);
        assert_eq!(drain_until(&queue, 3), [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn a_push_beside_a_drain_is_either_taken_or_rung_for() {
    loom::model(|| {
        let queue = queue();
        queue.push(1);
        let thread = pusher(&queue, &[2]);
        let mut batch = Vec::new();
        queue.drain(&mut batch);
        thread.join().unwrap();
        if batch == [1] {
            assert!(queue.bell().is_readable(), "ticket 2 lies in a queue that nobody will look at");
        } else {
            assert_eq!(batch, [1, 2]);
        }
    });
}

#[test]
fn pushes_between_two_drains_ring_once() {
    loom::model(|| {
        let queue = queue();
        let threads = [pusher(&queue, &[1]), pusher(&queue, &[2])];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(queue.bell().writes(), 1);
        let mut batch = Vec::new();
        queue.drain(&mut batch);
        assert_eq!(batch.len(), 2);
        queue.push(3);
        assert_eq!(queue.bell().writes(), 2);
    });
}

#[test]
fn restored_tickets_ring_again_and_come_before_newer_ones() {
    loom::model(|| {
        let queue = queue();
        queue.push(1);
        queue.push(2);
        let mut batch = Vec::new();
        queue.drain(&mut batch);
        assert_eq!(batch, [1, 2]);
        let thread = pusher(&queue, &[3]);
        // The first was served; serving the second raised.
        queue.restore(&batch[1..]);
        assert_eq!(drain_until(&queue, 2), [2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn restored_tickets_are_rung_for_if_nobody_pushes_again() {
    loom::model(|| {
        let queue = queue();
        let thread = pusher(&queue, &[1, 2]);
        thread.join().unwrap();
        let mut batch = Vec::new();
        queue.drain(&mut batch);
        queue.restore(&batch[1..]);
        assert_eq!(drain_until(&queue, 1), [2]);
    });
}

#[test]
fn a_drain_reuses_the_buffer_it_is_given() {
    loom::model(|| {
        let queue = queue();
        let thread = pusher(&queue, &[7]);
        thread.join().unwrap();
        let mut batch = Vec::with_capacity(8);
        queue.drain(&mut batch);
        assert_eq!(batch, [7]);
        batch.clear();
        queue.drain(&mut batch);
        assert!(batch.is_empty(), "a ticket was handed out twice");
    });
}
