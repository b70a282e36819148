//! Why there is no TLS connection.

use rustls::{CertificateError, Error};

use crate::net::{Block, Socket};
use crate::tls::in_words;

/// Why a handshake failed. The peer was told where TLS has an alert for it.
#[derive(Debug)]
pub enum TlsFailure {
    /// The deadline passed.
    Expired,
    /// The peer ended the connection, or the network did.
    PeerGone,
    /// The client speaks HTTP without TLS, and can be told so on the socket. What it sent is in `received`.
    PlainHttp { socket: Socket, received: Block },
    /// One side broke the protocol or does not accept the other. The socket of a client, which is still to read why.
    Refused(Error, Option<Box<Socket>>),
}

impl TlsFailure {
    /// A short word for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            TlsFailure::Expired => "timeout",
            TlsFailure::PeerGone => "closed",
            TlsFailure::PlainHttp { .. } => "plain_http",
            TlsFailure::Refused(error, _) => word_of(error),
        }
    }
}

impl TlsFailure {
    /// The fault in words for people.
    pub fn in_words(&self) -> String {
        match self {
            TlsFailure::Refused(error, _) => in_words(error),
            TlsFailure::Expired => "the handshake took too long".to_owned(),
            TlsFailure::PlainHttp { .. } => "the other side speaks HTTP without TLS".to_owned(),
            TlsFailure::PeerGone => {
                "the other side ended the connection in the handshake; perhaps it does not speak TLS".to_owned()
            }
        }
    }

    /// Whether a client's certificate, or the lack of one, is what is wrong.
    pub fn is_of_certificate(&self) -> bool {
        matches!(
            self,
            TlsFailure::Refused(
                Error::InvalidCertificate(_) | Error::NoCertificatesPresented,
                _
            )
        )
    }
}

impl Socket {
    /// The failure by which the peer refused the TLS of this side, if it did so after the handshake and before it sent
    /// anything else.
    pub fn tls_refusal(&self) -> Option<TlsFailure> {
        let alert = self.tls.as_ref()?.refusal()?;
        Some(TlsFailure::from(Error::AlertReceived(alert)))
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> TlsFailure {
        TlsFailure::Refused(error, None)
    }
}

fn word_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(wrong) => word_of_certificate(wrong),
        Error::NoCertificatesPresented => "certificate_missing",
        Error::NoApplicationProtocol => "no_common_protocol",
        Error::PeerIncompatible(_) => "incompatible",
        Error::AlertReceived(_) => "refused_by_peer",
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => "malformed",
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError => "misbehaved",
        _ => "other",
    }
}

fn word_of_certificate(wrong: &CertificateError) -> &'static str {
    use CertificateError as Wrong;
    match wrong {
        Wrong::Expired | Wrong::ExpiredContext { .. } => "certificate_expired",
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => "certificate_not_yet_valid",
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => "certificate_wrong_name",
        Wrong::UnknownIssuer => "certificate_unknown_issuer",
        Wrong::Revoked => "certificate_revoked",
        _ => "certificate_invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, InvalidMessage};

    #[test]
    fn every_failure_has_its_word() {
        let refused = |error: Error| TlsFailure::from(error).word();
        let certificate = |wrong| refused(Error::InvalidCertificate(wrong));
        assert_eq!(TlsFailure::Expired.word(), "timeout");
        assert_eq!(TlsFailure::PeerGone.word(), "closed");
        assert_eq!(
            certificate(CertificateError::Expired),
            "certificate_expired"
        );
        assert_eq!(
            certificate(CertificateError::NotValidForName),
            "certificate_wrong_name"
        );
        assert_eq!(
            certificate(CertificateError::BadSignature),
            "certificate_invalid"
        );
        assert_eq!(
            refused(Error::NoCertificatesPresented),
            "certificate_missing"
        );
        assert_eq!(
            refused(InvalidMessage::InvalidContentType.into()),
            "malformed"
        );
        assert_eq!(
            refused(Error::AlertReceived(AlertDescription::UnknownCA)),
            "refused_by_peer"
        );
    }
}
