//! Certificates that palantir orders itself (ACME, RFC 8555), and renews. Nothing of it stops a start or a request: what is
//! in the folder is served, and what is missing there is ordered until it is given.
//!
//! A new certificate comes into force like any other whose file has changed: see `file_watch`. Here nothing is known of
//! workers but the challenges that they answer.

mod authority;
mod client;
mod order;
mod outcome;
mod schedule;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{info, warn};

pub use outcome::OrderCounts;

use crate::base::limits;
use crate::base::random::Random;
use crate::config::{AcmeSettings, Config};
use crate::control::acme::authority::Authority;
use crate::control::acme::outcome::{Failure, Outcome};
use crate::control::acme::store::{Found, Validity};
use crate::tls::{Challenges, unix_secs};

/// What a configuration wants to have ordered. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    settings: Option<AcmeSettings>,
    names: BTreeSet<String>,
}

impl Wanted {
    /// Of this configuration.
    pub fn of(config: &Config) -> Wanted {
        let listeners = config.settings.listeners.iter();
        let tls = listeners.filter_map(|listener| listener.tls.as_ref());
        let acme = config.settings.acme.as_ref();
        Wanted {
            settings: acme.map(|acme| acme.settings.clone()),
            names: tls.flat_map(|tls| tls.automatic.clone()).collect(),
        }
    }
}

/// Orders what is wanted, and renews it, until nobody wants to know. Names may come and go; with another authority all
/// begins anew.
pub async fn order_forever(
    mut wanted: watch::Receiver<Wanted>,
    challenges: Arc<Challenges>,
    counts: Arc<OrderCounts>,
) {
    let mut orders: Option<Orders> = None;
    loop {
        let Wanted { settings, names } = wanted.borrow_and_update().clone();
        orders = settings.map(|settings| match orders.take() {
            Some(orders) if orders.authority.settings == settings => orders,
            _ => {
                let authority = Authority::new(settings, challenges.clone());
                Orders::new(authority, counts.clone())
            }
        });
        if let Some(orders) = &mut orders {
            orders.want(names);
        }
        tokio::select! {
            () = keep_all(&mut orders) => {}
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Never ends. May be dropped while it waits.
async fn keep_all(orders: &mut Option<Orders>) {
    match orders {
        Some(orders) => orders.keep().await,
        None => std::future::pending().await,
    }
}

/// All certificates of one authority.
struct Orders {
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
    fn new(authority: Authority, counts: Arc<OrderCounts>) -> Orders {
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
    fn want(&mut self, names: BTreeSet<String>) {
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
                info!(
                    name,
                    "there is no certificate yet: no handshake for the name until there is"
                );
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

    async fn keep(&mut self) {
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
            let order = async move { order::order(&authority, &ordered).await };
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
        self.waiting.insert(name, waiting);
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
