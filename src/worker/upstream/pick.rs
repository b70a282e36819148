//! Picks a backend for a request by the algorithm of the pool, among the backends that can take the request. No
//! function here waits.

use std::rc::Rc;

use crate::base::ids::{BackendId, PoolId};
use crate::base::time::Micros;
use crate::snapshot::Protocol;
use crate::worker::live_config::{Choice, LiveConfig, Pick};
use crate::worker::shard::Shard;
use crate::worker::upstream::Carrier;
use crate::worker::upstream::websocket::goes_by_http1;

/// The demands of a request on the backend that is picked for it.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// The pool to pick from.
    pub pool: PoolId,
    /// Hash of the value by which the balancing algorithm picks a backend; 0 if the algorithm uses no value of the
    /// request.
    pub key: u64,
    /// The protocol by which the request is sent.
    pub carrier: Carrier,
    /// The backend that the request was sent to last.
    pub last: Option<BackendId>,
}

/// A backend that is being picked.
pub(super) struct Picking<'a> {
    /// The core that picks.
    pub shard: &'a Shard,
    /// The configuration with which the request began.
    pub config: &'a Rc<LiveConfig>,
    /// The backends that have given the request no answer.
    pub tried: &'a [BackendId],
    /// The demands on the backend.
    pub selection: Selection,
}

/// The backend that a request goes to first, as index in the pool; `None`: the request has to wait, or no backend takes
/// requests.
pub fn choose_first(shard: &Shard, config: &Rc<LiveConfig>, selection: Selection) -> Option<u32> {
    let picking = Picking {
        shard,
        config,
        tried: &[],
        selection,
    };
    match picking.pick_in_turn() {
        Pick::Backend(index) => Some(index),
        Pick::Saturated | Pick::None => None,
    }
}

impl Picking<'_> {
    /// Asks the pool for a backend, unless other requests wait already for one: connections that become free are
    /// theirs.
    #[inline]
    pub fn pick_in_turn(&self) -> Pick {
        let Selection { pool, carrier, .. } = self.selection;
        let queue = self.config.live(pool).queue();
        if queue.is_ahead(self.config.snapshot().generation, carrier) {
            Pick::Saturated
        } else {
            self.pick()
        }
    }

    /// Asks the pool for a backend.
    pub fn pick(&self) -> Pick {
        let Selection {
            pool, key, last, ..
        } = self.selection;
        let shard = self.shard;
        let tried = |id| self.tried.contains(&id);
        let avoids_others = prefers_well(shard, self.config, pool, last);
        let choice = Choice {
            tables: &shard.tables,
            now: Micros::now(),
            key,
            tried: (!self.tried.is_empty()).then_some(&tried),
            is_full: &|id, most| (avoids_others && !is_well(shard, id)) || self.is_full(id, most),
        };
        self.config.pick(pool, &choice)
    }

    /// Whether [`super::connect()`] could give no connection to a backend that may have `most` connections.
    pub fn is_full(&self, id: BackendId, most: u32) -> bool {
        let shard = self.shard;
        let may_not_open = most != u32::MAX && shard.tables.open(id) >= most;
        let key = self.config.reuse_key(id);
        match self.config.pool(self.selection.pool).protocol {
            Protocol::Http1 => may_not_open && !shard.upstreams.has_idle_for(id, key),
            // Ending an idle connection of HTTP/2 makes a connection possible for such a request: see
            // [`Picking::make_room`].
            Protocol::Http2 if self.goes_by_http1(id) => may_not_open,
            Protocol::Http2 => {
                let shared = &shard.shared_upstreams;
                let has_room = || key.is_some_and(|key| shared.has_room(id, key));
                (may_not_open || shared.is_full(id)) && !has_room()
            }
        }
    }

    /// Ends an unused connection of HTTP/2 for a request that cannot be sent on it. The queue gets the permit of the
    /// connection.
    pub fn make_room(&self, id: BackendId) {
        if self.goes_by_http1(id) {
            self.shard.shared_upstreams.end_idle(id);
        }
    }

    fn goes_by_http1(&self, id: BackendId) -> bool {
        goes_by_http1(self.shard, self.config, self.selection.carrier, id)
    }
}

/// Whether a request goes only to backends for which [`is_well`] is true. That is so if `config`, with which the
/// request began, is not in force any more, and its pool has such a backend besides `last`, to which the request was
/// sent last. The earlier configuration gets no states of the other backends, which may not be probed any more.
pub fn prefers_well(
    shard: &Shard,
    config: &Rc<LiveConfig>,
    pool: PoolId,
    last: Option<BackendId>,
) -> bool {
    if Rc::ptr_eq(&shard.config(), config) {
        return false;
    }
    let is_other = |id| last != Some(id) && is_well(shard, id);
    config.takes_any(pool, &shard.tables, is_other)
}

/// Whether a backend takes requests by the live configuration in force.
pub fn is_well(shard: &Shard, id: BackendId) -> bool {
    shard.config().takes(id) && shard.tables.of(shard.worker).takes_requests(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Pool;
    use crate::worker::sample::{POOL, listener, of_http2, refusing, run_worker};
    use crate::worker::upstream::keep_idle;
    use crate::worker::upstream::sample::{ANY, Own, PLAIN, ready};

    fn picking<'a>(
        shard: &'a Shard,
        config: &'a Rc<LiveConfig>,
        tried: &'a [BackendId],
    ) -> Picking<'a> {
        Picking {
            shard,
            config,
            tried,
            selection: ANY,
        }
    }

    #[test]
    fn backends_that_were_tried_come_last() {
        let addrs = [refusing(), refusing(), refusing()];
        run_worker(
            &addrs,
            |_| (),
            async |shard| {
                let config = shard.config();
                let id = |index| config.backend(POOL, index).id();
                for left in 0..3 {
                    let tried: Vec<_> = (0..3).filter(|&index| index != left).map(id).collect();
                    for _ in 0..3 {
                        let pick = picking(&shard, &config, &tried).pick();
                        assert_eq!(pick, Pick::Backend(left));
                    }
                }
                let all = [id(0), id(1), id(2)];
                let pick = picking(&shard, &config, &all).pick();
                assert!(
                    matches!(pick, Pick::Backend(_)),
                    "one that failed is better than none"
                );
            },
        );
    }

    /// The protocol of a pool decides what makes a backend that has reached its bound full.
    #[test]
    fn a_backend_at_its_bound_is_full_unless_a_connection_can_be_used_again() {
        let bounded = |pool: &mut Pool| pool.backends[0].max_connections = 1;
        let (_listener, addr) = listener();
        run_worker(&[addr], bounded, async |shard| {
            let own = Own::of(&shard);
            let id = own.config.backend(POOL, 0).id();
            let is_full = || picking(&shard, &own.config, &[]).is_full(id, 1);
            assert!(!is_full());
            let upstream = ready(own.connect(&shard, 0, PLAIN).await);
            assert!(is_full());
            keep_idle(&shard, upstream);
            assert!(!is_full(), "an idle connection can be used");
        });
        let (_listener, addr) = listener();
        let shared = |pool: &mut Pool| {
            bounded(pool);
            of_http2(pool);
        };
        run_worker(&[addr], shared, async |shard| {
            let own = Own::of(&shard);
            let id = own.config.backend(POOL, 0).id();
            let _upstream = ready(own.connect(&shard, 0, PLAIN).await);
            let is_full = |carrier| {
                let picking = Picking {
                    selection: Selection { carrier, ..ANY },
                    ..picking(&shard, &own.config, &[])
                };
                picking.is_full(id, 1)
            };
            assert!(!is_full(Carrier::Pools), "streams share the connection");
            assert!(
                is_full(Carrier::Http1),
                "such a request needs one of its own"
            );
        });
    }

    #[test]
    fn the_plan_in_force_says_who_is_well() {
        run_worker(
            &[refusing(), refusing()],
            |_| (),
            async |shard| {
                let config = shard.config();
                let [first, second] = [0, 1].map(|index| config.backend(POOL, index).id());
                assert!(is_well(&shard, first));
                let prefers = |last| prefers_well(&shard, &config, POOL, last);
                assert!(!prefers(None), "the request began with the plan in force");
                shard.set_share(second, 0);
                assert!(!is_well(&shard, second), "it rests");
                assert!(!is_well(&shard, BackendId(99)), "no pool has it");
            },
        );
    }
}
