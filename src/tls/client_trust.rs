//! Which clients a listener with `client_ca` lets in: asked in a handshake by rustls, and again wherever a
//! certificate that was verified earlier is relied on.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::provider;

/// The authorities of clients, and whether a client must have a certificate of theirs. Two are equal if they let the
/// same clients in.
#[derive(Clone)]
pub struct ClientTrust {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
    digest: [u8; 32],
}

impl ClientTrust {
    /// Trusts clients whose certificates these authorities have issued. Errors: rustls cannot verify by them.
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        required: bool,
    ) -> Result<ClientTrust, rustls::Error> {
        let digest = digest_of(&roots, required);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let verifier = match required {
            true => verifier,
            false => verifier.allow_unauthenticated(),
        };
        let verifier = verifier
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(ClientTrust {
            verifier,
            required,
            digest,
        })
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }

    /// Tells what is equal from what is not.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether a client is let in at this time that showed this chain, its own certificate first; an empty one: none.
    /// That it has the key was proved when the chain was shown.
    pub fn accepts(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        match chain {
            [] => !self.required,
            [own, others @ ..] => self.verifier.verify_client_cert(own, others, now).is_ok(),
        }
    }
}

impl PartialEq for ClientTrust {
    fn eq(&self, other: &ClientTrust) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ClientTrust {}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust")
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

fn digest_of(roots: &RootCertStore, required: bool) -> [u8; 32] {
    let mut hashed = digest::Context::new(&SHA256);
    hashed.update(&[u8::from(required)]);
    for root in &roots.roots {
        let constraints = root.name_constraints.as_deref().unwrap_or_default();
        for part in [&root.subject, &root.subject_public_key_info, constraints] {
            hashed.update(&(part.len() as u64).to_be_bytes());
            hashed.update(part);
        }
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hashed.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    /// A certificate of 2001 to 2030 as others are made from, or of the authority's kind.
    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = Default::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    fn authority(name: &str) -> Issuer {
        CertifiedIssuer::self_signed(params(name, true), KeyPair::generate().unwrap()).unwrap()
    }

    fn trust_in(issuers: &[&Issuer], required: bool) -> ClientTrust {
        let mut roots = RootCertStore::empty();
        for issuer in issuers {
            roots.add(issuer.der().clone()).unwrap();
        }
        ClientTrust::new(Arc::new(roots), required).unwrap()
    }

    /// Noon of 1 July, roughly.
    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 15_700_000))
    }

    #[test]
    fn each_certificate_of_a_chain_has_its_time() {
        let root = authority("root");
        let between = |first, last| {
            let mut params = params("between", true);
            params.not_before = date_time_ymd(first, 1, 1);
            params.not_after = date_time_ymd(last, 1, 1);
            CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap()
        };
        let leaf = |issuer: &Issuer, first, last| {
            let mut params = params("client", false);
            params.not_before = date_time_ymd(first, 1, 1);
            params.not_after = date_time_ymd(last, 1, 1);
            let key = KeyPair::generate().unwrap();
            params.signed_by(&key, issuer).unwrap().der().clone()
        };
        let trust = trust_in(&[&root], true);
        // Of the leaf, of the intermediate, and what of 2010, 2015 and 2020 both hold in.
        let rows = [
            ((2001, 2030), (2001, 2030), [true, true, true]),
            ((2012, 2018), (2001, 2030), [false, true, false]),
            ((2001, 2030), (2012, 2018), [false, true, false]),
            ((2012, 2030), (2001, 2018), [false, true, false]),
        ];
        for (of_leaf, of_between, expected) in rows {
            let issuer = between(of_between.0, of_between.1);
            let chain = [leaf(&issuer, of_leaf.0, of_leaf.1), issuer.der().clone()];
            let held = [2010, 2015, 2020].map(|at| trust.accepts(&chain, year(at)));
            assert_eq!(held, expected, "{of_leaf:?}, {of_between:?}");
            assert!(!trust.accepts(&chain[..1], year(2015)), "no intermediate");
        }
    }

    #[test]
    fn the_authorities_decide_and_whether_a_certificate_is_needed() {
        let [one, other, third] = ["one", "other", "third"].map(authority);
        let key = KeyPair::generate().unwrap();
        let leaf = params("client", false).signed_by(&key, &one).unwrap();
        let chain = [leaf.der().clone()];
        let now = year(2015);
        let rows: [(&[&Issuer], bool, bool, bool); 4] = [
            (&[&one], true, true, false),
            (&[&one, &other], false, true, true),
            (&[&other], true, false, false),
            (&[&other], false, false, true),
        ];
        for (authorities, required, with, without) in rows {
            let trust = trust_in(authorities, required);
            assert_eq!(trust.accepts(&chain, now), with);
            assert_eq!(trust.accepts(&[], now), without);
            assert_eq!(trust, trust_in(authorities, required));
            assert_ne!(trust, trust_in(authorities, !required));
            assert_ne!(
                trust,
                trust_in(&[authorities, &[&third]].concat(), required)
            );
        }
    }
}
