//! Alerts of the peer (RFC 8446 section 6).

use rustls::AlertDescription;

/// Whether an alert refuses the other side for what it is or has shown, so that nothing that it sent was processed. The
/// other alerts say nothing of that (RFC 8446 section 6.2).
pub(super) fn is_refusal(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::HandshakeFailure
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::InsufficientSecurity
            | Alert::UnrecognisedName
            | Alert::UnknownPSKIdentity
            | Alert::CertificateRequired
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_other_side_refuses_it() {
        use AlertDescription as Alert;
        let rows = [
            (Alert::CertificateRequired, true),
            (Alert::UnknownCA, true),
            (Alert::BadCertificate, true),
            (Alert::HandshakeFailure, true),
            (Alert::AccessDenied, true),
            (Alert::InternalError, false),
            (Alert::UnexpectedMessage, false),
            (Alert::BadRecordMac, false),
            (Alert::CloseNotify, false),
            (Alert::UserCanceled, false),
        ];
        for (alert, expected) in rows {
            assert_eq!(is_refusal(alert), expected, "{alert:?}");
        }
    }
}
