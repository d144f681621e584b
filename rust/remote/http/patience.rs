//! How long a stream waits for an answer.
//!
//! Owns one timer, which goes on running when an answer came in time: to set one for each request would wake the thread
//! that has the clock each time. It rings once after the last request, for nobody.
//! Thread: one at a time.
//! Must not know: what is waited for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::super::native::Native;

/// A limit for one wait after the other, always the same.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    timer: Option<Native<Pin<Box<Sleep>>>>,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Waits for something until the limit, at which it is dropped: nothing.
    pub async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let end = Instant::now() + self.limit;
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            loop {
                let timer = self
                    .timer
                    .get_or_insert_with(|| Native::new(Box::pin(sleep_until(end))));
                let Some(timer) = timer.get_mut() else {
                    return Poll::Pending;
                };
                // It may be that of a wait before, and ring too early.
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                if Instant::now() >= end {
                    self.timer = None;
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(end);
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails its test")]

    use std::future::pending;
    use std::time::{Duration, Instant};

    use tokio::runtime::Builder;
    use tokio::time::sleep;

    use super::Patience;

    #[test]
    fn each_wait_has_the_whole_limit() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limit = Duration::from_millis(200);
            let mut patience = Patience::new(limit);
            for _ in 0..4 {
                let waited = patience.wait(sleep(Duration::from_millis(90))).await;
                assert_eq!(waited, Some(()));
            }
            let began = Instant::now();
            assert_eq!(patience.wait(pending::<()>()).await, None);
            assert!(began.elapsed() >= limit);
            assert_eq!(patience.wait(async { 1 }).await, Some(1));
            assert_eq!(patience.wait(pending::<()>()).await, None);
        });
    }
}
