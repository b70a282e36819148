//! The purges: one number for the process that every purge raises, and a table of the purges that may still
//! concern an entry or a fetch.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{PoisonError, RwLock};

use crossbeam_utils::CachePadded;

use super::entry::EntryState;
use crate::base::limits;
use crate::cache::key::Key;
use crate::cache::tags::tags_in;

/// The subject of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// The entries of a URL, whatever the fields of their keys: zone and URL as `cache::key` writes a prefix.
    Url(&'a [u8]),
    /// The entries whose keys begin so.
    Prefix(&'a [u8]),
    /// The entries with this tag, as `cache::tags` writes it.
    Tag(&'a [u8]),
    /// All entries.
    All,
}

/// How a purge acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeEffect {
    /// The entries are not used any more.
    Hard,
    /// The entries are stale, and may be validated and served as stale ones are.
    Soft,
}

/// The properties of an entry that purges look at.
#[derive(Clone, Copy, Debug)]
pub struct Purgeable<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The tags.
    pub tags: &'a [u8],
}

/// The number of the last hard and of the last soft purge of something; 0: none.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    hard: u64,
    soft: u64,
}

#[derive(Debug)]
struct PrefixPurge {
    prefix: Box<[u8]>,
    last: Last,
}

/// The purges of the process.
#[derive(Debug)]
pub struct Purges {
    number: CachePadded<AtomicU64>,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    all: Last,
    /// In the order of the prefixes.
    prefixes: Vec<PrefixPurge>,
    tags: HashMap<u64, Last>,
    urls: HashMap<u64, Last>,
    /// The purges of tags and URLs in the order of their numbers.
    exact: VecDeque<Exact>,
    /// The number of the last purge that was forgotten while fetches from before that purge may run.
    floor: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Exact {
    number: u64,
    hash: u64,
    is_tag: bool,
}

impl Last {
    fn note(&mut self, number: u64, effect: PurgeEffect) {
        match effect {
            PurgeEffect::Hard => self.hard = number,
            PurgeEffect::Soft => self.soft = number,
        }
    }

    fn with(self, other: Last) -> Last {
        Last {
            hard: self.hard.max(other.hard),
            soft: self.soft.max(other.soft),
        }
    }

    fn newest(self) -> u64 {
        self.hard.max(self.soft)
    }

    /// The state of an entry after these purges, of which those up to `since` do not count.
    fn state(self, since: u64) -> EntryState {
        match self {
            Last { hard, .. } if hard > since => EntryState::Dead,
            Last { soft, .. } if soft > since => EntryState::Stale,
            _ => EntryState::Live,
        }
    }
}

impl Default for Purges {
    fn default() -> Self {
        Purges {
            // An entry that was never checked has 0.
            number: CachePadded::new(AtomicU64::new(1)),
            table: RwLock::default(),
        }
    }
}

impl Purges {
    /// The number of the last purge.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number.load(Acquire)
    }

    /// Begins with the number of another process.
    pub fn begin_at(&self, number: u64) {
        self.number.fetch_max(number, Release);
    }

    /// The number of the purges that stand.
    pub fn standing(&self) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.prefixes.len() + table.exact.len()
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> u64 {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.bytes
    }

    /// Whether purges of URLs and tags have to end before there can be more.
    pub fn is_full(&self) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.exact.len() >= limits::EXACT_PURGES
    }

    /// Adds a purge; returns its number. `hash` is that of the URL or of the tag.
    pub fn add(&self, purge: Purge<'_>, hash: u64, effect: PurgeEffect) -> u64 {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let number = self.number.load(Acquire) + 1;
        match purge {
            Purge::All => table.all.note(number, effect),
            Purge::Prefix(prefix) => table.add_prefix(prefix, number, effect),
            Purge::Url(_) => table.add_exact(hash, number, effect, false),
            Purge::Tag(_) => table.add_exact(hash, number, effect, true),
        }
        table.count_bytes();
        self.number.store(number, Release);
        number
    }

    /// The state of an entry after the purges that came after `since`, and the number up to which this holds. `hash`
    /// gives the hash of a URL or a tag.
    pub fn state(
        &self,
        since: u64,
        of: Purgeable<'_>,
        hash: impl Fn(&[u8]) -> u64,
    ) -> (EntryState, u64) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        // The number is that of the table: a purge changes both while nobody reads.
        let number = self.number();
        (table.state(since, of, hash), number)
    }

    /// The number of the purge of a URL or a tag that half of those that stand are not newer than.
    pub fn middle(&self) -> Option<u64> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let middle = table.exact.get(table.exact.len() / 2);
        middle.map(|exact| exact.number)
    }

    /// Notes that purges up to this number were forgotten.
    pub fn set_floor(&self, number: u64) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.floor = table.floor.max(number);
    }

    /// Whether purges were forgotten that a fetch from the time of this number would have to know.
    pub fn is_too_old(&self, number: u64) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        number < table.floor
    }

    /// Ends the purges that concern nothing any more: all entries were checked against the purges up to `swept`, and
    /// all fetches that run began at `fetches` or later.
    pub fn end(&self, swept: u64, fetches: u64) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let done = swept.min(fetches);
        table.prefixes.retain(|purge| purge.last.newest() > done);
        let crowded = table.exact.len() >= limits::EXACT_PURGES / 2;
        while let Some(first) = table.exact.front().copied() {
            if first.number > swept || (first.number > done && !crowded) {
                break;
            }
            if first.number > done {
                table.floor = first.number;
            }
            table.exact.pop_front();
            let map = if first.is_tag {
                &mut table.tags
            } else {
                &mut table.urls
            };
            if map
                .get(&first.hash)
                .is_some_and(|last| last.newest() <= first.number)
            {
                map.remove(&first.hash);
            }
        }
        table.count_bytes();
    }
}

impl Table {
    fn add_exact(&mut self, hash: u64, number: u64, effect: PurgeEffect, is_tag: bool) {
        let map = if is_tag {
            &mut self.tags
        } else {
            &mut self.urls
        };
        map.entry(hash).or_default().note(number, effect);
        self.exact.push_back(Exact {
            number,
            hash,
            is_tag,
        });
    }

    fn add_prefix(&mut self, prefix: &[u8], number: u64, effect: PurgeEffect) {
        let found = self
            .prefixes
            .binary_search_by(|purge| (*purge.prefix).cmp(prefix));
        let at = found.unwrap_or_else(|at| {
            let purge = PrefixPurge {
                prefix: prefix.into(),
                last: Last::default(),
            };
            self.prefixes.insert(at, purge);
            at
        });
        self.prefixes[at].last.note(number, effect);
        while self.prefixes.len() > limits::PREFIX_PURGES {
            self.merge_prefixes();
        }
    }

    /// Merges the two neighbours that have most in common.
    fn merge_prefixes(&mut self) {
        let pairs = self.prefixes.windows(2).enumerate();
        let alike = pairs.max_by_key(|(_, pair)| shared_start(&pair[0].prefix, &pair[1].prefix));
        let Some((at, pair)) = alike else { return };
        let common = shared_start(&pair[0].prefix, &pair[1].prefix);
        let second = self.prefixes.remove(at + 1).last;
        let first = self.prefixes.remove(at);
        let prefix = &first.prefix[..common];
        let last = first.last.with(second);
        match self
            .prefixes
            .binary_search_by(|purge| (*purge.prefix).cmp(prefix))
        {
            Ok(at) => self.prefixes[at].last = self.prefixes[at].last.with(last),
            Err(at) => {
                let prefix = prefix.into();
                self.prefixes.insert(at, PrefixPurge { prefix, last });
            }
        }
    }

    fn state(&self, since: u64, of: Purgeable<'_>, hash: impl Fn(&[u8]) -> u64) -> EntryState {
        let mut state = self.all.state(since);
        for purge in &self.prefixes {
            if purge.last.newest() > since && of.key.starts_with(&purge.prefix) {
                state = worse(state, purge.last.state(since));
            }
        }
        if self.exact.back().is_none_or(|last| last.number <= since) {
            return state;
        }
        if !self.urls.is_empty()
            && let Some(Key { zone, url, .. }) = Key::read(of.key)
        {
            let url = hash(&of.key[..size_of::<u16>() + zone.len() + url.len()]);
            let last = self.urls.get(&url).copied().unwrap_or_default();
            state = worse(state, last.state(since));
        }
        if !self.tags.is_empty() {
            for tag in tags_in(of.tags) {
                let last = self.tags.get(&hash(tag)).copied().unwrap_or_default();
                state = worse(state, last.state(since));
            }
        }
        state
    }

    fn count_bytes(&mut self) {
        let prefixes = self.prefixes.iter().map(|purge| purge.prefix.len() + 16);
        let rows = self.prefixes.capacity() * size_of::<PrefixPurge>();
        let map = size_of::<(u64, Last)>() + 1;
        let maps = (self.tags.capacity() + self.urls.capacity()) * map * 8 / 7;
        let exact = self.exact.capacity() * size_of::<Exact>();
        self.bytes = (prefixes.sum::<usize>() + rows + maps + exact) as u64;
    }
}

fn worse(first: EntryState, second: EntryState) -> EntryState {
    if (second as u8) > first as u8 {
        second
    } else {
        first
    }
}

fn shared_start(first: &[u8], second: &[u8]) -> usize {
    first.iter().zip(second).take_while(|(a, b)| a == b).count()
}
