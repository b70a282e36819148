//! Every reason for which a connection of a client is ended before or beside any request. [`CONNECTION_FAILURES`] is
//! the one table of them; the number of rows sizes the counters.

use crate::http::h2::ConnectionError;

/// One reason.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFailureRow {
    /// The reason.
    pub reason: ConnectionReason,
    /// The label for logs and metrics: a name in snake case.
    pub label: &'static str,
}

/// Declares the reasons that are no breach of HTTP/2, with their labels.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $label:literal;)+) => {
        /// Why a connection was ended, or why there is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ConnectionReason {
            $($(#[doc = $doc])+ $name,)+
            /// The peer breaks a rule of HTTP/2, or has too much of something.
            Http2(ConnectionError),
        }

        /// The numbers of the reasons that are no breach of HTTP/2.
        enum Number {
            $($name,)+
        }

        const PLAIN: [ConnectionFailureRow; PLAIN_COUNT] = [$(ConnectionFailureRow {
            reason: ConnectionReason::$name,
            label: $label,
        },)+];
        const PLAIN_COUNT: usize = [$($label,)+].len();

        impl ConnectionReason {
            /// The number of the reason: its row in [`CONNECTION_FAILURES`], and its place among the counters.
            pub fn number(self) -> usize {
                match self {
                    $(ConnectionReason::$name => Number::$name as usize,)+
                    ConnectionReason::Http2(error) => PLAIN_COUNT + error.number(),
                }
            }
        }
    };
}

reasons! {
    /// TLS failed for a reason that has no label of its own.
    Other: "other";
    /// The connection does not begin with a PROXY header although the listener wants one.
    ProxyHeader: "proxy_header";
    /// The connection comes from somebody who may not send the PROXY header that the listener wants.
    ProxySender: "proxy_sender";
    /// The client speaks TLS where there is none.
    UnexpectedTls: "unexpected_tls";
    /// The handshake of TLS took too long.
    Timeout: "timeout";
    /// The peer ended the connection in the handshake of TLS, or the network did.
    Closed: "closed";
    /// The client speaks HTTP without TLS.
    PlainHttp: "plain_http";
    /// The peer's certificate has expired.
    CertificateExpired: "certificate_expired";
    /// The peer's certificate is not valid yet.
    CertificateNotYetValid: "certificate_not_yet_valid";
    /// The peer's certificate is another host's.
    CertificateWrongName: "certificate_wrong_name";
    /// No trusted authority has signed the peer's certificate.
    CertificateUnknownIssuer: "certificate_unknown_issuer";
    /// The peer's certificate was revoked.
    CertificateRevoked: "certificate_revoked";
    /// Something else is wrong with the peer's certificate.
    CertificateInvalid: "certificate_invalid";
    /// The peer has shown no certificate.
    CertificateMissing: "certificate_missing";
    /// Both sides have no protocol of ALPN in common.
    NoCommonProtocol: "no_common_protocol";
    /// Both sides have no version or cipher of TLS in common.
    Incompatible: "incompatible";
    /// The peer has refused us by an alert.
    RefusedByPeer: "refused_by_peer";
    /// A message of TLS is malformed.
    Malformed: "malformed";
    /// The peer breaks a rule of TLS.
    Misbehaved: "misbehaved";
}

/// Reasons that are counted apart.
pub const CONNECTION_REASONS: usize = PLAIN_COUNT + ConnectionError::ALL.len();

/// All reasons, by [`ConnectionReason::number`].
pub static CONNECTION_FAILURES: [ConnectionFailureRow; CONNECTION_REASONS] = rows();

const fn rows() -> [ConnectionFailureRow; CONNECTION_REASONS] {
    let mut rows = [PLAIN[0]; CONNECTION_REASONS];
    let mut number = 0;
    while number < CONNECTION_REASONS {
        rows[number] = if number < PLAIN_COUNT {
            PLAIN[number]
        } else {
            let error = ConnectionError::ALL[number - PLAIN_COUNT];
            ConnectionFailureRow {
                reason: ConnectionReason::Http2(error),
                label: error.label(),
            }
        };
        number += 1;
    }
    rows
}

impl ConnectionReason {
    /// The label for logs and metrics: a name in snake case.
    pub fn label(self) -> &'static str {
        CONNECTION_FAILURES[self.number()].label
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_the_row_of_its_reason() {
        let mut labels = HashSet::new();
        for (number, row) in CONNECTION_FAILURES.iter().enumerate() {
            assert_eq!(row.reason.number(), number, "{row:?}");
            assert!(labels.insert(row.label), "{row:?} twice");
        }
    }
}
