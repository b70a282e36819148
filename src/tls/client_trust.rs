//! The clients that a listener with `client_ca` lets in: asked in a handshake by rustls, and again wherever a
//! certificate that was verified earlier is relied on.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::server_trust::{Roots, may_issue, unsigned, verify_time};
use super::{certificate, provider};

/// The authorities of clients, and whether a client must have a certificate of theirs. Two are equal if they let the
/// same clients in.
#[derive(Clone)]
pub struct ClientTrust {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
    digest: [u8; 32],
}

impl ClientTrust {
    /// Trusts clients whose certificates these authorities have issued, or are named themselves. Errors: rustls cannot
    /// verify by them.
    pub(super) fn new(roots: Arc<Roots>, required: bool) -> Result<ClientTrust, Error> {
        let digest = digest_of(&roots, required);
        Ok(ClientTrust {
            verifier: Arc::new(Verifier::new(roots, required)?),
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

/// Verifies clients by the authorities of a file. A certificate in it that is no authority's lets in its own client and
/// no other: else that client could issue certificates to itself, with whatever subject backends are told then.
#[derive(Debug)]
struct Verifier {
    roots: Arc<Roots>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// The issuers that clients are told of when they are asked for a certificate.
    hints: Vec<DistinguishedName>,
    /// Whether the file names clients alone, so that nobody vouches for others.
    is_without_authority: bool,
}

impl Verifier {
    fn new(roots: Arc<Roots>, required: bool) -> Result<Verifier, Error> {
        let (store, has_authority) = roots.issuers();
        let verifier = WebPkiClientVerifier::builder_with_provider(store, provider());
        let verifier = if required {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        Ok(Verifier {
            verifier: verifier
                .build()
                .map_err(|error| Error::General(error.to_string()))?,
            hints: roots.store.subjects(),
            is_without_authority: !has_authority,
            roots,
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.roots.pins.iter().any(|pin| pin == own) && !may_issue(own) {
            return verify_named(own, now);
        }
        if self.is_without_authority {
            Err(CertificateError::UnknownIssuer.into())
        } else {
            (self.verifier)
                .verify_client_cert(own, others, now)
                .map_err(unsigned)
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A client's certificate that is named itself needs no issuer. Its time and its purpose count as ever.
fn verify_named(own: &CertificateDer<'_>, now: UnixTime) -> Result<ClientCertVerified, Error> {
    let malformed = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let said = certificate::read(own).map_err(|_| malformed())?;
    verify_time(&said, now)?;
    let (_, parsed) = X509Certificate::from_der(own).map_err(|_| malformed())?;
    let purposes = parsed.extended_key_usage().map_err(|_| malformed())?;
    if purposes.is_none_or(|purposes| purposes.value.client_auth || purposes.value.any) {
        Ok(ClientCertVerified::assertion())
    } else {
        Err(CertificateError::InvalidPurpose.into())
    }
}

fn digest_of(roots: &Roots, required: bool) -> [u8; 32] {
    let mut hashed = digest::Context::new(&SHA256);
    hashed.update(&[u8::from(required)]);
    for pin in roots.pins.iter().filter(|pin| !may_issue(pin)) {
        hashed.update(&(pin.len() as u64).to_be_bytes());
        hashed.update(pin);
    }
    for root in &roots.store.roots {
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
    use rustls::RootCertStore;

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
        let pins = issuers.iter().map(|issuer| issuer.der().clone());
        trust_in_named(pins.collect(), required)
    }

    fn trust_in_named(pins: Vec<CertificateDer<'static>>, required: bool) -> ClientTrust {
        let mut store = RootCertStore::empty();
        pins.iter().for_each(|pin| store.add(pin.clone()).unwrap());
        let store = Arc::new(store);
        ClientTrust::new(Arc::new(Roots { store, pins }), required).unwrap()
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
    fn a_certificate_that_is_no_authoritys_lets_in_its_own_client_alone() {
        let [root, stranger] = ["root", "stranger"].map(authority);
        for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
            let named = |mut params: CertificateParams| {
                params.is_ca = is_ca;
                params
            };
            let own = named(params("own", false));
            let own = Issuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
            let key = KeyPair::generate().unwrap();
            let forged = named(params("root", false)).signed_by(&key, &own).unwrap();
            let issued = named(params("issued", false))
                .signed_by(&key, &stranger)
                .unwrap();
            let mut server = named(params("server", false));
            server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            let server = server.self_signed(&key).unwrap();
            let pins = || {
                vec![
                    own.der().clone(),
                    issued.der().clone(),
                    server.der().clone(),
                ]
            };
            let beside = [pins(), vec![root.der().clone()]].concat();
            for trust in [trust_in_named(pins(), true), trust_in_named(beside, true)] {
                let rows = [
                    (vec![own.der().clone()], 2015, true),
                    (vec![own.der().clone()], 2031, false),
                    (vec![own.der().clone()], 2000, false),
                    (vec![forged.der().clone()], 2015, false),
                    (vec![forged.der().clone(), own.der().clone()], 2015, false),
                    // The issuer of a certificate that is named does not matter.
                    (vec![issued.der().clone()], 2015, true),
                    (vec![stranger.der().clone()], 2015, false),
                    (vec![server.der().clone()], 2015, false),
                ];
                for (row, (chain, at, expected)) in rows.into_iter().enumerate() {
                    assert_eq!(trust.accepts(&chain, year(at)), expected, "row {row}");
                }
            }
            let [one, other] = [pins(), pins()[..1].to_vec()];
            assert_ne!(trust_in_named(one, true), trust_in_named(other, true));
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
