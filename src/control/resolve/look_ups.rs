//! Which name is looked up when, and on which thread. No clock: time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Answer, Names};
use crate::base::limits;
use crate::base::time::Micros;
use crate::shared::count::Count;

/// Finds the addresses of a name; blocks. Errors: why there are none.
type LookUp = Arc<dyn Fn(&str) -> Result<Vec<IpAddr>, String> + Send + Sync>;

/// All names that are looked up. A look-up that does not end keeps its thread; so those that will probably not end leave
/// threads for others, and those of one change leave some for the next. A thread whose look-up hangs is replaced by
/// another one, up to a bound, and its name is not asked for again before it ends.
pub struct LookUps {
    names: BTreeMap<String, Name>,
    /// Look-ups that go on although nobody wants their names any more: their numbers, and when they began.
    unwanted: BTreeMap<String, (u64, Micros)>,
    every: Duration,
    /// Counts what brings new names.
    changes: u64,
    /// Counts look-ups.
    begun: u64,
    /// Threads that look up, those included that nobody waits for any more.
    threads: usize,
    look_up: LookUp,
    /// Look-ups that hang, for whoever only wants to know.
    hanging: Arc<Count>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

/// A name that is looked up.
#[derive(Debug)]
struct Name {
    due: Micros,
    last: Last,
    /// Its last look-up had no answer in time.
    hung: bool,
    /// The look-up that is under way, and since when.
    under_way: Option<(u64, Micros)>,
    /// It was told already that there is no answer in time.
    is_given_up: bool,
    /// What brought it.
    change: u64,
    /// The configuration in force uses it, so it is looked up again and again.
    is_followed: bool,
}

/// How the last look-up of a name ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    /// There was none yet.
    Never,
    Good,
    Failed,
}

/// A look-up that has ended.
#[derive(Debug)]
pub struct Ended {
    host: String,
    number: u64,
    answer: Result<Vec<IpAddr>, String>,
}

impl Default for LookUps {
    /// Of no names yet, as the machine does it.
    fn default() -> LookUps {
        LookUps::by(Arc::new(look_up))
    }
}

impl LookUps {
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

    /// How many look-ups have had no answer for too long.
    pub fn hanging(&self) -> Arc<Count> {
        self.hanging.clone()
    }

    /// Looks these names up again and again from now on, and no others but those of `asked`. One that was looked up before
    /// stays due when it was; one that is new is due now.
    pub(super) fn follow(&mut self, names: &Names, asked: &BTreeSet<String>, now: Micros) {
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

    /// Looks these names up once, at once, whatever was known of them; those that wait for their first look-up go on waiting,
    /// unless that was given up: whoever asks now is told as well.
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

    /// Notes that addresses of these names are known already: nobody waits for them.
    pub(super) fn know(&mut self, hosts: impl Iterator<Item = String>) {
        for host in hosts {
            if let Some(name) = self.names.get_mut(&host) {
                name.last = Last::Good;
            }
        }
    }

    /// Begins what is due, as far as there is room, and gives up waiting for what has taken too long; what is to be told.
    pub(super) fn step(&mut self, now: Micros) -> Vec<Answer> {
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

    /// Tells of names that have no answer although they should.
    fn give_up(&mut self, now: Micros) -> Vec<Answer> {
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
                    format!("no answer within {most:?}")
                }
                None => format!(
                    "not looked up within {most:?}: {waiting} others that do not answer are before it"
                ),
            };
            told.push((host.clone(), Err(why)));
        }
        told
    }

    /// Names to look up now, in their order. When one is due, those that soon are go with it: addresses that change at once
    /// are taken over at once.
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

    /// Begins a look-up if there is room for it. Errors: there is no thread to be had.
    fn begin(&mut self, host: &str, busy: &mut Busy, now: Micros) -> Result<(), String> {
        let Some(name) = self.names.get(host) else {
            return Ok(());
        };
        let of_change = busy.of_change.get(&name.change).copied().unwrap_or(0);
        // Whoever hung last time will probably hang again, whoever asks for it.
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
            let _ = ended.send(Ended {
                host: asked,
                number,
                answer,
            });
        };
        let begun = thread.spawn(work);
        begun.map_err(|error| format!("no thread to look it up: {error}"))?;
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

    /// Says in the log when every thread that may be replaced hangs, and when that is over.
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

    /// The next look-up that ends. May be dropped while it waits.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.ended.1.recv().await {
            Some(ended) => ended,
            // This holds a sender itself, so the channel does not end.
            None => std::future::pending().await,
        }
    }

    /// What a look-up brought that has ended; `None`: nobody wants to know any more.
    pub(super) fn note(&mut self, ended: Ended, now: Micros) -> Option<Answer> {
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
    ) -> Option<Answer> {
        let name = self.names.get_mut(&host)?;
        name.under_way = None;
        name.is_given_up = false;
        // An answer that came late says nothing against the name.
        name.hung &= answer.is_err();
        name.due = now.after(self.every);
        name.last = if answer.is_ok() {
            Last::Good
        } else {
            Last::Failed
        };
        Some((host, answer))
    }

    /// When at the latest something is to be done, besides what comes from look-ups that end.
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
    /// Whether it waits to be looked up, now or later.
    fn is_waiting(&self) -> bool {
        self.under_way.is_none() && (self.is_followed || self.last == Last::Never)
    }

    /// When whoever waits for its answer is told that there is none.
    fn patience_ends(&self) -> Option<Micros> {
        let most = Duration::from_secs(limits::RESOLVE_SECS);
        match self.under_way {
            Some((_, since)) => Some(since.after(most)),
            None => (self.last == Last::Never).then(|| self.due.after(most)),
        }
    }

    /// Whether its look-up has had no answer for too long.
    fn is_overdue(&self, now: Micros) -> bool {
        self.under_way.is_some() && self.patience_ends().is_some_and(|end| end <= now)
    }
}

/// What names have threads.
#[derive(Default)]
struct Busy {
    /// Threads whose look-ups hang, which are not among the others.
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

/// Whether a look-up that began then has had no answer for too long.
fn hangs(since: Micros, now: Micros) -> bool {
    since.after(Duration::from_secs(limits::RESOLVE_SECS)) <= now
}

/// Whether a name whose last look-up ended so may have another thread, besides the `threads` that are busy, `failing` of
/// them with names whose last look-up failed, and `of_change` with names that came with the same change.
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
    match addresses.is_empty() {
        true => Err("the name has no addresses".to_owned()),
        false => Ok(addresses
            .into_iter()
            .take(limits::ADDRESSES_PER_NAME)
            .collect()),
    }
}

#[cfg(test)]
mod tests;
