//! The last good answers about names.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::LookUpAnswer;
use crate::base::limits;
use crate::config::Resolved;

/// The last good answers.
#[derive(Debug, Default)]
pub struct KnownAddrs {
    resolved: Resolved,
    /// Names whose last look-up failed.
    failing: BTreeSet<String>,
    /// The last revision of the configuration that uses a name.
    last_used: BTreeMap<String, u64>,
    /// The number of changes of addresses so far.
    version: u64,
}

impl KnownAddrs {
    /// The last good answers; names that never had one are absent.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// The version of the addresses, which differs whenever an address has come or gone.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The hosts among `hosts` that were never looked up.
    pub fn missing(&self, hosts: Vec<String>) -> Vec<String> {
        let is_new =
            |host: &String| !self.resolved.contains_key(host) && !self.failing.contains(host);
        hosts.into_iter().filter(is_new).collect()
    }

    /// Notes the names that a revision uses, and forgets names that are used by no revision that a rollback can reach:
    /// a rollback must neither wait for a name server, nor lose addresses when none answers.
    pub fn keep(&mut self, hosts: &[String], revision: u64) {
        let used = hosts.iter().map(|host| (host.clone(), revision));
        self.last_used.extend(used);
        let oldest = (revision + 1).saturating_sub(limits::REVISIONS as u64);
        self.last_used.retain(|_, last| *last >= oldest);
        let used = &self.last_used;
        self.resolved.retain(|host, _| used.contains_key(host));
        self.failing.retain(|host| used.contains_key(host));
    }

    /// Takes answers over, and logs every change about names that do not resolve. A failed look-up changes nothing: the
    /// last good answer stays.
    pub fn take_in(&mut self, answers: Vec<LookUpAnswer>) {
        for (host, answer) in answers {
            match answer {
                Ok(addresses) => {
                    debug_assert!(
                        !addresses.is_empty(),
                        "a name without addresses does not resolve"
                    );
                    if self.failing.remove(&host) {
                        info!(name = host, "the name resolves again");
                    }
                    let is_new = self.resolved.get(&host) != Some(&addresses);
                    self.version += u64::from(is_new);
                    self.resolved.insert(host, addresses);
                }
                Err(error) => self.note_failure(host, &error),
            }
        }
    }

    fn note_failure(&mut self, host: String, error: &str) {
        if !self.failing.contains(&host) {
            let meanwhile = if self.resolved.contains_key(&host) {
                "the last addresses of the name stay in use"
            } else {
                "the backends of the name are down"
            };
            warn!(name = host, %error, "the name does not resolve: {meanwhile}");
            self.failing.insert(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter()
            .map(|last| IpAddr::from([192, 0, 2, *last]))
            .collect()
    }

    fn found(last: &[u8]) -> Vec<LookUpAnswer> {
        vec![("api.internal".to_owned(), Ok(addresses(last)))]
    }

    fn lost() -> Vec<LookUpAnswer> {
        vec![("api.internal".to_owned(), Err("not found".to_owned()))]
    }

    #[test]
    fn answers_table() {
        let mut known = KnownAddrs::default();
        let steps = [
            (lost(), false, None),
            (found(&[1, 2]), true, Some(addresses(&[1, 2]))),
            (found(&[1, 2]), false, Some(addresses(&[1, 2]))),
            (lost(), false, Some(addresses(&[1, 2]))),
            (found(&[1, 2]), false, Some(addresses(&[1, 2]))),
            (found(&[2]), true, Some(addresses(&[2]))),
            (lost(), false, Some(addresses(&[2]))),
            (found(&[3]), true, Some(addresses(&[3]))),
        ];
        for (number, (answers, changed, expected)) in steps.into_iter().enumerate() {
            let failed = answers.iter().any(|(_, answer)| answer.is_err());
            let before = known.version();
            known.take_in(answers);
            assert_eq!(known.version() != before, changed, "step {number}");
            assert_eq!(
                known.resolved().get("api.internal").cloned(),
                expected,
                "step {number}"
            );
            assert_eq!(
                known.failing.contains("api.internal"),
                failed,
                "step {number}"
            );
        }
    }

    #[test]
    fn addresses_are_kept_as_long_as_a_revision_is() {
        let hosts = ["api.internal".to_owned()];
        let resolved = Resolved::from([(hosts[0].clone(), addresses(&[1]))]);
        let mut known = KnownAddrs {
            resolved,
            ..KnownAddrs::default()
        };
        known.keep(&hosts, 1);
        for revision in 2..=limits::REVISIONS as u64 {
            known.keep(&[], revision);
            assert!(known.resolved().contains_key("api.internal"), "{revision}");
        }
        known.keep(&[], limits::REVISIONS as u64 + 1);
        assert!(known.resolved().is_empty());
        assert_eq!(known.missing(hosts.to_vec()), hosts);
    }
}
