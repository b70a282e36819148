//! Builds the trees of a [`RouteTable`] from its rules.

use crate::base::ids::RouteId;
use crate::worker::route::rule::{HostPattern, Rule};
use crate::worker::route::segments::Segments;
use crate::worker::route::tree::{Tree, TreeBuilder};
use crate::worker::route::{HostNode, ReversedHost, RouteTable, Site, SiteId};

/// The table for these rules, in the order of their ids.
pub fn compile(rules: Vec<Rule>) -> RouteTable {
    let mut compiler = Compiler::default();
    for (rule, id) in rules.iter().zip(0..) {
        compiler.add(rule, RouteId(id));
    }
    let mut table = compiler.table;
    table.hosts = compiler.hosts.finish();
    table.paths = compiler.paths.finish();
    link_sites(&rules, &mut table);
    table.rules = rules;
    table
}

#[derive(Default)]
struct Compiler {
    table: RouteTable,
    hosts: TreeBuilder,
    paths: TreeBuilder,
}

impl Compiler {
    fn add(&mut self, rule: &Rule, id: RouteId) {
        let site = self.site(&rule.host);
        let root = self.table.sites[site as usize].root;
        let node = match rule.prefix.strip_prefix(b"/") {
            Some(prefix) => self.paths.add(root, Segments::new(prefix, b'/')),
            None => root,
        };
        self.table.path_nodes.resize(self.paths.nodes(), None);
        self.table.path_nodes[node as usize].get_or_insert(id);
        self.table.longest_prefix = self.table.longest_prefix.max(rule.prefix.len());
    }

    /// The site of this pattern, made if there is none yet.
    fn site(&mut self, host: &HostPattern) -> SiteId {
        let text = host.text();
        let node = match host {
            HostPattern::Any => Tree::ROOT,
            _ => self.hosts.add(
                Tree::ROOT,
                Segments::new(ReversedHost::new(text, text.len()).as_bytes(), b'.'),
            ),
        };
        let table = &mut self.table;
        table
            .host_nodes
            .resize(self.hosts.nodes(), HostNode::default());
        table.longest_host = table.longest_host.max(text.len());
        let of_node = &mut table.host_nodes[node as usize];
        let site = match host {
            HostPattern::Any => &mut table.any_host,
            HostPattern::Wildcard(_) => &mut of_node.wildcard,
            HostPattern::Exact(_) => &mut of_node.exact,
        };
        *site.get_or_insert_with(|| {
            table.sites.push(Site {
                root: self.paths.add_root(),
                fallback: None,
            });
            table.sites.len() as SiteId - 1
        })
    }
}

/// Tells each site which less specific one is asked after it.
fn link_sites(rules: &[Rule], table: &mut RouteTable) {
    for rule in rules {
        let text = rule.host.text();
        let (fallback, node) = table.walk_host(&ReversedHost::new(text, text.len()));
        let of_node = node
            .map(|node| table.host_nodes[node as usize])
            .unwrap_or_default();
        let site = match rule.host {
            HostPattern::Any => None,
            HostPattern::Wildcard(_) => of_node.wildcard,
            HostPattern::Exact(_) => of_node.exact,
        };
        if let Some(site) = site {
            table.sites[site as usize].fallback = fallback;
        }
    }
}
