//! Finds the route of a request by its host and path: the most specific host first, then the longest prefix.
//!
//! * **Hosts**, from specific to general: the host itself, `*.` and its longest suffix, any. A wildcard stands for one or more
//!   labels (as in nginx): `*.example.com` takes `a.example.com` and `a.b.example.com`, not `example.com`. If no prefix
//!   of the most specific host matches, the next one is asked.
//! * **Prefixes** match at a segment border: `/api` takes `/api` and `/api/x`, not `/apix`, and `/api/` means the same.
//!   Case counts.
//!
//! Both are trees of segments, walked from the general end (`com`, `example`, `api`; `api`, `v1`, `users`), so that a
//! look-up costs what the matching part of the request costs, however many routes there are and however long the
//! request is.

mod compile;
mod explain;
mod rule;
mod segments;
mod tree;

use crate::base::ids::RouteId;
use crate::base::limits;

use compile::compile;
pub use explain::Outcome;
use rule::Rule;
use segments::Segments;
use tree::{Node, Place, Tree};

/// The compiled routes: immutable, shared by all threads.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// What was compiled, to explain decisions by.
    rules: Vec<Rule>,
    sites: Vec<Site>,
    /// The site of routes without a host.
    any_host: Option<SiteId>,
    hosts: Tree,
    /// Indexed by the nodes of `hosts`.
    host_nodes: Vec<HostNode>,
    longest_host: usize,
    paths: Tree,
    /// Indexed by the nodes of `paths`: the route whose prefix ends there.
    path_nodes: Vec<Option<RouteId>>,
    longest_prefix: usize,
}

/// All routes of one host pattern.
#[derive(Clone, Copy, Debug)]
struct Site {
    /// Where its prefixes begin.
    root: Node,
    /// The next less specific pattern that matches the same hosts.
    fallback: Option<SiteId>,
}

type SiteId = u32;

/// The patterns that end at a node.
#[derive(Clone, Copy, Debug, Default)]
struct HostNode {
    exact: Option<SiteId>,
    wildcard: Option<SiteId>,
}

/// A host back to front and in lower case, so that its most general label comes first.
struct ReversedHost {
    bytes: [u8; limits::HOST_BYTES + 1],
    length: usize,
}

impl RouteTable {
    /// Compiles rules of host pattern and prefix; a rule's index is its [`RouteId`]. A pattern is a host, `*.` and a
    /// host, or `None` for any, in any case; it has at most `limits::HOST_BYTES` bytes. A prefix begins with a slash
    /// and is written as normalised paths are. Of two rules that say the same, the first one counts.
    pub fn new(rules: &[(Option<String>, String)]) -> RouteTable {
        let rules = rules
            .iter()
            .map(|(host, prefix)| Rule::new(host.as_deref(), prefix));
        compile(rules.collect())
    }

    /// The route of a request. `host` is without port, in any case, and may end with a dot; it is empty if the request
    /// named none. `path` is normalised and without the query; one that begins with no slash (the `*` of OPTIONS) is
    /// taken by the prefix `/` alone.
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<RouteId> {
        let mut next = self.most_specific_site(host);
        while let Some(site) = next {
            let site = self.sites[site as usize];
            let route = self.longest_prefix(site.root, path);
            if route.is_some() {
                return route;
            }
            next = site.fallback;
        }
        None
    }

    fn most_specific_site(&self, host: &[u8]) -> Option<SiteId> {
        if self.longest_host == 0 {
            return self.any_host;
        }
        let (best, node) = self.walk_host(&ReversedHost::new(host, self.longest_host));
        let exact = node.and_then(|node| self.host_nodes[node as usize].exact);
        exact.or(best)
    }

    /// The most specific site of those that are not exactly for `host`, and the node where all of `host` leads, if any.
    fn walk_host(&self, host: &ReversedHost) -> (Option<SiteId>, Option<Node>) {
        let mut best = self.any_host;
        let mut place = Place::at_root(Tree::ROOT);
        for label in Segments::new(host.as_bytes(), b'.') {
            // There is a label more than the node's suffix has: one that a wildcard can stand for.
            best = self.host_nodes[place.node as usize].wildcard.or(best);
            match self.hosts.child(place, &label) {
                Some(child) => place = child,
                None => return (best, None),
            }
        }
        (best, Some(place.node))
    }

    fn longest_prefix(&self, root: Node, path: &[u8]) -> Option<RouteId> {
        let mut best = self.path_nodes[root as usize];
        // One byte more than the longest prefix shows whether a segment ends there; the rest cannot matter.
        let path = &path[..path.len().min(self.longest_prefix + 1)];
        let Some(path) = path.strip_prefix(b"/") else {
            return best;
        };
        let mut place = Place::at_root(root);
        for segment in Segments::new(path, b'/') {
            match self.paths.child(place, &segment) {
                Some(child) => place = child,
                None => break,
            }
            best = self.path_nodes[place.node as usize].or(best);
        }
        best
    }
}

impl ReversedHost {
    /// Takes one byte more than `longest`, from the end: enough to see that a host goes on where the longest pattern
    /// ends. `longest` is at most `limits::HOST_BYTES`.
    fn new(host: &[u8], longest: usize) -> ReversedHost {
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut bytes = [0; limits::HOST_BYTES + 1];
        let length = host.len().min(longest + 1);
        let taken = &host[host.len() - length..];
        for (reversed, byte) in bytes.iter_mut().zip(taken.iter().rev()) {
            *reversed = byte.to_ascii_lowercase();
        }
        ReversedHost { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests;
