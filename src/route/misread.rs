//! Finds requests that pass by the route that they are meant for: those whose path a server behind the proxy may read
//! as one that another route takes (`//admin`, `/admin%2fusers`, `/admin;v=1`).

use crate::base::ids::RouteId;
use crate::http::path::{Readings, is_plain, only_reading};
use crate::route::RouteTable;
use crate::route::rule::Rule;

impl RouteTable {
    /// A reading of the path that leads to another route than `route`, which [`RouteTable::find`] gave for it.
    #[inline]
    pub fn misreading(&self, host: &[u8], path: &[u8], route: RouteId) -> Option<Vec<u8>> {
        match (is_plain(path), &self.as_read) {
            (true, None) => None,
            (true, Some(table)) if table.find(host, path) == Some(route) => None,
            _ => self.look_for_misreading(host, path, route),
        }
    }

    #[cold]
    fn look_for_misreading(&self, host: &[u8], path: &[u8], route: RouteId) -> Option<Vec<u8>> {
        let table = self.as_read.as_deref().unwrap_or(self);
        let mut readings = Readings::of(path);
        let mut reading = Vec::with_capacity(path.len());
        while readings.next_into(&mut reading) {
            if table.find(host, &reading) != Some(route) {
                return Some(reading);
            }
        }
        None
    }
}

/// The rules with their prefixes as they are read, if that changes any.
pub fn as_read(rules: &[Rule]) -> Option<Vec<Rule>> {
    if rules.iter().all(|rule| is_plain(&rule.prefix)) {
        return None;
    }
    let read = rules.iter().map(|rule| Rule {
        host: rule.host.clone(),
        prefix: prefix_as_read(&rule.prefix),
    });
    Some(read.collect())
}

/// A prefix as servers read it who merge, decode and cut, without slashes at its end. (Of one with several readings
/// that is what is written. The configuration has none.)
pub fn prefix_as_read(prefix: &[u8]) -> Vec<u8> {
    let mut read = only_reading(prefix).unwrap_or_else(|| prefix.to_vec());
    let slashes = read.iter().rev().take_while(|byte| **byte == b'/');
    read.truncate(read.len() - slashes.count());
    read
}
