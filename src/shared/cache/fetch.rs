//! A fetch and what it stores: the way of a response from a backend into the store.

use std::sync::Arc;

use super::CacheStore;
use super::arena::BlockWriter;
use super::body::{BodyPart, LargeBody};
use super::entry::{Entry, EntryState};
use super::fills::{FillEnd, Follower, RunningFill};
use super::header::{EntryHeader, HEADER_BYTES};
use super::mark;
use super::passing_state::Passing;
use super::reserved::{Reserved, part_bytes};
use super::unpublished::{NoRoom, Unpublished};
use crate::base::limits;
use crate::cache::facts::{EntryFacts, Flags};

/// A response that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The facts of the response.
    pub facts: EntryFacts,
    /// The fields of the request that the response's `Vary` names.
    pub variant: &'a [u8],
    /// The head in the form of HTTP/1.
    pub head: &'a [u8],
    /// The tags, as `cache::tags` writes them.
    pub tags: &'a [u8],
    /// The length of the body, if it is known.
    pub length: Option<u64>,
    /// The allowance of the route.
    pub share: Share,
}

/// The allowance of a route for its entries.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The zone, by [`CacheStore::zone`].
    pub zone: u16,
    /// The share of the store that the zone may use, in percent.
    pub max_percent: u8,
    /// The largest body in bytes.
    pub max_object: u64,
    /// The largest number of variants of one key.
    pub max_variants: u16,
}

/// A request to a backend whose response may be stored. Who drops it without a decision tells those who wait that
/// there is no response.
#[derive(Debug)]
pub struct Ticket {
    pub(super) store: Arc<CacheStore>,
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
    pub(super) purge_number: u64,
    pub(super) invalidation: u64,
    pub(super) fill: Option<Arc<RunningFill>>,
}

/// A response that is being stored. Who drops it before the end tells those who follow that the response has failed.
#[derive(Debug)]
pub struct Filling {
    pub(super) fetch: Ticket,
    pub(super) entry: Arc<Entry>,
    pub(super) writer: Writer,
    pub(super) length: Option<u64>,
    pub(super) pushed: u64,
    pub(super) share: Share,
    pub(super) has_ended: bool,
    /// The body is not stored any more, and only passed on to those who follow.
    pub(super) passing: Option<Passing<NoRoom>>,
    /// The time until which the key is not collapsed if the body is too large, in milliseconds since 1970; 0: it is.
    pub(super) too_large_until: u64,
    pub(super) reserved: Reserved,
}

#[derive(Debug)]
pub(super) enum Writer {
    /// The body follows the head.
    Own(BlockWriter),
    /// The body has blocks of its own; the last one is being written to.
    Parts(Option<(Arc<BodyPart>, BlockWriter)>),
}

impl Ticket {
    /// The fill by which others wait for this fetch; `None` if none can.
    pub fn fill(&self) -> Option<&Arc<RunningFill>> {
        self.fill.as_ref()
    }

    /// A follower of this fetch; `None` if no request can follow it.
    pub fn follower(&self) -> Option<Follower> {
        self.fill.clone().map(Follower::new)
    }

    /// Notes that the request is sent now, perhaps once more: what was purged or invalidated before does not concern
    /// the response.
    pub fn note_sent(&mut self) {
        self.store.clone().renew_fetch(self);
    }

    /// A place for a further response that the answer to the same request is about. No request waits for it.
    pub fn further(&self) -> Ticket {
        self.store.shard(self.hash).begin_fetch(self.purge_number);
        Ticket {
            store: self.store.clone(),
            key: self.key.clone(),
            fill: None,
            ..*self
        }
    }

    /// No other request can have the response. The key is not collapsed until this time in milliseconds since 1970; 0:
    /// it is, by those who come now.
    pub fn uncacheable(mut self, until: u64) {
        if let Some(fill) = self.fill.take() {
            let mut shard = self.store.shard(self.hash);
            shard.end_fill(self.hash, &self.key, fill.number(), Some(until));
            drop(shard);
            fill.decide_uncacheable(until);
        } else if until > 0 {
            let mut shard = self.store.shard(self.hash);
            shard.end_fill(self.hash, &self.key, 0, Some(until));
        }
    }

    /// Stores an entry that a 304 has validated: with new facts and a new head, and with the body of the old one.
    /// Errors: the response is not in the store.
    pub fn refresh(
        mut self,
        old: &Arc<Entry>,
        new: NewEntry<'_>,
    ) -> Result<Arc<Entry>, Unpublished> {
        // A purge that came after the look-up has ended the body, whatever a backend says of its validator.
        let refreshed = match self.store.check(old) {
            EntryState::Dead => Err(Unpublished::Purged),
            EntryState::Live | EntryState::Stale => self.with_body_of(old, &new),
        };
        let Ok(entry) = refreshed else {
            self.uncacheable(0);
            return refreshed;
        };
        let published = self
            .store
            .publish(&self, &entry, usize::from(new.share.max_variants));
        if published.is_err() {
            entry.set_state(EntryState::Dead);
        }
        if let Some(fill) = self.fill.take() {
            let mut shard = self.store.shard(self.hash);
            shard.end_fill(self.hash, &self.key, fill.number(), Some(0));
            drop(shard);
            fill.decide_storable(entry.clone());
            fill.set_end(FillEnd::Complete, entry.trailers());
        }
        published.map(|()| entry)
    }

    fn with_body_of(
        &self,
        old: &Arc<Entry>,
        new: &NewEntry<'_>,
    ) -> Result<Arc<Entry>, Unpublished> {
        let length = old.body_len();
        let own = if old.body().is_some() { 0 } else { length };
        let new = NewEntry {
            length: Some(length),
            ..*new
        };
        let (entry, mut writer) = self.write_head(&new, old.body().cloned(), own as usize)?;
        if old.body().is_none() {
            for piece in old.pieces() {
                entry.block().append(&mut writer, piece);
            }
        }
        Ok(entry)
    }

    /// Begins to store the response. Errors: there is no room, and those who wait go alone.
    pub fn store(self, new: NewEntry<'_>) -> Result<Filling, NoRoom> {
        match self.begin(&new) {
            Ok((entry, writer)) => {
                if let Some(fill) = &self.fill {
                    let mut shard = self.store.shard(self.hash);
                    let key = (self.hash, &*self.key);
                    shard.set_fill_variant(key, fill.number(), new.variant);
                    drop(shard);
                    fill.decide_storable(entry.clone());
                }
                Ok(Filling {
                    fetch: self,
                    entry,
                    writer,
                    length: new.length,
                    pushed: 0,
                    share: new.share,
                    has_ended: false,
                    passing: None,
                    too_large_until: 0,
                    reserved: Reserved::default(),
                })
            }
            Err(error) => {
                self.uncacheable(0);
                Err(error)
            }
        }
    }

    fn begin(&self, new: &NewEntry<'_>) -> Result<(Arc<Entry>, Writer), NoRoom> {
        if new
            .length
            .is_some_and(|length| length > new.share.max_object)
        {
            return Err(NoRoom::TooLarge);
        }
        let own = new
            .length
            .filter(|length| *length <= limits::OWN_BODY_BYTES);
        let body = own.is_none().then(|| self.store.new_body());
        let (entry, writer) = self.write_head(new, body, own.unwrap_or(0) as usize)?;
        let writer = match own {
            Some(_) => Writer::Own(writer),
            None => Writer::Parts(None),
        };
        Ok((entry, writer))
    }

    /// An entry with all but its body, and with room for `own` bytes of a body behind the head.
    fn write_head(
        &self,
        new: &NewEntry<'_>,
        body: Option<Arc<LargeBody>>,
        own: usize,
    ) -> Result<(Arc<Entry>, BlockWriter), NoRoom> {
        let parts = [&*self.key, new.variant, new.tags, new.head];
        let header = EntryHeader {
            lengths: parts.map(|part| part.len() as u32),
            zone: new.share.zone,
            purge_number: self.purge_number,
            body: body.as_ref().map_or(0, |body| body.number()),
            body_length: new.length.unwrap_or(u64::MAX),
            facts: new.facts,
        };
        let rest: usize = parts.iter().map(|part| part.len()).sum();
        let allocated = self
            .store
            .allocate(HEADER_BYTES + rest + own, mark::FILLING);
        let (block, mut writer) = allocated.ok_or(NoRoom::Full)?;
        block.append(&mut writer, &header.to_bytes(parts));
        for part in parts {
            block.append(&mut writer, part);
        }
        Ok((Arc::new(Entry::new(self.hash, block, body)), writer))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut shard = self.store.shard(self.hash);
        shard.end_fetch(self.purge_number);
        if let Some(fill) = self.fill.take() {
            shard.end_fill(self.hash, &self.key, fill.number(), None);
            drop(shard);
            fill.decide_gone();
        }
    }
}

impl Filling {
    /// The entry, whose body grows.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The fill by which others follow; `None` if none can.
    pub fn fill(&self) -> Option<&Arc<RunningFill>> {
        self.fetch.fill.as_ref()
    }

    /// A follower of this fill; `None` if nobody can follow it.
    pub fn follower(&self) -> Option<Follower> {
        self.fetch.follower()
    }

    /// The number of bytes so far.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Appends bytes of the body, and wakes those who follow. Where there is no room for all of the bytes the response
    /// is not stored, and the body is only passed on to those who follow. Errors: none follows, or there is no room
    /// for that either: those who follow find [`FillEnd::Broken`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        if self.has_ended {
            return Err(NoRoom::Full);
        }
        let before = self.pushed;
        let appended = match self.passing {
            None => self.append(bytes),
            Some(_) => self.pass_on(bytes),
        };
        let appended = appended.or_else(|error| {
            let taken = (self.pushed - before) as usize;
            self.begin_to_pass_on(error)?;
            self.pass_on(&bytes[taken..])
        });
        if let Err(error) = appended {
            self.end(FillEnd::Broken, &[]);
            return Err(error);
        }
        if let Some(fill) = &self.fetch.fill {
            fill.wake();
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let after = self.pushed + bytes.len() as u64;
        if self.length.is_some_and(|length| after > length) {
            return Err(NoRoom::TooLong);
        }
        if after > self.share.max_object {
            return Err(NoRoom::TooLarge);
        }
        match (&mut self.writer, self.entry.body()) {
            (Writer::Own(writer), _) => {
                self.entry.block().append(writer, bytes);
                self.pushed = after;
            }
            (Writer::Parts(_), _) => self.append_to_parts(bytes)?,
        }
        Ok(())
    }

    fn append_to_parts(&mut self, mut bytes: &[u8]) -> Result<(), NoRoom> {
        let (Writer::Parts(current), Some(body)) = (&mut self.writer, self.entry.body()) else {
            return Ok(());
        };
        while !bytes.is_empty() {
            let taken = match current {
                Some((part, writer)) => part.block.append(writer, bytes),
                None => 0,
            };
            bytes = &bytes[taken..];
            self.pushed += taken as u64;
            body.set_filled(self.pushed);
            if bytes.is_empty() {
                break;
            }
            if let Some((part, _)) = current.take() {
                part.seal();
            }
            let wanted = part_bytes(self.length, self.pushed, bytes.len());
            let (block, mut writer) = match self.reserved.for_body() {
                Some(reserved) => reserved,
                None => self.fetch.store.allocate_part(wanted)?,
            };
            let prefix = BodyPart::prefix(body.number(), self.pushed);
            block.append(&mut writer, &prefix);
            let start = self.pushed;
            let part = Arc::new(BodyPart { start, block });
            body.add_part(part.clone());
            *current = Some((part, writer));
        }
        Ok(())
    }

    /// Ends the body and puts the entry into the store. Errors: the response is not in the store; those who follow
    /// have it whole nevertheless, unless it is too short.
    pub fn finish(mut self, trailers: &[u8]) -> Result<Arc<Entry>, Unpublished> {
        if self.has_ended {
            return Err(NoRoom::Full.into());
        }
        if self.length.is_some_and(|length| length != self.pushed) {
            self.end(FillEnd::Failed, &[]);
            return Err(Unpublished::TooShort);
        }
        if let Some(passing) = self.passing {
            self.end(FillEnd::Complete, trailers);
            return Err(passing.reason.into());
        }
        let published = self.seal(trailers).and_then(|entry| {
            let most = usize::from(self.share.max_variants);
            self.fetch.store.publish(&self.fetch, &entry, most)?;
            Ok(entry)
        });
        self.end(FillEnd::Complete, trailers);
        if published.is_ok() {
            self.fetch.store.keep_share(self.share);
        }
        published
    }

    /// The length that the body will have, if it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Ends a body that was cut, and puts what has come of it into the store under this head. Those who follow find
    /// [`FillEnd::Failed`]. Errors: nothing is in the store.
    pub fn keep(mut self, facts: EntryFacts, head: &[u8]) -> Result<Arc<Entry>, Unpublished> {
        // A body that is passed on without being kept has no beginning that could be kept.
        if self.has_ended || self.passing.is_some() {
            return Err(NoRoom::Full.into());
        }
        let sealed = self.seal(&[])?;
        // A whole response answers in case of trouble, stale as it may be, which a part cannot.
        let is_whole = |other: &Arc<Entry>| {
            other.variant() == sealed.variant() && !other.facts().flags.has(Flags::PARTIAL)
        };
        let shard = self.fetch.store.shard(self.fetch.hash);
        let known = shard.slots.entries(self.fetch.hash, &self.fetch.key);
        let has_whole = known.iter().any(is_whole);
        drop(shard);
        if has_whole {
            return Err(Unpublished::TooShort);
        }
        let new = NewEntry {
            facts,
            variant: sealed.variant(),
            head,
            tags: sealed.tags(),
            length: Some(self.pushed),
            share: self.share,
        };
        let kept = self.fetch.with_body_of(&sealed, &new)?;
        let most = usize::from(self.share.max_variants);
        self.fetch.store.publish(&self.fetch, &kept, most)?;
        Ok(kept)
    }

    /// Ends the blocks; returns the entry, which is another one if there are trailers and the body follows the head.
    pub(super) fn seal(&mut self, trailers: &[u8]) -> Result<Arc<Entry>, Unpublished> {
        let Some(body) = self.entry.body() else {
            if !trailers.is_empty() {
                return self.with_trailers(trailers);
            }
            return Ok(self.entry.clone());
        };
        if let Writer::Parts(current) = &mut self.writer
            && let Some((part, writer)) = current.take()
        {
            part.block.trim(writer);
            part.seal();
        }
        let block = self.fetch.store.write_trailers(body, trailers)?;
        body.finish(block);
        Ok(self.entry.clone())
    }

    /// The entry with its body in a block of its own and with trailers.
    fn with_trailers(&self, trailers: &[u8]) -> Result<Arc<Entry>, Unpublished> {
        let body = self.fetch.store.new_body();
        let old = &self.entry;
        let new = NewEntry {
            facts: old.facts(),
            variant: old.variant(),
            head: old.head(),
            tags: old.tags(),
            length: self.length,
            share: self.share,
        };
        let (entry, _) = self.fetch.write_head(&new, Some(body.clone()), 0)?;
        for bytes in old.pieces() {
            self.fetch.store.write_part(&body, bytes)?;
        }
        body.finish(self.fetch.store.write_trailers(&body, trailers)?);
        Ok(entry)
    }

    fn end(&mut self, end: FillEnd, trailers: &[u8]) {
        self.has_ended = true;
        let Some(fill) = self.fetch.fill.take() else {
            return;
        };
        let (hash, key) = (self.fetch.hash, &self.fetch.key);
        let mut shard = self.fetch.store.shard(hash);
        let collapses = (end == FillEnd::Complete).then_some(0);
        shard.end_fill(hash, key, fill.number(), collapses);
        drop(shard);
        fill.set_end(end, trailers);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.has_ended {
            #[cfg(test)]
            if crate::simulated::is_planted(crate::simulated::Fault::TakesPartForWhole) {
                self.end(FillEnd::Complete, &[]);
            }
            self.end(FillEnd::Failed, &[]);
        }
        if self.entry.node() == super::entry::NO_NODE {
            self.entry.set_state(EntryState::Dead);
        }
    }
}
