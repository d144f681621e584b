//! Site: the file of a replica, as all connections of this process have it.
//!
//! Owns the list of the files that are known, and the way to the one `Live` of each.
//! Thread: `find` on any that is attached to Python, so that no fork finds the list locked; the rest on the network
//! runtime.
//! Invariant: a file has at most one `Live` in this process.
//! Must not know: Python.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::core::{self, Birth, Error, Replacements, Result};
use crate::remote::Remote;

/// The sites of one kind of replicas.
pub type Known<L> = Mutex<Vec<Weak<Site<L>>>>;

/// What a file is while it is open.
pub trait Opened: Sized + Send + Sync + 'static {
    /// All sites of its kind.
    fn known() -> &'static Known<Self>;
    /// The database that it follows.
    fn remote(&self) -> &Remote;
    /// Opens a file.
    fn open(
        path: &Path,
        options: &core::Options,
        remote: &Arc<Remote>,
    ) -> impl Future<Output = Result<Arc<Self>>> + Send;
    /// Does what it needs before it can be read, for somebody who waits.
    fn prepare(live: &Arc<Self>, remote: &Arc<Remote>) -> impl Future<Output = Result<()>> + Send;
}

/// A file that is, or may become, a replica.
#[derive(Debug)]
pub struct Site<L> {
    pub(super) path: PathBuf,
    /// How often its file became another database.
    pub(super) replacements: Replacements,
    birth: Birth,
    gate: tokio::sync::Mutex<Weak<L>>,
}

/// Whether both are one database of one server.
fn are_same(one: &Remote, other: &Remote) -> bool {
    let (one, other) = (&one.options().target, &other.options().target);
    (&one.host, one.port, &one.path, &one.authority)
        == (&other.host, other.port, &other.path, &other.authority)
}

impl<L: Opened> Site<L> {
    /// The one for a path.
    pub fn find(path: &Path) -> Arc<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut known = L::known().lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|site| site.strong_count() > 0);
        let mut usable = known.iter().filter_map(Weak::upgrade);
        let found = usable.find(|site| site.path == path && !site.birth.is_inherited());
        drop(usable);
        found.unwrap_or_else(|| {
            let site = Arc::new(Self {
                path,
                replacements: Replacements::default(),
                birth: Birth::now(),
                gate: tokio::sync::Mutex::new(Weak::new()),
            });
            known.push(Arc::downgrade(&site));
            site
        })
    }

    /// Opens it, or joins those who have it open; syncs it if it was never synced before.
    ///
    /// # Errors
    /// Those of the file, and of the server if the file has nothing yet.
    pub async fn open(&self, options: &core::Options, remote: &Arc<Remote>) -> Result<Arc<L>> {
        let live = self.live(options, remote).await?;
        L::prepare(&live, remote).await?;
        Ok(live)
    }

    async fn live(&self, options: &core::Options, remote: &Arc<Remote>) -> Result<Arc<L>> {
        let mut gate = self.gate.lock().await;
        if let Some(live) = gate.upgrade() {
            if are_same(live.remote(), remote) {
                return Ok(live);
            }
            let message = format!(
                "the replica {} is open in this process, and follows another database than sync_url names",
                self.path.display()
            );
            return Err(Error::programming(message));
        }
        let live = L::open(&self.path, options, remote).await?;
        *gate = Arc::downgrade(&live);
        Ok(live)
    }
}
