//! The scene that the actors of a run with a cache act on: clients, origin and operator.

use std::rc::Rc;

use super::origin::Origin;
use super::records::Records;
use super::scenario::{CachedScenario, Event, PurgePlan, Purged, When};
use crate::cache::key::Key;
use crate::cache::tags::named_tag;
use crate::shared::SharedStore;
use crate::shared::cache::{Purge, PurgeEffect};
use crate::simulated::clock::UNIX_START;
use crate::simulated::world::scenario::PoolKind;
use crate::simulated::{ByteQueue, ConnId, Kernel};

/// Something that an actor, or the world, has asked to be reminded of.
#[derive(Clone, Copy, Debug)]
pub enum CachedReminder {
    /// A client begins, goes on, or leaves.
    Begin(usize),
    GoOn(usize),
    Leave(usize),
    /// The answer on a stream of an origin's connection (0 on HTTP/1) is due, or a further piece of it.
    Answer(ConnId, u32),
    Piece(ConnId),
    Purge(usize),
    Change(usize),
    /// An outage begins, or ends.
    Outage(usize, bool),
    /// All is looked at.
    Look,
}

/// The scene of a run.
pub struct Scene {
    pub kernel: Rc<Kernel>,
    pub scenario: Rc<CachedScenario>,
    pub store: SharedStore,
    pub origin: Origin,
    pub records: Records,
    reminders: Vec<CachedReminder>,
    /// How often each event has come to pass.
    events: [usize; 5],
    /// Purges that are due after so many steps.
    due: Vec<(u64, usize)>,
}

impl Scene {
    /// An empty scene.
    pub fn new(kernel: Rc<Kernel>, scenario: Rc<CachedScenario>, store: SharedStore) -> Scene {
        Scene {
            kernel,
            store,
            origin: Origin::new(&scenario),
            records: Records::new(&scenario),
            scenario,
            reminders: Vec::new(),
            events: [0; 5],
            due: Vec::new(),
        }
    }

    /// The virtual time, in microseconds.
    pub fn now(&self) -> u64 {
        self.kernel.now()
    }

    /// The virtual time, in milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        UNIX_START + self.now() / 1_000
    }

    /// Asks to be reminded at a time.
    pub fn remind(&mut self, at: u64, reminder: CachedReminder) {
        self.reminders.push(reminder);
        self.kernel.remind(at, self.reminders.len() as u64 - 1);
    }

    /// Asks to be reminded after so many microseconds.
    pub fn remind_after(&mut self, micros: u64, reminder: CachedReminder) {
        self.remind(self.now() + micros, reminder);
    }

    /// The reminder that an actor asked for.
    pub fn reminder(&self, number: u64) -> CachedReminder {
        self.reminders[number as usize]
    }

    /// Sends what there is room for, and takes that from the front of `out`.
    pub fn flush(&self, conn: ConnId, out: &mut ByteQueue) {
        if !out.is_empty() {
            let sent = self.kernel.peer_send(conn, out);
            out.drop_front(sent);
        }
    }

    /// Something has come to pass: purges may be due soon.
    pub fn note(&mut self, event: Event) {
        let count = &mut self.events[event as usize];
        *count += 1;
        let count = *count;
        let scenario = self.scenario.clone();
        for (number, purge) in scenario.purges.iter().enumerate() {
            if let When::After(of, nth, steps) = purge.when
                && (of, nth) == (event, count)
            {
                self.due.push((steps, number));
            }
        }
    }

    /// The world has gone on by one step: carries out the purges that are due.
    pub fn step(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        due.retain_mut(|(steps, number)| {
            if *steps == 0 {
                self.purge(*number);
                return false;
            }
            *steps -= 1;
            true
        });
        self.due.extend(due);
    }

    /// Carries out a purge, which is acknowledged when this returns.
    pub fn purge(&mut self, number: usize) {
        let scenario = self.scenario.clone();
        let PurgePlan { what, is_soft, .. } = scenario.purges[number];
        let effect = match is_soft {
            true => PurgeEffect::Soft,
            false => PurgeEffect::Hard,
        };
        let url = |pool, host: &str, path: &str| {
            let zone = if pool == PoolKind::One { "one" } else { "two" };
            let mut key = Vec::new();
            Key::write_prefix(zone, format!("http://{host}{path}").as_bytes(), &mut key);
            key
        };
        match what {
            Purged::All => self.store.purge(Purge::All, effect),
            Purged::Tag(tag) => {
                let tag = named_tag(format!("t{tag}").as_bytes());
                self.store.purge(Purge::Tag(&tag), effect)
            }
            Purged::Url(resource) => {
                let resource = &scenario.resources[resource];
                let url = url(resource.pool, resource.host, &resource.path());
                self.store.purge(Purge::Url(&url), effect)
            }
            Purged::Prefix(pool, host, prefix) => {
                let first = if pool == PoolKind::One { "/1" } else { "/2" };
                let prefix = url(pool, host, &[first, prefix].concat());
                self.store.purge(Purge::Prefix(&prefix), effect)
            }
        };
        self.kernel
            .trace(|| format!("purged {what:?}, soft: {is_soft}"));
        self.records.purged(what, is_soft);
    }
}
