//! The names behind the numbers of an access-log line.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits;
use crate::shared::access::AccessLine;
use crate::snapshot::{Route, Snapshot};

/// The names of all snapshots that requests may use, and of the last [`limits::LOGGED_SNAPSHOTS`] others. The snapshots
/// themselves are not kept: they would keep the rows of backends that were removed long ago.
#[derive(Debug, Default)]
pub struct LogNames {
    /// In the order of their generations, the newest last.
    snapshots: Vec<SnapshotNames>,
    /// The generations of snapshots that no request uses any more, the latest last.
    unused: VecDeque<u64>,
}

/// The names of one snapshot.
#[derive(Debug)]
pub struct SnapshotNames {
    generation: u64,
    /// Shared with the snapshots; routes keep no rows of backends.
    routes: Vec<Arc<Route>>,
    /// Shared with the previous snapshot if the names are the same.
    pools: Arc<[PoolNames]>,
}

#[derive(Debug, PartialEq)]
struct PoolNames {
    name: String,
    backends: Vec<String>,
}

/// The names in one line; `None` for what the exchange did not come to, or is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineNames<'a> {
    /// The name of the route.
    pub route: Option<&'a str>,
    /// The name of the pool.
    pub pool: Option<&'a str>,
    /// The backend, as logs and metrics name it.
    pub backend: Option<&'a str>,
}

impl SnapshotNames {
    /// Copies the names of a snapshot.
    pub fn of(snapshot: &Snapshot) -> SnapshotNames {
        let pools = snapshot.pools.iter().map(|pool| PoolNames {
            name: pool.name.clone(),
            backends: pool
                .backends
                .iter()
                .map(|backend| backend.label.clone())
                .collect(),
        });
        SnapshotNames {
            generation: snapshot.generation,
            routes: snapshot.routes.clone(),
            pools: pools.collect(),
        }
    }
}

impl LogNames {
    /// Remembers the names of a snapshot that is newer than all known ones.
    pub fn learn(&mut self, mut names: SnapshotNames) {
        debug_assert!(
            (self.snapshots.last()).is_none_or(|newest| newest.generation <= names.generation),
            "names are learnt in the order of their configurations"
        );
        if let Some(newest) = self.snapshots.last()
            && newest.pools == names.pools
        {
            names.pools = newest.pools.clone();
        }
        self.snapshots.push(names);
    }

    /// Notes that no request uses this snapshot any more.
    pub fn note_unused(&mut self, generation: u64) {
        self.unused.push_back(generation);
        if self.unused.len() > limits::LOGGED_SNAPSHOTS
            && let Some(oldest) = self.unused.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// Forgets the names of a snapshot.
    pub fn forget(&mut self, generation: u64) {
        self.snapshots
            .retain(|names| names.generation != generation);
    }

    /// Whether the line belongs to a snapshot that is newer than all known ones.
    pub fn are_older_than(&self, line: &AccessLine) -> bool {
        let newest = self.snapshots.last();
        newest.is_none_or(|newest| newest.generation < line.generation)
    }

    /// Takes over the names in `newer`, which are all newer than the known ones.
    pub fn append(&mut self, newer: LogNames) {
        newer
            .snapshots
            .into_iter()
            .for_each(|names| self.learn(names));
    }

    /// The names in this line.
    pub fn of(&self, line: &AccessLine) -> LineNames<'_> {
        let mut snapshots = self.snapshots.iter().rev();
        let Some(names) = snapshots.find(|names| names.generation == line.generation) else {
            return LineNames::default();
        };
        let pool = line.facts.pool.and_then(|id| names.pools.get(id.index()));
        let backend = line
            .tally
            .backend
            .and_then(|index| pool?.backends.get(index as usize));
        LineNames {
            route: line
                .facts
                .route
                .and_then(|id| names.routes.get(id.index()))
                .map(|route| route.name.as_str()),
            pool: pool.map(|pool| pool.name.as_str()),
            backend: backend.map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{PoolId, RequestId};
    use crate::base::time::Micros;
    use crate::shared::access::{LoggedTexts, RequestFacts, Tally};
    use crate::snapshot::sample;

    fn line(generation: u64, pool: Option<u32>, backend: Option<u32>) -> AccessLine {
        AccessLine {
            began: Micros(0),
            request_id: RequestId(1),
            generation,
            facts: RequestFacts {
                pool: pool.map(PoolId),
                ..RequestFacts::default()
            },
            texts: LoggedTexts::default(),
            tally: Tally {
                backend,
                ..Tally::default()
            },
            total_micros: 0,
            failure: "",
            cache: Default::default(),
        }
    }

    #[test]
    fn names_are_those_of_the_lines_own_snapshot_while_it_is_remembered() {
        let mut slots = sample::slots();
        let mut names = LogNames::default();
        let newest = 2 * limits::LOGGED_SNAPSHOTS as u64 + 1;
        for generation in 1..=newest {
            let pool = sample::pool(&mut slots, &format!("pool{generation}"), &sample::addrs(2));
            names.learn(SnapshotNames::of(&sample::snapshot(generation, vec![pool])));
        }
        // All generations but the third and the last are unused; the first two of them are forgotten.
        let unused = (1..newest).filter(|generation| *generation != 3);
        unused
            .take(limits::LOGGED_SNAPSHOTS + 2)
            .for_each(|generation| names.note_unused(generation));
        let known = |pool, backend| LineNames {
            route: None,
            pool,
            backend,
        };
        let rows = [
            (
                line(3, Some(0), Some(1)),
                known(Some("pool3"), Some("127.0.0.1:2")),
            ),
            (line(4, Some(0), None), known(Some("pool4"), None)),
            (
                line(33, Some(0), Some(0)),
                known(Some("pool33"), Some("127.0.0.1:1")),
            ),
            (line(33, Some(0), None), known(Some("pool33"), None)),
            (line(33, None, None), known(None, None)),
            (line(33, Some(9), Some(9)), known(None, None)),
            (line(1, Some(0), Some(0)), known(None, None)),
            (line(2, Some(0), Some(0)), known(None, None)),
            (line(99, Some(0), Some(0)), known(None, None)),
        ];
        for (line, expected) in rows {
            assert_eq!(names.of(&line), expected, "{line:?}");
        }
        assert!(!names.are_older_than(&line(33, None, None)));
        assert!(names.are_older_than(&line(34, None, None)));
    }
}
