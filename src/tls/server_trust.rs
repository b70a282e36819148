//! Decides which backends are believed: a backend for which an authority vouches, or whose very certificate is named.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::certificate::{self, CertificateFacts};
use super::provider;

/// The certificates of a file of authorities.
#[derive(Debug)]
pub struct Roots {
    pub store: Arc<RootCertStore>,
    /// The certificates as the file has them: a peer that shows one of them is the peer that was meant.
    pub pins: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The certificates that may vouch for others, and whether there are any. Without one, because the file names no
    /// authority, the store has all certificates of the file: a verifier is not built of none.
    pub(super) fn issuers(&self) -> (Arc<RootCertStore>, bool) {
        let issuers = self.pins.iter().filter(|pin| may_issue(pin));
        let issuers: Vec<_> = issuers.cloned().collect();
        let mut fewer = RootCertStore::empty();
        let all = issuers.len() == self.pins.len();
        if !all {
            fewer.add_parsable_certificates(issuers);
        }
        if fewer.is_empty() {
            (self.store.clone(), all)
        } else {
            (Arc::new(fewer), true)
        }
    }
}

/// A fault of a certificate for which rustls has no word.
#[derive(Debug)]
pub struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unusable {}

/// Verifies backends by the authorities of a file, and by the certificates in it.
#[derive(Debug)]
pub(super) struct ServerTrust {
    roots: Arc<Roots>,
    verifier: Arc<WebPkiServerVerifier>,
    /// Whether the file names backends alone, so that nobody vouches for others.
    is_without_authority: bool,
}

impl ServerTrust {
    /// Errors: rustls cannot verify by them.
    pub fn new(roots: Arc<Roots>) -> Result<ServerTrust, Error> {
        let (store, has_authority) = roots.issuers();
        let verifier = WebPkiServerVerifier::builder_with_provider(store, provider()).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        Ok(ServerTrust {
            roots,
            verifier,
            is_without_authority: !has_authority,
        })
    }
}

impl ServerCertVerifier for ServerTrust {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        refuse_version_1(own)?;
        if self.roots.pins.iter().any(|pin| pin == own) {
            return verify_pinned(own, name, now);
        }
        let verified = if self.is_without_authority {
            Err(CertificateError::UnknownIssuer.into())
        } else {
            (self.verifier).verify_server_cert(own, others, name, ocsp, now)
        };
        verified.map_err(|error| {
            // Of the certificates that nobody vouches for, most are the backend's own.
            if is_self_signed(own) && speaks_of_issuer(&error) {
                unusable("is self-signed, and is not itself one of those in ca")
            } else {
                unsigned(error)
            }
        })
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

/// Believes every server to be who it says; that it has the key of its certificate is still verified.
#[derive(Debug)]
pub(super) struct AnyServer(pub Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        refuse_version_1(own)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A chain of certificates that is broken, told from a handshake whose signature is not taken.
pub(super) fn unsigned(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            unusable("is not signed by the issuer that it names")
        }
        error => error,
    }
}

fn unusable(what: &'static str) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Unusable(
        what,
    )))))
}

/// Whether a certificate may vouch for others. One of version 3 that does not say it is an authority's, or says that
/// its key signs no certificates, stands for itself alone (RFC 5280 sections 4.2.1.3 and 4.2.1.9). Older ones cannot
/// say.
pub(super) fn may_issue(der: &[u8]) -> bool {
    let Ok((_, said)) = X509Certificate::from_der(der) else {
        return false;
    };
    let is_authority = (said.basic_constraints().ok().flatten()).is_some_and(|it| it.value.ca);
    let signs_none =
        (said.key_usage().ok().flatten()).is_some_and(|usage| !usage.value.key_cert_sign());
    said.version() != X509Version::V3 || (is_authority && !signs_none)
}

/// Whether the issuer is what is wrong: nobody knows it, or the certificate is that of an authority.
fn speaks_of_issuer(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer
                | CertificateError::BadSignature
                | CertificateError::Other(_)
        )
    )
}

fn refuse_version_1(der: &[u8]) -> Result<(), Error> {
    let parsed = X509Certificate::from_der(der);
    if parsed.is_ok_and(|(_, certificate)| certificate.version() == X509Version::V1) {
        Err(unusable(
            "is of X.509 version 1, which TLS here does not take",
        ))
    } else {
        Ok(())
    }
}

fn is_self_signed(der: &[u8]) -> bool {
    certificate::read(der).is_ok_and(|said| said.raw_subject == said.raw_issuer)
}

/// A certificate that is named itself needs no issuer, and may be an authority's. Its time and its name count as ever.
fn verify_pinned(
    own: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let Ok(said) = certificate::read(own) else {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    };
    verify_time(&said, now)?;
    if said.is_for(name) {
        Ok(ServerCertVerified::assertion())
    } else {
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForNameContext {
                expected: name.to_owned(),
                presented: said.all_names(),
            },
        ))
    }
}

pub(super) fn verify_time(said: &CertificateFacts, now: UnixTime) -> Result<(), Error> {
    let at = |secs: i64| UnixTime::since_unix_epoch(Duration::from_secs(secs.max(0) as u64));
    let (time, not_before, not_after) = (now, at(said.not_before), at(said.not_after));
    let wrong = if now > not_after {
        CertificateError::ExpiredContext { time, not_after }
    } else if now < not_before {
        CertificateError::NotValidYetContext { time, not_before }
    } else {
        return Ok(());
    };
    Err(Error::InvalidCertificate(wrong))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// A self-signed certificate with this common name, for these names.
    fn own(common: &str, names: &[&str], is_ca: bool) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn trust_in(pins: &[CertificateDer<'static>]) -> ServerTrust {
        let mut store = RootCertStore::empty();
        pins.iter().for_each(|pin| store.add(pin.clone()).unwrap());
        let (store, pins) = (Arc::new(store), pins.to_vec());
        ServerTrust::new(Arc::new(Roots { store, pins })).unwrap()
    }

    fn verify(trust: &ServerTrust, own: &CertificateDer<'_>, name: &str, year: u64) -> String {
        let name = ServerName::try_from(name).unwrap();
        let secs = Duration::from_secs((year - 1970) * 31_556_952 + 15_700_000);
        let now = UnixTime::since_unix_epoch(secs);
        match trust.verify_server_cert(own, &[], &name, &[], now) {
            Ok(_) => "trusted".to_owned(),
            Err(error) => super::super::in_words(&error),
        }
    }

    #[test]
    fn a_certificate_that_is_named_is_believed_for_its_names_and_in_its_time() {
        for is_ca in [false, true] {
            let own = own(
                "a.example",
                &["b.example", "*.c.example", "127.0.0.1"],
                is_ca,
            );
            let trust = trust_in(std::slice::from_ref(&own));
            let rows = [
                ("b.example", 2015, "trusted"),
                ("B.Example", 2015, "trusted"),
                ("x.c.example", 2015, "trusted"),
                ("127.0.0.1", 2015, "trusted"),
                ("x.y.c.example", 2015, "not for x.y.c.example"),
                ("c.example", 2015, "not for c.example"),
                // Where there are other names, the common name counts for nothing (RFC 9525 section 1.4.1).
                (
                    "a.example",
                    2015,
                    "is for b.example, *.c.example, 127.0.0.1, not for a.example",
                ),
                ("127.0.0.2", 2015, "not for 127.0.0.2"),
                (
                    "b.example",
                    2031,
                    "has expired: it was valid until Tue, 01 Jan 2030",
                ),
                (
                    "b.example",
                    2000,
                    "is not valid yet: it is from Mon, 01 Jan 2001",
                ),
            ];
            for (name, year, expected) in rows {
                let found = verify(&trust, &own, name, year);
                assert!(found.contains(expected), "{name} in {year}: {found}");
            }
        }
    }

    #[test]
    fn an_old_certificate_is_for_its_common_name() {
        let own = own("old.example", &[], true);
        let trust = trust_in(std::slice::from_ref(&own));
        assert_eq!(verify(&trust, &own, "old.example", 2015), "trusted");
        let found = verify(&trust, &own, "other.example", 2015);
        assert!(
            found.contains("is for old.example, not for other.example"),
            "{found}"
        );
    }

    #[test]
    fn who_may_vouch_for_others_table() {
        use rcgen::KeyUsagePurpose::{DigitalSignature, KeyCertSign};
        let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
        let rows = [
            (IsCa::NoCa, vec![], false),
            (IsCa::NoCa, vec![KeyCertSign], false),
            (IsCa::ExplicitNoCa, vec![], false),
            (authority(), vec![], true),
            (authority(), vec![KeyCertSign], true),
            (authority(), vec![DigitalSignature], false),
        ];
        for (is_ca, key_usages, expected) in rows {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            (params.is_ca, params.key_usages) = (is_ca, key_usages);
            let told = format!("{:?}, {:?}", params.is_ca, params.key_usages);
            let own = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(may_issue(own.der()), expected, "{told}");
        }
        assert!(!may_issue(b"no certificate"));
    }

    #[test]
    fn another_certificate_of_the_same_name_is_not_believed() {
        for is_ca in [false, true] {
            let [named, shown] = [(); 2].map(|()| own("a.example", &["a.example"], is_ca));
            let found = verify(&trust_in(&[named]), &shown, "a.example", 2015);
            assert!(
                found.contains("is self-signed, and is not itself"),
                "{found}"
            );
        }
    }
}
