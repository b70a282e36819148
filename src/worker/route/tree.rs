//! A forest of segments in one flat hash table of edges: from a node and a segment to the child. Built from the
//! configuration alone, so nobody outside can make its chains long.

use std::collections::BTreeMap;

use crate::worker::route::segments::{Segment, Segments, first_word};

/// A place in a [`Tree`].
pub type Node = u32;

/// Spreads the product over all bits; odd, otherwise arbitrary.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Immutable, found by hashing with open addressing, at most half full.
#[derive(Debug, Default)]
pub struct Tree {
    /// A power of two of them, or none.
    edges: Box<[Edge]>,
    /// The texts of all edges.
    texts: Box<[u8]>,
}

/// From a parent by a segment to a child. Short segments are compared by `head` and `length` alone.
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    head: u64,
    parent: Node,
    /// [`Tree::ROOT`] in an empty slot: no edge leads there.
    child: Node,
    text: u32,
    length: u32,
}

impl Tree {
    /// The node that is there from the start.
    pub const ROOT: Node = 0;

    /// Where `segment` leads from `parent`.
    #[inline]
    pub fn child(&self, parent: Node, segment: &Segment<'_>) -> Option<Node> {
        if self.edges.is_empty() {
            return None;
        }
        let mask = self.edges.len() - 1;
        let mut slot = hash(parent, segment) as usize & mask;
        loop {
            let edge = &self.edges[slot];
            if edge.child == Tree::ROOT {
                return None;
            }
            if edge.parent == parent && edge.head == segment.head && self.has_text(edge, segment) {
                return Some(edge.child);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[inline]
    fn has_text(&self, edge: &Edge, segment: &Segment<'_>) -> bool {
        let tail = segment.tail();
        edge.length as usize == segment.bytes.len()
            && (tail.is_empty() || self.text(edge).ends_with(tail))
    }

    fn text(&self, edge: &Edge) -> &[u8] {
        &self.texts[edge.text as usize..][..edge.length as usize]
    }
}

#[inline]
fn hash(parent: Node, segment: &Segment<'_>) -> u64 {
    let mut hash = fold(
        segment.head ^ u64::from(parent).wrapping_mul(FACTOR),
        segment.bytes.len() as u64,
    );
    for chunk in segment.tail().chunks(8) {
        hash = fold(hash ^ first_word(chunk), 0);
    }
    hash
}

/// Mixes by the two halves of a long product.
#[inline]
fn fold(word: u64, salt: u64) -> u64 {
    let product = u128::from(word ^ salt) * u128::from(FACTOR);
    (product >> 64) as u64 ^ product as u64
}

/// Collects edges.
#[derive(Debug)]
pub struct TreeBuilder {
    children: BTreeMap<(Node, Vec<u8>), Node>,
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

    /// The node that `segments` lead to from `parent`, made where it is missing.
    pub fn add(&mut self, parent: Node, segments: Segments<'_>) -> Node {
        segments.fold(parent, |parent, segment| {
            let nodes = &mut self.nodes;
            *self
                .children
                .entry((parent, segment.bytes.to_vec()))
                .or_insert_with(|| {
                    *nodes += 1;
                    *nodes - 1
                })
        })
    }

    /// The finished forest.
    pub fn finish(&self) -> Tree {
        let slots = if self.children.is_empty() {
            0
        } else {
            (self.children.len() * 2).next_power_of_two()
        };
        let mut edges = vec![Edge::default(); slots].into_boxed_slice();
        let mut texts = Vec::new();
        for ((parent, text), &child) in &self.children {
            let segment = Segment {
                head: first_word(text),
                bytes: text,
            };
            let mut slot = hash(*parent, &segment) as usize & (slots - 1);
            while edges[slot].child != Tree::ROOT {
                slot = (slot + 1) & (slots - 1);
            }
            edges[slot] = Edge {
                head: segment.head,
                parent: *parent,
                child,
                text: texts.len() as u32,
                length: text.len() as u32,
            };
            texts.extend_from_slice(text);
        }
        Tree {
            edges,
            texts: texts.into_boxed_slice(),
        }
    }
}
