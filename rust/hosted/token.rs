//! A token source that blocks: a function that may take long, on a thread of its own.
//!
//! Owns nothing. Thread: one of the network runtime's for what blocks.
//! Must not know: what a token means.

use std::sync::Arc;

use crate::remote::{Attendance, Error, Result, Secret, TokenFuture, TokenSource};

struct Blocking<F> {
    ask: Arc<F>,
    needs_attendance: bool,
}

impl<F: Fn(Attendance) -> Result<Secret> + Send + Sync + 'static> TokenSource for Blocking<F> {
    fn token(&self, attendance: Attendance) -> TokenFuture {
        let ask = Arc::clone(&self.ask);
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || ask(attendance)).await;
            asked.unwrap_or_else(|_| Err(Error::usage("asking for an auth token was cut off")))
        })
    }

    fn needs_attendance(&self) -> bool {
        self.needs_attendance
    }
}

/// Makes a function a source of tokens; one that `needs_attendance` is asked while somebody waits only.
pub fn token_source(
    ask: impl Fn(Attendance) -> Result<Secret> + Send + Sync + 'static,
    needs_attendance: bool,
) -> Arc<dyn TokenSource> {
    Arc::new(Blocking {
        ask: Arc::new(ask),
        needs_attendance,
    })
}
