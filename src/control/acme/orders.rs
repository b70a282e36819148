//! The orders of one authority: which name is due when, and what becomes of each order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{info, warn};

use super::authority::Authority;
use super::order::order;
use super::outcome::{OrderCounters, OrderFailure, OrderOutcome};
use super::schedule;
use super::store::StoredCertificate;
use crate::base::limits;
use crate::base::quantity::show_time;
use crate::base::random::SplitMix64;
use crate::base::time::Micros;
use crate::config::AcmeSettings;
use crate::tls::{Validity, unix_secs};

/// All certificates of one authority.
pub struct CertificateOrders {
    authority: Arc<Authority>,
    wanted: BTreeSet<String>,
    /// Names that are not being ordered at the moment.
    waiting: BTreeMap<String, Waiting>,
    under_way: JoinSet<Done>,
    /// The name that each task orders for, and the state of that name before the task.
    names: HashMap<task::Id, (String, Waiting)>,
    counters: Arc<OrderCounters>,
    chance: SplitMix64,
    /// Until this instant, the wall clock is not trusted to tell when a certificate is to be renewed.
    doubted_until: Micros,
}

/// A name's next order.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// Whether the folder has been read for this name.
    is_known: bool,
    /// When the stored certificate is to be renewed, in seconds since 1970; 0: there is none.
    renewal: i64,
    /// Until this instant nothing is ordered because the last order failed. The monotonic clock measures the pause, so
    /// that a change of the wall clock does not change its length.
    paused_until: Micros,
    /// How often it has failed in a row.
    failures: u32,
}

/// The result of a task, which looks at what is stored for a name and may order a certificate.
#[derive(Debug)]
enum Done {
    /// Nothing was ordered: the name is due later, or nothing was known of it before.
    Looked(Waiting),
    /// An order has ended: with the validity of the certificate, or without one.
    Ordered(Result<Validity, OrderFailure>),
}

/// The present time by both clocks.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// The wall clock, which may be set, in seconds since 1970.
    wall: i64,
    steady: Micros,
}

impl Now {
    fn read() -> Now {
        Now {
            wall: unix_secs(SystemTime::now()),
            steady: Micros::now(),
        }
    }
}

impl Waiting {
    /// The time until the order is due. No certificate is renewed before `doubted_until`.
    fn left(&self, now: Now, doubted_until: Micros) -> Duration {
        let until_renewal = self.renewal.saturating_sub(now.wall).max(0);
        let until_renewal = Duration::from_secs(until_renewal.unsigned_abs());
        let paused_until = match self.renewal {
            0 => self.paused_until,
            _ => self.paused_until.max(doubted_until),
        };
        until_renewal.max(Duration::from_micros(paused_until.since(now.steady)))
    }
}

impl CertificateOrders {
    /// Whether they are made at the authority that these settings name, and as they say.
    pub fn are_of(&self, settings: &AcmeSettings) -> bool {
        self.authority.settings == *settings
    }

    /// None yet.
    pub fn new(authority: Authority, counters: Arc<OrderCounters>) -> CertificateOrders {
        CertificateOrders {
            authority: Arc::new(authority),
            wanted: BTreeSet::new(),
            waiting: BTreeMap::new(),
            under_way: JoinSet::new(),
            names: HashMap::new(),
            counters,
            chance: SplitMix64::new(),
            doubted_until: Micros::default(),
        }
    }

    /// Has these names ordered from now on, and no others. What is known of one that was wanted before stays: how often
    /// it has failed, or that its order is under way.
    pub fn want(&mut self, names: BTreeSet<String>) {
        self.waiting.retain(|name, _| names.contains(name));
        let under_way: BTreeSet<&String> = self.names.values().map(|(name, _)| name).collect();
        let is_known =
            |name: &&String| self.waiting.contains_key(*name) || under_way.contains(*name);
        let new: Vec<String> = names
            .iter()
            .filter(|name| !is_known(name))
            .cloned()
            .collect();
        for name in new {
            self.waiting.insert(name, Waiting::default());
        }
        self.wanted = names;
    }

    fn renewal_of(&mut self, validity: Validity) -> i64 {
        let chance = self.chance.fraction();
        schedule::renewal(validity.not_before, validity.not_after, chance)
    }

    /// Orders and renews. Never ends; may be dropped while it waits.
    pub async fn keep(&mut self) {
        loop {
            let now = Now::read();
            self.begin_due(now);
            let pause = self.pause(now);
            tokio::select! {
                Some(ended) = self.under_way.join_next_with_id() => self.note(ended, Now::read()),
                () = sleep(pause) => {}
            }
        }
    }

    /// Begins what is due, as far as there is room.
    fn begin_due(&mut self, now: Now) {
        while self.under_way.len() < limits::ACME_ORDERS {
            let waiting = self.waiting.iter();
            let due =
                waiting.filter(|(_, waiting)| waiting.left(now, self.doubted_until).is_zero());
            let Some((name, _)) = due.min_by_key(|(_, waiting)| waiting.renewal) else {
                return;
            };
            let name = name.clone();
            let waiting = self.waiting.remove(&name).unwrap_or_default();
            self.begin(name, waiting, now);
        }
    }

    /// Starts a task that looks at what is stored for a name, and orders a certificate if one is due.
    fn begin(&mut self, name: String, waiting: Waiting, now: Now) {
        let (authority, chance) = (self.authority.clone(), self.chance.fraction());
        let due = Due {
            name: name.clone(),
            waiting,
            now,
            chance,
        };
        let id = self.under_way.spawn(due.follow(authority)).id();
        self.names.insert(id, (name, waiting));
    }

    /// Until the next one is due, if there is room for it.
    fn pause(&self, now: Now) -> Duration {
        let most = Duration::from_secs(limits::ACME_PAUSE_SECS);
        if self.under_way.len() >= limits::ACME_ORDERS {
            return most;
        }
        let left = self.waiting.values();
        let left = left.map(|waiting| waiting.left(now, self.doubted_until));
        left.min().map_or(most, |left| left.min(most))
    }

    fn note(&mut self, ended: Result<(task::Id, Done), JoinError>, now: Now) {
        let (id, done) = ended.unwrap_or_else(|error| {
            let why = format!("a defect of palantir: {error}");
            let failure = OrderFailure::new(OrderOutcome::Refused, why);
            (error.id(), Done::Ordered(Err(failure)))
        });
        let Some((name, before)) = self.names.remove(&id) else {
            return;
        };
        let waiting = match done {
            Done::Looked(waiting) => waiting,
            Done::Ordered(Ok(given)) => self.note_given(&name, before, given, now),
            Done::Ordered(Err(failure)) => self.note_failure(&name, before, &failure, now),
        };
        if self.wanted.contains(&name) {
            self.waiting.insert(name, waiting);
        }
    }

    fn note_given(&mut self, name: &str, before: Waiting, given: Validity, now: Now) -> Waiting {
        let renewal = self.renewal_of(given);
        let kept = Waiting { renewal, ..before };
        if let Err(failure) = check_lasts(renewal, now.wall) {
            return self.note_failure(name, kept, &failure, now);
        }
        self.counters.note(OrderOutcome::Issued);
        let (secs, result) = (renewal - now.wall, OrderOutcome::Issued.label());
        info!(
            name,
            result, "there is a certificate; it is renewed in {secs} seconds"
        );
        Waiting {
            is_known: true,
            renewal,
            ..Waiting::default()
        }
    }

    fn note_failure(
        &mut self,
        name: &str,
        before: Waiting,
        failure: &OrderFailure,
        now: Now,
    ) -> Waiting {
        let failures = before.failures.saturating_add(1);
        self.counters.note(failure.outcome);
        let pause = schedule::pause(failure.trouble(), failures, self.chance.fraction());
        if failure.contradicts_clock {
            let doubt = Duration::from_secs(limits::ACME_DOUBT_SECS);
            self.doubted_until = now.steady.after(doubt);
        }
        let waiting = Waiting {
            paused_until: now.steady.after(pause.max(Duration::from_secs(1))),
            failures,
            ..before
        };
        let secs = waiting.left(now, self.doubted_until).as_secs();
        let (why, result) = (&failure.why, failure.outcome.label());
        warn!(
            name,
            result, failures, "no certificate: {why}; tried again in {secs} seconds"
        );
        waiting
    }
}

/// Checks that a new certificate need not be renewed at once, by the time of its renewal. Errors: the certificate is
/// due at once if both clocks are right. The certificate is used all the same, but repeated orders would bring no
/// better one.
fn check_lasts(renewal: i64, now: i64) -> Result<(), OrderFailure> {
    if renewal > now {
        return Ok(());
    }
    let why = "the new certificate is already due for renewal: is the clock right?";
    Err(OrderFailure {
        contradicts_clock: true,
        ..OrderFailure::new(OrderOutcome::Refused, why)
    })
}

/// A name whose look or order is due.
struct Due {
    name: String,
    waiting: Waiting,
    now: Now,
    /// A random number, which spreads the time of the renewal.
    chance: f64,
}

impl Due {
    /// Looks at what is stored by now, because an order costs more than a look: the clock may have been set, or the
    /// file could not be read before. Orders a certificate if the name is still due. The first look at a name never
    /// orders: only that look tells whether the order must wait.
    async fn follow(self, authority: Arc<Authority>) -> Done {
        let named = self.name.clone();
        let looked = authority.on_disk(move |store| store.certificate(&named));
        let found = looked.await;
        let found = found.unwrap_or_else(|silence| StoredCertificate::Unread(silence.why));
        if let Some(waiting) = self.is_later(found) {
            return Done::Looked(waiting);
        }
        let name = &self.name;
        info!(
            name,
            "ordering a certificate from {}", authority.settings.directory
        );
        Done::Ordered(order(&authority, name).await)
    }

    /// The state of the name after the look, if nothing is to be ordered yet.
    fn is_later(&self, found: StoredCertificate) -> Option<Waiting> {
        let (name, is_first) = (&self.name, !self.waiting.is_known);
        let known = |renewal| Waiting {
            is_known: true,
            renewal,
            ..self.waiting
        };
        match found {
            StoredCertificate::Certificate(kept) => {
                let chance = if is_first { self.chance } else { 1.0 };
                let renewal = schedule::renewal(kept.not_before, kept.not_after, chance);
                (is_first || renewal > self.now.wall).then(|| known(renewal))
            }
            StoredCertificate::Unread(why) => {
                let pause = Duration::from_secs(limits::ACME_PAUSE_SECS);
                warn!(
                    name,
                    "the stored certificate is read again in {}: {why}",
                    show_time(pause)
                );
                Some(Waiting {
                    paused_until: self.now.steady.after(pause),
                    ..self.waiting
                })
            }
            StoredCertificate::Nothing if is_first => {
                info!(name, "no certificate was ordered for the name yet");
                Some(known(0))
            }
            StoredCertificate::Useless(why) if is_first => {
                warn!(
                    name,
                    "the stored certificate cannot be used, so another one is ordered: {why}"
                );
                Some(known(0))
            }
            StoredCertificate::Nothing | StoredCertificate::Useless(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ChallengeKind;
    use crate::control::acme::disk::Disk;

    fn orders(names: &[&str]) -> CertificateOrders {
        let folder = format!("palantir-orders-{}", std::process::id());
        let settings = AcmeSettings {
            state_dir: std::env::temp_dir().join(folder),
            directory: "https://127.0.0.1:1/nobody".to_owned(),
            contacts: Vec::new(),
            ca: None,
            challenge: ChallengeKind::Http01,
            eab: None,
        };
        let authority = Authority::new(settings, Arc::default(), Arc::new(Disk::start()));
        let mut orders = CertificateOrders::new(authority, Arc::default());
        orders.want(set(names));
        orders
    }

    const WALL: i64 = 1_700_000_000;
    const NOW: Now = Now {
        wall: WALL,
        steady: Micros(1_000_000),
    };

    fn later(secs: u64, wall: i64) -> Now {
        let steady = NOW.steady.after(Duration::from_secs(secs));
        Now { wall, steady }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    /// The order of this name ends so.
    fn end(orders: &mut CertificateOrders, name: &str, outcome: Result<Validity, OrderFailure>) {
        let mut names = orders.names.iter();
        let (id, _) = names.find(|(_, (ordered, _))| ordered == name).unwrap();
        let id = *id;
        orders.note(Ok((id, Done::Ordered(outcome))), NOW);
    }

    fn refused() -> OrderFailure {
        OrderFailure::new(OrderOutcome::Refused, "no")
    }

    #[tokio::test]
    async fn a_few_at_a_time_and_what_failed_waits_longer_and_longer() {
        let mut orders = orders(&["a", "b", "c", "d", "e"]);
        orders.begin_due(NOW);
        assert_eq!(orders.names.len(), limits::ACME_ORDERS);
        assert_eq!(orders.waiting.keys().collect::<Vec<_>>(), ["e"]);
        for failures in 1..4 {
            end(&mut orders, "a", Err(refused()));
            let waiting = orders.waiting["a"];
            assert_eq!(waiting.failures, failures);
            orders.begin_due(NOW);
            assert!(orders.waiting.contains_key("a"), "it is not due yet");
            let ordered = async { Done::Ordered(Err(refused())) };
            let id = orders.under_way.spawn(ordered).id();
            orders.waiting.remove("a");
            orders.names.insert(id, ("a".to_owned(), waiting));
        }
        let now = WALL;
        let validity = Validity {
            not_before: now,
            not_after: now + 90 * 86_400,
        };
        end(&mut orders, "a", Ok(validity));
        let waiting = orders.waiting["a"];
        assert_eq!(waiting.failures, 0);
        assert!(waiting.renewal > now + 50 * 86_400 && waiting.renewal <= now + 60 * 86_400);
    }

    #[tokio::test]
    async fn names_come_and_go_without_a_second_order_for_those_that_stay() {
        let mut orders = orders(&["a", "b"]);
        orders.begin_due(NOW);
        orders.want(set(&["b", "c"]));
        assert_eq!(orders.waiting.keys().collect::<Vec<_>>(), ["c"]);
        end(&mut orders, "a", Err(refused()));
        end(&mut orders, "b", Err(refused()));
        assert_eq!(orders.waiting.keys().collect::<Vec<_>>(), ["b", "c"]);
        orders.want(set(&["b"]));
        assert_eq!(orders.waiting["b"].failures, 1, "its pause goes on");
    }

    #[tokio::test]
    async fn a_certificate_that_is_due_when_it_comes_is_not_ordered_on_and_on() {
        let mut orders = orders(&["a"]);
        orders.begin_due(NOW);
        let old = Validity {
            not_before: WALL - 90,
            not_after: WALL - 1,
        };
        end(&mut orders, "a", Ok(old));
        let waiting = orders.waiting["a"];
        assert_eq!(waiting.failures, 1);
        assert!(
            waiting.left(NOW, orders.doubted_until) > Duration::from_secs(7),
            "{waiting:?}"
        );
    }

    /// A wrong clock makes every stored certificate look expired: once a few orders have shown that, the others wait.
    #[test]
    fn waits_table() {
        let (hour, years) = (3_600, 10 * 365 * 86_400);
        let secs = Duration::from_secs;
        let paused = |secs| NOW.steady.after(Duration::from_secs(secs));
        let rows = [
            // Columns: renewal, pause in seconds, doubt in seconds, seconds later, wall clock then, seconds left.
            (0, 0, 0, 0, WALL, 0),
            (0, 60, 0, 0, WALL, 60),
            (0, 60, 0, 59, WALL + years, 1),
            (0, 60, 0, 60, WALL - years, 0),
            (0, 60, 600, 60, WALL, 0),
            (WALL + 100, 0, 0, 0, WALL, 100),
            (WALL + 100, 0, 0, 0, WALL + hour, 0),
            (WALL + 100, 0, 600, 0, WALL + years, 600),
            (WALL + 100, 0, 600, 600, WALL + years, 0),
            (WALL + 100, 0, 600, 600, WALL, 100),
            (WALL + 100, 0, 0, 100, WALL - hour, 3_700),
            (WALL + 100, 0, 0, 100, WALL + 100, 0),
        ];
        for (renewal, pause, doubt, elapsed, wall, left) in rows {
            let waiting = Waiting {
                renewal,
                paused_until: paused(pause),
                ..Waiting::default()
            };
            let found = waiting.left(later(elapsed, wall), paused(doubt));
            assert_eq!(
                found,
                secs(left),
                "{renewal} {pause} {doubt} {elapsed} {wall}"
            );
        }
    }
}
