//! Handing over to a new process of the binary without losing a connection:
//!
//! ```text
//! the old process                         the new one
//! starts it, sends its sockets       →    takes them instead of binding
//!                                    ←    `more`
//! sends what else it knows           →    starts everything, begins nothing
//!                                    ←    `ready`, or why not, or its end
//! `go`                               →    accepts, beside the old one
//!                                    ←    `accepting`
//! `still there?`                     →
//!                                    ←    `here`
//! looks whether the new one is       →    is the service, and does what
//! there, says that this one is the        the old one was asked for
//! service, and `over`;                    meanwhile
//! stops accepting, finishes, ends
//! ```
//!
//! At each moment at least one of the two accepts. The old process stops nothing before it has said `over`, so that it
//! simply goes on if the new process fails earlier: the steps that cannot be taken back come last. A new process that
//! is stopping itself says so instead of `here`. If the old process dies, the new one goes on alone as soon as it is
//! ready. Connections that arrive in between wait in the sockets' queues. If the old process stands still after `go`,
//! the new one becomes the service after a while, and still answers `here` when the old one asks later.
//!
//! If the old process is told to stop, both processes end. A new process that was not let go is killed; if it has not
//! even begun to run, it reads `given up` as soon as it does. A new process that was let go has time for its requests.
//!
//! Earlier versions of the program do not know `more`, `accepting` and `over`: an old process of such a version stops
//! accepting when it has said `go`. The old process announces that it knows these words by a variable in the
//! environment of the new process; the new process announces that it does by saying [`messages::READY_AND_TELLS`]
//! instead of [`messages::READY`].

mod blobs;
mod cache;
mod health;
mod messages;
mod must_serve;
mod predecessor;
mod program;
mod run;
mod running;
mod socket_files;
mod successor;
mod trust;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{info, warn};

pub use cache::{CacheHandover, rebuild as rebuild_cache, take_from as take_cache_from};
pub use health::{HealthReport, from_blobs as health_from_blobs};
pub use must_serve::{may_take_over, must_serve};
pub use predecessor::Predecessor;
pub use program::Program;
pub(super) use run::UpgradeRun;
use running::Running;
use successor::LastWords;
pub use successor::Successor;

use crate::base::addresses::Purpose;
use crate::base::limits;
use crate::net::{BoundListener, Handed, close};
use crate::shared::SharedStore;

/// Tells a new process which of its descriptors is its end of the line.
const LINE_VARIABLE: &str = "PALANTIR_HANDOVER";
/// Standard input, output and error.
const STANDARD_DESCRIPTORS: RawFd = 3;

/// The environment variable that names the line on which an old process waits for `accepting`: see
/// [`crate::net::HandoverLine::identity`]. An earlier version passes the variable on as its own old process set it, so
/// that the value names another line.
const TOLD_VARIABLE: &str = "PALANTIR_HANDOVER_TOLD";

/// A step of a new process.
#[derive(Debug)]
pub enum UpgradeStep {
    /// The new process has started everything, and waits for leave to accept.
    Ready(Successor),
    /// The new process accepts.
    Accepting(Successor),
    /// The upgrade has failed, for this reason.
    Failed(String),
}

/// Everything that an upgrade takes besides the workers' sockets. One at a time.
#[derive(Debug)]
pub struct Upgrades {
    program: Program,
    health: HealthReport,
    cache: CacheHandover,
    passed_on: Vec<(BoundListener, Purpose)>,
    accepting: watch::Sender<bool>,
    stopping: Arc<AtomicBool>,
    /// The new process that is being started.
    under_way: Option<Running>,
    progress: (mpsc::Sender<UpgradeStep>, mpsc::Receiver<UpgradeStep>),
}

impl Upgrades {
    /// The upgrades to `program`, which receives the report of the health thread. `passed_on` are duplicates of the
    /// listening sockets that are not the workers': test servers, management API.
    pub fn new(
        program: Program,
        health: HealthReport,
        passed_on: Vec<(BoundListener, Purpose)>,
    ) -> Upgrades {
        Upgrades {
            program,
            health,
            cache: CacheHandover::default(),
            passed_on,
            accepting: watch::Sender::new(false),
            stopping: Arc::default(),
            under_way: None,
            progress: mpsc::channel(1),
        }
    }

    /// Hands over this cache, too.
    pub fn with_cache(mut self, store: Option<SharedStore>) -> Upgrades {
        self.cache = CacheHandover::of(store);
        self
    }

    /// Lets the cache go on, because the upgrade has failed.
    pub fn thaw_cache(&self) {
        self.cache.thaw();
    }

    /// For servers on the sockets that are not the workers': whether these servers are to accept.
    pub fn accepting(&self) -> watch::Receiver<bool> {
        self.accepting.subscribe()
    }

    /// Whether this process stops, or takes no new clients, and can be nobody's successor.
    pub fn stopping(&self) -> Arc<AtomicBool> {
        self.stopping.clone()
    }

    /// Notes that this process stops.
    pub fn note_stop(&self) {
        self.stopping.store(true, SeqCst);
    }

    /// Has those servers accept.
    pub fn accept(&self) {
        self.accepting.send_replace(true);
    }

    /// Has those servers stop accepting, for good. The sockets kept here are closed too: as long as any process has one
    /// open, the kernel lets clients connect to it.
    pub fn stop_accepting(&mut self) {
        self.accepting.send_replace(false);
        let sockets = self.passed_on.drain(..);
        close(sockets.map(|(socket, _)| socket).collect());
    }

    /// Whether a new process is being started.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Starts a new process and hands over the workers' listening sockets, the others, and all messages, on a thread of
    /// its own: see [`Upgrades::progress`]. No upgrade may be under way. Errors: no thread can be started, or no
    /// descriptors are left.
    pub fn begin(&mut self, mut handed: Handed) -> Result<(), String> {
        debug_assert!(self.under_way.is_none(), "one upgrade at a time");
        for (socket, purpose) in &self.passed_on {
            let socket = socket.try_clone().map_err(|error| error.to_string())?;
            handed.sockets.push((socket, Some(*purpose)));
        }
        handed.blobs.extend(socket_files::to_blob(&handed.sockets));
        let (program, running) = (self.program.clone(), Running::default());
        let last = LastWords {
            health: self.health.clone(),
            cache: self.cache.clone(),
        };
        info!("upgrade: starting {}", program.path.display());
        let known = running.clone();
        self.on_a_thread(move || successor::prepare(&program, handed, &last, known))?;
        self.under_way = Some(running);
        Ok(())
    }

    /// Lets a new process that is ready accept, and waits on a thread of its own until the new process says that it
    /// accepts. Errors: no thread can be started; the new process is ended.
    pub fn let_go(&mut self, successor: Successor) -> Result<(), String> {
        debug_assert!(
            self.under_way.is_some(),
            "only an upgrade that has begun lets go"
        );
        let begun = self.on_a_thread(move || successor.go());
        if begun.is_err() {
            self.under_way = None;
        }
        begun
    }

    fn on_a_thread(
        &self,
        work: impl FnOnce() -> UpgradeStep + Send + 'static,
    ) -> Result<(), String> {
        let progress = self.progress.0.clone();
        let work = move || {
            // If the receiver is gone, the new process ends with this value.
            let _ = progress.blocking_send(work());
        };
        let thread = thread::Builder::new()
            .name("upgrade".to_owned())
            .spawn(work);
        thread.map(drop).map_err(|error| error.to_string())
    }

    /// Waits for the next step of the new process; each takes a few times `limits::UPGRADE_SECS` at most. Cancel safe.
    pub async fn progress(&mut self) -> UpgradeStep {
        let progress = self.progress.1.recv().await;
        // `self` holds a sender of the channel, so the channel does not end.
        let progress =
            progress.unwrap_or_else(|| UpgradeStep::Failed("the upgrade was given up".to_owned()));
        let may_finish = self.under_way.as_ref().is_some_and(Running::may_finish);
        if !matches!(progress, UpgradeStep::Ready(_)) && !may_finish {
            self.under_way = None;
        }
        progress
    }

    /// Ends the new process that is being started, if there is one, because this process stops.
    pub fn abandon(&self) {
        if let Some(running) = &self.under_way {
            running.abandon();
        }
    }

    /// Waits, within a bound, until a new process that was abandoned has ended: the new process would become the
    /// service if this process ended first. The new process has `patience` for its requests. Returns whether no request
    /// was cut.
    pub async fn wait_for_abandoned(&mut self, patience: Duration) -> bool {
        let end = Duration::from_secs(limits::UPGRADE_END_SECS);
        match self.under_way.clone() {
            None => true,
            Some(running) if running.may_finish() => {
                let ended = timeout(patience + end, running.ended_well()).await;
                ended.unwrap_or_else(|_| self.kill_abandoned())
            }
            Some(_) => {
                // A new process that is ready by now ends when this value is dropped. One that has not begun to run
                // reads `given up`.
                drop(timeout(end, self.progress()).await);
                true
            }
        }
    }

    /// Ends such a process at once. Returns whether that cannot have cut a request.
    pub fn kill_abandoned(&self) -> bool {
        let Some(running) = &self.under_way else {
            return true;
        };
        let cuts = running.may_finish() && running.is_alive();
        running.kill();
        if cuts {
            warn!("the new process was killed: requests in it were cut, if there were any");
        }
        !cuts
    }
}
