//! Requests of the API to the control thread's loop, which alone changes anything, and the state that may be read
//! without a request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Config;
use crate::control::config_store::{ConfigStore, Diff, Edit, Problem, Revision};
use crate::control::requested_file::RequestedFile;
use crate::snapshot::Snapshot;

/// The sending end of the queue of change requests. The queue is bounded; a full queue makes the caller wait.
pub type ChangeRequests = mpsc::Sender<ChangeRequest>;
/// The configuration in force, for everybody who only reads it.
pub type Standing = watch::Receiver<Arc<InForce>>;
/// The loop answers when the outcome is in force on every core, or refused.
pub type ReplySender = oneshot::Sender<Result<CompletedOperation, Problem>>;

/// A question, who asks it, and where the answer goes.
#[derive(Debug)]
pub struct ChangeRequest {
    /// The operation that is asked for.
    pub operation: Operation,
    /// If set, the change is refused unless this revision is in force.
    pub if_match: Option<u64>,
    /// The caller, for the audit log and the revision: `api 127.0.0.1:50312`, `SIGHUP`.
    pub requested_by: String,
    /// Receives the result.
    pub answer: ReplySender,
}

/// The operation that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A change of one pool or backend.
    Edit(Edit),
    /// Let a backend take no new requests, and remove it when its running requests have ended or `patience` is over.
    /// The answer comes when no core sends it requests any more; its removal is a revision of its own.
    DrainServer {
        /// The name of the backend's pool.
        pool: String,
        /// The address of the backend, as the configuration has it.
        addr: String,
        /// The longest time until the backend is removed although it still has requests.
        patience: Duration,
    },
    /// Read the file again. With `trial`, the change is taken back unless [`Operation::Confirm`] comes in time. A file
    /// without any route or listener is refused unless `allow_empty` is set; with `asked`, so is a file that is not the
    /// one asked for.
    Reload {
        /// Conditions under which the change is taken back; `None`: it stays.
        trial: Option<Trial>,
        /// Whether a file without any route or listener is taken.
        allow_empty: bool,
        /// The only file that is taken; `None`: any file.
        asked: Option<RequestedFile>,
    },
    /// Compare the file with the configuration in force. Changes nothing.
    Compare,
    /// The reload on trial is good.
    Confirm,
    /// Make this revision the one in force again, as a new one.
    Rollback {
        /// The number of the earlier revision.
        revision: u64,
    },
    /// Hand over to a new process of the binary; with `force` also where the new process would load a file that a
    /// rollback has taken back. A file without any route or listener is refused unless `allow_empty` is set.
    Upgrade {
        /// Whether a file is loaded that a rollback has taken back.
        force: bool,
        /// Whether a file without any route or listener is taken.
        allow_empty: bool,
    },
}

/// Conditions of a reload that may be taken back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The time for which a confirmation is awaited.
    pub within: Duration,
    /// Go back at once if more than this share of the requests since the reload failed, `0.0..=100.0`.
    pub most_failed_percent: f64,
}

/// The result of an operation that was carried out.
#[derive(Clone, Debug)]
pub struct CompletedOperation {
    /// The revision in force now.
    pub revision: u64,
    /// Whether anything changed by it.
    pub changed: bool,
    /// Further remarks for the caller, such as the changes of the API that a reload has ended, and the backends that
    /// are drained.
    pub notes: Vec<String>,
    /// The differences that the change has made; for [`Operation::Compare`], those that a reload would make.
    pub diff: Diff,
    /// The configuration that this change put in force, even if a later change replaced it.
    pub in_force: Arc<InForce>,
}

/// The configuration in force.
#[derive(Debug)]
pub struct InForce {
    /// The number of the revision in force.
    pub revision: u64,
    /// The compiled configuration.
    pub snapshot: Arc<Snapshot>,
    /// The configuration that the snapshot was compiled from.
    pub config: Arc<Config>,
    /// The whole configuration as a file would have it: the file's text with what the API changed.
    pub document: toml::Table,
    /// The latest revisions, newest first; at most `limits::REVISIONS`.
    pub revisions: Vec<Revision>,
    /// A stop has begun.
    pub draining: bool,
    /// Whether another process has taken over.
    pub retired: bool,
}

impl InForce {
    /// The configuration store's configuration, compiled as `snapshot`, in a process that has not been taken over from.
    pub fn new(config_store: &ConfigStore, snapshot: &Arc<Snapshot>) -> InForce {
        InForce {
            revision: config_store.revision(),
            snapshot: snapshot.clone(),
            config: Arc::new(config_store.config().clone()),
            document: config_store.document().clone(),
            revisions: config_store.revisions(),
            draining: false,
            retired: false,
        }
    }
}
