//! Where a backend stands in the snapshot that is in force.

use std::sync::Arc;

use crate::base::ids::BackendId;
use crate::snapshot::{Backend, Pool, Snapshot};

/// A backend in its pool. Holds the snapshot, so that the backend's row is not given to another one meanwhile.
#[derive(Clone, Debug)]
pub struct BackendRef {
    snapshot: Arc<Snapshot>,
    pool: usize,
    backend: usize,
}

impl BackendRef {
    /// Every backend of a snapshot.
    pub fn all(snapshot: &Arc<Snapshot>) -> impl Iterator<Item = BackendRef> {
        snapshot
            .pools
            .iter()
            .enumerate()
            .flat_map(move |(pool, settings)| {
                (0..settings.backends.len()).map(move |backend| BackendRef {
                    snapshot: snapshot.clone(),
                    pool,
                    backend,
                })
            })
    }

    /// The index of the pool in the snapshot.
    pub fn pool_index(&self) -> usize {
        self.pool
    }

    /// The pool with its settings.
    pub fn pool(&self) -> &Pool {
        &self.snapshot.pools[self.pool]
    }

    /// The backend with its address.
    pub fn backend(&self) -> &Backend {
        &self.pool().backends[self.backend]
    }

    /// The backend's row.
    pub fn id(&self) -> BackendId {
        self.backend().id()
    }
}
