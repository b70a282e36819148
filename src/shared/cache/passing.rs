//! A body that is not stored any more and goes to those who follow its fill all the same: the store keeps what the
//! slowest of them still needs, in a ring of a bounded size, and the writer waits for that follower.

use std::sync::Arc;

use super::body::BodyPart;
use super::fetch::{Filling, Writer};
use super::passing_state::Passing;
use super::unpublished::NoRoom;
use crate::base::limits;

impl Filling {
    /// The bytes that the slowest follower is behind; 0 while the body is stored: no follower waits for another then.
    /// A follower that was forsaken counts when it moves again.
    pub fn lag(&self) -> u64 {
        match (&self.passing, &self.fetch.fill) {
            (Some(_), Some(fill)) => self.pushed.saturating_sub(fill.readers().slowest()),
            _ => 0,
        }
    }

    /// Whether the writer has to wait before it takes in more, because a follower is more than half of the ring behind.
    pub fn is_held_back(&self) -> bool {
        self.passing
            .is_some_and(|passing| self.lag() > passing.allowed())
    }

    /// The position that all followers must reach before the writer goes on.
    fn awaited(&self) -> u64 {
        let allowed = self.passing.map_or(0, |passing| passing.allowed());
        self.pushed.saturating_sub(allowed)
    }

    /// Asks that this core be woken once, by the number of the fill, when the slowest follower has read on. The caller
    /// looks at [`Filling::is_held_back`] again after this call, and calls [`Filling::go_on`] when it waits no longer.
    pub fn wait(&self, core: usize) {
        if let Some(fill) = &self.fetch.fill {
            fill.await_readers(core, self.awaited());
        }
    }

    /// The writer waits no longer.
    pub fn go_on(&self) {
        if let Some(fill) = &self.fetch.fill {
            fill.await_nobody();
        }
    }

    /// Notes where the followers are, for [`Filling::forsake`].
    pub fn mark(&self) {
        if let Some(fill) = &self.fetch.fill {
            fill.readers().mark();
        }
    }

    /// Waits no longer for the followers that hold the writer back and have not moved since the last call or since
    /// [`Filling::mark`]. They may still read on until their place in the ring is needed. The only follower holds up
    /// nobody, and is waited for as long as its own connection lasts.
    pub fn forsake(&self) {
        if let Some(fill) = &self.fetch.fill
            && fill.followers() > 1
        {
            fill.readers().forsake(self.awaited());
        }
    }

    /// The key is not collapsed until this time, in milliseconds since 1970, if the body turns out to be too large.
    pub fn remember_too_large(&mut self, until: u64) {
        self.too_large_until = until;
    }

    /// Stores no more. Errors: no request follows, or the backend sends more than it has announced.
    pub(super) fn begin_to_pass_on(&mut self, reason: NoRoom) -> Result<(), NoRoom> {
        let is_in_parts = matches!(self.writer, Writer::Parts(_));
        if self.passing.is_some() || reason == NoRoom::TooLong || !is_in_parts {
            return Err(reason);
        }
        let fill = self.fetch.fill.as_ref().ok_or(reason)?;
        // No request begins to follow from here on.
        let (hash, key) = (self.fetch.hash, &self.fetch.key);
        let mut shard = self.fetch.store.shard(hash);
        let is_remembered = reason == NoRoom::TooLarge && self.too_large_until > 0;
        let uncacheable_until = is_remembered.then_some(self.too_large_until);
        shard.end_fill(hash, key, fill.number(), uncacheable_until);
        drop(shard);
        if fill.followers() == 0 {
            return Err(reason);
        }
        let from = self.pushed;
        self.passing = Some(Passing {
            reason,
            from,
            is_short: reason == NoRoom::Full,
        });
        Ok(())
    }

    /// Lets those who follow have more bytes. Errors: no request follows any more, or there is no memory.
    pub(super) fn pass_on(&mut self, mut bytes: &[u8]) -> Result<(), NoRoom> {
        let after = self.pushed + bytes.len() as u64;
        if self.length.is_some_and(|length| after > length) {
            return Err(NoRoom::TooLong);
        }
        let fill = self.fetch.fill.as_ref();
        if fill.is_none_or(|fill| fill.followers() == 0) {
            return Err(NoRoom::Full);
        }
        while !bytes.is_empty() {
            let taken = self.pass_on_some(bytes)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn pass_on_some(&mut self, bytes: &[u8]) -> Result<usize, NoRoom> {
        self.forget_passed();
        let (Writer::Parts(current), Some(body)) = (&mut self.writer, self.entry.body()) else {
            return Err(NoRoom::Full);
        };
        if let Some((part, writer)) = current {
            let taken = part.block.append(writer, bytes);
            self.pushed += taken as u64;
            body.set_filled(self.pushed);
            if taken > 0 {
                return Ok(taken);
            }
        }
        let allocated = loop {
            let allocated = self.fetch.store.allocate_passing(limits::RING_BLOCK_BYTES);
            if let Some(passing) = self.passing.as_mut().filter(|_| allocated.is_none()) {
                passing.is_short = true;
            }
            let allocated = allocated.or_else(|| self.reserved.for_ring());
            // Without memory for the ring, the slowest followers fall out of it.
            if allocated.is_some() || !body.forget_first() {
                break allocated;
            }
        };
        let (block, mut writer) = allocated.ok_or(NoRoom::Full)?;
        block.append(&mut writer, &BodyPart::prefix(body.number(), self.pushed));
        let start = self.pushed;
        let part = Arc::new(BodyPart { start, block });
        body.add_part(part.clone());
        *current = Some((part, writer));
        Ok(0)
    }

    /// Frees the parts that all followers have passed, and those that lie more than the ring behind.
    fn forget_passed(&self) {
        let (Some(passing), Some(body)) = (&self.passing, self.entry.body()) else {
            return;
        };
        let fill = self.fetch.fill.as_ref();
        let needed = fill.map_or(u64::MAX, |fill| fill.readers().slowest_of_all());
        let behind = self.pushed.saturating_sub(limits::RING_BYTES);
        let behind = if behind >= passing.from { behind } else { 0 };
        body.forget_before(needed.min(self.pushed).max(behind));
    }
}
