//! Builds the trees of a [`RouteTable`] from its rules.

use crate::base::ids::RouteId;
use crate::route::rule::{HostPattern, Rule};
use crate::route::segments::Segments;
use crate::route::text::{Path, ReversedHost};
use crate::route::tree::{Node, Tree, TreeBuilder};
use crate::route::{HostNode, RouteTable, Site, SiteId};

/// The table for these rules, in the order of their ids.
pub fn compile(rules: Vec<Rule>) -> RouteTable {
    let mut compiler = Compiler::default();
    for (rule, id) in rules.iter().zip(0..) {
        compiler.add(rule, RouteId(id));
    }
    compiler.finish(rules)
}

#[derive(Default)]
struct Compiler {
    hosts: TreeBuilder,
    host_nodes: Vec<HostNode>,
    paths: TreeBuilder,
    path_nodes: Vec<Option<RouteId>>,
    /// Each site's pattern, and where its prefixes begin.
    sites: Vec<(HostPattern, Node)>,
}

impl Compiler {
    fn add(&mut self, rule: &Rule, id: RouteId) {
        let site = self.site(&rule.host);
        let (_, root) = self.sites[site as usize];
        let node = match rule.prefix.strip_prefix(b"/") {
            Some(prefix) => self.paths.add(root, Segments::new(Path(prefix))),
            None => root,
        };
        self.path_nodes.resize(self.paths.nodes(), None);
        self.path_nodes[node as usize].get_or_insert(id);
    }

    /// The site of this pattern, made if there is none yet.
    fn site(&mut self, host: &HostPattern) -> SiteId {
        let text = host.text();
        let node = match host {
            HostPattern::Any => Tree::ROOT,
            _ => {
                let labels = Segments::new(ReversedHost::new(text, text.len()));
                self.hosts.add(Tree::ROOT, labels)
            }
        };
        self.host_nodes
            .resize(self.hosts.nodes(), HostNode::default());
        let node = &mut self.host_nodes[node as usize];
        let site = match host {
            HostPattern::Any | HostPattern::Wildcard(_) => &mut node.longer,
            HostPattern::Exact(_) => &mut node.exact,
        };
        *site.get_or_insert_with(|| {
            self.sites.push((host.clone(), self.paths.add_root()));
            self.sites.len() as SiteId - 1
        })
    }

    fn finish(mut self, rules: Vec<Rule>) -> RouteTable {
        debug_assert!(rules.is_empty() || self.path_nodes.len() == self.paths.nodes());
        self.host_nodes
            .resize(self.hosts.nodes(), HostNode::default());
        let mut table = RouteTable {
            sites: Vec::new(),
            hosts: self.hosts.finish(),
            host_nodes: self.host_nodes,
            longest_host: rules
                .iter()
                .map(|rule| rule.host.text().len())
                .max()
                .unwrap_or(0),
            paths: self.paths.finish(),
            path_nodes: self.path_nodes,
            longest_prefix: rules
                .iter()
                .map(|rule| rule.prefix.len())
                .max()
                .unwrap_or(0),
            rules,
            as_read: None,
        };
        let sites = self.sites.into_iter().map(|(host, root)| Site {
            root,
            fallback: less_specific(&table, &host),
        });
        table.sites = sites.collect();
        let falls_back_to_itself = |(site, id): (&Site, SiteId)| site.fallback == Some(id);
        debug_assert!(
            !table.sites.iter().zip(0..).any(falls_back_to_itself),
            "a search goes through each site once"
        );
        table
    }
}

/// The most specific site for the same hosts that is less specific than this pattern's own.
fn less_specific(table: &RouteTable, host: &HostPattern) -> Option<SiteId> {
    let text = match host {
        HostPattern::Any => return None,
        HostPattern::Wildcard(text) | HostPattern::Exact(text) => text,
    };
    let (longer, _) = table.walk_host(ReversedHost::new(text, text.len()));
    longer
}
