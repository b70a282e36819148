//! Says of every route why it does or does not take a request.

use std::fmt;

use crate::base::ids::RouteId;
use crate::route::RouteTable;
use crate::route::rule::{Rule, plain_host};

/// The outcome for one route when a request was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteOutcome {
    /// The route takes the request.
    Chosen,
    /// The host of the route is not the host of the request.
    OtherHost,
    /// The host of the route matches, but the path of the request does not begin with the prefix of the route.
    OtherPrefix,
    /// The route matches, but the named route has a more specific host.
    LostByHost(RouteId),
    /// The route matches, but the named route of the same host has a longer prefix, or has the same prefix and stands
    /// first.
    LostByPrefix(RouteId),
}

impl RouteTable {
    /// The outcome for every route when this request is decided, in the order of the configuration. Host and path as in
    /// [`RouteTable::find`]. Looks at all routes: for people, not for the way of a request.
    pub fn explain(&self, host: &[u8], path: &[u8]) -> Vec<(RouteId, RouteOutcome)> {
        let host = plain_host(host);
        let rank = |rule: &Rule| (rule.host.specificity(), rule.prefix.len());
        let winner = (0..self.rules.len())
            .filter(|&index| {
                self.rules[index].host.takes(&host) && self.rules[index].takes_path(path)
            })
            .rev() // Of equal ones the first counts, and `max_by_key` keeps the last.
            .max_by_key(|&index| rank(&self.rules[index]));
        let outcome = |index: usize| {
            let rule = &self.rules[index];
            match winner {
                _ if !rule.host.takes(&host) => RouteOutcome::OtherHost,
                None => RouteOutcome::OtherPrefix,
                _ if !rule.takes_path(path) => RouteOutcome::OtherPrefix,
                Some(winner) if winner == index => RouteOutcome::Chosen,
                Some(winner) if self.rules[winner].host.specificity() > rule.host.specificity() => {
                    RouteOutcome::LostByHost(RouteId(winner as u32))
                }
                Some(winner) => RouteOutcome::LostByPrefix(RouteId(winner as u32)),
            }
        };
        (0..self.rules.len())
            .map(|index| (RouteId(index as u32), outcome(index)))
            .collect()
    }
}

/// Completes "the route …".
impl fmt::Display for RouteOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RouteOutcome::Chosen => "takes the request",
            RouteOutcome::OtherHost => "is for another host",
            RouteOutcome::OtherPrefix => "is for another prefix",
            RouteOutcome::LostByHost(_) => {
                "matches, but the host of another route is more specific"
            }
            RouteOutcome::LostByPrefix(_) => "matches, but the prefix of another route is longer",
        })
    }
}
