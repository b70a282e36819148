//! Memory that a body has before its bytes come.

use std::collections::VecDeque;

use super::arena::{ArenaBlock, BlockWriter};

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
