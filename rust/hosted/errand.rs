//! Errand: work that its caller's thread begins and the runtime goes on with.
//!
//! A task of the runtime would be polled by a thread that has to be woken for that, although there is nothing to do but
//! to write a request. An errand is polled at once where it is begun; a task is made of it only when something has
//! happened that it waits for, on the thread that saw it happen.
//! Owns the work until it is done. Threads: any; one at a time has it.
//! Invariant: a wake after the work was put back leads to another poll; one before it is noticed when it is put back. If
//! the runtime ends, the work is dropped.
//! Must not know: what the work is.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use tokio::runtime::Handle;

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// It waits.
const IDLE: u8 = 0;
/// A task will poll it.
const SCHEDULED: u8 = 1;
/// A thread polls it.
const POLLED: u8 = 2;
/// The same, and it was woken meanwhile.
const WOKEN: u8 = 3;
const DONE: u8 = 4;

/// Polls in a row before others have a turn.
const IN_A_ROW: u8 = 4;

/// Work on its way.
pub struct Errand {
    handle: Handle,
    state: AtomicU8,
    work: Mutex<Option<Work>>,
}

impl Errand {
    /// Begins work on this thread; the runtime goes on with it.
    pub fn begin(handle: &Handle, work: Work) {
        let errand = Arc::new(Self {
            handle: handle.clone(),
            state: AtomicU8::new(SCHEDULED),
            work: Mutex::new(Some(work)),
        });
        let _entered = handle.enter();
        Turn(Some(errand)).take();
    }

    /// Polls the work; whether it wants to be polled again at once.
    fn poll(self: &Arc<Self>) -> bool {
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        for _ in 0..IN_A_ROW {
            self.state.store(POLLED, Ordering::SeqCst);
            let Some(mut work) = self.take() else {
                return false;
            };
            // A panic drops the work on its way out.
            let polled = work.as_mut().poll(&mut context);
            if polled.is_ready() {
                self.state.store(DONE, Ordering::SeqCst);
                return false;
            }
            self.put_back(work);
            let rests =
                self.state
                    .compare_exchange(POLLED, IDLE, Ordering::SeqCst, Ordering::SeqCst);
            if rests.is_ok() {
                return false;
            }
        }
        self.state.store(SCHEDULED, Ordering::SeqCst);
        true
    }

    fn take(&self) -> Option<Work> {
        let mut slot = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }

    fn put_back(&self, work: Work) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    /// Has a task poll it.
    fn schedule(self: Arc<Self>) {
        let handle = self.handle.clone();
        let turn = Turn(Some(self));
        drop(handle.spawn(async move { turn.take() }));
    }
}

impl Wake for Errand {
    fn wake(self: Arc<Self>) {
        let change = |from, to| {
            self.state
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
        };
        loop {
            match self.state.load(Ordering::SeqCst) {
                IDLE if change(IDLE, SCHEDULED).is_ok() => return self.schedule(),
                POLLED if change(POLLED, WOKEN).is_ok() => return,
                IDLE | POLLED => {}
                _ => return,
            }
        }
    }
}

/// The right to poll an errand. If it is not used the runtime has ended, and so does the work.
struct Turn(Option<Arc<Errand>>);

impl Turn {
    fn take(mut self) {
        if let Some(errand) = &self.0
            && errand.poll()
            && let Some(errand) = self.0.take()
        {
            errand.schedule();
        }
        self.0 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(errand) = &self.0 {
            drop(errand.take());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use std::future::{pending, poll_fn};
    use std::sync::mpsc;
    use std::task::Poll;
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;
    use tokio::time::sleep;

    use super::Errand;

    const LIMIT: Duration = Duration::from_secs(10);

    fn runtime() -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn it_begins_here_and_goes_on_there() {
        let runtime = runtime();
        let (sender, receiver) = mpsc::channel();
        let note = sender.clone();
        let (go_on, told) = oneshot::channel();
        Errand::begin(
            runtime.handle(),
            Box::pin(async move {
                note.send(thread::current().id()).unwrap();
                told.await.unwrap();
                note.send(thread::current().id()).unwrap();
                sleep(Duration::from_millis(1)).await;
                note.send(thread::current().id()).unwrap();
            }),
        );
        assert_eq!(receiver.try_recv(), Ok(thread::current().id()));
        assert!(receiver.try_recv().is_err());
        go_on.send(()).unwrap();
        let there = receiver.recv_timeout(LIMIT).unwrap();
        assert_ne!(there, thread::current().id());
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(there));
    }

    #[test]
    fn a_wake_while_it_is_polled_is_not_lost() {
        let runtime = runtime();
        let (sender, receiver) = mpsc::channel();
        let mut left = 1000;
        Errand::begin(
            runtime.handle(),
            Box::pin(async move {
                poll_fn(|context| {
                    left -= 1;
                    context.waker().wake_by_ref();
                    if left == 0 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                sender.send(()).unwrap();
            }),
        );
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(()));
    }

    #[test]
    fn wakes_of_many_threads_are_not_lost() {
        let runtime = runtime();
        for _ in 0..500 {
            let (sender, receiver) = mpsc::channel();
            let (one, first) = oneshot::channel();
            let (two, second) = oneshot::channel();
            let wake = |way: oneshot::Sender<()>| thread::spawn(move || way.send(()).unwrap());
            let threads = [wake(one), wake(two)];
            Errand::begin(
                runtime.handle(),
                Box::pin(async move {
                    first.await.unwrap();
                    second.await.unwrap();
                    sender.send(()).unwrap();
                }),
            );
            assert_eq!(receiver.recv_timeout(LIMIT), Ok(()));
            for thread in threads {
                thread.join().unwrap();
            }
        }
    }

    #[test]
    fn the_end_of_the_runtime_is_the_end_of_the_work() {
        for _ in 0..20 {
            let runtime = runtime();
            let (sender, receiver) = mpsc::channel::<()>();
            Errand::begin(
                runtime.handle(),
                Box::pin(async move {
                    sleep(Duration::from_secs(3600)).await;
                    drop(sender);
                }),
            );
            runtime.shutdown_timeout(LIMIT);
            let end = receiver.recv_timeout(LIMIT);
            assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
        }
    }

    #[test]
    fn work_that_nobody_can_wake_is_dropped() {
        let runtime = runtime();
        let (sender, receiver) = mpsc::channel::<()>();
        Errand::begin(
            runtime.handle(),
            Box::pin(async move {
                pending::<()>().await;
                drop(sender);
            }),
        );
        let end = receiver.try_recv();
        assert_eq!(end, Err(mpsc::TryRecvError::Disconnected));
    }
}
