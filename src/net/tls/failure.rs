//! Why there is no TLS connection.

use rustls::{CertificateError, Error};

use crate::net::{Block, Socket};
use crate::shared::connection_failure::ConnectionReason;
use crate::tls::in_words;

/// Why a handshake failed. The peer was told where TLS has an alert for it.
#[derive(Debug)]
pub enum TlsFailure {
    /// The deadline passed.
    Expired,
    /// The peer ended the connection, or the network did.
    PeerGone,
    /// The client speaks HTTP without TLS, and can be told so on the socket.
    PlainHttp {
        /// The socket of the client.
        socket: Socket,
        /// The bytes that the client has sent.
        received: Block,
    },
    /// One side broke the protocol or does not accept the other. The socket of a client, which is still to read why.
    Refused(Error, Option<Box<Socket>>),
}

impl TlsFailure {
    /// The reason for metrics and logs.
    pub fn reason(&self) -> ConnectionReason {
        match self {
            TlsFailure::Expired => ConnectionReason::Timeout,
            TlsFailure::PeerGone => ConnectionReason::Closed,
            TlsFailure::PlainHttp { .. } => ConnectionReason::PlainHttp,
            TlsFailure::Refused(error, _) => reason_of(error),
        }
    }

    /// The label of the reason, for logs and metrics.
    pub fn label(&self) -> &'static str {
        self.reason().label()
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

fn reason_of(error: &Error) -> ConnectionReason {
    match error {
        Error::InvalidCertificate(wrong) => reason_of_certificate(wrong),
        Error::NoCertificatesPresented => ConnectionReason::CertificateMissing,
        Error::NoApplicationProtocol => ConnectionReason::NoCommonProtocol,
        Error::PeerIncompatible(_) => ConnectionReason::Incompatible,
        Error::AlertReceived(_) => ConnectionReason::RefusedByPeer,
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => ConnectionReason::Malformed,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError => ConnectionReason::Misbehaved,
        _ => ConnectionReason::Other,
    }
}

fn reason_of_certificate(wrong: &CertificateError) -> ConnectionReason {
    use CertificateError as Wrong;
    match wrong {
        Wrong::Expired | Wrong::ExpiredContext { .. } => ConnectionReason::CertificateExpired,
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            ConnectionReason::CertificateNotYetValid
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            ConnectionReason::CertificateWrongName
        }
        Wrong::UnknownIssuer => ConnectionReason::CertificateUnknownIssuer,
        Wrong::Revoked => ConnectionReason::CertificateRevoked,
        _ => ConnectionReason::CertificateInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, InvalidMessage};

    #[test]
    fn every_failure_has_its_word() {
        let refused = |error: Error| TlsFailure::from(error).label();
        let certificate = |wrong| refused(Error::InvalidCertificate(wrong));
        assert_eq!(TlsFailure::Expired.label(), "timeout");
        assert_eq!(TlsFailure::PeerGone.label(), "closed");
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
