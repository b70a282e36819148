//! Every backend that is watched, what is thought of it, and when it is probed next. No I/O and no clock: the thread
//! tells it what happened and when, and takes away the changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::health::jitter::Jitter;
use crate::health::judge::{self, Judge};
use crate::health::probe::Outcome;
use crate::shared::backend_table::BackendState;
use crate::snapshot::{Backend, HealthCheck, Pool, Snapshot};

/// A backend's state changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub id: BackendId,
    pub pool: String,
    pub backend: String,
    /// `None` if the backend is new. Its row in the tables may have belonged to another one before, so the workers must
    /// be told even that it is healthy.
    pub from: Option<BackendState>,
    pub to: BackendState,
    pub reason: String,
}

/// One probe to make. Holds the snapshot, so that the backend's row is not given to another backend meanwhile.
#[derive(Debug)]
pub struct Assignment {
    pub id: BackendId,
    pub started: Micros,
    snapshot: Arc<Snapshot>,
    place: Place,
}

/// Where a backend stands in the snapshot.
#[derive(Clone, Copy, Debug)]
struct Place {
    pool: usize,
    backend: usize,
}

#[derive(Debug)]
struct Watched {
    place: Place,
    judge: Judge,
    /// `None`: not probed, or a probe is under way.
    next_probe: Option<Micros>,
    probing: bool,
}

/// All watched backends.
#[derive(Debug)]
pub struct Watch {
    snapshot: Option<Arc<Snapshot>>,
    backends: BTreeMap<BackendId, Watched>,
    probes: BTreeSet<(Micros, BackendId)>,
    ejection_ends: BTreeSet<(Micros, BackendId)>,
    /// Names of pools without a healthy backend, as far as the log was told.
    dark: BTreeSet<String>,
    changes: Vec<Change>,
    jitter: Jitter,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Watch {
        Watch {
            snapshot: None,
            backends: BTreeMap::new(),
            probes: BTreeSet::new(),
            ejection_ends: BTreeSet::new(),
            dark: BTreeSet::new(),
            changes: Vec::new(),
            jitter: Jitter::new(),
        }
    }
}
