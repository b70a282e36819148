//! A request for a connection to a backend, and the part of the backend's bound that a connection uses.

use std::cell::Cell;
use std::rc::Rc;

use crate::base::ids::{BackendId, PoolId};
use crate::snapshot::{Backend, Pool};
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;
use crate::worker::upstream::{Caller, ConnectionMode, Hold, ReuseKey};

/// A request for a connection that is under way.
pub(super) struct Connecting<'a> {
    /// The core on which the connection is made.
    pub shard: &'a Rc<Shard>,
    /// The party that asks for the connection.
    pub caller: &'a Caller<'a>,
    /// The demands of the request on its connection.
    pub mode: ConnectionMode,
    /// The pool of the backend.
    pub pool: PoolId,
    /// The backend that was picked.
    pub backend: &'a Backend,
    /// The key of the connections that the caller may use.
    pub key: ReuseKey,
    /// The backend that is being connected to: the backend that was picked, or another address of its name.
    pub reached: Cell<BackendId>,
}

impl Connecting<'_> {
    /// The pool of the backend.
    pub fn pool(&self) -> &Pool {
        self.caller.config.pool(self.pool)
    }
}

/// The backend has as many connections as it may have.
pub(super) struct Full;

/// A part of the backend's bound for another connection; `None`: the backend has no bound. Errors: the bound is
/// reached.
pub(super) fn new_hold(
    shard: &Shard,
    config: &LiveConfig,
    pool: PoolId,
    backend: &Backend,
) -> Result<Option<Hold>, Full> {
    let most = backend.max_connections;
    if most == u32::MAX {
        return Ok(None);
    }
    let permit = shard.tables.try_open(backend.id(), most).ok_or(Full)?;
    Ok(Some(Hold::permit(config.live(pool).queue(), permit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::{POOL, refusing, run_worker};

    #[test]
    fn a_connection_takes_up_a_place_only_where_there_is_a_bound() {
        for (most, expected) in [(u32::MAX, [true, true, true]), (2, [true, true, false])] {
            run_worker(
                &[refusing()],
                |pool| pool.backends[0].max_connections = most,
                async |shard| {
                    let config = shard.config();
                    let backend = config.backend(POOL, 0);
                    let holds = [(); 3].map(|()| new_hold(&shard, &config, POOL, backend));
                    assert_eq!(holds.each_ref().map(Result::is_ok), expected);
                    let counted = holds.iter().flatten().flatten().count();
                    assert_eq!(counted as u32, shard.tables.open(backend.id()));
                    drop(holds);
                    assert_eq!(shard.tables.open(backend.id()), 0);
                },
            );
        }
    }
}
