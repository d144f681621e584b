//! The backend of a replica: a connection to the file, one to the server, and the choice between them.
//!
//! Owns both. The server's queue is the one that keeps the order: what has to wait for something waits there. A read goes
//! straight to the file if nothing is before it.
//! Threads: any.
//! Must not know: Python.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::core::{
    self, Action, Backend, Birth, Channel, Command, Guest, Lifetimes, Limits, Local, Pool, Role,
    Service, Status, TransactionMode,
};
use crate::hosted::{self, Hosted, Standing};
use crate::remote::{self, Remote};

use super::router::{self, Router};
use super::site::Site;

/// How to open a replica.
pub struct Options {
    /// Of the file; its mode of transactions is the server's.
    pub file: core::Options,
    pub path: PathBuf,
    pub remote: remote::Options,
    pub reads_own_writes: bool,
    pub interval: Option<Duration>,
    pub is_blocking: bool,
}

/// A connection to a replica.
pub struct Replica {
    local: Arc<Local>,
    hosted: Arc<Hosted>,
    router: Arc<Router>,
    /// What it does in a pool, if it is of one.
    role: OnceLock<Role>,
}

impl Replica {
    pub fn new(options: Options) -> Arc<Self> {
        let mode = options.file.mode;
        let timeout = options.file.timeout;
        let site = Site::find(&options.path);
        let file = core::Options {
            read_only: true,
            replacements: site.replacements.clone(),
            is_blocking: false,
            mode: TransactionMode::Autocommit { manual_end: false },
            ..options.file
        };
        let local = Local::new(file.clone());
        let remote = Remote::new(options.remote);
        let router = Arc::new(Router::new(
            site,
            file,
            Arc::clone(&local),
            remote.over_http(),
            options.reads_own_writes,
            options.interval,
        ));
        let writes = hosted::Options {
            remote,
            timeout,
            mode,
            is_blocking: options.is_blocking,
            detour: None,
        };
        let hosted = Hosted::new(router::options_of(writes, &router));
        router.belong_to(&hosted);
        Arc::new(Self {
            local,
            hosted,
            router,
            role: OnceLock::new(),
        })
    }

    /// The connection to the file.
    pub const fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// How the statements at the server and the callable that gives tokens talk.
    pub fn server_channel(&self) -> &Arc<Channel> {
        self.hosted.channel()
    }

    /// Becomes a handle of a pool, for good; not open yet. A reader is one of the file, the writer one at the server.
    pub fn join_pool(
        &self,
        pool: &Arc<Pool>,
        place: (Role, u32),
        limits: Limits,
        lifetimes: Lifetimes,
    ) {
        let _ = self.role.set(place.0);
        match place.0 {
            Role::Reader => self.local.join_pool(pool, place, limits, lifetimes),
            Role::Writer => self.hosted.join_pool(pool, place, limits, lifetimes),
        }
    }

    /// From now on it takes commands of its pool.
    pub fn serve_pool(&self) {
        match self.role.get() {
            Some(Role::Reader) => self.local.serve_pool(),
            Some(Role::Writer) => self.hosted.serve_pool(),
            None => {}
        }
    }

    fn is_reader(&self) -> bool {
        self.role.get() == Some(&Role::Reader)
    }

    /// Whether a command can be run by the file at once.
    fn goes_straight(&self, command: &Command) -> bool {
        match self.role.get() {
            Some(Role::Reader) => {
                return !matches!(
                    command.action,
                    Action::Open
                        | Action::UndoOpen
                        | Action::Close
                        | Action::Serve(Service::Sync { .. } | Service::SyncStatus)
                );
            }
            Some(Role::Writer) => return false,
            None => {}
        }
        if self.hosted.is_inherited() || !command.modes.is_empty() {
            return false;
        }
        let stands = |standing| self.hosted.standing_of(command) == Some(standing);
        match &command.action {
            Action::Fetch { rows, .. } | Action::CloseRows(rows) => !rows.is_remote(),
            Action::Execute(_) if command.block.is_some() => stands(Standing::Aside),
            Action::Execute(execute) => {
                self.router.is_for_file(&execute.sql) && stands(Standing::Free)
            }
            Action::Serve(service) => router::is_of_file(service) && stands(Standing::Free),
            _ => false,
        }
    }
}

impl Backend for Arc<Replica> {
    fn submit(&self, command: Command) {
        if self.goes_straight(&command) {
            self.local.submit(command);
        } else {
            self.hosted.submit(command);
        }
    }

    fn interrupt(&self, guest: Option<&Guest>) {
        self.hosted.interrupt(guest);
        self.local.interrupt(guest);
    }

    fn status(&self) -> &Status {
        if self.is_reader() {
            self.local.status()
        } else {
            self.hosted.status()
        }
    }

    fn birth(&self) -> &Birth {
        self.hosted.birth()
    }

    fn timeout(&self) -> Duration {
        self.hosted.timeout()
    }

    fn stop(&self) {
        self.router.stop();
        self.local.stop();
        self.hosted.stop();
    }

    fn is_blocking(&self) -> bool {
        self.hosted.is_blocking()
    }
}
