//! Memory that a body has before its bytes come, and the sizes of its blocks.

use std::collections::VecDeque;

use super::arena::{ArenaBlock, BlockWriter};
use crate::base::limits;

/// Blocks that were taken for a body before its bytes came.
#[derive(Debug, Default)]
pub struct Reserved {
    pub(super) blocks: VecDeque<(ArenaBlock, BlockWriter)>,
    /// Whether the blocks are kept for the time when the body is only passed on.
    pub(super) is_ring: bool,
}

impl Reserved {
    /// A block for a body that is stored.
    pub fn for_body(&mut self) -> Option<(ArenaBlock, BlockWriter)> {
        (!self.is_ring).then(|| self.blocks.pop_front()).flatten()
    }

    /// A block for a body that is only passed on.
    pub fn for_ring(&mut self) -> Option<(ArenaBlock, BlockWriter)> {
        self.blocks.pop_front()
    }
}

/// Bytes of the next block of a body: the rest of it if that is known; else blocks that double.
pub(super) fn part_bytes(length: Option<u64>, pushed: u64, coming: usize) -> usize {
    let rest = match length {
        Some(length) => length - pushed,
        None => pushed.max(coming as u64),
    };
    let most = limits::BODY_BLOCK_BYTES as u64;
    match length {
        Some(_) => rest.min(most) as usize,
        None => rest.clamp(limits::BODY_BLOCK_LEAST_BYTES as u64, most) as usize,
    }
}
