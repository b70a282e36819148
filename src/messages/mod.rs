//! The messages that the threads send to each other, and a worker's connections to the other threads.

pub mod links;
#[cfg(test)]
pub mod sample;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::base::addresses::{ListenAddr, Purpose};
use crate::base::ids::{BackendId, RequestId, WorkerId};
use crate::http::refusal::Refusal;
use crate::shared::backend_table::{BackendState, Permit};
use crate::shared::client_count::SharedClientCount;
use crate::shared::health_record::HealthRecord;
use crate::snapshot::Snapshot;

/// To a worker, from control, health and the other workers.
#[derive(Debug)]
pub enum ToWorker {
    /// Accept on this listening socket too. Comes after the snapshot that names the address.
    Listen {
        /// The address that the socket listens on.
        addr: ListenAddr,
        /// The listening socket.
        socket: OwnedFd,
        /// The purpose for which the clients in the socket's queue came, if the socket has another purpose now: these
        /// clients are turned away first. Where no snapshot names the address, nothing else is done.
        came_for: Option<Purpose>,
    },
    /// Take this configuration over for every request that begins from now on, stop listening on addresses that it does
    /// not name, and say [`ToControl::Adopted`].
    Snapshot(Arc<Snapshot>),
    /// Let requests that began under the snapshot of this generation, or an earlier one, end within `shutdown_timeout`:
    /// too many snapshots are in use.
    EndGenerations(u64),
    /// A backend's state has changed, or whether it fails its probes (`is_down`). A drained backend may fail its
    /// probes, too.
    BackendState {
        /// The backend.
        id: BackendId,
        /// The state that the backend has now.
        state: BackendState,
        /// Whether the backend fails its probes.
        is_down: bool,
    },
    /// Stop accepting, close idle connections, let running requests finish; say [`ToControl::Drained`] when none is
    /// left.
    Drain,
    /// The process ends now: record the requests under way as cut, and do no more work for them.
    Cut,
    /// Another process has the same listening sockets: stop accepting, let every connection end with its client's next
    /// answer; say [`ToControl::Drained`] when none is left. [`ToWorker::Drain`] may follow.
    Retire,
    /// Another worker closed a connection to a backend for the sake of a request that waits here: open one for it.
    Permit(Permit),
    /// Requests wait on another worker for a connection to the pool of this backend: give idle ones up for them.
    GiveIdle(BackendId),
    /// The fill of this number has made progress, for which tasks of this worker wait.
    FillMoved(u64),
    /// There may be a place for a client that waits here.
    LookForPlaces,
    /// A client waits for a place at this listener on the worker `asker`: close an idle connection, or ask the next
    /// worker.
    CloseIdleClient {
        /// The client connections of the listener.
        listener: SharedClientCount,
        /// The worker on which the client waits.
        asker: WorkerId,
    },
    /// A connection to this backend was closed just when a request began to wait here: see whether there is room.
    Look(BackendId),
}

/// To the health thread, from control and the workers.
#[derive(Debug)]
pub enum ToHealth {
    /// Watch these backends from now on.
    Snapshot(Arc<Snapshot>),
    /// Watch these backends from now on, with what the old process of an upgrade knew of them. Comes before every
    /// [`ToHealth::Snapshot`].
    Resume(Resumption),
    /// Report what is known of every backend, for the new process of an upgrade.
    Report(Sender<Vec<HealthRecord>>),
    /// The number of consecutive failed requests to a backend, on all workers together, has reached the number for
    /// which its pool ejects a backend.
    Failed {
        /// The backend.
        backend: BackendId,
        /// The number of consecutive failures.
        failures: u32,
        /// The label of the last failure.
        label: &'static str,
    },
    /// A request has waited in this backend for long, and the backend answers no other request: probe the backend soon.
    Silent(BackendId),
    /// Start no further probe, because this process stops or another one has taken over. Reports of the workers still
    /// count.
    StopProbing,
    /// End the thread.
    Stop,
}

/// The beginning of the health thread in a process that takes over.
#[derive(Debug)]
pub struct Resumption {
    /// The configuration of the process.
    pub snapshot: Arc<Snapshot>,
    /// The records of the old process.
    pub records: Vec<HealthRecord>,
    /// Receives a message when the states of all backends have been sent to all workers.
    pub told: Sender<()>,
}

/// To the control thread, from the workers and the health thread.
#[derive(Debug)]
pub enum ToControl {
    /// The worker begins its requests with the snapshot of this generation, or with a later one.
    Adopted(WorkerId, u64),
    /// The worker has no connection left after [`ToWorker::Drain`] or [`ToWorker::Retire`]. The message may come more
    /// than once.
    Drained(WorkerId),
    /// The worker cannot accept on a socket that it was given, for the named reason.
    NotListening(WorkerId, String),
    /// The worker's thread ended although nobody asked the thread to, for the named reason.
    WorkerEnded(WorkerId, String),
    /// A task of this worker has panicked without which the worker cannot work. The worker ends, and its connections
    /// end with it; [`ToControl::WorkerEnded`] follows.
    WorkerFailed(WorkerId, &'static str),
    /// The old process, from which this one has taken over, is over, and leaves these things to do.
    PredecessorOver(LeftToDo),
    /// A backend's state changed.
    BackendChanged(StateChange),
    /// A worker refused a request.
    Refused(Box<RefusedHead>),
}

/// The operations that signals requested from a process while another one was taking over. The other process carries
/// them out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftToDo {
    /// Read the configuration file again.
    pub reload: bool,
    /// Open the log files again.
    pub reopen: bool,
    /// Start the next process.
    pub upgrade: bool,
}

/// The beginning of a request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedHead {
    /// The worker that refused the request.
    pub worker: WorkerId,
    /// The connection's peer; `None` for a Unix socket.
    pub client: Option<IpAddr>,
    /// The id of the request, as the response and the access log have it.
    pub request_id: RequestId,
    /// The rule that the request breaks.
    pub refusal: Refusal,
    /// At most `limits::REFUSED_HEAD_BYTES`.
    pub head: Box<[u8]>,
}

/// A backend's state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The backend's row in the tables.
    pub id: BackendId,
    /// The name of the pool.
    pub pool: String,
    /// The backend as logs name it.
    pub backend: String,
    /// `None` if the backend is new. Its row in the tables may have belonged to another one before, so the workers must
    /// be told even that it is healthy.
    pub from: Option<BackendState>,
    /// The state that the backend has now.
    pub to: BackendState,
    /// Whether the backend fails its probes, even while it is drained.
    pub is_down: bool,
    /// The reason for the change, for logs and events.
    pub reason: String,
}
