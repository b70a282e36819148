//! Every backend that is watched, what is thought of it, and when it is probed next. No I/O and no clock: the thread
//! tells it what happened and when, and takes the events away.

mod ejections;
mod removed;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use crate::base::ids::BackendId;
use crate::base::machine_clock::MachineClock;
use crate::base::time::Micros;
use crate::health::backend_health::{self, BackendHealth};
use crate::health::backend_ref::BackendRef;
use crate::health::health_event::{HealthEvent, probes_in_words};
use crate::health::jitter::Jitter;
use crate::health::probe::ProbeOutcome;
use crate::health::resume::{Records, record_of};
use crate::health::schedule::Schedule;
use crate::messages::StateChange;
use crate::shared::backend_table::BackendState;
use crate::shared::health_record::HealthRecord;
use crate::snapshot::{Backend, HealthCheck, Pool, Snapshot};

/// All watched backends.
#[derive(Debug)]
pub struct Watch {
    backends: BTreeMap<BackendId, Watched>,
    /// Backends that the snapshot no longer has while requests are under way there. They are probed on, so that these
    /// requests learn when their backend is down.
    removed: BTreeSet<BackendId>,
    /// Every [`NextProbe::At`], and the number of [`NextProbe::AfterThis`].
    schedule: Schedule,
    /// Whether backends are probed at all.
    is_probing: bool,
    /// Every [`BackendHealth::ejected_until`].
    ejection_ends: BTreeSet<(Micros, BackendId)>,
    /// Names of the pools last reported down.
    pools_down: BTreeSet<String>,
    /// Names of the pools that panic.
    panicking: BTreeSet<String>,
    /// The records of another process about the backends of the snapshot that is adopted next.
    resumed: Option<Records>,
    events: Vec<HealthEvent>,
    jitter: Jitter,
}

/// One backend.
#[derive(Debug)]
struct Watched {
    backend_ref: BackendRef,
    health: BackendHealth,
    /// The index of the pool in the schedule. Those that leave stand behind all pools.
    lane: usize,
    next_probe: NextProbe,
    /// When the last probe began; zero: there was none.
    last_probe: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextProbe {
    /// The backend is not probed.
    Never,
    At(Micros),
    /// One is under way.
    AfterThis,
}

/// One probe to make.
#[derive(Debug)]
pub struct Assignment {
    backend_ref: BackendRef,
    check: HealthCheck,
    started: Micros,
}

impl Assignment {
    /// The pool of the backend.
    pub fn pool(&self) -> &Pool {
        self.backend_ref.pool()
    }

    /// The backend to probe.
    pub fn backend(&self) -> &Backend {
        self.backend_ref.backend()
    }

    /// The settings of its probes.
    pub fn check(&self) -> &HealthCheck {
        &self.check
    }
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Watch {
        Watch {
            backends: BTreeMap::new(),
            removed: BTreeSet::new(),
            schedule: Schedule::default(),
            is_probing: true,
            ejection_ends: BTreeSet::new(),
            pools_down: BTreeSet::new(),
            panicking: BTreeSet::new(),
            resumed: None,
            events: Vec::new(),
            jitter: Jitter::new(),
        }
    }

    /// The changes since the last call.
    pub fn take_events(&mut self) -> Vec<HealthEvent> {
        mem::take(&mut self.events)
    }

    /// The next instant at which there is something to do; `room`: whether another probe may be started.
    pub fn next_due(&self, room: bool) -> Option<Micros> {
        let probe = self.schedule.next_due().filter(|_| room);
        let ejection_end = self.ejection_ends.first().map(|&(at, _)| at);
        probe.into_iter().chain(ejection_end).min()
    }

    /// Begins to watch the backends of this snapshot with what another process knew of them. The first probe of each
    /// comes soon all the same.
    pub fn resume(&mut self, snapshot: &Arc<Snapshot>, records: Records, now: Micros) {
        self.resumed = Some(records);
        self.adopt(snapshot, now);
        self.resumed = None;
    }

    /// The record of every configured backend, for another process.
    pub fn records(&self, clock: MachineClock) -> Vec<HealthRecord> {
        let configured = self.backends.iter();
        let configured = configured.filter(|(id, _)| !self.removed.contains(id));
        configured
            .map(|(_, watched)| record_of(&watched.backend_ref, &watched.health, clock))
            .collect()
    }

    /// Watches the backends of this snapshot from now on. Those that stay keep all that is known of them: a row remains
    /// the same backend's for as long as one snapshot after the other names it. Those that it has no more leave; see
    /// [`Watch::let_go`].
    pub fn adopt(&mut self, snapshot: &Arc<Snapshot>, now: Micros) {
        let mut before = mem::take(&mut self.backends);
        self.schedule = Schedule::of_pools(snapshot.pools.len() + 1);
        self.ejection_ends.clear();
        self.removed.clear();
        for backend_ref in BackendRef::all(snapshot) {
            let id = backend_ref.id();
            // An address that a pool names twice is one backend.
            if !self.backends.contains_key(&id) {
                self.enter(id, backend_ref, before.remove(&id), now);
            }
        }
        for (id, watched) in before {
            self.keep_removed(id, watched, snapshot.pools.len());
        }
        self.schedule.share_out(snapshot.descriptors.probes);
        for pool in &snapshot.pools {
            self.forgive_surplus(pool);
        }
        let is_known = |name: &String| snapshot.pools.iter().any(|pool| pool.name == *name);
        self.pools_down.retain(is_known);
        self.panicking.retain(is_known);
        for pool in &snapshot.pools {
            self.look_at(pool);
        }
    }

    fn enter(
        &mut self,
        id: BackendId,
        backend_ref: BackendRef,
        before: Option<Watched>,
        now: Micros,
    ) {
        debug_assert!(
            !self.backends.contains_key(&id),
            "a backend is entered once"
        );
        let from = before.as_ref().map(|watched| watched.health.state());
        let was_down = (before.as_ref()).is_some_and(|watched| watched.health.is_down());
        let (mut health, planned, last_probe) = match before {
            // A probe that is under way by another check than now counts for nothing, and the next one comes soon.
            Some(watched) if !is_probed_alike(&watched.backend_ref, &backend_ref) => {
                (watched.health.asked_anew(), NextProbe::Never, Micros(0))
            }
            Some(watched) => (watched.health, watched.next_probe, watched.last_probe),
            None => (
                self.first_health(&backend_ref, now),
                NextProbe::Never,
                Micros(0),
            ),
        };
        health.apply(backend_ref.backend(), backend_ref.pool());
        if let Some(records) = &self.resumed {
            records.resume_since(&backend_ref, &health);
        }
        let next_probe = self.plan(planned, &health, &backend_ref, now);
        match next_probe {
            NextProbe::At(at) => self.schedule.insert(backend_ref.pool_index(), at, id),
            NextProbe::AfterThis => self.schedule.note_started(backend_ref.pool_index()),
            NextProbe::Never => {}
        }
        if let Some(until) = health.ejected_until() {
            self.ejection_ends.insert((until, id));
        }
        let to = health.state();
        if from != Some(to) {
            let reason = match (from, to) {
                (_, BackendState::Draining) => "the configuration drains the backend",
                (Some(BackendState::Draining), _) => {
                    "the configuration no longer drains the backend"
                }
                _ => "health settings changed",
            };
            let change = StateChange::new(&backend_ref, from, to, reason.to_owned());
            self.events
                .push(HealthEvent::Changed(change.with_down(health.is_down())));
        } else if was_down != health.is_down() {
            let reason = "health settings changed".to_owned();
            let change =
                StateChange::new(&backend_ref, from, to, reason).with_down(health.is_down());
            self.events.push(HealthEvent::DownChanged(change));
        }
        self.backends.insert(
            id,
            Watched {
                lane: backend_ref.pool_index(),
                backend_ref,
                health,
                next_probe,
                last_probe,
            },
        );
    }

    fn first_health(&self, backend_ref: &BackendRef, now: Micros) -> BackendHealth {
        let records = self.resumed.as_ref();
        records.map_or_else(BackendHealth::default, |records| {
            records.health(backend_ref, now)
        })
    }

    /// A backend that was not probed will be soon; one that was waits no longer than the settings now say.
    fn plan(
        &mut self,
        planned: NextProbe,
        health: &BackendHealth,
        backend_ref: &BackendRef,
        now: Micros,
    ) -> NextProbe {
        let check = backend_ref.backend().health_check.as_ref();
        let is_probed = self.is_probing && backend_ref.backend().addr.is_some();
        let Some(check) = check.filter(|_| is_probed) else {
            return NextProbe::Never;
        };
        match planned {
            NextProbe::Never => {
                NextProbe::At(now.after(self.jitter.below(backend_health::short_pause(check))))
            }
            NextProbe::At(at) => {
                NextProbe::At(at.min(now.after(self.jitter.around(health.pause(check)))))
            }
            NextProbe::AfterThis => NextProbe::AfterThis,
        }
    }

    /// Starts no further probe. The states of the backends stay as they are, except for ejections, which end in their
    /// time.
    pub fn stop_probing(&mut self) {
        self.is_probing = false;
        self.schedule = Schedule::default();
        for watched in self.backends.values_mut() {
            watched.next_probe = NextProbe::Never;
        }
    }

    /// Up to `room` probes whose time has come. Each must be answered by [`Watch::probed`].
    pub fn due_probes(&mut self, room: usize, now: Micros) -> Vec<Assignment> {
        let mut due = Vec::new();
        while due.len() < room
            && let Some(id) = self.schedule.start_due(now)
        {
            let Some(watched) = self.backends.get_mut(&id) else {
                continue;
            };
            let Some(mut check) = watched.backend_ref.backend().health_check.clone() else {
                continue;
            };
            check.timeout = watched.health.timeout(&check);
            watched.next_probe = NextProbe::AfterThis;
            watched.last_probe = now;
            due.push(Assignment {
                backend_ref: watched.backend_ref.clone(),
                check,
                started: now,
            });
        }
        due
    }

    /// Processes the outcome of a probe; `None`: the probe could not be made. The present settings decide what the
    /// outcome means, if the backend still exists.
    pub fn probed(&mut self, assignment: &Assignment, outcome: Option<&ProbeOutcome>, now: Micros) {
        let id = assignment.backend_ref.id();
        let Some(Watched {
            backend_ref,
            health,
            lane,
            next_probe,
            last_probe,
        }) = self.backends.get_mut(&id)
        else {
            return;
        };
        if *next_probe != NextProbe::AfterThis || *last_probe != assignment.started {
            return;
        }
        let Some(check) = &backend_ref.backend().health_check else {
            return;
        };
        let from = health.state();
        let turned =
            outcome.and_then(|outcome| Some((health.probed(outcome.is_ok(), check)?, outcome)));
        let at = assignment
            .started
            .after(self.jitter.around(health.pause(check)))
            .max(now);
        *next_probe = NextProbe::At(at);
        self.schedule.note_ended(*lane);
        self.schedule.insert(*lane, at, id);
        if let Some((count, outcome)) = turned {
            let (to, reason) = (health.state(), probes_in_words(count, outcome));
            if to == BackendState::Draining || self.removed.contains(&id) {
                let change = StateChange::new(backend_ref, Some(to), to, reason);
                self.events
                    .push(HealthEvent::DownChanged(change.with_down(health.is_down())));
                return;
            }
            self.settle(id, from, reason);
        }
    }

    /// Lets the next probe of a backend that counts as healthy come soon, because a request waits there for long: as if
    /// the backend were between two states.
    pub fn hasten(&mut self, id: BackendId, now: Micros) {
        let Some(watched) = self.backends.get_mut(&id) else {
            return;
        };
        let check = watched.backend_ref.backend().health_check.as_ref();
        let (Some(check), NextProbe::At(at)) = (check, watched.next_probe) else {
            return;
        };
        let soon = watched
            .last_probe
            .after(backend_health::short_pause(check))
            .max(now);
        if watched.health.is_down() || at <= soon {
            return;
        }
        watched.next_probe = NextProbe::At(soon);
        self.schedule.remove(watched.lane, at, id);
        self.schedule.insert(watched.lane, soon, id);
    }

    /// Reports the backend if its state is no longer `from`, and its pool if that made a difference to it.
    fn settle(&mut self, id: BackendId, from: BackendState, reason: String) {
        let Some(Watched {
            backend_ref,
            health,
            ..
        }) = self.backends.get(&id)
        else {
            return;
        };
        let to = health.state();
        let change =
            StateChange::new(backend_ref, Some(from), to, reason).with_down(health.is_down());
        if from == to {
            return;
        }
        let backend_ref = backend_ref.clone();
        self.events.push(HealthEvent::Changed(change));
        self.look_at(backend_ref.pool());
    }

    /// Reports the pool if its last healthy backend is gone, or the first one back. When the last one goes, those
    /// that were only ejected come back: a backend that fails some requests is better than none.
    fn look_at(&mut self, pool: &Pool) {
        if self.usable(pool) == 0 {
            self.forgive(pool);
        }
        if self.usable(pool) > 0 {
            if self.pools_down.remove(&pool.name) {
                self.events.push(HealthEvent::PoolUp(pool.name.clone()));
            }
        } else if self.pools_down.insert(pool.name.clone()) {
            self.events.push(HealthEvent::PoolDown(pool.name.clone()));
        }
        self.look_for_panic(pool);
    }

    /// Reports the pool if it begins to panic, or panics no longer.
    fn look_for_panic(&mut self, pool: &Pool) {
        let state = |backend: &Backend| match self.backends.get(&backend.id()) {
            Some(watched) => watched.health.state(),
            None => BackendState::Healthy,
        };
        let name = &pool.name;
        if !pool.panics(state) {
            if self.panicking.remove(name) {
                self.events.push(HealthEvent::PanicEnded(name.clone()));
            }
            return;
        }
        let (healthy, of) = pool.healthy_of(state);
        if self.panicking.insert(name.clone()) {
            self.events.push(HealthEvent::PanicBegan {
                pool: name.clone(),
                healthy,
                of,
                threshold: pool.panic_threshold,
            });
        }
    }

    /// How many backends of a pool take requests.
    fn usable(&self, pool: &Pool) -> usize {
        let backends = pool.backends.iter();
        backends.filter(|backend| self.is_usable(backend)).count()
    }

    fn is_usable(&self, backend: &Backend) -> bool {
        let watched = self.backends.get(&backend.id());
        let is_healthy = |watched: &Watched| watched.health.state() == BackendState::Healthy;
        backend.addr.is_some() && watched.is_some_and(is_healthy)
    }
}

/// Whether the probes of a backend are the same in two snapshots: what they ask, and where.
fn is_probed_alike(before: &BackendRef, after: &BackendRef) -> bool {
    let key = |backend_ref: &BackendRef| {
        let (pool, backend) = (backend_ref.pool(), backend_ref.backend());
        let tls = pool.tls.as_ref().map(|tls| Arc::as_ptr(&tls.config));
        (
            tls,
            pool.protocol,
            pool.proxy_protocol,
            backend.addr.clone(),
        )
    };
    before.backend().health_check == after.backend().health_check
        && before.backend().server_name == after.backend().server_name
        && key(before) == key(after)
}

#[cfg(test)]
mod tests;
