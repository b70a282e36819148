//! Backends that are out of service for a while because requests to them failed.

use std::time::Duration;

use super::{HealthEvent, Watch, Watched};
use crate::base::ids::BackendId;
use crate::base::quantity::show_time;
use crate::base::time::Micros;
use crate::health::backend_health;
use crate::messages::StateChange;
use crate::shared::backend_table::BackendState;
use crate::snapshot::{Backend, Outlier, Pool};

impl Watch {
    /// Ejects a backend after so many consecutive failures; `label` is the label of the last one. Requests that fail
    /// while the backend is out of service were sent before, and do not count.
    pub fn failed(&mut self, id: BackendId, failures: u32, label: &'static str, now: Micros) {
        let Some(backend_ref) = self
            .backends
            .get(&id)
            .map(|watched| watched.backend_ref.clone())
        else {
            return;
        };
        if self.removed.contains(&id) {
            return; // The backend is in no pool any more.
        }
        let Some(outlier) = &backend_ref.pool().outlier else {
            return;
        };
        if !self.is_usable(backend_ref.backend())
            || !self.may_eject_from(backend_ref.pool(), outlier)
        {
            return;
        }
        let Some(Watched { health, .. }) = self.backends.get_mut(&id) else {
            return;
        };
        let from = health.state();
        let until = health.eject(now, outlier);
        self.ejection_ends.insert((until, id));
        let time = show_time(Duration::from_micros(until.since(now)));
        self.settle(
            id,
            from,
            format!("{failures} consecutive failures: {label}; for {time}"),
        );
    }

    /// Ends the ejections whose time is over.
    pub fn end_ejections(&mut self, now: Micros) {
        while let Some(&(until, id)) = self.ejection_ends.first()
            && until <= now
        {
            self.ejection_ends.pop_first();
            let Some(watched) = self.backends.get_mut(&id) else {
                continue;
            };
            let from = watched.health.state();
            watched.health.end_ejection(now);
            self.settle(id, from, "ejection is over".to_owned());
        }
    }

    /// Ends the ejections of a pool's backends.
    pub(super) fn forgive(&mut self, pool: &Pool) {
        for id in pool.backends.iter().map(Backend::id) {
            let Some(Watched {
                backend_ref,
                health,
                ..
            }) = self.backends.get_mut(&id)
            else {
                continue;
            };
            let from = health.state();
            if from != BackendState::Ejected || backend_ref.backend().addr.is_none() {
                continue;
            }
            if let Some(until) = health.ejected_until() {
                self.ejection_ends.remove(&(until, id));
            }
            health.forgive();
            let reason = "no other backend of its pool is left".to_owned();
            let change = StateChange::new(backend_ref, Some(from), health.state(), reason);
            self.events.push(HealthEvent::Changed(change));
        }
    }

    /// Whether another usable backend of the pool may be ejected: never the last one.
    fn may_eject_from(&self, pool: &Pool, outlier: &Outlier) -> bool {
        self.ejected(pool).len() < backend_health::most_ejected(pool.backends.len(), outlier)
            && self.usable(pool) > 1
    }

    /// The ejected backends of a pool, in the order in which their ejections end.
    fn ejected(&self, pool: &Pool) -> Vec<(Micros, BackendId)> {
        let until = |id: BackendId| Some((self.backends.get(&id)?.health.ejected_until()?, id));
        let ids = pool.backends.iter().map(Backend::id);
        let mut ejected: Vec<_> = ids.filter_map(until).collect();
        ejected.sort_unstable();
        ejected
    }

    /// Ends the ejections of a pool that would end first, if there are more than may be: the pool has become smaller.
    pub(super) fn forgive_surplus(&mut self, pool: &Pool) {
        let Some(outlier) = &pool.outlier else {
            return;
        };
        let most = backend_health::most_ejected(pool.backends.len(), outlier);
        let ejected = self.ejected(pool);
        let surplus = ejected.len().saturating_sub(most);
        for &(until, id) in &ejected[..surplus] {
            self.ejection_ends.remove(&(until, id));
            if let Some(watched) = self.backends.get_mut(&id) {
                let from = watched.health.state();
                watched.health.forgive();
                self.settle(id, from, "the pool has become smaller".to_owned());
            }
        }
    }
}
