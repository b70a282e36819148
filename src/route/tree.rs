//! A forest of segments in one flat hash table of edges: from a node by a segment to a child. Built from the
//! configuration alone, so nobody outside can make its chains long.

use std::collections::BTreeMap;

use crate::route::segments::{Segment, Segments};
use crate::route::text::PathText;

/// A node's number in a [`Tree`].
pub type Node = u32;

/// Immutable, found by hashing with open addressing, at most a quarter full: most look-ups see one slot.
#[derive(Debug, Default, PartialEq)]
pub struct Tree {
    /// A power of two of them, or none.
    edges: Box<[Edge]>,
    /// The words of long segments after their heads.
    tails: Vec<u64>,
}

/// From a parent by a segment to a child.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Edge {
    /// The segment's first eight bytes, its length, and where its other words begin in `tails`.
    head: u64,
    length: u32,
    tail: u32,
    parent: Node,
    /// [`Tree::ROOT`] in an empty slot: no edge leads there.
    child: Node,
}

/// On the way through a tree: where it has led, and the hash of all segments on the way. Because the hash does not wait
/// for the node to be found, the processor can look for the next edge while it still checks the last.
#[derive(Clone, Copy, Debug)]
pub struct TreeCursor {
    pub node: Node,
    hash: u64,
}

impl TreeCursor {
    /// The beginning of the way from a root.
    pub fn at_root(root: Node) -> TreeCursor {
        TreeCursor {
            node: root,
            hash: u64::from(root),
        }
    }

    #[inline(always)]
    fn hash_with(self, segment: &Segment<impl PathText>) -> u64 {
        let hash = fold(self.hash ^ segment.length as u64, segment.head);
        if segment.is_short() {
            hash
        } else {
            segment.tail().fold(hash, fold)
        }
    }
}

/// Mixes `word` into a hash by the two halves of a long product.
#[inline]
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash.rotate_left(32) ^ word) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

impl Tree {
    /// The node that is there from the start.
    pub const ROOT: Node = 0;

    /// Where `segment` leads from `place`.
    #[inline(always)]
    pub fn child(
        &self,
        cursor: TreeCursor,
        segment: &Segment<impl PathText>,
    ) -> Option<TreeCursor> {
        let hash = cursor.hash_with(segment);
        let mask = self.edges.len().wrapping_sub(1);
        let mut slot = hash as usize & mask;
        loop {
            // Without any edge the mask lets every slot be beyond the end.
            let edge = self.edges.get(slot)?;
            if edge.child == Tree::ROOT {
                return None;
            }
            if edge.parent == cursor.node
                && edge.head == segment.head
                && self.has_segment(edge, segment)
            {
                return Some(TreeCursor {
                    node: edge.child,
                    hash,
                });
            }
            slot = (slot + 1) & mask;
        }
    }

    fn insert(&mut self, step: Step, child: TreeCursor) {
        debug_assert!(
            self.edges.len().is_power_of_two(),
            "a mask keeps slots within the table"
        );
        let mask = self.edges.len() - 1;
        let mut slot = child.hash as usize & mask;
        while self.edges[slot].child != Tree::ROOT {
            slot = (slot + 1) & mask;
        }
        self.edges[slot] = Edge {
            head: step.head,
            length: step.length,
            tail: self.tails.len() as u32,
            parent: step.parent,
            child: child.node,
        };
        self.tails.extend(step.tail);
    }

    #[inline(always)]
    fn has_segment(&self, edge: &Edge, segment: &Segment<impl PathText>) -> bool {
        edge.length as usize == segment.length
            && (segment.is_short()
                || segment
                    .tail()
                    .zip(&self.tails[edge.tail as usize..])
                    .all(|(word, &other)| word == other))
    }
}

/// The key by which an edge is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    parent: Node,
    length: u32,
    head: u64,
    tail: Vec<u64>,
}

/// Collects edges.
#[derive(Debug)]
pub struct TreeBuilder {
    /// In order, so that the same configuration always gives the same table.
    children: BTreeMap<Step, TreeCursor>,
    nodes: Node,
}

impl Default for TreeBuilder {
    fn default() -> TreeBuilder {
        TreeBuilder {
            children: BTreeMap::new(),
            nodes: Tree::ROOT + 1,
        }
    }
}

impl TreeBuilder {
    /// How many nodes there are: they are numbered from [`Tree::ROOT`].
    pub fn nodes(&self) -> usize {
        self.nodes as usize
    }

    /// A node that no edge leads to: another tree of the forest.
    pub fn add_root(&mut self) -> Node {
        self.nodes += 1;
        self.nodes - 1
    }

    /// The node that `segments` lead to from `root`, made with all before it where they are missing.
    pub fn add(&mut self, root: Node, segments: Segments<impl PathText>) -> Node {
        let mut cursor = TreeCursor::at_root(root);
        for segment in segments {
            let hash = cursor.hash_with(&segment);
            let step = Step {
                parent: cursor.node,
                length: segment.length as u32,
                head: segment.head,
                tail: segment.tail().collect(),
            };
            cursor = *self.children.entry(step).or_insert_with(|| {
                self.nodes += 1;
                TreeCursor {
                    node: self.nodes - 1,
                    hash,
                }
            });
        }
        cursor.node
    }

    /// The finished forest.
    pub fn finish(self) -> Tree {
        let slots = match self.children.len() {
            0 => 0,
            edges => (edges * 4).next_power_of_two(),
        };
        let mut tree = Tree {
            edges: vec![Edge::default(); slots].into(),
            tails: Vec::new(),
        };
        for (step, child) in self.children {
            tree.insert(step, child);
        }
        debug_assert!(
            slots == 0 || tree.edges.iter().any(|edge| edge.child == Tree::ROOT),
            "a search ends at a free slot"
        );
        tree
    }
}
