//! A route's rule: which hosts and paths it takes, said plainly. This is the definition of matching; the trees are only
//! a faster way to the same answer, and the tests compare the two.

use crate::base::limits;

/// Host and prefix of a route, as they are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub host: HostPattern,
    /// Without slashes at its end.
    pub prefix: Vec<u8>,
}

/// In lower case and without a dot at the end.
#[derive(Clone, Debug, PartialEq)]
pub enum HostPattern {
    Any,
    /// The part after `*.`.
    Wildcard(Vec<u8>),
    Exact(Vec<u8>),
}

impl Rule {
    /// The rule that a configuration wrote as `host` and `prefix`.
    pub fn new(host: Option<&str>, prefix: &str) -> Rule {
        let host = match host.map(|host| plain_host(host.as_bytes())) {
            None => HostPattern::Any,
            Some(host) => match host.strip_prefix(b"*.") {
                Some(suffix) => HostPattern::Wildcard(suffix.to_vec()),
                None => HostPattern::Exact(host),
            },
        };
        assert!(
            host.text().len() <= limits::HOST_BYTES,
            "the host of a route is too long"
        );
        Rule {
            host,
            prefix: prefix.trim_end_matches('/').into(),
        }
    }

    /// Whether the prefix is the path or ends at one of its slashes.
    pub fn takes_path(&self, path: &[u8]) -> bool {
        match path.strip_prefix(&self.prefix[..]) {
            Some(rest) => self.prefix.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        }
    }
}

impl HostPattern {
    /// The host, or what follows `*.`.
    pub fn text(&self) -> &[u8] {
        match self {
            HostPattern::Any => b"",
            HostPattern::Wildcard(text) | HostPattern::Exact(text) => text,
        }
    }

    /// Whether the pattern stands for this host, which is as [`plain_host`] gives it.
    pub fn takes(&self, host: &[u8]) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Wildcard(suffix) => host
                .strip_suffix(&suffix[..])
                .is_some_and(|labels| labels.ends_with(b".")),
            HostPattern::Exact(exact) => host == exact,
        }
    }

    /// Orders patterns that match the same host: exact, long wildcard, short wildcard, any.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            HostPattern::Any => (0, 0),
            HostPattern::Wildcard(suffix) => (1, suffix.len()),
            HostPattern::Exact(_) => (2, 0),
        }
    }
}

/// A host in lower case and without the dot that may end it.
pub fn plain_host(host: &[u8]) -> Vec<u8> {
    host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase()
}
