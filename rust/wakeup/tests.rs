//! Both kinds of descriptors, under the queue that rings them.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::completions::{Bell, CompletionQueue};
use super::fd::SocketPair;

/// Whether a loop that watches the descriptor would turn within so many seconds.
fn is_readable(bell: &impl AsFd, seconds: i64) -> bool {
    let mut watched = [PollFd::new(bell, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    poll(&mut watched, Some(&limit)).expect("poll") == 1
}

fn rings_and_is_silent_again(bell: &(impl Bell + AsFd)) {
    assert!(!is_readable(bell, 0));
    bell.ring();
    bell.ring();
    assert!(is_readable(bell, 0));
    bell.silence();
    assert!(!is_readable(bell, 0));
}

/// What fills a counter or a buffer neither blocks whoever rings nor silences it for ever.
fn is_rung_without_a_listener(bell: &(impl Bell + AsFd)) {
    for _ in 0..100_000 {
        bell.ring();
    }
    for _ in 0..100_000 {
        bell.silence();
    }
    rings_and_is_silent_again(bell);
}

fn brings_every_ticket<B: Bell + AsFd + Send + Sync + 'static>(bell: B) {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let queue = Arc::new(CompletionQueue::new(bell));
    let pushers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (0..EACH).for_each(|i| queue.push(thread * EACH + i)))
        })
        .collect();
    let mut come = Vec::new();
    let mut some = Vec::new();
    while (come.len() as u64) < THREADS * EACH {
        assert!(
            is_readable(queue.bell(), 20),
            "a wakeup was lost after {} tickets",
            come.len()
        );
        queue.drain(&mut some);
        come.append(&mut some);
    }
    for pusher in pushers {
        pusher.join().expect("a pusher");
    }
    come.sort_unstable();
    assert!(come.into_iter().eq(0..THREADS * EACH));
}

#[test]
fn socket_pair_rings() {
    rings_and_is_silent_again(&SocketPair::new().expect("a pair"));
    is_rung_without_a_listener(&SocketPair::new().expect("a pair"));
}

#[test]
fn socket_pair_brings_every_ticket() {
    brings_every_ticket(SocketPair::new().expect("a pair"));
}

#[cfg(target_os = "linux")]
#[test]
fn eventfd_rings() {
    rings_and_is_silent_again(&super::fd::EventFd::new().expect("an eventfd"));
    is_rung_without_a_listener(&super::fd::EventFd::new().expect("an eventfd"));
}

#[cfg(target_os = "linux")]
#[test]
fn eventfd_brings_every_ticket() {
    brings_every_ticket(super::fd::EventFd::new().expect("an eventfd"));
}
