//! The moment from which clients are served.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::{error, info, warn};

use super::workers::{post, repeat};
use crate::base::limits;
use crate::base::memory;
use crate::control;
use crate::control::start_state::StartState;
use crate::messages::{LeftToDo, Resumption, ToControl, ToHealth, ToWorker};
use crate::net::{self, BoundListener, ChosenEngine};
use crate::shared::SharedStore;
use crate::shared::health_record::HealthRecord;
use crate::shared::mailbox::Mailbox;
use crate::shared::socket_files;
use crate::snapshot::Snapshot;

/// The parts of the program that have been started and wait to accept.
pub(super) struct ReadyProcess {
    /// The configuration that all threads begin with.
    pub snapshot: Arc<Snapshot>,
    /// The control thread before it serves.
    pub control: control::Prepared,
    /// The mailbox of the control thread.
    pub to_control: Mailbox<ToControl>,
    /// The mailbox of the health thread.
    pub health: Mailbox<ToHealth>,
    /// The mailboxes of the workers.
    pub workers: Vec<Mailbox<ToWorker>>,
    /// For each worker, the sockets to accept on.
    pub sockets: Vec<Vec<BoundListener>>,
    /// The state that an earlier process has left.
    pub left: StartState,
    /// The states of the backends that the old process knew.
    pub known_backends: Vec<HealthRecord>,
    /// The store of the cache.
    pub store: Option<SharedStore>,
}

impl ReadyProcess {
    /// Lets all workers and servers accept, and waits until all workers do. Errors: a worker or the health
    /// thread takes no messages, or a worker has ended.
    pub fn accept(&mut self) -> Result<(), String> {
        memory::measure_base();
        // The health thread begins to watch before anybody is served, because the health thread ignores reports of
        // workers about backends that it does not know.
        self.begin_to_watch()?;
        for (mailbox, sockets) in self.workers.iter().zip(self.sockets.drain(..)) {
            let mut sockets = sockets.into_iter();
            sockets.try_for_each(|socket| post(mailbox, socket.into()))?;
        }
        repeat(&self.workers, &self.snapshot)?;
        self.control.accept()
    }

    /// Lets the health thread begin. After an upgrade it tells the workers what the old process knew of the backends
    /// before the first client is accepted.
    fn begin_to_watch(&mut self) -> Result<(), String> {
        let records = std::mem::take(&mut self.known_backends);
        let snapshot = self.snapshot.clone();
        let (told, tells) = crossbeam_channel::bounded(1);
        let is_new = records.is_empty();
        let message = if is_new {
            ToHealth::Snapshot(snapshot)
        } else {
            ToHealth::Resume(Resumption {
                snapshot,
                records,
                told,
            })
        };
        let posted = self.health.post(message);
        posted.map_err(|_| "cannot start: the health thread takes no messages")?;
        let patience = Duration::from_millis(limits::HEALTH_RESUME_MILLIS);
        if !is_new && tells.recv_timeout(patience).is_err() {
            warn!("the health thread is slow: the first requests may reach backends that are down");
        }
        Ok(())
    }

    /// Logs the configuration, and drops everything but the control thread: nothing may hold the first snapshot for
    /// longer.
    pub fn announce(self, chosen: &ChosenEngine) -> control::Prepared {
        announce(&self.snapshot, chosen);
        self.control
    }

    /// Tells the old process that this one accepts, on a thread of its own, and the control thread when the old process
    /// is over. Errors: no thread can be started; the old process has heard nothing then.
    pub fn follow(
        &self,
        await_end: impl FnOnce(&mut dyn FnMut(LeftToDo)) + Send + 'static,
    ) -> io::Result<()> {
        let control = self.to_control.clone();
        let mut places = self.snapshot.listen_places();
        let admin = self.snapshot.admin.as_ref();
        places.extend(admin.map(|admin| (admin.listen_addr.clone(), admin.access)));
        let mut lock = self.left.lock.clone();
        let (store, elders) = (self.store.clone(), self.store.clone());
        let mut be_alone = move |left| {
            if let Some(store) = &store {
                store.take_over();
            }
            socket_files::own_all();
            // The control thread keeps the lock; this thread only writes the process id.
            if let Some(lock) = lock.take() {
                lock.sign();
            }
            for failed in net::allow(&places) {
                error!("{failed}");
            }
            let _ = control.post(ToControl::PredecessorOver(left));
        };
        let work = move || {
            await_end(&mut be_alone);
            if let Some(store) = elders {
                store.await_elders(None);
            }
        };
        let named = thread::Builder::new().name("upgrade".to_owned());
        named.spawn(work).map(drop)
    }
}

fn announce(snapshot: &Snapshot, chosen: &ChosenEngine) {
    for listener in &snapshot.listeners {
        info!("listening on {listener}");
    }
    if let Some(admin) = &snapshot.admin {
        let tls = if admin.tls.is_some() { " (TLS)" } else { "" };
        info!("management API on {}{tls}", admin.listen_addr);
    }
    for addr in &snapshot.test_servers {
        info!("test server on {addr}");
    }
    let ChosenEngine { engine, reason } = chosen;
    info!("the workers run on {engine}, because {reason}");
    let backends: usize = snapshot.pools.iter().map(|pool| pool.backends.len()).sum();
    info!(
        "{} workers on {engine}; {} routes, {} pools, {backends} backends",
        snapshot.workers,
        snapshot.routes.len(),
        snapshot.pools.len(),
    );
}
