//! Everything that the control thread needs, made before palantir serves anybody, and the start of the thread's loop.

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::{Control, Inlets, Outlets, api};
use crate::base::limits;
use crate::base::time::Micros;
use crate::config::Machine;
use crate::control::access_log::RunningAccessLog;
use crate::control::change_request::ChangeRequests;
use crate::control::compiler::Compiler;
use crate::control::config_store::ConfigStore;
use crate::control::last_resort::LastResort;
use crate::control::listeners::Listeners;
use crate::control::resolve::{KnownAddrs, LookUpRequest, LookUps, NameChannels};
use crate::control::signals::Signals;
use crate::control::start_state::StartState;
use crate::control::upgrade::Upgrades;
use crate::messages::{ToControl, ToHealth, ToWorker};
use crate::net::BoundListener;
use crate::shared::mailbox::{Inbox, Mailbox};
use crate::shared::pulse::Watched;
use crate::shared::worker_counters::AllWorkerCounters;
use crate::shared::{SharedStore, SharedTables};
use crate::snapshot::Snapshot;
use crate::tls::TicketKeys;

/// The parts of the program that have been started.
pub struct Started {
    /// The configuration with which the workers and the health thread began.
    pub snapshot: Arc<Snapshot>,
    /// The configuration that `snapshot` was compiled from.
    pub config_store: ConfigStore,
    /// The state that an earlier process left.
    pub left: StartState,
    /// The addresses that were found before the snapshot was compiled.
    pub known: KnownAddrs,
    /// The look-ups of names, which go on from now on.
    pub look_ups: LookUps,
    /// Compiles all further configurations.
    pub compiler: Compiler,
    /// The keys of session tickets that the compiled TLS uses.
    pub tickets: Arc<TicketKeys>,
    /// The listening sockets of the workers.
    pub listeners: Listeners,
    /// The mailboxes of the workers.
    pub workers: Vec<Mailbox<ToWorker>>,
    /// The workers' tables of the backends' states.
    pub tables: SharedTables,
    /// The counters of the workers.
    pub counters: AllWorkerCounters,
    /// The store of the cache, if there is one.
    pub store: Option<SharedStore>,
    /// The access log, with an open file if the snapshot has an access log.
    pub access_log: RunningAccessLog,
    /// The mailbox of the health thread.
    pub health: Mailbox<ToHealth>,
    /// The health thread, and its signs of life.
    pub health_thread: Watched,
    /// The messages to the control thread.
    pub inbox: Inbox<ToControl>,
    /// The means of an upgrade.
    pub upgrades: Upgrades,
    /// Whether no other process is the service, or was until just now.
    pub is_alone: bool,
    /// The socket of the management API and the checks for its requests, if there is one.
    pub admin: Option<(BoundListener, api::AccessPolicy)>,
}

/// The control thread before it serves, with everything that the system might refuse later.
pub struct Prepared {
    runtime: Runtime,
    control: Control,
    inlets: Inlets,
    /// The look-ups of names, and the receiver of new names to look up.
    look_ups: (LookUps, mpsc::Receiver<LookUpRequest>),
    /// The socket of the management API, and the checks for its requests.
    admin: Option<(api::ApiListener, api::AccessPolicy)>,
    /// The channel by which the management API asks.
    change_requests: ChangeRequests,
    signals: Signals,
}

/// Makes everything that the control thread needs, before palantir serves anybody. Errors: no descriptors or no threads
/// are left.
pub fn prepare(mut started: Started) -> io::Result<Prepared> {
    // Without descriptors, tokio panics where it begins to take signals.
    has_descriptors()?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::ACME_ORDERS)
        .build()?;
    let entered = runtime.enter();
    let (found, answers) = mpsc::channel(1);
    let (change_requests, asked) = mpsc::channel(limits::CHANGE_REQUESTS);
    let (finished, ended) = mpsc::channel(1);
    let (questions, questioned) = mpsc::channel(1);
    let (broken, breaks) = mpsc::channel(1);
    let inlets = Inlets {
        wake: UnixStream::from_std(started.inbox.wake_stream()?)?,
        finished: ended,
        found: answers,
        change_requests: asked,
        broken: breaks,
    };
    let admin = started.admin.take();
    let admin = match admin {
        Some((listener, access_policy)) => Some((api::ApiListener::open(listener)?, access_policy)),
        None => None,
    };
    let look_ups = (std::mem::take(&mut started.look_ups), questioned);
    let names = NameChannels {
        found,
        questions,
        hanging: look_ups.0.hanging(),
    };
    let control = Control::new(started, names, Outlets { finished, broken })?;
    let signals = Signals::take()?;
    drop(entered);
    // The program has all of its own descriptors only now.
    has_descriptors()?;
    has_memory()?;
    Ok(Prepared {
        runtime,
        control,
        inlets,
        look_ups,
        admin,
        change_requests,
        signals,
    })
}

/// Checks that descriptors are left to serve clients with. Errors: too few are left.
fn has_descriptors() -> io::Result<()> {
    let most = Machine::of_this_process().descriptors;
    let used = fs::read_dir("/proc/self/fd")?.count() as u64;
    let least = limits::SOCKETS_LEAST as u64;
    if used + least > most {
        let text = format!(
            "the program itself has {used} descriptors open and needs {least} more to serve anybody, but may have \
             {most} in all (ulimit -n)"
        );
        return Err(io::Error::other(text));
    }
    Ok(())
}

/// Checks that memory is left for serving, since a failed allocation would end the process then. Errors: too little is
/// left.
fn has_memory() -> io::Result<()> {
    let mut room = Vec::<u8>::new();
    if black_box(&mut room)
        .try_reserve_exact(limits::HEADROOM_BYTES)
        .is_err()
    {
        let text = format!(
            "the {} MiB of memory that serving needs cannot be allocated (ulimit -v)",
            limits::HEADROOM_BYTES >> 20
        );
        return Err(io::Error::other(text));
    }
    Ok(())
}

/// Waits until every worker has reported that it has adopted its snapshot, and therefore done everything that it was
/// told before. `read` gets every other message. Errors: a worker has ended, or takes too long.
pub fn wait_for_workers(
    inbox: &Inbox<ToControl>,
    workers: usize,
    mut read: impl FnMut(ToControl),
) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(limits::WORKER_START_SECS);
    let mut adopted = BTreeSet::new();
    while adopted.len() < workers {
        let left = deadline.saturating_duration_since(Instant::now());
        match inbox.take_within(left) {
            Some(ToControl::Adopted(worker, _)) => drop(adopted.insert(worker)),
            Some(
                ToControl::WorkerEnded(worker, reason) | ToControl::NotListening(worker, reason),
            ) => {
                return Err(format!("cannot start: worker {}: {reason}", worker.0));
            }
            Some(message) => read(message),
            None => return Err("cannot start: a worker does not answer".to_owned()),
        }
    }
    Ok(())
}

impl Prepared {
    /// Whether this process stops: see [`Upgrades::stopping`].
    pub fn stopping(&self) -> Arc<AtomicBool> {
        self.control.upgrade_run.upgrades.stopping()
    }

    /// Lets the servers on the sockets that are not the workers' accept, and waits until all workers have done what
    /// they were told. Errors: a worker has ended, or takes too long.
    pub fn accept(&mut self) -> Result<(), String> {
        let control = &mut self.control;
        control.upgrade_run.upgrades.accept();
        let mut others = Vec::new();
        let workers = control.monitoring.tables.workers();
        wait_for_workers(&control.inbox, workers, |message| others.push(message))?;
        for message in others {
            control.read(message, Micros::now());
        }
        Ok(())
    }

    /// Runs until a signal or the end of another thread stops the process. Returns the exit code: 0 if everything ended
    /// in order and no request was cut, else 1. The caller must end the process with this code at once, without
    /// dropping a runtime.
    pub fn run(self) -> u8 {
        let Prepared {
            runtime,
            control,
            inlets,
            look_ups: (look_ups, questions),
            admin,
            change_requests,
            mut signals,
        } = self;
        let last = LastResort::of(&control);
        let turning = async {
            signals.let_in();
            control.order_certificates();
            if let Some((listener, access_policy)) = admin {
                let router =
                    api::router(control.monitoring.api_state(change_requests), access_policy);
                let standing = control.config.standing();
                let mut accepting = control.upgrade_run.upgrades.accepting();
                control.spawn_vital("the management API", async move {
                    tokio::select! {
                        () = api::serve(listener, router, standing) => {}
                        stopped = accepting.wait_for(|accepting| !accepting) => drop(stopped),
                    }
                });
            }
            let (names, found) = (
                control.names.followed.subscribe(),
                control.names.channels.found.clone(),
            );
            control.spawn_vital(
                "the look-up of names",
                look_ups.run(names, questions, found),
            );
            control.run(inlets, async || signals.next().await).await
        };
        let code = catch_unwind(AssertUnwindSafe(|| runtime.block_on(turning)));
        // A look-up of a certificate authority that hangs would block the drop of the runtime.
        runtime.shutdown_background();
        code.unwrap_or_else(|_| last.stop())
    }
}
