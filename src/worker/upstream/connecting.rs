//! A connection to a backend that is being asked for, and what it takes up of the backend's bound.

use std::cell::Cell;
use std::rc::Rc;

use crate::base::ids::{BackendId, PoolId};
use crate::snapshot::{Backend, Pool};
use crate::worker::plan::Plan;
use crate::worker::shard::Shard;
use crate::worker::upstream::{Caller, ConnectionMode, Hold, ReuseKey};

/// A connection that is being asked for.
pub(super) struct Connecting<'a> {
    pub shard: &'a Rc<Shard>,
    pub caller: &'a Caller<'a>,
    pub mode: ConnectionMode,
    pub pool: PoolId,
    /// The backend that was picked.
    pub backend: &'a Backend,
    /// The key of the connections that the caller may use.
    pub key: ReuseKey,
    /// The backend that is being connected to: the one that was picked, or another address of its name.
    pub reached: Cell<BackendId>,
}

impl Connecting<'_> {
    /// The pool of the backend.
    pub fn pool(&self) -> &Pool {
        self.caller.plan.pool(self.pool)
    }
}

/// The backend has as many connections as it may.
pub(super) struct Full;

/// What another connection takes up of the backend's bound; `None`: the backend has no bound.
pub(super) fn new_hold(
    shard: &Shard,
    plan: &Plan,
    pool: PoolId,
    backend: &Backend,
) -> Result<Option<Hold>, Full> {
    let most = backend.max_connections;
    if most == u32::MAX {
        return Ok(None);
    }
    let permit = shard.tables.try_open(backend.id(), most).ok_or(Full)?;
    Ok(Some(Hold::permit(plan.live(pool).queue(), permit)))
}
