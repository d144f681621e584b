//! Router: where each command of a replica's connection is run.
//!
//! Owns what was learnt about SQL texts, whether the connection has written what the file does not have yet, and the task
//! that syncs by itself.
//! Thread: `is_for_file` on the caller's, the rest on the network runtime, one command after the other.
//! Invariant: a read that follows a write of this connection sees it, or fails, unless `read_your_writes` is off.
//! Must not know: Python.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use lru::LruCache;
use tokio::task::AbortHandle;

use crate::core::{
    self, Action, Area, Backend, Cancelled, Command, Error, Event, Execute, Kind, Local, Outcome,
    Place, Reply, Result, Service, Severity, Shared, Status,
};
use crate::hosted::{self, Detour, Statement, Turn, stoppable, stopped};
use crate::remote::Remote;

use super::live::{Live, lock};
use super::site::Site;
use super::sync::Target;

/// Texts that are remembered.
const KNOWN: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Chooses between the file and the server.
pub struct Router {
    site: Arc<Site<Live>>,
    options: core::Options,
    local: Arc<Local>,
    remote: Arc<Remote>,
    reads_own_writes: bool,
    interval: Option<Duration>,
    live: Mutex<Option<Arc<Live>>>,
    ticker: Mutex<Option<AbortHandle>>,
    known: Mutex<LruCache<Arc<str>, Place>>,
    /// The server has a change of this connection that the file may not have.
    is_behind: AtomicBool,
    /// Its number, if the server has told.
    target: Mutex<Option<Target>>,
    pub(super) status: OnceLock<Arc<Status>>,
}

/// What neither the file nor the server can do for a replica.
fn refusal(action: &Action) -> Option<&'static str> {
    match action {
        Action::Rekey(_) => {
            Some("rekey() of a replica: the server's pages are encrypted as they come")
        }
        Action::Serve(Service::Deserialize { .. }) => Some("deserialize() of a replica"),
        Action::Serve(Service::Lend(_)) => Some("a replica as the target of backup()"),
        _ => None,
    }
}

/// Whether a service is done on the file.
pub(super) const fn is_of_file(service: &Service) -> bool {
    !matches!(
        service,
        Service::Acquire(_)
            | Service::Release
            | Service::Suspend
            | Service::Deserialize { .. }
            | Service::Lend(_)
            | Service::Sync { .. }
            | Service::SyncStatus
    )
}

impl Router {
    pub fn new(
        site: Arc<Site<Live>>,
        options: core::Options,
        local: Arc<Local>,
        remote: Arc<Remote>,
        reads_own_writes: bool,
        interval: Option<Duration>,
    ) -> Self {
        Self {
            site,
            options,
            local,
            remote,
            reads_own_writes,
            interval,
            live: Mutex::new(None),
            ticker: Mutex::new(None),
            known: Mutex::new(LruCache::new(KNOWN)),
            is_behind: AtomicBool::new(false),
            target: Mutex::new(None),
            status: OnceLock::new(),
        }
    }

    /// Whether a statement may go to the file as it is, without a look at it.
    pub fn is_for_file(&self, sql: &str) -> bool {
        !self.is_behind() && lock(&self.known).get(sql) == Some(&Place::File)
    }

    fn is_behind(&self) -> bool {
        self.reads_own_writes && self.is_behind.load(Ordering::Acquire)
    }

    fn live(&self) -> Result<Arc<Live>> {
        lock(&self.live).clone().ok_or_else(Error::closed)
    }

    async fn place(&self, sql: &Arc<str>) -> Place {
        if let Some(place) = lock(&self.known).get(sql) {
            return *place;
        }
        let told = match self.live() {
            Ok(live) => live.place(Arc::clone(sql)).await,
            Err(_) => None,
        };
        if let Some(place) = told {
            lock(&self.known).put(Arc::clone(sql), place);
            return place;
        }
        // The file may not have the table yet, or only its connection knows a function: of a query it tells.
        if Statement::read(sql).is_readonly {
            Place::File
        } else {
            Place::Server
        }
    }

    /// Has the file run a read, after a sync if the server has more for it.
    async fn read(&self, command: Command) {
        if self.is_behind()
            && !command.operation.is_done()
            && let Err(error) = self.catch_up().await
        {
            let error = unseen("the write before this read was done", &error);
            finish(&command.operation, Err(error));
            return;
        }
        self.local.submit(command);
    }

    async fn catch_up(&self) -> Result<()> {
        // What was submitted before the write is not to see it.
        drop(ask(&self.local, Action::SetMode).await);
        let target = *lock(&self.target);
        self.live()?.sync(target).await?;
        self.is_behind.store(false, Ordering::Release);
        Ok(())
    }

    async fn serve(&self, operation: &Shared, service: Service) {
        if !operation.claim() {
            return;
        }
        let live = self.live();
        let result = match (live, service) {
            (Err(error), _) => Err(error),
            (Ok(live), Service::Sync { until }) => {
                let until = until.map(|index| Target { index, log: None });
                let synced = stoppable(operation, live.sync(until)).await;
                synced
                    .unwrap_or_else(|| Err(stopped(operation)))
                    .map(Reply::Synced)
            }
            (Ok(live), _) => {
                let status = live.status().clone();
                Ok(Reply::SyncStatus(Box::new(status)))
            }
        };
        if let Ok(Reply::Synced(synced)) = &result
            && lock(&self.target).is_none_or(|target| synced.index >= Some(target.index))
        {
            self.is_behind.store(false, Ordering::Release);
        }
        let result = result.map(|reply| Outcome {
            reply: Some(reply),
            ..Outcome::default()
        });
        if operation.finish(result).is_some() {
            operation.leave();
        }
    }

    /// Chooses; `Some`: it is for the server.
    async fn choose(&self, mut command: Command, is_free: bool) -> Option<Command> {
        if let Some(what) = refusal(&command.action) {
            let message = format!("{what} is not supported");
            finish(
                &command.operation,
                Err(Error::new(Kind::NotSupported, message)),
            );
            return None;
        }
        match &command.action {
            Action::Serve(Service::Sync { .. } | Service::SyncStatus) => {
                if let Some(block) = &command.block
                    && (block.is_new() || block.is_over())
                {
                    finish(&command.operation, Err(block.refusal()));
                    return None;
                }
                let action = std::mem::replace(&mut command.action, Action::SetMode);
                if let Action::Serve(service) = action {
                    self.serve(&command.operation, service).await;
                }
                None
            }
            Action::Serve(service) if is_of_file(service) => {
                self.local.submit(command);
                None
            }
            Action::Fetch { rows, .. } | Action::CloseRows(rows) if !rows.is_remote() => {
                self.local.submit(command);
                None
            }
            Action::Execute(execute) => {
                let is_read = is_free && command.block.is_none() && self.is_read(execute).await;
                execute.rows.set_remote(!is_read);
                if !is_read {
                    return Some(command);
                }
                let modes = std::mem::take(&mut command.modes);
                self.read(command).await;
                // The file has no transactions; whoever has is told.
                (!modes.is_empty()).then(|| Command::new(Action::SetMode, modes, None))
            }
            _ => Some(command),
        }
    }

    async fn is_read(&self, execute: &Execute) -> bool {
        self.place(&execute.sql).await == Place::File
    }

    fn start_ticker(&self, live: &Arc<Live>) {
        let (Some(interval), Some(status)) = (self.interval, self.status.get()) else {
            return;
        };
        let (live, status) = (Arc::downgrade(live), Arc::clone(status));
        let task = tokio::spawn(async move {
            let mut has_warned = false;
            loop {
                let Some(live) = live.upgrade() else {
                    return;
                };
                let synced = live.sync(None).await;
                drop(live);
                match synced {
                    Ok(_) => has_warned = false,
                    Err(error) if !has_warned => {
                        has_warned = true;
                        let text = format!("a replica is not kept up to date: {error}");
                        status.notes().add(Area::Replica, Severity::Warning, text);
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(interval).await;
            }
        });
        *lock(&self.ticker) = Some(task.abort_handle());
    }

    /// The process ends.
    pub fn stop(&self) {
        if let Some(ticker) = lock(&self.ticker).take() {
            ticker.abort();
        }
        let live = lock(&self.live).clone();
        if let Some(live) = live
            && !live.is_inherited()
        {
            live.end();
        }
    }

    /// Lets go of the file's syncs.
    fn let_go(&self) {
        if let Some(ticker) = lock(&self.ticker).take() {
            ticker.abort();
        }
        let live = lock(&self.live).take();
        drop(live);
    }
}

impl Detour for Router {
    fn open<'a>(&'a self, operation: &'a Shared) -> Turn<'a, Result<()>> {
        Box::pin(async move {
            let opening = async {
                let live = self.site.open(&self.options, &self.remote).await?;
                ask(&self.local, Action::Open).await?;
                Ok(live)
            };
            let live = stoppable(operation, opening)
                .await
                .unwrap_or_else(|| Err(stopped(operation)))?;
            self.start_ticker(&live);
            *lock(&self.live) = Some(live);
            Ok(())
        })
    }

    fn undo_open(&self) -> Turn<'_, ()> {
        Box::pin(async move {
            drop(ask(&self.local, Action::UndoOpen).await);
            self.let_go();
        })
    }

    fn close(&self) -> Turn<'_, ()> {
        Box::pin(async move {
            drop(ask(&self.local, Action::Close).await);
            self.let_go();
        })
    }

    fn take(&self, command: Command, is_free: bool) -> Turn<'_, Option<Command>> {
        Box::pin(self.choose(command, is_free))
    }

    fn written(&self, index: Option<u64>, is_pooled: bool) -> Turn<'_, Result<()>> {
        let log = self.live().ok().and_then(|live| live.log());
        let target = index.map(|index| Target { index, log });
        *lock(&self.target) = target;
        self.is_behind.store(true, Ordering::Release);
        Box::pin(async move {
            if !is_pooled || !self.reads_own_writes {
                return Ok(());
            }
            let live = self.live()?;
            let synced = live.sync(target).await;
            synced
                .map(drop)
                .map_err(|error| unseen("the write was done", &error))
        })
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let live = lock(&self.live).take();
        let is_inherited = live.as_ref().is_some_and(|live| live.is_inherited());
        if is_inherited {
            // To close it would touch what the parent has.
            std::mem::forget((live, lock(&self.ticker).take()));
        } else {
            drop(live);
            self.let_go();
        }
    }
}

/// The error of a read that would not see a write.
fn unseen(what: &str, why: &Error) -> Error {
    let message =
        format!("{what}, but the replica can't be synced, so that reads would not see it: {why}");
    Error {
        code: why.code.clone(),
        ..Error::new(Kind::Sync, message)
    }
}

pub(super) fn finish(operation: &Shared, result: Result<Outcome>) {
    if operation.claim() {
        drop(operation.finish(result));
    }
}

/// A command to the file's connection that the router itself waits for.
struct Asking<'a> {
    local: &'a Arc<Local>,
    operation: Shared,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Cancelled::Undelivered(Ok(Outcome { opened: true, .. })) = self.operation.abandon() {
            let undo = Command::new(Action::UndoOpen, Vec::new(), None);
            self.local.submit(undo);
        }
    }
}

pub(super) async fn ask(local: &Arc<Local>, action: Action) -> Result<Outcome> {
    ask_with(local, Command::new(action, Vec::new(), None)).await
}

pub(super) async fn ask_with(local: &Arc<Local>, command: Command) -> Result<Outcome> {
    let asking = Asking {
        local,
        operation: Arc::clone(&command.operation),
    };
    local.submit(command);
    poll_fn(|context| {
        loop {
            match asking.operation.poll(context) {
                Poll::Ready(Event::Finished(result)) => return Poll::Ready(result),
                Poll::Ready(Event::Progress) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// The options of the connection to a server that a replica writes with.
pub(super) fn options_of(options: hosted::Options, router: &Arc<Router>) -> hosted::Options {
    let detour: Arc<dyn Detour> = Arc::clone(router) as Arc<dyn Detour>;
    hosted::Options {
        detour: Some(detour),
        ..options
    }
}
