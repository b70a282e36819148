//! Every backend that is watched, what is thought of it, and when it is probed next. No I/O and no clock: the thread
//! tells it what happened and when, and takes the news away.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::health::jitter::Jitter;
use crate::health::judge::{self, Judge};
use crate::health::news::{Change, News, probes_in_words};
use crate::health::place::Place;
use crate::health::probe::Outcome;
use crate::shared::backend_table::BackendState;
use crate::snapshot::{Backend, HealthCheck, Pool, Snapshot};

/// All watched backends.
#[derive(Debug)]
pub struct Watch {
    backends: BTreeMap<BackendId, Watched>,
    /// Every [`NextProbe::At`].
    probes: BTreeSet<(Micros, BackendId)>,
    /// Every [`Judge::ejected_until`].
    ejection_ends: BTreeSet<(Micros, BackendId)>,
    /// Names of the pools last reported down.
    pools_down: BTreeSet<String>,
    news: Vec<News>,
    jitter: Jitter,
}

/// One backend.
#[derive(Debug)]
struct Watched {
    place: Place,
    judge: Judge,
    next_probe: NextProbe,
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
    place: Place,
    check: HealthCheck,
    started: Micros,
}

impl Assignment {
    /// The backend to probe.
    pub fn backend(&self) -> &Backend {
        self.place.backend()
    }

    /// How to probe it.
    pub fn check(&self) -> &HealthCheck {
        &self.check
    }
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Watch {
        Watch {
            backends: BTreeMap::new(),
            probes: BTreeSet::new(),
            ejection_ends: BTreeSet::new(),
            pools_down: BTreeSet::new(),
            news: Vec::new(),
            jitter: Jitter::new(),
        }
    }

    /// What happened since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        mem::take(&mut self.news)
    }

    /// The next instant at which there is something to do; `room`: whether another probe may be started.
    pub fn next_due(&self, room: bool) -> Option<Micros> {
        let probe = self.probes.first().filter(|_| room);
        let firsts = [probe, self.ejection_ends.first()];
        firsts.into_iter().flatten().map(|&(at, _)| at).min()
    }

    /// Watches the backends of this snapshot from now on. Those that stay keep all that is known of them: a row remains
    /// the same backend's for as long as one snapshot after the other names it.
    pub fn adopt(&mut self, snapshot: &Arc<Snapshot>, now: Micros) {
        let mut before = mem::take(&mut self.backends);
        self.probes.clear();
        self.ejection_ends.clear();
        for place in Place::all(snapshot) {
            let id = place.id();
            // An address that a pool names twice is one backend.
            if !self.backends.contains_key(&id) {
                self.enter(id, place, before.remove(&id), now);
            }
        }
        self.pools_down
            .retain(|name| snapshot.pools.iter().any(|pool| pool.name == *name));
        for pool in &snapshot.pools {
            self.look_at(pool);
        }
    }

    fn enter(&mut self, id: BackendId, place: Place, before: Option<Watched>, now: Micros) {
        let from = before.as_ref().map(|watched| watched.judge.state());
        let (mut judge, planned) = match before {
            Some(watched) => (watched.judge, watched.next_probe),
            None => (Judge::default(), NextProbe::Never),
        };
        judge.apply(place.pool());
        let next_probe = self.plan(planned, &judge, &place, now);
        if let NextProbe::At(at) = next_probe {
            self.probes.insert((at, id));
        }
        if let Some(until) = judge.ejected_until() {
            self.ejection_ends.insert((until, id));
        }
        let to = judge.state();
        if from != Some(to) {
            let reason = "health settings changed".to_owned();
            self.news
                .push(News::Changed(Change::new(&place, from, to, reason)));
        }
        self.backends.insert(
            id,
            Watched {
                place,
                judge,
                next_probe,
            },
        );
    }

    /// A backend that was not probed will be soon; one that was waits no longer than the settings now say.
    fn plan(&mut self, planned: NextProbe, judge: &Judge, place: &Place, now: Micros) -> NextProbe {
        let check = place.pool().health_check.as_ref();
        let Some(check) = check.filter(|_| place.backend().addr.is_some()) else {
            return NextProbe::Never;
        };
        match planned {
            NextProbe::Never => {
                NextProbe::At(now.after(self.jitter.below(judge::short_pause(check))))
            }
            NextProbe::At(at) => {
                NextProbe::At(at.min(now.after(self.jitter.around(judge.pause(check)))))
            }
            NextProbe::AfterThis => NextProbe::AfterThis,
        }
    }

    /// Up to `room` probes whose time has come. Each must be answered by [`Watch::probed`].
    pub fn due_probes(&mut self, room: usize, now: Micros) -> Vec<Assignment> {
        let mut due = Vec::new();
        while due.len() < room
            && let Some(&(at, id)) = self.probes.first()
            && at <= now
        {
            self.probes.pop_first();
            let Some(watched) = self.backends.get_mut(&id) else {
                continue;
            };
            let Some(check) = watched.place.pool().health_check.clone() else {
                continue;
            };
            watched.next_probe = NextProbe::AfterThis;
            due.push(Assignment {
                place: watched.place.clone(),
                check,
                started: now,
            });
        }
        due
    }

    /// Takes in how a probe went. It is judged by the settings of now, if the backend is still there to be judged.
    pub fn probed(&mut self, assignment: &Assignment, outcome: &Outcome, now: Micros) {
        let id = assignment.place.id();
        let Some(Watched {
            place,
            judge,
            next_probe,
        }) = self.backends.get_mut(&id)
        else {
            return;
        };
        if *next_probe != NextProbe::AfterThis {
            return;
        }
        let Some(check) = &place.pool().health_check else {
            return;
        };
        let from = judge.state();
        let turned_by = judge.probed(outcome.is_ok(), check);
        let at = assignment
            .started
            .after(self.jitter.around(judge.pause(check)))
            .max(now);
        *next_probe = NextProbe::At(at);
        self.probes.insert((at, id));
        if let Some(count) = turned_by {
            self.settle(id, from, probes_in_words(count, outcome));
        }
    }

    /// Takes in that a worker saw a request fail; `word` says how.
    pub fn failed(&mut self, id: BackendId, word: &'static str, now: Micros) {
        let Some(place) = self.backends.get(&id).map(|watched| watched.place.clone()) else {
            return;
        };
        let Some(outlier) = &place.pool().outlier else {
            return;
        };
        let ejected = self
            .in_pool(place.pool())
            .filter(|judge| judge.ejected_until().is_some());
        let room = ejected.count() < judge::most_ejected(place.pool().backends.len(), outlier);
        let Some(Watched { judge, .. }) = self.backends.get_mut(&id) else {
            return;
        };
        if !judge.failed(outlier) || !room {
            return;
        }
        let from = judge.state();
        let failures = judge.failures();
        let until = judge.eject(now, outlier);
        self.ejection_ends.insert((until, id));
        let time = Duration::from_micros(until.since(now));
        self.settle(
            id,
            from,
            format!("{failures} consecutive failures: {word}; for {time:?}"),
        );
    }

    /// Takes in that a worker saw a request succeed after failures.
    pub fn recovered(&mut self, id: BackendId) {
        if let Some(watched) = self.backends.get_mut(&id) {
            watched.judge.recovered();
        }
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
            let from = watched.judge.state();
            watched.judge.end_ejection(now);
            self.settle(id, from, "ejection is over".to_owned());
        }
    }

    /// Reports the backend if its state is no longer `from`, and its pool if that made a difference to it.
    fn settle(&mut self, id: BackendId, from: BackendState, reason: String) {
        let Some(Watched { place, judge, .. }) = self.backends.get(&id) else {
            return;
        };
        let to = judge.state();
        if from == to {
            return;
        }
        let place = place.clone();
        self.news
            .push(News::Changed(Change::new(&place, Some(from), to, reason)));
        self.look_at(place.pool());
    }

    /// Reports the pool if its last healthy backend is gone, or the first one back.
    fn look_at(&mut self, pool: &Pool) {
        let up = pool.backends.iter().any(|backend| {
            let judge = self
                .backends
                .get(&backend.id())
                .map(|watched| &watched.judge);
            backend.addr.is_some()
                && judge.is_some_and(|judge| judge.state() == BackendState::Healthy)
        });
        if up {
            if self.pools_down.remove(&pool.name) {
                self.news.push(News::PoolUp(pool.name.clone()));
            }
        } else if self.pools_down.insert(pool.name.clone()) {
            self.news.push(News::PoolDown(pool.name.clone()));
        }
    }

    fn in_pool(&self, pool: &Pool) -> impl Iterator<Item = &Judge> {
        let ids = pool.backends.iter().map(Backend::id);
        ids.filter_map(|id| self.backends.get(&id))
            .map(|watched| &watched.judge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::sample;
    use crate::shared::slots::Slots;

    const SECOND: u64 = 1_000_000;

    fn at(seconds: u64) -> Micros {
        Micros(seconds * SECOND)
    }

    /// A pool of `backends` that is probed every 30 s and ejects after two failures.
    fn watched_pool(slots: &mut Slots, backends: u16) -> Pool {
        Pool {
            health_check: Some(sample::check(Duration::from_secs(30))),
            outlier: Some(sample::outlier(2)),
            ..sample::pool(slots, "api", &sample::addrs(backends))
        }
    }

    /// Answers every probe that is due until `until`, in steps of 100 ms; how many there were.
    fn answer_probes(watch: &mut Watch, from: Micros, until: Micros, outcome: &Outcome) -> usize {
        let mut probes = 0;
        for now in (from.0..until.0).step_by(100_000).map(Micros) {
            for assignment in watch.due_probes(usize::MAX, now) {
                probes += 1;
                watch.probed(&assignment, outcome, now);
            }
        }
        probes
    }

    /// `label: from > to (reason)` for changes, without those of new backends.
    fn read_news(watch: &mut Watch) -> Vec<String> {
        let news = watch.take_news().into_iter();
        news.filter_map(|news| match news {
            News::Changed(Change { from: None, .. }) => None,
            News::Changed(change) => Some(format!(
                "{}: {} > {} ({})",
                change.backend,
                change.from.unwrap().word(),
                change.to.word(),
                change.reason
            )),
            News::PoolDown(pool) => Some(format!("{pool} down")),
            News::PoolUp(pool) => Some(format!("{pool} up")),
        })
        .collect()
    }

    fn refused() -> Outcome {
        Err("connection refused".to_owned())
    }

    fn answered() -> Outcome {
        Ok("answered 200".to_owned())
    }

    #[test]
    fn new_backends_are_told_to_the_workers_and_probed_within_a_second() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        watch.adopt(
            &sample::snapshot(1, vec![watched_pool(&mut slots, 20)]),
            at(0),
        );
        let news = watch.take_news();
        assert_eq!(news.len(), 20);
        for news in news {
            let News::Changed(change) = news else {
                panic!("{news:?}")
            };
            assert_eq!((change.from, change.to), (None, BackendState::Healthy));
        }
        assert!(
            watch.due_probes(usize::MAX, Micros(0)).len() < 20,
            "not all at once"
        );
        watch.due_probes(usize::MAX, at(1));
        assert!(
            watch
                .backends
                .values()
                .all(|watched| watched.next_probe == NextProbe::AfterThis)
        );
    }

    #[test]
    fn a_backend_falls_and_rises_with_reasons_and_so_does_its_pool() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        watch.adopt(
            &sample::snapshot(1, vec![watched_pool(&mut slots, 1)]),
            at(0),
        );
        // Once at the start, then twice a second apart; the fourth comes half a minute later.
        assert_eq!(answer_probes(&mut watch, at(0), at(20), &refused()), 3);
        let fell = "127.0.0.1:1: healthy > unhealthy (3 probes failed: connection refused)";
        assert_eq!(read_news(&mut watch), [fell, "api down"]);
        assert_eq!(answer_probes(&mut watch, at(20), at(50), &answered()), 2);
        let rose = "127.0.0.1:1: unhealthy > healthy (2 probes passed: answered 200)";
        assert_eq!(read_news(&mut watch), [rose, "api up"]);
    }

    #[test]
    fn a_healthy_backend_is_probed_at_its_interval() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        watch.adopt(
            &sample::snapshot(1, vec![watched_pool(&mut slots, 1)]),
            at(0),
        );
        let probes = answer_probes(&mut watch, at(0), at(3000), &answered());
        assert!((95..=105).contains(&probes), "{probes}");
        assert!(read_news(&mut watch).is_empty());
    }

    #[test]
    fn probes_under_way_are_bounded_by_the_room_and_never_two_of_one_backend() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        watch.adopt(
            &sample::snapshot(1, vec![watched_pool(&mut slots, 3)]),
            at(0),
        );
        let first = watch.due_probes(2, at(100));
        assert_eq!(first.len(), 2);
        assert!(watch.next_due(true).is_some_and(|due| due <= at(1)));
        assert_eq!(watch.next_due(false), None);
        assert_eq!(watch.due_probes(2, at(200)).len(), 1);
        assert_eq!(watch.due_probes(2, at(300)).len(), 0);
        watch.probed(&first[0], &answered(), at(300));
        assert_eq!(watch.due_probes(2, at(300)).len(), 1);
    }

    #[test]
    fn ejection_comes_from_failures_and_ends_by_time() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        let snapshot = sample::snapshot(1, vec![watched_pool(&mut slots, 4)]);
        watch.adopt(&snapshot, at(0));
        let ids: Vec<_> = snapshot.pools[0].backends.iter().map(Backend::id).collect();
        watch.failed(ids[0], "connect_failed", at(1));
        watch.recovered(ids[0]);
        watch.failed(ids[0], "connect_failed", at(1));
        assert!(read_news(&mut watch).is_empty());
        watch.failed(ids[0], "reset", at(2));
        let ejected = "127.0.0.1:1: healthy > ejected (2 consecutive failures: reset; for 30s)";
        assert_eq!(read_news(&mut watch), [ejected]);
        assert_eq!(watch.next_due(false), Some(at(32)));
        watch.end_ejections(at(31));
        assert!(read_news(&mut watch).is_empty());
        watch.end_ejections(at(32));
        assert_eq!(
            read_news(&mut watch),
            ["127.0.0.1:1: ejected > healthy (ejection is over)"]
        );
    }

    #[test]
    fn no_more_than_its_share_of_a_pool_is_ejected() {
        for (backends, percent, expected) in
            [(4, 50, 2), (4, 0, 0), (1, 50, 1), (3, 10, 1), (3, 100, 3)]
        {
            let mut slots = sample::slots();
            let mut pool = watched_pool(&mut slots, backends);
            if let Some(outlier) = &mut pool.outlier {
                outlier.max_ejected_percent = percent;
            }
            let snapshot = sample::snapshot(1, vec![pool]);
            let mut watch = Watch::new();
            watch.adopt(&snapshot, at(0));
            for id in snapshot.pools[0].backends.iter().map(Backend::id) {
                for _ in 0..5 {
                    watch.failed(id, "reset", at(1));
                }
            }
            let states = watch.backends.values().map(|watched| watched.judge.state());
            let ejected = states
                .filter(|state| *state == BackendState::Ejected)
                .count();
            assert_eq!(ejected, expected, "{backends} {percent}");
        }
    }

    #[test]
    fn a_new_snapshot_keeps_what_is_known_of_backends_that_stay() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        let first = sample::snapshot(1, vec![watched_pool(&mut slots, 4)]);
        watch.adopt(&first, at(0));
        let ids: Vec<_> = first.pools[0].backends.iter().map(Backend::id).collect();
        // The first two fail two probes of the three that it takes; the second one also half of its requests.
        for now in [at(1), at(3)] {
            for assignment in watch.due_probes(usize::MAX, now) {
                let outcome = match ids[..2].contains(&assignment.place.id()) {
                    true => refused(),
                    false => answered(),
                };
                watch.probed(&assignment, &outcome, now);
            }
        }
        watch.failed(ids[1], "reset", at(3));
        let planned: Vec<_> = watch
            .backends
            .values()
            .map(|watched| watched.next_probe)
            .collect();
        watch.take_news();

        let second = sample::snapshot(2, vec![watched_pool(&mut slots, 4)]);
        watch.adopt(&second, at(3));
        drop(first);
        assert_eq!(watch.take_news(), []);
        for (watched, planned) in watch.backends.values().zip(planned) {
            let (NextProbe::At(now), NextProbe::At(before)) = (watched.next_probe, planned) else {
                panic!("{watched:?}")
            };
            assert!(now <= before);
        }
        watch.failed(ids[1], "reset", at(4));
        assert_eq!(
            read_news(&mut watch),
            ["127.0.0.1:2: healthy > ejected (2 consecutive failures: reset; for 30s)"]
        );
        for assignment in watch.due_probes(usize::MAX, at(6)) {
            watch.probed(&assignment, &refused(), at(6));
        }
        // Chance decides which of the two is probed first.
        let mut news = read_news(&mut watch);
        news.sort_unstable();
        assert_eq!(
            news,
            [
                "127.0.0.1:1: healthy > unhealthy (3 probes failed: connection refused)",
                "127.0.0.1:2: ejected > unhealthy (3 probes failed: connection refused)",
            ]
        );
    }

    #[test]
    fn what_a_snapshot_no_longer_asks_for_is_taken_back() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        let first = sample::snapshot(1, vec![watched_pool(&mut slots, 2)]);
        watch.adopt(&first, at(0));
        let second = first.pools[0].backends[1].id();
        watch.failed(second, "reset", at(0));
        watch.failed(second, "reset", at(0));
        answer_probes(&mut watch, at(0), at(10), &refused());
        read_news(&mut watch);
        let plain = sample::pool(&mut slots, "api", &sample::addrs(2));
        watch.adopt(&sample::snapshot(2, vec![plain]), at(10));
        assert_eq!(
            read_news(&mut watch),
            [
                "127.0.0.1:1: unhealthy > healthy (health settings changed)",
                "127.0.0.1:2: unhealthy > healthy (health settings changed)",
                "api up",
            ]
        );
        assert_eq!(watch.next_due(true), None);
    }

    #[test]
    fn backends_that_are_gone_are_forgotten_and_their_probes_come_to_nothing() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        watch.adopt(
            &sample::snapshot(1, vec![watched_pool(&mut slots, 2)]),
            at(0),
        );
        let assignments = watch.due_probes(usize::MAX, at(1));
        watch.take_news();
        watch.adopt(
            &sample::snapshot(2, vec![watched_pool(&mut slots, 1)]),
            at(1),
        );
        assert_eq!(watch.backends.len(), 1);
        for assignment in &assignments {
            watch.probed(assignment, &refused(), at(1));
        }
        assert_eq!(watch.probes.len(), 1);
        assert!(watch.take_news().is_empty());
    }

    #[test]
    fn a_row_that_goes_to_another_backend_is_told_anew() {
        let mut slots = sample::slots();
        let mut watch = Watch::new();
        let first = sample::snapshot(1, vec![watched_pool(&mut slots, 1)]);
        let id = first.pools[0].backends[0].id();
        watch.adopt(&first, at(0));
        answer_probes(&mut watch, at(0), at(10), &refused());
        watch.adopt(&sample::snapshot(2, Vec::new()), at(10));
        drop(first);
        watch.take_news();
        let other = Pool {
            health_check: Some(sample::check(Duration::from_secs(30))),
            ..sample::pool(&mut slots, "web", &sample::addrs(1))
        };
        let third = sample::snapshot(3, vec![other]);
        assert_eq!(third.pools[0].backends[0].id(), id);
        watch.adopt(&third, at(10));
        let news = watch.take_news();
        assert!(
            matches!(&news[..], [News::Changed(change)] if change.from.is_none()
                && change.to == BackendState::Healthy
                && change.pool == "web"),
            "{news:?}"
        );
    }

    #[test]
    fn a_backend_without_an_address_is_not_probed_and_does_not_hold_its_pool_up() {
        let mut slots = sample::slots();
        let mut pool = watched_pool(&mut slots, 2);
        for backend in &mut pool.backends {
            backend.addr = None;
        }
        let mut watch = Watch::new();
        watch.adopt(&sample::snapshot(1, vec![pool]), at(0));
        assert_eq!(watch.next_due(true), None);
        assert_eq!(read_news(&mut watch), ["api down"]);
    }
}
