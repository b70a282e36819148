//! The schedule of look-ups, and their threads. No clock here: time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{LookUpAnswer, WatchedNames};
use crate::base::limits;
use crate::base::quantity::show_time;
use crate::base::time::Micros;
use crate::shared::counter::Counter;

/// Finds the addresses of a name, and blocks meanwhile. Errors: why there are none.
type LookUp = Arc<dyn Fn(&str) -> Result<Vec<IpAddr>, String> + Send + Sync>;

/// All names that are looked up. A look-up that does not end keeps its thread. Therefore, names whose look-ups will
/// probably not end leave threads for other names, and the names of one change leave threads for the next change. A
/// thread whose look-up hangs is replaced by another one, up to a bound; its name is not looked up again before the
/// look-up ends.
pub struct LookUps {
    names: BTreeMap<String, Name>,
    /// Look-ups of names that are no longer wanted: by name, the number of the look-up and when it began.
    unwanted: BTreeMap<String, (u64, Micros)>,
    every: Duration,
    /// The number of changes that brought new names so far.
    changes: u64,
    /// The number of look-ups so far.
    begun: u64,
    /// The number of threads that look names up, including those whose results are no longer wanted.
    threads: usize,
    look_up: LookUp,
    /// The number of look-ups that hang, for metrics.
    hanging: Arc<Counter>,
    ended: (
        mpsc::UnboundedSender<EndedLookUp>,
        mpsc::UnboundedReceiver<EndedLookUp>,
    ),
}

/// A name that is looked up.
#[derive(Debug)]
struct Name {
    due: Micros,
    last: Last,
    /// Whether the last look-up had no answer in time.
    hung: bool,
    /// The number of the look-up that is under way, and when it began.
    under_way: Option<(u64, Micros)>,
    /// Whether callers were already told that the look-up has no answer in time.
    is_given_up: bool,
    /// The number of the change that brought the name.
    change: u64,
    /// Whether the configuration in force uses the name, so that the name is looked up repeatedly.
    is_followed: bool,
}

/// The result of the last look-up of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    /// The name was not looked up yet.
    Never,
    /// The name resolved.
    Good,
    /// The name did not resolve.
    Failed,
}

/// A look-up that has ended.
#[derive(Debug)]
pub struct EndedLookUp {
    host: String,
    number: u64,
    answer: Result<Vec<IpAddr>, String>,
}

impl Default for LookUps {
    /// The look-ups of a machine, with no names yet.
    fn default() -> LookUps {
        LookUps::by(Arc::new(look_up))
    }
}

impl LookUps {
    /// Look-ups that are made by this function.
    pub(super) fn by(look_up: LookUp) -> LookUps {
        LookUps {
            names: BTreeMap::new(),
            unwanted: BTreeMap::new(),
            every: Duration::from_secs(limits::default::RESOLVE_SECS),
            changes: 0,
            begun: 0,
            threads: 0,
            look_up,
            hanging: Arc::default(),
            ended: mpsc::unbounded_channel(),
        }
    }

    /// The number of look-ups that have had no answer for too long.
    pub fn hanging(&self) -> Arc<Counter> {
        self.hanging.clone()
    }

    /// Looks these names up repeatedly from now on, and no others but those of `asked`. A name that was looked up
    /// before keeps its next look-up; a new name is looked up now.
    pub(super) fn follow(&mut self, names: &WatchedNames, asked: &BTreeSet<String>, now: Micros) {
        self.every = names.every;
        let followed: BTreeSet<&String> = names.hosts.iter().collect();
        let is_unwanted =
            |host: &String, _: &mut Name| !followed.contains(host) && !asked.contains(host);
        for (host, name) in self.names.extract_if(.., is_unwanted) {
            self.unwanted
                .extend(name.under_way.map(|look_up| (host, look_up)));
        }
        let latest = now.after(self.every);
        for (host, name) in &mut self.names {
            name.is_followed = followed.contains(host);
            name.due = name.due.min(latest);
        }
        let hosts = followed
            .into_iter()
            .filter(|host| !self.names.contains_key(*host));
        let new: Vec<String> = hosts.cloned().collect();
        self.add(new, true, now);
    }

    /// Looks these names up once, now, even those with known addresses. A name that still waits for its first look-up
    /// goes on waiting; if its wait was given up, the wait begins anew, so that the new caller gets an answer.
    pub(super) fn look_up_once(&mut self, hosts: impl IntoIterator<Item = String>, now: Micros) {
        let (known, new): (Vec<_>, Vec<_>) = hosts
            .into_iter()
            .partition(|host| self.names.contains_key(host));
        self.add(new, false, now);
        for host in known {
            if let Some(name) = self.names.get_mut(&host)
                && (name.last != Last::Never || name.is_given_up)
            {
                (name.last, name.due, name.is_given_up) = (Last::Never, now, false);
                name.change = self.changes;
            }
        }
    }

    fn add(&mut self, hosts: Vec<String>, is_followed: bool, now: Micros) {
        self.changes += 1;
        for host in hosts {
            let under_way = self.unwanted.remove(&host);
            let name = Name {
                due: now,
                last: Last::Never,
                hung: under_way.is_some_and(|(_, since)| hangs(since, now)),
                under_way,
                is_given_up: false,
                change: self.changes,
                is_followed,
            };
            self.names.insert(host, name);
        }
    }

    /// Notes that addresses of these names are known already, so that no caller waits for them.
    pub(super) fn know(&mut self, hosts: impl Iterator<Item = String>) {
        for host in hosts {
            if let Some(name) = self.names.get_mut(&host) {
                name.last = Last::Good;
            }
        }
    }

    /// Begins the look-ups that are due, as far as there is room, and gives up the wait for those that take too long.
    /// Returns the answers to report.
    pub(super) fn step(&mut self, now: Micros) -> Vec<LookUpAnswer> {
        let mut told = self.give_up(now);
        let mut busy = self.busy(now);
        self.tell_hanging(busy.hanging);
        for host in self.due(now) {
            if let Err(why) = self.begin(&host, &mut busy, now) {
                told.extend(self.note_answer(host, Err(why), now));
            }
        }
        told
    }

    /// Returns a failed answer for every name whose look-up has taken too long.
    fn give_up(&mut self, now: Micros) -> Vec<LookUpAnswer> {
        let most = Duration::from_secs(limits::RESOLVE_SECS);
        let waiting = self
            .names
            .values()
            .filter(|name| name.is_overdue(now))
            .count();
        let mut told = Vec::new();
        for (host, name) in &mut self.names {
            if name.is_given_up || name.patience_ends().is_none_or(|end| end > now) {
                continue;
            }
            name.is_given_up = true;
            let why = match name.under_way {
                Some(_) => {
                    (name.last, name.hung) = (Last::Failed, true);
                    format!("no answer within {}", show_time(most))
                }
                None => format!(
                    "not looked up within {}: {waiting} other names that get no answer come before it",
                    show_time(most)
                ),
            };
            told.push((host.clone(), Err(why)));
        }
        told
    }

    /// The names to look up now, in their order. When a name is due, those that are due soon go with it, so that
    /// addresses that change together are adopted together.
    fn due(&self, now: Micros) -> Vec<String> {
        let waiting = || self.names.iter().filter(|(_, name)| name.is_waiting());
        if !waiting().any(|(_, name)| name.due <= now) {
            return Vec::new();
        }
        let soon = now.after(self.every / limits::LOOKUP_SHARE_OF_PAUSE);
        let mut due: Vec<_> = waiting().filter(|(_, name)| name.due <= soon).collect();
        due.sort_by_key(|(_, name)| match name.last {
            Last::Never => (name.hung, Last::Never, Reverse(name.change), name.due),
            last => (name.hung, last, Reverse(0), name.due),
        });
        due.into_iter().map(|(host, _)| host.clone()).collect()
    }

    /// Begins a look-up if there is room for it. Errors: no thread can be started.
    fn begin(&mut self, host: &str, busy: &mut Busy, now: Micros) -> Result<(), String> {
        let Some(name) = self.names.get(host) else {
            return Ok(());
        };
        let of_change = busy.of_change.get(&name.change).copied().unwrap_or(0);
        // A name whose last look-up hung will probably hang again, whichever change asks for it.
        let last = if name.hung { Last::Failed } else { name.last };
        let threads = self.threads - busy.hanging.min(limits::LOOKUPS_REPLACED);
        if !has_room(last, threads, busy.failing, of_change) {
            return Ok(());
        }
        busy.add(name);
        self.begun += 1;
        let (number, look_up) = (self.begun, self.look_up.clone());
        let (ended, host) = (self.ended.0.clone(), host.to_owned());
        let thread = thread::Builder::new()
            .name("look-up".to_owned())
            .stack_size(limits::LOOKUP_STACK_BYTES);
        let asked = host.clone();
        let work = move || {
            let answer = look_up(&asked);
            let _ = ended.send(EndedLookUp {
                host: asked,
                number,
                answer,
            });
        };
        let begun = thread.spawn(work);
        begun.map_err(|error| format!("no thread can be started to look it up: {error}"))?;
        self.threads += 1;
        if let Some(name) = self.names.get_mut(&host) {
            name.under_way = Some((number, now));
        }
        Ok(())
    }

    fn busy(&self, now: Micros) -> Busy {
        let mut busy = Busy::default();
        for name in self.names.values() {
            match name.under_way {
                Some((_, since)) if hangs(since, now) => busy.hanging += 1,
                Some(_) => busy.add(name),
                None => {}
            }
        }
        let unwanted = self.unwanted.values();
        busy.hanging += unwanted.filter(|(_, since)| hangs(*since, now)).count();
        busy
    }

    /// Logs when every thread that may be replaced hangs, and when that is over.
    fn tell_hanging(&mut self, hanging: usize) {
        let (most, before) = (limits::LOOKUPS_REPLACED as u64, self.hanging.get());
        let hanging = hanging as u64;
        self.hanging.set(hanging);
        if before < most && hanging >= most {
            warn!(
                hanging,
                "look-ups of names hang: no more of their threads are replaced, so that names wait for each other"
            );
        } else if before >= most && hanging < most {
            info!(hanging, "threads of look-ups that hang are replaced again");
        }
    }

    /// Waits for the next look-up that ends. Cancel safe.
    pub(super) async fn ended(&mut self) -> EndedLookUp {
        match self.ended.1.recv().await {
            Some(ended) => ended,
            // `self` holds a sender of the channel, so the channel does not end.
            None => std::future::pending().await,
        }
    }

    /// Notes the end of a look-up and returns its answer; `None`: the answer is no longer wanted.
    pub(super) fn note(&mut self, ended: EndedLookUp, now: Micros) -> Option<LookUpAnswer> {
        debug_assert!(self.threads > 0, "a look-up that ends had a thread");
        self.threads = self.threads.saturating_sub(1);
        self.unwanted.remove(&ended.host);
        let name = self.names.get(&ended.host)?;
        name.under_way
            .filter(|(number, _)| *number == ended.number)?;
        self.note_answer(ended.host, ended.answer, now)
    }

    fn note_answer(
        &mut self,
        host: String,
        answer: Result<Vec<IpAddr>, String>,
        now: Micros,
    ) -> Option<LookUpAnswer> {
        let name = self.names.get_mut(&host)?;
        name.under_way = None;
        name.is_given_up = false;
        // A good answer that comes late shows that the name does resolve.
        name.hung &= answer.is_err();
        name.due = now.after(self.every);
        name.last = if answer.is_ok() {
            Last::Good
        } else {
            Last::Failed
        };
        Some((host, answer))
    }

    /// When to call [`LookUps::step`] again, at the latest, besides after every look-up that ends.
    pub(super) fn next(&self, now: Micros) -> Micros {
        let dues = self.names.values().filter(|name| name.is_waiting());
        let dues = dues.map(|name| name.due).filter(|due| *due > now);
        let ends = self.names.values().filter(|name| !name.is_given_up);
        let ends = ends.filter_map(Name::patience_ends);
        let most = now.after(Duration::from_secs(limits::RESOLVE_SECS));
        dues.chain(ends).min().map_or(most, |next| next.min(most))
    }
}

impl Name {
    /// Whether the name waits to be looked up, now or later.
    fn is_waiting(&self) -> bool {
        self.under_way.is_none() && (self.is_followed || self.last == Last::Never)
    }

    /// When callers that wait for the name are told that there is no answer.
    fn patience_ends(&self) -> Option<Micros> {
        let most = Duration::from_secs(limits::RESOLVE_SECS);
        match self.under_way {
            Some((_, since)) => Some(since.after(most)),
            None => (self.last == Last::Never).then(|| self.due.after(most)),
        }
    }

    /// Whether the look-up has had no answer for too long.
    fn is_overdue(&self, now: Micros) -> bool {
        self.under_way.is_some() && self.patience_ends().is_some_and(|end| end <= now)
    }
}

/// The threads that are busy, by kinds of names.
#[derive(Default)]
struct Busy {
    /// The number of threads whose look-ups hang; the other numbers do not include them.
    hanging: usize,
    failing: usize,
    of_change: HashMap<u64, usize>,
}

impl Busy {
    fn add(&mut self, name: &Name) {
        self.failing += usize::from(name.hung || name.last == Last::Failed);
        *self.of_change.entry(name.change).or_default() += 1;
    }
}

/// Whether a look-up that began at `since` has had no answer for too long.
fn hangs(since: Micros, now: Micros) -> bool {
    since.after(Duration::from_secs(limits::RESOLVE_SECS)) <= now
}

/// Whether a name whose last look-up ended as `last` may have another thread. `threads` are busy already: `failing` of
/// them with names whose last look-up failed, and `of_change` with names of the same change.
fn has_room(last: Last, threads: usize, failing: usize, of_change: usize) -> bool {
    let for_all = threads < limits::LOOKUPS - limits::LOOKUPS_SPARE;
    match last {
        Last::Failed => for_all && failing < limits::FAILING_LOOKUPS,
        Last::Good => threads < limits::LOOKUPS - limits::LOOKUPS_SPARE / 2,
        Last::Never => {
            for_all || of_change < limits::LOOKUPS_OF_CHANGE && threads < limits::LOOKUPS
        }
    }
}

/// The addresses of one name: sorted, each once, at most [`limits::ADDRESSES_PER_NAME`]. Errors: there are none.
fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|error| error.to_string())?;
    let addresses: BTreeSet<IpAddr> = found.map(|addr| addr.ip()).collect();
    if addresses.is_empty() {
        Err("the name has no addresses".to_owned())
    } else {
        Ok(addresses
            .into_iter()
            .take(limits::ADDRESSES_PER_NAME)
            .collect())
    }
}

#[cfg(test)]
mod tests;
