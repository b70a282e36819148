//! Why there is no TLS, in a sentence that an operator can act on. The subject is the peer, or its certificate.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, ExtendedKeyPurpose, OtherError};

use super::server_trust::Unusable;
use crate::http::date::imf_fixdate;

/// The fault in words.
pub fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(wrong) => format!("the certificate {}", of_certificate(wrong)),
        Error::NoCertificatesPresented => "no certificate was shown".to_owned(),
        Error::NoApplicationProtocol => {
            "there is no application protocol that both sides speak (ALPN)".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the other side wants a certificate, and was shown none (alert CertificateRequired)"
                .to_owned()
        }
        Error::AlertReceived(alert) => {
            format!("the other side refused the handshake (alert {alert:?})")
        }
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            format!("the other side does not speak TLS, or breaks its rules ({error})")
        }
        Error::PeerIncompatible(why) => {
            format!("there is no version or cipher suite that both sides speak ({why:?})")
        }
        _ => error.to_string(),
    }
}

fn of_certificate(wrong: &CertificateError) -> String {
    use CertificateError as Wrong;
    match wrong {
        Wrong::UnknownIssuer => {
            "comes from an unknown issuer: no authority in ca, or on this machine, vouches for it"
                .to_owned()
        }
        Wrong::NotValidForNameContext {
            expected,
            presented,
        } => {
            let presented = if presented.is_empty() {
                "no host".to_owned()
            } else {
                // Names as rustls has them: `DnsName("a.example")`.
                presented
                    .iter()
                    .map(|name| plain(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            format!("is for {presented}, not for {}", host(expected))
        }
        Wrong::ExpiredContext { not_after, .. } => {
            format!("has expired: it was valid until {}", date(*not_after))
        }
        Wrong::Expired => "has expired".to_owned(),
        Wrong::NotValidYetContext { not_before, .. } => {
            format!("is not valid yet: it is from {}", date(*not_before))
        }
        Wrong::NotValidYet => "is not valid yet".to_owned(),
        // Of chains, `server_trust::unsigned` tells.
        Wrong::BadSignature => {
            "has a key whose signature of the handshake is not taken: the key is too short \
             (RSA below 2048 bits), or the other side does not have it"
                .to_owned()
        }
        Wrong::BadEncoding => "is malformed".to_owned(),
        Wrong::InvalidPurpose => "is for another purpose".to_owned(),
        Wrong::InvalidPurposeContext { required, .. } => match required {
            ExtendedKeyPurpose::ServerAuth => "is not for servers".to_owned(),
            ExtendedKeyPurpose::ClientAuth => "is not for clients".to_owned(),
            _ => "is for another purpose".to_owned(),
        },
        Wrong::Other(other) => of_other(other),
        _ => format!("cannot be used: {wrong}"),
    }
}

fn of_other(OtherError(other): &OtherError) -> String {
    match other.downcast_ref::<Unusable>() {
        Some(unusable) => unusable.to_string(),
        None if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority, and not for a server or a client".to_owned()
        }
        None => format!("cannot be used: {other}"),
    }
}

fn plain(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn host(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

fn date(at: UnixTime) -> String {
    String::from_utf8_lossy(&imf_fixdate(at.as_secs())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::server_trust::unsigned;

    /// A chain and a handshake are signed by different keys, and what is wrong with them is mended at different places.
    #[test]
    fn the_signature_of_a_chain_is_told_from_that_of_a_handshake() {
        let error = || Error::InvalidCertificate(CertificateError::BadSignature);
        let rows = [
            (error(), "has a key whose signature of the handshake"),
            (
                unsigned(error()),
                "is not signed by the issuer that it names",
            ),
        ];
        for (error, words) in rows {
            let told = in_words(&error);
            assert!(told.contains(words), "{told}");
        }
    }
}
