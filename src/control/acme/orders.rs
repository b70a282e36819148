//! The orders of one authority: which name is due when, and what becomes of each order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{info, warn};

use super::authority::Authority;
use super::order::order;
use super::outcome::{Failure, OrderCounts, Outcome};
use super::schedule;
use super::store::{Found, Validity};
use crate::base::limits;
use crate::base::random::Random;
use crate::config::AcmeSettings;
use crate::tls::unix_secs;

/// All certificates of one authority.
pub struct Orders {
    authority: Arc<Authority>,
    wanted: BTreeSet<String>,
    /// Names that are not being ordered at the moment.
    waiting: BTreeMap<String, Waiting>,
    under_way: JoinSet<Result<Validity, Failure>>,
    /// Whose orders those are, and how often each has failed in a row.
    names: HashMap<task::Id, (String, u32)>,
    counts: Arc<OrderCounts>,
    chance: Random,
}

/// A name's next order.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// When it is due, in seconds since 1970.
    due: i64,
    /// How often it has failed in a row.
    failures: u32,
}

impl Orders {
    /// Whether they are made at the authority that these settings name, and as they say.
    pub fn are_of(&self, settings: &AcmeSettings) -> bool {
        self.authority.settings == *settings
    }

    /// None yet.
    pub fn new(authority: Authority, counts: Arc<OrderCounts>) -> Orders {
        Orders {
            authority: Arc::new(authority),
            wanted: BTreeSet::new(),
            waiting: BTreeMap::new(),
            under_way: JoinSet::new(),
            names: HashMap::new(),
            counts,
            chance: Random::new(),
        }
    }

    /// Has these names ordered from now on, and no others. What is known of one that was wanted before stays: how often it
    /// has failed, or that its order is under way.
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
            let waiting = self.look_at(&name);
            self.waiting.insert(name, waiting);
        }
        self.wanted = names;
    }

    /// What is in the folder for a name.
    fn look_at(&mut self, name: &str) -> Waiting {
        let due = match self.authority.store.certificate(name) {
            Found::Certificate(validity) => self.renewal_of(validity),
            Found::Nothing => {
                info!(name, "there is no certificate of its own yet for the name");
                0
            }
            Found::Useless(why) => {
                warn!(
                    name,
                    "what is kept cannot be used, so another certificate is ordered: {why}"
                );
                0
            }
        };
        let failures = 0;
        Waiting { due, failures }
    }

    fn renewal_of(&mut self, validity: Validity) -> i64 {
        let chance = self.chance.fraction();
        schedule::renewal(validity.not_before, validity.not_after, chance)
    }

    /// Orders and renews. Never ends; may be dropped while it waits.
    pub async fn keep(&mut self) {
        loop {
            let now = unix_secs(SystemTime::now());
            self.begin_due(now);
            let pause = self.pause(now);
            tokio::select! {
                Some(ended) = self.under_way.join_next_with_id() => self.note(ended),
                () = sleep(pause) => {}
            }
        }
    }

    /// Begins what is due, as far as there is room.
    fn begin_due(&mut self, now: i64) {
        while self.under_way.len() < limits::ACME_ORDERS {
            let due = self
                .waiting
                .iter()
                .filter(|(_, waiting)| waiting.due <= now);
            let Some((name, _)) = due.min_by_key(|(_, waiting)| waiting.due) else {
                return;
            };
            let name = name.clone();
            let failures = self
                .waiting
                .remove(&name)
                .map_or(0, |waiting| waiting.failures);
            let authority = self.authority.clone();
            info!(
                name,
                "ordering a certificate from {}", authority.settings.directory
            );
            let ordered = name.clone();
            let order = async move { order(&authority, &ordered).await };
            let id = self.under_way.spawn(order).id();
            self.names.insert(id, (name, failures));
        }
    }

    /// Until the next one is due, if there is room for it.
    fn pause(&self, now: i64) -> Duration {
        let most = Duration::from_secs(limits::ACME_PAUSE_SECS);
        if self.under_way.len() >= limits::ACME_ORDERS {
            return most;
        }
        let next = self.waiting.values().map(|waiting| waiting.due).min();
        let left = next.map_or(i64::MAX, |due| due.saturating_sub(now).max(0));
        most.min(Duration::from_secs(left.unsigned_abs()))
    }

    fn note(&mut self, ended: Result<(task::Id, Result<Validity, Failure>), JoinError>) {
        let (id, outcome) = ended.unwrap_or_else(|error| {
            let why = format!("a defect of palantir: {error}");
            (error.id(), Err(Failure::new(Outcome::Refused, why)))
        });
        let Some((name, failures)) = self.names.remove(&id) else {
            return;
        };
        let now = unix_secs(SystemTime::now());
        let outcome = outcome.and_then(|validity| self.is_new(validity, now));
        let waiting = match outcome {
            Ok(due) => {
                self.counts.note(Outcome::Issued);
                let (secs, result) = (due - now, Outcome::Issued.word());
                info!(
                    name,
                    result, "there is a certificate; it is renewed in {secs} seconds"
                );
                Waiting { due, failures: 0 }
            }
            Err(failure) => self.note_failure(&name, failures.saturating_add(1), &failure),
        };
        if self.wanted.contains(&name) {
            self.waiting.insert(name, waiting);
        }
    }

    /// When a certificate that was just given is renewed. Errors: at once, if the two clocks are to be believed; it is used,
    /// but to order on and on would get no better one.
    fn is_new(&mut self, validity: Validity, now: i64) -> Result<i64, Failure> {
        match self.renewal_of(validity) {
            due if due > now => Ok(due),
            _ => {
                let why = "the certificate that was given is due for renewal already: is the clock right?";
                Err(Failure::new(Outcome::Refused, why))
            }
        }
    }

    fn note_failure(&mut self, name: &str, failures: u32, failure: &Failure) -> Waiting {
        self.counts.note(failure.outcome);
        let pause = schedule::pause(failure.trouble(), failures, self.chance.fraction());
        let (secs, result) = (pause.as_secs().max(1), failure.outcome.word());
        let why = &failure.why;
        warn!(
            name,
            result, failures, "no certificate: {why}; tried again in {secs} seconds"
        );
        Waiting {
            due: unix_secs(SystemTime::now()) + secs as i64,
            failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ChallengeKind;

    fn orders(names: &[&str]) -> Orders {
        let folder = format!("palantir-orders-{}", std::process::id());
        let settings = AcmeSettings {
            state_dir: std::env::temp_dir().join(folder),
            directory: "https://127.0.0.1:1/nobody".to_owned(),
            contacts: Vec::new(),
            ca: None,
            challenge: ChallengeKind::Http01,
            eab: None,
        };
        let mut orders = Orders::new(Authority::new(settings, Arc::default()), Arc::default());
        orders.want(set(names));
        orders
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    /// The order of this name ends so.
    fn end(orders: &mut Orders, name: &str, outcome: Result<Validity, Failure>) {
        let mut names = orders.names.iter();
        let (id, _) = names.find(|(_, (ordered, _))| ordered == name).unwrap();
        let id = *id;
        orders.note(Ok((id, outcome)));
    }

    fn refused() -> Failure {
        Failure::new(Outcome::Refused, "no")
    }

    #[tokio::test]
    async fn a_few_at_a_time_and_what_failed_waits_longer_and_longer() {
        let mut orders = orders(&["a", "b", "c", "d", "e"]);
        orders.begin_due(1);
        assert_eq!(orders.names.len(), limits::ACME_ORDERS);
        assert_eq!(orders.waiting.keys().collect::<Vec<_>>(), ["e"]);
        for failures in 1..4 {
            end(&mut orders, "a", Err(refused()));
            let waiting = orders.waiting["a"];
            assert_eq!(waiting.failures, failures);
            orders.begin_due(0);
            assert!(orders.waiting.contains_key("a"), "it is not due yet");
            let id = orders.under_way.spawn(async { Err(refused()) }).id();
            orders.waiting.remove("a");
            orders.names.insert(id, ("a".to_owned(), failures));
        }
        let now = unix_secs(SystemTime::now());
        let validity = Validity {
            not_before: now,
            not_after: now + 90 * 86_400,
        };
        end(&mut orders, "a", Ok(validity));
        let waiting = orders.waiting["a"];
        assert_eq!(waiting.failures, 0);
        assert!(waiting.due > now + 50 * 86_400 && waiting.due <= now + 60 * 86_400);
    }

    #[tokio::test]
    async fn names_come_and_go_without_a_second_order_for_those_that_stay() {
        let mut orders = orders(&["a", "b"]);
        orders.begin_due(1);
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
        orders.begin_due(1);
        let now = unix_secs(SystemTime::now());
        let old = Validity {
            not_before: now - 90,
            not_after: now - 1,
        };
        end(&mut orders, "a", Ok(old));
        let waiting = orders.waiting["a"];
        assert!(waiting.failures == 1 && waiting.due > now, "{waiting:?}");
    }
}
