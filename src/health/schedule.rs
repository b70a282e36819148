//! The schedule of probes. Each pool has a share of the probes that may be under way, and may have more of them while
//! nobody else needs them. One probe of each pool never waits for those of others, so that a pool whose probes hang
//! delays only itself. No I/O and no clock here.

use std::collections::BTreeSet;

use crate::base::ids::BackendId;
use crate::base::time::Micros;

/// The backends that wait for a probe, pool by pool, in the order of the snapshot's pools.
#[derive(Debug, Default)]
pub struct Schedule {
    pools: Vec<PoolSchedule>,
    /// The number of probes that may be under way.
    most: usize,
}

#[derive(Clone, Debug, Default)]
struct PoolSchedule {
    waiting: BTreeSet<(Micros, BackendId)>,
    under_way: usize,
    /// The number of probes that the pool may have under way before others may have more than their share.
    share: usize,
}

impl PoolSchedule {
    /// When the pool's next probe is due, if another probe may be started. `is_spare`: there is one that is no pool's
    /// first.
    fn next_due(&self, is_spare: bool) -> Option<Micros> {
        let next = self.waiting.first();
        let next = next.filter(|_| self.under_way == 0 || is_spare);
        next.map(|&(at, _)| at)
    }
}

impl Schedule {
    /// An empty schedule for this number of pools.
    pub fn of_pools(pools: usize) -> Schedule {
        Schedule {
            pools: vec![PoolSchedule::default(); pools],
            most: 0,
        }
    }

    /// Adds a backend that is to be probed at this instant.
    pub fn insert(&mut self, pool: usize, at: Micros, id: BackendId) {
        self.pools[pool].waiting.insert((at, id));
    }

    /// Takes out a backend that was to be probed at this instant.
    pub fn remove(&mut self, pool: usize, at: Micros, id: BackendId) {
        self.pools[pool].waiting.remove(&(at, id));
    }

    /// Counts a probe that an earlier schedule started and that is still under way.
    pub fn note_started(&mut self, pool: usize) {
        self.pools[pool].under_way += 1;
    }

    /// Notes that a probe of the pool has ended.
    pub fn note_ended(&mut self, pool: usize) {
        debug_assert!(
            self.pools[pool].under_way > 0,
            "a probe that ends was started"
        );
        self.pools[pool].under_way -= 1;
    }

    /// Shares out `most` probes. Each pool gets at least one, and a part of the rest in proportion to its backends.
    pub fn share_out(&mut self, most: usize) {
        self.most = most;
        let backends = |pool: &PoolSchedule| pool.waiting.len() + pool.under_way;
        let firsts = self.pools.iter().filter(|pool| backends(pool) > 0).count();
        let further: usize = self
            .pools
            .iter()
            .map(|pool| backends(pool).saturating_sub(1))
            .sum();
        let spare = most.saturating_sub(firsts).min(further);
        debug_assert!(
            spare <= further,
            "no pool gets more probes than it has backends"
        );
        for pool in &mut self.pools {
            let wanted = backends(pool).saturating_sub(1);
            pool.share = 1 + (wanted * spare).checked_div(further).unwrap_or(0);
        }
    }

    /// The next instant at which a probe may be started.
    pub fn next_due(&self) -> Option<Micros> {
        let is_spare = self.is_spare();
        let pools = self.pools.iter();
        pools.filter_map(|pool| pool.next_due(is_spare)).min()
    }

    /// Whether another probe may be started and leave one for each pool that has none under way.
    fn is_spare(&self) -> bool {
        let needed = |pool: &PoolSchedule| match pool.under_way {
            0 => usize::from(!pool.waiting.is_empty()),
            under_way => under_way,
        };
        self.pools.iter().map(needed).sum::<usize>() < self.most
    }

    /// Starts a probe that is due, and returns the backend to probe: of the pool with the fewest probes under way, the
    /// backend that is overdue longest. Pools that have their share come last.
    pub fn start_due(&mut self, now: Micros) -> Option<BackendId> {
        let is_spare = self.is_spare();
        let due = self.pools.iter_mut().filter_map(|pool| {
            let at = pool.next_due(is_spare).filter(|&at| at <= now)?;
            let has_share = pool.under_way >= pool.share;
            Some(((has_share, pool.under_way, at), pool))
        });
        let (_, pool) = due.min_by_key(|(order, _)| *order)?;
        pool.under_way += 1;
        pool.waiting.pop_first().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule of pools with these numbers of backends, all due at once. The ids are numbered through all pools.
    fn schedule(sizes: &[usize], most: usize) -> Schedule {
        let mut schedule = Schedule::of_pools(sizes.len());
        let mut ids = (0..).map(BackendId);
        for (pool, &size) in sizes.iter().enumerate() {
            for id in ids.by_ref().take(size) {
                schedule.insert(pool, Micros(u64::from(id.0)), id);
            }
        }
        schedule.share_out(most);
        schedule
    }

    #[test]
    fn shares_table() {
        let rows: [(&[usize], usize, &[usize]); 7] = [
            (&[3], 10, &[3]),
            (&[1000], 256, &[256]),
            (&[1000, 1], 256, &[255, 1]),
            (&[100, 100], 1000, &[100, 100]),
            (&[300, 100], 200, &[149, 50]),
            // A pool without probes takes nothing from the others.
            (&[0, 20], 10, &[1, 10]),
            // With more pools than probes, each pool may have one probe, and waits for the others.
            (&[5, 5, 5], 2, &[1, 1, 1]),
        ];
        for (sizes, most, expected) in rows {
            let schedule = schedule(sizes, most);
            let shares: Vec<_> = schedule.pools.iter().map(|pool| pool.share).collect();
            assert_eq!(shares, expected, "{sizes:?} of {most}");
        }
    }

    #[test]
    fn a_pool_whose_probes_hang_delays_only_itself() {
        let mut schedule = schedule(&[1000, 1], 256);
        let started: Vec<_> = std::iter::from_fn(|| schedule.start_due(Micros(5_000))).collect();
        assert_eq!(started.len(), 256);
        assert_eq!(
            started[1],
            BackendId(1000),
            "the small pool is not the last"
        );
        assert_eq!(schedule.next_due(), None);
        for second in 1..10 {
            schedule.note_ended(1);
            schedule.insert(1, Micros(second * 1_000_000), BackendId(1000));
            assert_eq!(schedule.next_due(), Some(Micros(second * 1_000_000)));
            let due = schedule.start_due(Micros(second * 1_000_000));
            assert_eq!(due, Some(BackendId(1000)));
        }
    }

    /// Starts what is due by this instant; how many probes of each pool are under way then.
    fn under_way(schedule: &mut Schedule, now: Micros) -> Vec<usize> {
        while schedule.start_due(now).is_some() {}
        schedule.pools.iter().map(|pool| pool.under_way).collect()
    }

    #[test]
    fn a_pool_may_have_what_no_other_needs() {
        // Sixty pools are well, and their probes have ended: only the first one hangs.
        let sizes = [&[5][..], &[17; 60]].concat();
        let mut schedule = schedule(&sizes, 256);
        assert_eq!(schedule.pools[0].share, 1);
        for pool in schedule.pools.iter_mut().skip(1) {
            let later = pool.waiting.iter().map(|&(_, id)| (Micros(1 << 30), id));
            pool.waiting = later.collect();
        }
        let started = under_way(&mut schedule, Micros(5_000));
        assert_eq!(started[0], 5, "all of them at once");
        assert_eq!(started.iter().sum::<usize>(), 5);
        // When the others are due, each has its share.
        let started = under_way(&mut schedule, Micros(1 << 30));
        assert_eq!(started.iter().sum::<usize>(), 256);
        assert!(started.iter().all(|&count| count >= 4), "{started:?}");
    }

    #[test]
    fn the_first_probe_of_each_pool_waits_for_no_other_pool() {
        let mut schedule = schedule(&[100, 100, 3], 50);
        for pool in schedule.pools.iter_mut().skip(1) {
            let later = pool.waiting.iter().map(|&(_, id)| (Micros(9_000), id));
            pool.waiting = later.collect();
        }
        assert_eq!(under_way(&mut schedule, Micros(5_000)), [48, 0, 0]);
        assert_eq!(schedule.next_due(), Some(Micros(9_000)));
        assert_eq!(under_way(&mut schedule, Micros(9_000)), [48, 1, 1]);
        // A place that becomes free goes to a pool that has less than its share.
        schedule.note_ended(0);
        assert_eq!(under_way(&mut schedule, Micros(9_000)), [47, 2, 1]);
    }

    #[test]
    fn pools_take_turns_in_the_order_in_which_they_are_overdue() {
        let mut schedule = schedule(&[2, 2], 4);
        assert_eq!(schedule.start_due(Micros(0)), Some(BackendId(0)));
        assert_eq!(schedule.start_due(Micros(0)), None, "none is due");
        let rest: Vec<_> = std::iter::from_fn(|| schedule.start_due(Micros(9))).collect();
        assert_eq!(rest, [BackendId(2), BackendId(1), BackendId(3)]);
    }
}
