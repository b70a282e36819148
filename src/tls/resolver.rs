//! The choice of the certificate that a client gets: by the name that the client asks for (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ACME_TLS, Challenges, Pair, unix_secs};

/// Pairs for the same name, in the order of the configuration: the first one that the client can verify is taken, so
/// that one with ECDSA may stand beside one with RSA.
type Candidates = Vec<Arc<Pair>>;

/// The certificates of a listener by name.
#[derive(Debug)]
pub(super) struct Resolver {
    exact: HashMap<String, Candidates>,
    /// By what follows `*.`, which stands for exactly one label (RFC 6125 section 6.4.3).
    wildcards: HashMap<String, Candidates>,
    /// For a name that no certificate is for, or none at all; empty: the handshake ends.
    default: Candidates,
    /// For an authority that asks whether a name is ours; `None`: no question is answered.
    challenges: Option<Arc<Challenges>>,
}

impl Resolver {
    /// The first pair is the default, with all others that are for its first name.
    pub(super) fn new(
        pairs: &[Arc<Pair>],
        refuse_unknown: bool,
        challenges: Option<Arc<Challenges>>,
    ) -> Resolver {
        let mut resolver = Resolver {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            default: Vec::new(),
            challenges,
        };
        for pair in pairs {
            for name in &pair.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut resolver.wildcards, rest),
                    None => (&mut resolver.exact, name.as_str()),
                };
                let candidates = names.entry(name.to_owned()).or_default();
                candidates.push(pair.clone());
            }
        }
        if let (false, Some(first)) = (refuse_unknown, pairs.first()) {
            let name = first.name();
            let pairs = pairs.iter().filter(|pair| pair.name() == name);
            resolver.default = pairs.cloned().collect();
        }
        debug_assert_eq!(
            resolver.default.is_empty(),
            refuse_unknown || pairs.is_empty()
        );
        resolver
    }

    /// `name` is in lower case.
    fn find(&self, name: &str) -> &Candidates {
        let wildcard = || {
            let (first, rest) = name.split_once('.')?;
            self.wildcards.get(rest).filter(|_| !first.is_empty())
        };
        let found = self.exact.get(name).or_else(wildcard);
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(without_root);
        if let Some(challenges) = &self.challenges
            && is_question(&hello)
        {
            return challenges.certificate_for(name?);
        }
        let candidates = match name {
            Some(name) => self.find(name),
            None => &self.default,
        };
        let best = best(candidates, hello.signature_schemes())?;
        Some(best.shown_at(unix_secs(SystemTime::now())).clone())
    }
}

/// The name without the dot that may end it.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether it offers `acme-tls/1` and nothing else (RFC 8737 section 3).
fn is_question(hello: &ClientHello<'_>) -> bool {
    let offered = hello.alpn();
    offered.is_some_and(|mut offered| offered.next() == Some(ACME_TLS) && offered.next().is_none())
}

/// The first that the client can verify, else the first: the handshake then fails with the right alert.
fn best<'a>(candidates: &'a Candidates, schemes: &[SignatureScheme]) -> Option<&'a Arc<Pair>> {
    let suits = |pair: &&Arc<Pair>| pair.certified.key.choose_scheme(schemes).is_some();
    candidates.iter().find(suits).or(candidates.first())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::pair;

    #[test]
    fn names_table() {
        let pairs = [
            pair(&["example.com", "*.example.com"]),
            pair(&["api.example.com"]),
            pair(&["*.b.example.com"]),
        ];
        let lenient = Resolver::new(&pairs, false, None);
        let strict = Resolver::new(&pairs, true, None);
        let rows = [
            ("example.com", Some(0)),
            ("www.example.com", Some(0)),
            ("api.example.com", Some(1)),
            ("x.b.example.com", Some(2)),
            ("b.example.com", Some(0)),
            // A wildcard stands for one label.
            ("x.y.example.com", None),
            ("x.api.example.com", None),
            (".example.com", None),
            ("example.org", None),
            ("com", None),
        ];
        for (name, expected) in rows {
            let found = strict.find(name).first();
            let expected_pair = expected.map(|index: usize| &pairs[index]);
            assert_eq!(
                found.map(Arc::as_ptr),
                expected_pair.map(Arc::as_ptr),
                "{name}"
            );
            let default = lenient.find(name).first().map(Arc::as_ptr);
            let expected_pair = expected_pair.unwrap_or(&pairs[0]);
            assert_eq!(default, Some(Arc::as_ptr(expected_pair)), "{name}");
        }
    }

    #[test]
    fn of_two_for_a_name_the_first_that_the_client_can_verify() {
        let pairs = [pair(&["a.b"]), pair(&["a.b"]), pair(&["c.d"])];
        let resolver = Resolver::new(&pairs, false, None);
        let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let rsa = [SignatureScheme::RSA_PSS_SHA256];
        for schemes in [ecdsa, rsa] {
            let chosen = best(resolver.find("a.b"), &schemes).unwrap();
            assert!(Arc::ptr_eq(chosen, &pairs[0]));
        }
        assert_eq!(resolver.default.len(), 2);
        assert!(best(&Vec::new(), &ecdsa).is_none());
    }
}
