//! The answers to an authority that asks whether a name is really ours (RFC 8555 section 8): an answer over HTTP
//! (http-01), or a certificate made for the question (tls-alpn-01, RFC 8737). The control thread opens and closes
//! challenges; a worker looks only for a request, or a handshake, that can be nothing else than such a question.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::provider;
use crate::base::limits;

/// The protocol that an authority offers, and nothing else, to be shown a certificate (RFC 8737 section 6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The challenges that are open. Mostly none.
#[derive(Debug, Default)]
pub struct Challenges {
    /// By token: what is answered over HTTP.
    answers: RwLock<HashMap<String, String>>,
    /// By name in lower case: what is shown in a handshake.
    certificates: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// An open challenge; it is closed when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct OpenChallenge {
    challenges: Arc<Challenges>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The token.
    Http(String),
    /// The name.
    Tls(String),
}

impl Challenges {
    /// Answers over HTTP whoever asks with this token.
    pub fn answer(self: &Arc<Self>, token: &str, answer: &str) -> OpenChallenge {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), answer.to_owned());
        self.opened(Kind::Http(token.to_owned()))
    }

    /// Shows a certificate for this name with the digest in it (RFC 8737 section 3). Errors: none can be made.
    pub fn show(self: &Arc<Self>, name: &str, digest: &[u8]) -> Result<OpenChallenge, String> {
        debug_assert_eq!(
            digest.len(),
            32,
            "the digest is SHA-256 (RFC 8737 section 3)"
        );
        let certificate = make_certificate(name, digest)?;
        let certificates = self.certificates.write();
        let mut certificates = certificates.unwrap_or_else(PoisonError::into_inner);
        certificates.insert(name.to_owned(), Arc::new(certificate));
        Ok(self.opened(Kind::Tls(name.to_owned())))
    }

    fn opened(self: &Arc<Self>, kind: Kind) -> OpenChallenge {
        let challenges = self.clone();
        OpenChallenge { challenges, kind }
    }

    /// The answer over HTTP for this token; `None` for a token that nobody waits for.
    pub fn answer_for(&self, token: &[u8]) -> Option<String> {
        if token.len() > limits::ACME_TOKEN_BYTES {
            return None;
        }
        let token = std::str::from_utf8(token).ok()?;
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token).cloned()
    }

    /// The certificate that is shown in a handshake for this name.
    pub(super) fn certificate_for(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.read();
        let certificates = certificates.unwrap_or_else(PoisonError::into_inner);
        certificates.get(name).cloned()
    }
}

impl Drop for OpenChallenge {
    fn drop(&mut self) {
        let challenges = &self.challenges;
        match &self.kind {
            Kind::Http(token) => {
                let answers = challenges.answers.write();
                answers
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(token);
            }
            Kind::Tls(name) => {
                let certificates = challenges.certificates.write();
                let mut certificates = certificates.unwrap_or_else(PoisonError::into_inner);
                certificates.remove(name);
            }
        }
    }
}

/// A certificate of its own issue for `name`, with the digest in the extension acmeIdentifier.
fn make_certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let cannot = |error: rcgen::Error| format!("no certificate can be made: {error}");
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(cannot)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(cannot)?;
    let certificate = params.self_signed(&key).map_err(cannot)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| error.to_string())?;
    // Without a look at whether the two belong together: the extension is critical, and rustls knows nothing of it.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_open_as_long_as_somebody_holds_it() {
        let challenges = Arc::new(Challenges::default());
        let one = challenges.answer("one", "one.key");
        let other = challenges.answer("other", "other.key");
        assert_eq!(challenges.answer_for(b"one").as_deref(), Some("one.key"));
        for token in [&b""[..], b"onE", b"\xff", &[b'a'; 1_000]] {
            assert_eq!(challenges.answer_for(token), None, "{token:?}");
        }
        drop(one);
        assert_eq!(challenges.answer_for(b"one"), None);
        assert!(challenges.answer_for(b"other").is_some());
        drop(other);
        assert!(challenges.answers.read().unwrap().is_empty());
        let shown = challenges.show("a.example", &[7; 32]).unwrap();
        assert!(challenges.certificate_for("a.example").is_some());
        assert!(challenges.certificate_for("b.example").is_none());
        drop(shown);
        assert!(challenges.certificate_for("a.example").is_none());
    }

    #[test]
    fn the_certificate_is_what_rfc_8737_wants() {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let certified = make_certificate("a.example", &[7; 32]).unwrap();
        let (_, read) = X509Certificate::from_der(&certified.cert[0]).unwrap();
        let extension = read.extensions().iter();
        let mut named = extension.filter(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let identifier = named.next().unwrap();
        assert!(identifier.critical);
        assert_eq!(identifier.value, [&[4, 32][..], &[7; 32]].concat());
        let said = crate::tls::certificate::read(&certified.cert[0]).unwrap();
        assert_eq!(said.names, ["a.example"]);
    }
}
