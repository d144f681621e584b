//! Router: where each command of a replica's connection is run.
//!
//! Owns what was learnt about SQL texts, what the connection has written, and the task that syncs by itself.
//! Thread: `is_for_file` on the caller's, the rest on the network runtime, one command after the other.
//! Invariant: a read that follows a write of this connection sees it, or fails, unless `read_your_writes` is off.
//! Must not know: Python.

use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use lru::LruCache;
use tokio::task::AbortHandle;

use crate::core::{
    self, Action, Area, Backend, Block, Channel, Command, Error, Execute, Kind, Local, ModeChange,
    Opaque, Outcome, Place, Reply, Result, Service, Severity, Shared, Status,
};
use crate::hosted::{self, Detour, Hosted, Standing, Statement, Turn, stoppable, stopped};
use crate::remote::Remote;

use super::asking::{ask, ask_no_more, finish};
use super::live::{Live, lock};
use super::site::Site;
use super::sync::{Target, last_change};

/// Texts that are remembered.
const KNOWN: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Chooses between the file and the server.
pub struct Router {
    site: Arc<Site<Live>>,
    options: core::Options,
    local: Arc<Local>,
    /// How syncs reach the server: over HTTP, as libsql's do.
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
    /// Of the connection that it chooses for: how it stands, and how its callables talk with who awaits.
    of_server: OnceLock<(Arc<Status>, Arc<Channel>)>,
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
            of_server: OnceLock::new(),
        }
    }

    /// Chooses for this connection.
    pub fn belong_to(&self, hosted: &Hosted) {
        let status = Arc::clone(hosted.shared_status());
        let _ = self.of_server.set((status, Arc::clone(hosted.channel())));
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
    async fn read(&self, mut command: Command) {
        if self.is_behind() && !command.operation.is_done() {
            let surroundings = command.surroundings.take();
            let caught_up = self.attended(&command.operation, surroundings.as_ref(), async {
                // What was submitted before the write is not to see it.
                drop(ask(&self.local, Action::SetMode, None).await);
                Box::pin(self.catch_up()).await
            });
            if let Err(error) = caught_up.await {
                let error = if command.operation.stop().is_some() {
                    error
                } else {
                    unseen(
                        "the write before this read was done, or may have been",
                        &error,
                    )
                };
                finish(&command.operation, Err(error));
                command.operation.leave();
                return;
            }
            command.surroundings = surroundings;
        }
        self.local.submit(command);
    }

    /// Syncs until the file has what this connection has written.
    async fn catch_up(&self) -> Result<()> {
        let live = self.live()?;
        let target = *lock(&self.target);
        if target.is_some() {
            live.sync(&self.remote, target).await?;
        } else {
            // Most servers have everything at once, so that the number only confirms it.
            let log = live.log();
            let (index, synced) =
                tokio::try_join!(last_change(&self.remote), live.sync(&self.remote, None))?;
            if let Some(target) = index.map(|index| Target { index, log })
                && !target.is_reached(&live, synced.index)
            {
                live.sync(&self.remote, Some(target)).await?;
            }
        }
        self.is_behind.store(false, Ordering::Release);
        Ok(())
    }

    /// Does something until the operation is told to stop, whose caller is asked for a token if there has to be one.
    async fn attended<T>(
        &self,
        operation: &Shared,
        surroundings: Option<&Opaque>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let channel = self.of_server.get().map(|(_, channel)| channel);
        if let (Some(channel), Some(surroundings)) = (channel, surroundings) {
            channel.begin(Some(surroundings.clone()), operation);
        }
        let mut work = pin!(work);
        let done = poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Pending => operation
                .poll_gone(context)
                .map(|()| Err(stopped(operation))),
            done @ Poll::Ready(_) => done,
        });
        let done = done.await;
        let cause = channel.and_then(|channel| channel.end());
        done.map_err(|error| Error { cause, ..error })
    }

    async fn serve(&self, operation: &Shared, surroundings: Option<&Opaque>, service: Service) {
        if !operation.claim() {
            return;
        }
        let served = self.attended(operation, surroundings, async {
            let live = self.live()?;
            let Service::Sync { until } = service else {
                return Ok(Reply::SyncStatus(Box::new(live.status().clone())));
            };
            let until = until.map(|index| Target { index, log: None });
            let synced = live.sync(&self.remote, until).await?;
            let target = *lock(&self.target);
            if target.is_some_and(|target| target.is_reached(&live, synced.index)) {
                self.is_behind.store(false, Ordering::Release);
            }
            Ok(Reply::Synced(synced))
        });
        let result = served.await.map(|reply| Outcome {
            reply: Some(reply),
            ..Outcome::default()
        });
        if result.is_err() {
            ask_no_more(operation);
        }
        if operation.finish(result).is_some() {
            operation.leave();
        }
    }

    /// Chooses; `Some`: it is for the server.
    async fn choose(&self, mut command: Command, standing: Standing) -> Option<Command> {
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
                    let surroundings = command.surroundings.as_ref();
                    self.serve(&command.operation, surroundings, service).await;
                }
                for_server(command.modes)
            }
            Action::Serve(service) if is_of_file(service) => {
                let modes = std::mem::take(&mut command.modes);
                self.local.submit(command);
                for_server(modes)
            }
            Action::Fetch { rows, .. } | Action::CloseRows(rows) => {
                if rows.is_remote() {
                    return Some(command);
                }
                self.local.submit(command);
                None
            }
            Action::Execute(execute) => {
                let is_read = match standing {
                    Standing::Aside => true,
                    Standing::Free => command.block.is_none() && self.is_read(execute).await,
                    Standing::Bound => false,
                };
                execute.rows.set_remote(!is_read);
                if !is_read {
                    return Some(command);
                }
                let modes = std::mem::take(&mut command.modes);
                if standing == Standing::Aside {
                    self.local.submit(command);
                } else {
                    Box::pin(self.read(command)).await;
                }
                for_server(modes)
            }
            _ if standing == Standing::Aside => {
                let modes = std::mem::take(&mut command.modes);
                self.local.submit(command);
                for_server(modes)
            }
            _ => Some(command),
        }
    }

    async fn is_read(&self, execute: &Execute) -> bool {
        self.place(&execute.sql).await == Place::File
    }

    fn start_ticker(&self, live: &Arc<Live>) {
        let (Some(interval), Some((status, _))) = (self.interval, self.of_server.get()) else {
            return;
        };
        let (live, status) = (Arc::downgrade(live), Arc::clone(status));
        let remote = self.remote.unattended();
        let task = tokio::spawn(async move {
            let mut has_warned = false;
            loop {
                let Some(live) = live.upgrade() else {
                    return;
                };
                let synced = live.sync(&remote, None).await;
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
                if self.interval.is_some()
                    && let Err(error) = self.remote.prepare_unattended().await
                {
                    // The file is as good as ever.
                    live.note_failure(&error.into());
                }
                ask(&self.local, Action::Open, Some(Action::UndoOpen)).await?;
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
            drop(ask(&self.local, Action::UndoOpen, None).await);
            self.let_go();
        })
    }

    fn close(&self) -> Turn<'_, ()> {
        Box::pin(async move {
            drop(ask(&self.local, Action::Close, None).await);
            self.let_go();
        })
    }

    fn take(&self, command: Command, standing: Standing) -> Turn<'_, Option<Command>> {
        Box::pin(self.choose(command, standing))
    }

    fn written<'a>(
        &'a self,
        operation: &'a Shared,
        index: Option<u64>,
        is_pooled: bool,
    ) -> Turn<'a, Result<()>> {
        let log = self.live().ok().and_then(|live| live.log());
        *lock(&self.target) = index.map(|index| Target { index, log });
        self.is_behind.store(true, Ordering::Release);
        Box::pin(async move {
            if !is_pooled || !self.reads_own_writes {
                return Ok(());
            }
            let caught_up = stoppable(operation, Box::pin(self.catch_up())).await;
            let caught_up = caught_up.unwrap_or_else(|| Err(stopped(operation)));
            caught_up.map_err(|error| unseen("the write was done", &error))
        })
    }

    fn enter<'a>(&'a self, block: &'a Arc<Block>) -> Turn<'a, Result<()>> {
        Box::pin(async move {
            if self.is_behind() {
                let caught_up = self.catch_up().await;
                caught_up.map_err(|error| {
                    unseen(
                        "the write before this block was done, or may have been",
                        &error,
                    )
                })?;
            }
            let undo = leave(block, false);
            ask(&self.local, Action::Enter(Arc::clone(block)), Some(undo)).await?;
            Ok(())
        })
    }

    fn leave<'a>(&'a self, block: &'a Arc<Block>, commits: bool) -> Turn<'a, Result<()>> {
        Box::pin(async move {
            ask(&self.local, leave(block, commits), None).await?;
            Ok(())
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
        cause: why.cause.clone(),
        ..Error::new(Kind::Sync, message)
    }
}

fn leave(block: &Arc<Block>, commits: bool) -> Action {
    Action::Leave {
        block: Arc::clone(block),
        commits,
    }
}

/// The file has no transactions that a mode is about; the server's connection is told of a changed one.
fn for_server(modes: Vec<ModeChange>) -> Option<Command> {
    (!modes.is_empty()).then(|| Command::new(Action::SetMode, modes, None))
}

/// The options of the connection to a server that a replica writes with.
pub(super) fn options_of(options: hosted::Options, router: &Arc<Router>) -> hosted::Options {
    let detour: Arc<dyn Detour> = Arc::clone(router) as Arc<dyn Detour>;
    hosted::Options {
        detour: Some(detour),
        ..options
    }
}
