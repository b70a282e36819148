//! Finds the route of a request by its host and path: the most specific host first, then the longest prefix.
//!
//! * **Hosts**, from specific to general: the host itself, `*.` with the longest suffix, any. A wildcard stands for one
//!   or more labels, as in nginx: `*.example.com` takes `a.example.com` and `a.b.example.com`, not `example.com`. If no
//!   prefix of the most specific host matches, the next one is asked.
//! * **Prefixes** match at a segment border: `/api` takes `/api` and `/api/x`, not `/apix`. `/api/` means the same: who
//!   writes it for nginx gets `/api` redirected there, and wants it taken. Case counts.
//!
//! Both are trees of segments, walked from the general end (`com`, `example`, `api`; `api`, `v1`, `users`), so that a
//! look-up costs what the matching part of the request costs, however many routes there are and however long the
//! request is.

mod compile;
mod explain;
mod misread;
mod rule;
mod segments;
mod text;
mod tree;

use crate::base::ids::RouteId;

use compile::compile;
pub use explain::RouteOutcome;
pub use misread::prefix_as_read;
use rule::Rule;
use segments::Segments;
use text::{Path, ReversedHost};
use tree::{Node, Tree, TreeCursor};

/// The compiled routes: immutable, shared by all threads.
#[derive(Debug, PartialEq)]
pub struct RouteTable {
    /// The rules that the table was compiled from; decisions are explained by them.
    rules: Vec<Rule>,
    sites: Vec<Site>,
    hosts: Tree,
    /// Indexed by the nodes of `hosts`.
    host_nodes: Vec<HostNode>,
    longest_host: usize,
    paths: Tree,
    /// Indexed by the nodes of `paths`: the route whose prefix ends there.
    path_nodes: Vec<Option<RouteId>>,
    longest_prefix: usize,
    /// A table of the same routes whose prefixes are written as servers read them that merge, decode and cut paths.
    /// `None`: every server reads the prefixes alike.
    as_read: Option<Box<RouteTable>>,
}

/// All routes of one host pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Site {
    /// Where its prefixes begin.
    root: Node,
    /// The next less specific pattern that matches the same hosts.
    fallback: Option<SiteId>,
}

type SiteId = u32;

/// The sites of the patterns that end at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct HostNode {
    exact: Option<SiteId>,
    /// For hosts with more labels: that of a wildcard, and at the root that of any host.
    longer: Option<SiteId>,
}

impl RouteTable {
    /// Compiles rules of host pattern and prefix; a rule's index is its [`RouteId`]. A pattern is a host, `*.` and a
    /// host, or `None` for any, in any case; it has at most `limits::HOST_BYTES` bytes. A prefix begins with a slash
    /// and is written as normalised paths are. Of two rules that say the same, the first one counts.
    pub fn new(rules: &[(Option<String>, String)]) -> RouteTable {
        let rules = rules
            .iter()
            .map(|(host, prefix)| Rule::new(host.as_deref(), prefix));
        let rules: Vec<Rule> = rules.collect();
        let as_read = misread::as_read(&rules).map(|rules| Box::new(compile(rules)));
        RouteTable {
            as_read,
            ..compile(rules)
        }
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
            return self.host_nodes[Tree::ROOT as usize].longer;
        }
        let (longer, node) = self.walk_host(ReversedHost::new(host, self.longest_host));
        let exact = node.and_then(|node| self.host_nodes[node as usize].exact);
        exact.or(longer)
    }

    /// The most specific site of those that are not exactly for the host, and the node where all of the host leads, if
    /// any.
    fn walk_host(&self, host: ReversedHost<'_>) -> (Option<SiteId>, Option<Node>) {
        let mut longer = None;
        let mut place = TreeCursor::at_root(Tree::ROOT);
        for label in Segments::new(host) {
            longer = self.host_nodes[place.node as usize].longer.or(longer);
            match self.hosts.child(place, &label) {
                Some(child) => place = child,
                None => return (longer, None),
            }
        }
        (longer, Some(place.node))
    }

    fn longest_prefix(&self, root: Node, path: &[u8]) -> Option<RouteId> {
        let mut best = self.path_nodes[root as usize];
        // One byte more than the longest prefix shows whether a segment ends there; the rest cannot matter.
        let path = &path[..path.len().min(self.longest_prefix + 1)];
        let Some(path) = path.strip_prefix(b"/") else {
            return best;
        };
        let mut place = TreeCursor::at_root(root);
        for segment in Segments::new(Path(path)) {
            match self.paths.child(place, &segment) {
                Some(child) => place = child,
                None => break,
            }
            best = self.path_nodes[place.node as usize].or(best);
        }
        best
    }
}

impl Default for RouteTable {
    /// A table without a route.
    fn default() -> RouteTable {
        RouteTable::new(&[])
    }
}

#[cfg(test)]
mod readers;
#[cfg(test)]
mod tests;
