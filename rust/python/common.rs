//! Common: what the connections of a pool have in common, for a statement may run on any of them.
//!
//! Owns whether there are callbacks, which code may not await the pool, and who watches its statements. Each connection
//! has these for itself, too, and goes by those of its pool once it has joined that.
//! Thread: any that is attached.

use std::sync::Arc;

use super::callbacks::Uses;
use super::diagnostics::Watch;
use super::link::Link;
use super::reentrancy::Reentrancy;

/// What the connections of a pool share.
#[derive(Default)]
pub struct Common {
    pub uses: Uses,
    pub reentrancy: Arc<Reentrancy>,
    pub watch: Arc<Watch>,
}

impl Link {
    /// Who looks at its statements.
    pub fn watch(&self) -> &Arc<Watch> {
        match self.common.get() {
            Some(common) => &common.watch,
            None => &self.watch,
        }
    }

    /// That of its own, which shows its objects to the collector.
    pub const fn own_watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Becomes one of a pool's; nothing has used it yet.
    pub fn join_pool(&self, common: &Arc<Common>) {
        self.callbacks().join_pool(common);
        let _ = self.common.set(Arc::clone(common));
    }
}
