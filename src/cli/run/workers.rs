//! The start of the workers, each on a thread of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender};

use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::messages::links::Links;
use crate::messages::{ToControl, ToHealth, ToWorker};
use crate::net::{self, Engine};
use crate::shared::SharedStore;
use crate::shared::access::AccessLine;
use crate::shared::backend_table::BackendTables;
use crate::shared::mailbox::{Inbox, Mailbox, mailbox};
use crate::shared::worker_counters::{self, AllWorkerCounters};
use crate::snapshot::Snapshot;
use crate::worker;

/// The workers, as the other threads see them.
pub(super) struct Workers {
    /// The mailbox of each worker.
    pub mailboxes: Vec<Mailbox<ToWorker>>,
    /// The counters of the workers.
    pub counters: AllWorkerCounters,
    /// Receives the access log's lines, for each worker.
    pub access_lines: Vec<Receiver<AccessLine>>,
    /// The mailbox of the control thread.
    pub control: Mailbox<ToControl>,
    /// The messages to the control thread.
    pub inbox: Inbox<ToControl>,
}

impl Workers {
    /// Starts as many workers as the snapshot says. They accept nobody before they are sent sockets. Errors: no
    /// descriptors or no threads are left.
    pub fn start(
        snapshot: &Arc<Snapshot>,
        (tables, store): (&Arc<BackendTables>, Option<&SharedStore>),
        engine: Engine,
        health: &Mailbox<ToHealth>,
    ) -> io::Result<Workers> {
        let (control, inbox) = mailbox(2 * limits::WORKERS + limits::BACKENDS)?;
        let mut workers = Workers {
            mailboxes: Vec::new(),
            counters: worker_counters::counters(snapshot.workers),
            access_lines: Vec::new(),
            control,
            inbox,
        };
        let mut inboxes = Vec::new();
        for _ in 0..snapshot.workers {
            let (mailbox, inbox) = mailbox(limits::WORKER_MAILBOX)?;
            workers.mailboxes.push(mailbox);
            inboxes.push(inbox);
        }
        let cpus = net::allowed_cpus();
        // With more workers than CPUs, the system places the workers better than palantir could.
        let is_pinned = snapshot.workers <= cpus.len();
        for (number, inbox) in inboxes.into_iter().enumerate() {
            let (sender, lines) = crossbeam_channel::bounded(limits::ACCESS_LOG_LINES);
            workers.access_lines.push(lines);
            let start = worker::Start {
                worker: WorkerId(number as u32),
                engine,
                cpu: cpus.get(number).copied().filter(|_| is_pinned),
                snapshot: snapshot.clone(),
                tables: tables.clone(),
                cache: store.cloned(),
                inbox,
                links: workers.links(health.clone(), sender),
                mailboxes: workers.mailboxes.clone(),
            };
            start_worker(start, workers.control.clone())?;
        }
        Ok(workers)
    }

    fn links(&self, health: Mailbox<ToHealth>, access_lines: Sender<AccessLine>) -> Links {
        Links {
            counters: self.counters.clone(),
            health,
            control: self.control.clone(),
            access_lines,
        }
    }
}

/// Starts a worker. The control thread hears of the worker's end, however it comes.
fn start_worker(start: worker::Start, control: Mailbox<ToControl>) -> io::Result<()> {
    let worker = start.worker;
    let name = format!("worker-{}", worker.0);
    thread::Builder::new().name(name).spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(|| worker::work(start)));
        let reason = match ended {
            Ok(Ok(())) => "the worker ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the worker panicked".to_owned(),
        };
        let _ = control.post(ToControl::WorkerEnded(worker, reason));
    })?;
    Ok(())
}

/// Sends the workers the snapshot that they have: they report it when they have followed all earlier orders. Errors: a
/// worker's mailbox is full.
pub(super) fn repeat(
    mailboxes: &[Mailbox<ToWorker>],
    snapshot: &Arc<Snapshot>,
) -> Result<(), String> {
    let mut all = mailboxes.iter();
    all.try_for_each(|mailbox| post(mailbox, ToWorker::Snapshot(snapshot.clone())))
}

/// Sends a worker a message. Errors: its mailbox is full.
pub(super) fn post(mailbox: &Mailbox<ToWorker>, message: ToWorker) -> Result<(), String> {
    let posted = mailbox.post(message);
    posted.map_err(|_| "cannot start: a worker takes no messages".to_owned())
}
