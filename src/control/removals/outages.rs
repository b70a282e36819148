//! Backends that are removed when they stay down too long (`remove_after`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tracing::warn;

use super::rows::Rows;
use super::{DueRemoval, Named};
use crate::base::ids::{BackendId, WorkerId};
use crate::base::limits;
use crate::base::quantity::show_time;
use crate::base::time::Micros;
use crate::config::{Config, PoolSettings};
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::snapshot::Snapshot;

/// The state of the pools whose backends may be down for a limited time only.
#[derive(Debug, Default)]
pub struct Outages {
    pools: HashMap<String, Outage>,
    /// When the pools are looked at again, at the earliest.
    due: Micros,
}

/// The outage of one pool.
#[derive(Debug, Default)]
struct Outage {
    /// The backends that are down, by address.
    down: HashMap<String, Down>,
    /// How many backends the pool has lost since it last had none that was down.
    removed: usize,
    /// Until then, that no backend is down does not say that the outage is over.
    kept_until: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    since: Micros,
    /// Whether the log already says that the backend stays in spite of its outage.
    is_told: bool,
    /// Whether the removal of the backend was requested.
    is_asked: bool,
}

/// A pool's backends: the address of each, and how long the backend may be down, if that is limited.
type Backends = Vec<(String, Option<Duration>)>;

impl Outages {
    /// Goes on with what an earlier process knew. Health checks take a while to find again which backends are down.
    pub fn resume(&mut self, lost: &BTreeMap<String, usize>, now: Micros) {
        let kept_until = now.after(Duration::from_secs(limits::OUTAGE_KEPT_SECS));
        for (pool, removed) in lost {
            let outage = Outage {
                removed: *removed,
                kept_until,
                ..Outage::default()
            };
            self.pools.insert(pool.clone(), outage);
        }
    }

    /// How many backends each pool has lost in its outage once this configuration is in force.
    pub fn lost(&self, config: &Config) -> BTreeMap<String, usize> {
        let pools = config.settings.all_pools().filter_map(|pool| {
            let name = &pool.name.value;
            let outage = self.pools.get(name).filter(|outage| outage.has_losses())?;
            let backends = pool.backends.iter();
            let there: HashSet<String> = backends
                .map(|backend| backend.address.target.to_string())
                .collect();
            Some((name.clone(), outage.lost(|addr| there.contains(addr))))
        });
        pools.filter(|(_, lost)| *lost > 0).collect()
    }

    /// A backend to take out because it has been down for as long as its `remove_after` allows, if there is one.
    /// An outage must not dismantle a pool: another backend has to be well, and at least half of the pool stays, of
    /// what the file names (`in_file`) as well as of what there was when the outage began. Looks once a second, and at
    /// once after it has found one: a pool may have many thousands of backends.
    pub fn next(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        tables: &BackendTables,
        in_file: &dyn Fn(&str) -> usize,
        now: Micros,
    ) -> Option<DueRemoval> {
        if now < self.due {
            return None;
        }
        let mut before = std::mem::take(&mut self.pools);
        let may_lose = |pool: &&PoolSettings| {
            let mut backends = pool.backends.iter();
            backends.any(|backend| backend.remove_after.is_some())
        };
        let pools: Vec<_> = config.settings.all_pools().filter(may_lose).collect();
        let names: HashSet<&str> = pools.iter().map(|pool| pool.name.value.as_str()).collect();
        let rows = Rows::of(snapshot, |pool| names.contains(pool));
        let mut due_removal = None;
        for pool in pools {
            let name = &pool.name.value;
            let mut outage = before.remove(name).unwrap_or_default();
            let (down, up) = outage.look(pool, &rows, tables, now);
            if due_removal.is_none() {
                due_removal = outage.choose(name, (&down, &up), &rows, in_file, now);
            }
            self.pools.insert(name.clone(), outage);
        }
        if due_removal.is_none() {
            self.due = now.after(Duration::from_secs(limits::OUTAGE_LOOK_SECS));
        }
        due_removal
    }
}

impl Outage {
    /// Whether the pool has lost a backend, or is about to.
    fn has_losses(&self) -> bool {
        self.removed > 0 || self.down.values().any(|known| known.is_asked)
    }

    /// How many backends the pool has lost if these are there now.
    fn lost(&self, is_there: impl Fn(&str) -> bool) -> usize {
        let asked = self.down.iter().filter(|(_, known)| known.is_asked);
        self.removed + asked.filter(|(addr, _)| !is_there(addr)).count()
    }

    /// Looks which backends are down.
    fn look(
        &mut self,
        pool: &PoolSettings,
        rows: &Rows<'_>,
        tables: &BackendTables,
        now: Micros,
    ) -> (Backends, Backends) {
        let backends = pool.backends.iter();
        let named =
            backends.map(|backend| (backend.address.target.to_string(), backend.remove_after));
        let is_down = |addr: &str| is_down(rows, tables, &pool.name.value, addr);
        let (down, up): (Backends, Backends) = named.partition(|(addr, _)| is_down(addr));
        if down.is_empty() && self.kept_until <= now {
            self.removed = 0;
        }
        let there: HashSet<&str> = down
            .iter()
            .chain(&up)
            .map(|(addr, _)| addr.as_str())
            .collect();
        self.removed = self.lost(|addr| there.contains(addr));
        let before = std::mem::take(&mut self.down);
        let limited = down.iter().filter(|(_, most)| most.is_some());
        self.down = limited
            .map(|(addr, _)| (addr.clone(), *before.get(addr).unwrap_or(&Down::since(now))))
            .collect();
        (down, up)
    }

    /// Chooses a backend of the pool to take out, if there is one; `down` and `up` are all its backends. The log says
    /// once of each backend whose time is over why it stays.
    fn choose(
        &mut self,
        pool: &str,
        (down, up): (&Backends, &Backends),
        rows: &Rows<'_>,
        in_file: &dyn Fn(&str) -> usize,
        now: Micros,
    ) -> Option<DueRemoval> {
        let is_over = |known: &Down, most: Duration| known.since.after(most) <= now;
        let over = down.iter().filter_map(|(addr, most)| {
            let (most, known) = ((*most)?, self.down.get(addr)?);
            is_over(known, most).then_some((addr, most))
        });
        let over: Vec<_> = over.collect();
        let (addr, most) = *over.first()?;
        let all = down.len() + up.len();
        let least = in_file(pool).max(all + self.removed).div_ceil(2);
        let takes = |addr: &str| {
            rows.find(pool, addr)
                .iter()
                .any(|backend| !backend.draining)
        };
        if all > least && up.iter().any(|(addr, _)| takes(addr)) {
            if let Some(known) = self.down.get_mut(addr) {
                known.is_asked = true;
            }
            return Some(DueRemoval {
                backend: Named {
                    pool: pool.to_owned(),
                    addr: addr.clone(),
                },
                requested_by: format!("down for {} (remove_after)", show_time(most)),
            });
        }
        for (addr, most) in over {
            if let Some(known) = self.down.get_mut(addr)
                && !std::mem::replace(&mut known.is_told, true)
            {
                warn!(
                    pool,
                    backend = addr,
                    "the backend stays although it has been down for {}: no other backend of the pool takes requests, or \
                     half of the pool is gone already",
                    show_time(most)
                );
            }
        }
        None
    }
}

impl Down {
    fn since(since: Micros) -> Down {
        Down {
            since,
            is_told: false,
            is_asked: false,
        }
    }
}

/// Whether the backend failed its health checks at every address that it has. The first worker's table is enough, since
/// all workers know the same.
fn is_down(rows: &Rows<'_>, tables: &BackendTables, pool: &str, addr: &str) -> bool {
    let state = |id: BackendId| tables.of(WorkerId(0)).state(id);
    let mut rows = rows.find(pool, addr).iter();
    rows.all(|backend| backend.addr.is_none() || state(backend.id()) == BackendState::Unhealthy)
}
