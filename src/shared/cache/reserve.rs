//! Takes memory for a body before its bytes come: a follower of the fill then loses nothing for want of memory.

use std::collections::VecDeque;

use super::body::PART_PREFIX;
use super::fetch::{Filling, Writer};
use super::reserved::{Reserved, part_bytes};
use crate::base::limits;

impl Filling {
    /// Takes the memory for the rest of a body of known length, and for the ring of any other body, which may have to
    /// be passed on without being stored. False: the store has not so much memory now.
    pub fn reserve(&mut self) -> bool {
        if self.has_ended || matches!(self.writer, Writer::Own(_)) {
            return !self.has_ended;
        }
        let wanted = match self.length {
            Some(length) => length - self.pushed,
            None => limits::RING_BYTES,
        };
        let mut blocks = VecDeque::new();
        let mut reserved = 0;
        while reserved < wanted {
            let bytes = match self.length {
                Some(_) => part_bytes(self.length, self.pushed + reserved, 0),
                None => limits::RING_BLOCK_BYTES,
            };
            let Ok((block, writer)) = self.fetch.store.allocate_part(bytes) else {
                return false;
            };
            reserved += writer.room().saturating_sub(PART_PREFIX) as u64;
            blocks.push_back((block, writer));
        }
        self.reserved = Reserved {
            blocks,
            is_ring: self.length.is_none(),
        };
        true
    }
}
