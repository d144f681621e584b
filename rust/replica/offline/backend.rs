//! The backend of a replica that is written offline: a connection to the file, and the file's syncs.
//!
//! Owns both. All commands but a few run on the connection as on that to any file; to open, to close and to sync takes a
//! task of the network runtime.
//! Threads: any.
//! Invariant: the file's log is kept from before the connection opens it until it has closed it.
//! Must not know: Python.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::core::{
    self, Action, Area, Backend, Birth, Channel, Command, Error, Guest, Kind, Local, Outcome,
    Phase, Reply, Result, Service, Severity, Status, runtime,
};
use crate::hosted::{stoppable, stopped};
use crate::remote::{self, Remote};

use super::super::asking::{ask, ask_with, finish};
use super::super::live::lock;
use super::super::site::Site;
use super::live::Live;

/// A connection to a file whose changes are exchanged with a server's.
pub struct Offline {
    local: Arc<Local>,
    site: Arc<Site<Live>>,
    options: core::Options,
    remote: Arc<Remote>,
    interval: Option<Duration>,
    is_blocking: bool,
    /// Nobody answers there: the callable runs beside the statements, and hears of nothing that they tell.
    channel: Arc<Channel>,
    part: Mutex<Part>,
}

/// What it has of the file.
#[derive(Default)]
struct Part {
    live: Option<Arc<Live>>,
    ticker: Option<AbortHandle>,
    /// It is being opened or closed, and these came meanwhile.
    waiting: Option<Vec<Command>>,
}

/// What can't be done to a file whose log a server follows.
fn refusal(action: &Action) -> Option<&'static str> {
    match action {
        Action::Rekey(_) => Some("rekey() of a replica that is written offline"),
        Action::Serve(Service::Deserialize { .. }) => Some("deserialize() of a replica"),
        Action::Serve(Service::Lend(_)) => Some("a replica as the target of backup()"),
        Action::Serve(Service::Sync { until: Some(_) }) => Some(
            "sync_until() of a replica that is written offline: the server numbers its changes anew with each log",
        ),
        _ => None,
    }
}

impl Offline {
    pub fn new(
        path: &std::path::Path,
        file: core::Options,
        remote: remote::Options,
        interval: Option<Duration>,
    ) -> Arc<Self> {
        let is_blocking = file.is_blocking;
        let options = core::Options {
            keeps_log: true,
            is_blocking: false,
            ..file
        };
        Arc::new(Self {
            local: Local::new(options.clone()),
            site: Site::find(path),
            options,
            remote: Remote::new(remote),
            interval,
            is_blocking,
            channel: Arc::default(),
            part: Mutex::default(),
        })
    }

    /// How what asks for tokens and the callable that gives them talk.
    pub const fn server_channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The connection to the file.
    pub const fn local(&self) -> &Arc<Local> {
        &self.local
    }

    fn live(&self) -> Option<Arc<Live>> {
        lock(&self.part).live.clone()
    }

    /// Does something before the commands that come meanwhile.
    fn first<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        part: &mut Part,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<()> {
        let runtime = runtime()?;
        part.waiting = Some(Vec::new());
        let this = Arc::clone(self);
        let work = work(Arc::clone(self));
        runtime.spawn(async move {
            work.await;
            let waiting = lock(&this.part).waiting.take();
            waiting
                .into_iter()
                .flatten()
                .for_each(|command| this.submit(command));
        });
        Ok(())
    }

    async fn open(self: Arc<Self>, command: Command) {
        let Command {
            operation, modes, ..
        } = command;
        if !operation.claim() {
            return;
        }
        let opening = async {
            let live = self.site.open(&self.options, &self.remote).await?;
            lock(&self.part).live = Some(Arc::clone(&live));
            let opened = ask_with(
                &self.local,
                Command::new(Action::Open, modes, None),
                Some(Action::UndoOpen),
            )
            .await?;
            self.start_ticker(&live);
            Ok(opened)
        };
        let opened = stoppable(&operation, opening).await;
        let result = opened.unwrap_or_else(|| Err(stopped(&operation)));
        if result.is_err() {
            self.let_go();
        }
        if operation.finish(result).is_some() {
            drop(ask(&self.local, Action::UndoOpen, None).await);
            self.let_go();
            operation.leave();
        }
    }

    async fn close(self: Arc<Self>, command: Command) {
        let Command {
            operation,
            modes,
            action,
            ..
        } = command;
        let claimed = operation.claim();
        let done = ask_with(&self.local, Command::new(action, modes, None), None).await;
        // Who is told that it is closed may delete the file.
        if self.local.status().phase() != Phase::Open {
            self.let_go();
        }
        if claimed {
            drop(operation.finish(done));
        }
    }

    async fn serve(self: Arc<Self>, command: Command) {
        let Command {
            operation,
            modes,
            block,
            action,
            ..
        } = command;
        if !operation.claim() {
            return;
        }
        let Some(live) = self.live() else {
            let phase = self.local.status().phase();
            let error = if phase == Phase::Closed {
                Error::closed()
            } else {
                Error::not_open()
            };
            drop(operation.finish(Err(error)));
            return;
        };
        let is_sync = matches!(action, Action::Serve(Service::Sync { .. }));
        let work = async {
            if !is_sync {
                let status = live.status().clone();
                return Ok(Reply::SyncStatus(Box::new(status)));
            }
            // After what this connection was told before, and outside of its transactions.
            let rest = Command::new(Action::Serve(Service::Rest), modes, block);
            ask_with(&self.local, rest, None).await?;
            live.sync().await.map(Reply::Synced)
        };
        let served = stoppable(&operation, work).await;
        let served = served.unwrap_or_else(|| Err(stopped(&operation)));
        let result = served.map(|reply| Outcome {
            reply: Some(reply),
            ..Outcome::default()
        });
        if operation.finish(result).is_some() {
            operation.leave();
        }
    }

    fn start_ticker(self: &Arc<Self>, live: &Arc<Live>) {
        let Some(interval) = self.interval else {
            return;
        };
        let (live, local) = (Arc::downgrade(live), Arc::downgrade(&self.local));
        let task = tokio::spawn(async move {
            let mut has_warned = false;
            loop {
                let (Some(live), Some(local)) = (live.upgrade(), local.upgrade()) else {
                    return;
                };
                let synced = live.sync().await;
                drop(live);
                match synced {
                    Ok(_) => has_warned = false,
                    Err(error) if !has_warned => {
                        has_warned = true;
                        let text = format!("a replica is not kept up to date: {error}");
                        local
                            .status()
                            .notes()
                            .add(Area::Replica, Severity::Warning, text);
                    }
                    Err(_) => {}
                }
                drop(local);
                tokio::time::sleep(interval).await;
            }
        });
        lock(&self.part).ticker = Some(task.abort_handle());
    }

    fn let_go(&self) {
        let mut part = lock(&self.part);
        let (live, ticker) = (part.live.take(), part.ticker.take());
        drop(part);
        if let Some(ticker) = ticker {
            ticker.abort();
        }
        drop(live);
    }
}

impl Backend for Arc<Offline> {
    fn submit(&self, command: Command) {
        let is_task = matches!(
            command.action,
            Action::Open
                | Action::UndoOpen
                | Action::Close
                | Action::Serve(Service::Sync { .. } | Service::SyncStatus)
        );
        if self.local.is_inherited() {
            // Tells what a fork has done to it.
            self.local.submit(command);
            return;
        }
        if let Some(what) = refusal(&command.action) {
            let message = format!("{what} is not supported");
            finish(
                &command.operation,
                Err(Error::new(Kind::NotSupported, message)),
            );
            return;
        }
        let mut part = lock(&self.part);
        if let Some(waiting) = &mut part.waiting {
            waiting.push(command);
            return;
        }
        if !is_task {
            drop(part);
            self.local.submit(command);
            return;
        }
        self.local.birth().mark();
        let operation = Arc::clone(&command.operation);
        let begun = match &command.action {
            Action::Open if part.live.is_some() => {
                drop(part);
                self.local.submit(command);
                return;
            }
            Action::Open => self.first(&mut part, |this| this.open(command)),
            Action::Close | Action::UndoOpen => self.first(&mut part, |this| this.close(command)),
            _ => runtime().map(|runtime| {
                runtime.spawn(Arc::clone(self).serve(command));
            }),
        };
        drop(part);
        if let Err(error) = begun {
            finish(&operation, Err(error));
        }
    }

    fn interrupt(&self, guest: Option<&Guest>) {
        self.local.interrupt(guest);
    }

    fn status(&self) -> &Status {
        self.local.status()
    }

    fn birth(&self) -> &Birth {
        self.local.birth()
    }

    fn timeout(&self) -> Duration {
        self.local.timeout()
    }

    fn stop(&self) {
        if let Some(ticker) = lock(&self.part).ticker.take() {
            ticker.abort();
        }
        if let Some(live) = self.live()
            && !live.is_inherited()
        {
            live.end();
        }
        self.local.stop();
    }

    fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        let part = lock(&self.part);
        if part.live.as_ref().is_some_and(|live| live.is_inherited()) {
            drop(part);
            // To close it would touch what the parent has.
            std::mem::forget(std::mem::take(&mut *lock(&self.part)));
            return;
        }
        drop(part);
        self.let_go();
    }
}
