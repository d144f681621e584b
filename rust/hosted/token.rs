//! A token source that blocks: a function that may take long, on a thread of its own.
//!
//! Owns nothing. Thread: one of the network runtime's for what blocks.
//! Must not know: what a token means.

use std::sync::Arc;

use crate::remote::{Error, Result, Secret, TokenFuture, TokenSource};

struct Blocking<F>(Arc<F>);

impl<F: Fn() -> Result<Secret> + Send + Sync + 'static> TokenSource for Blocking<F> {
    fn token(&self) -> TokenFuture {
        let ask = Arc::clone(&self.0);
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || ask()).await;
            asked.unwrap_or_else(|_| Err(Error::usage("asking for an auth token was cut off")))
        })
    }
}

/// Makes a function a source of tokens.
pub fn token_source(
    ask: impl Fn() -> Result<Secret> + Send + Sync + 'static,
) -> Arc<dyn TokenSource> {
    Arc::new(Blocking(Arc::new(ask)))
}
