//! A client's connection that ends by the client's fault, before any request: counted and logged. The table of the
//! reasons is in `shared/connection_failure.rs`, because the table sizes the counters.

use tracing::{debug, info};

use crate::http::h2::ConnectionError;
use crate::net::{RemoteAddr, TlsFailure};
use crate::shared::connection_failure::ConnectionReason;
use crate::worker::shard::Shard;

/// The client's fault that ends a connection.
#[derive(Debug)]
pub enum ConnectionFailure {
    /// The reason says everything.
    Reason(ConnectionReason),
    /// The handshake of TLS failed.
    Tls(TlsFailure),
}

impl ConnectionFailure {
    /// The reason under which the failure is counted.
    pub fn reason(&self) -> ConnectionReason {
        match self {
            ConnectionFailure::Reason(reason) => *reason,
            ConnectionFailure::Tls(failure) => failure.reason(),
        }
    }
}

impl From<ConnectionError> for ConnectionFailure {
    fn from(error: ConnectionError) -> ConnectionFailure {
        ConnectionFailure::Reason(ConnectionReason::Http2(error))
    }
}

/// Counts the failure, and logs it.
pub fn report(shard: &Shard, peer: RemoteAddr, failure: &ConnectionFailure) {
    let reason = failure.reason();
    let label = reason.label();
    let counters = shard.links.counters(shard.worker);
    counters.note_connection_failure(reason.number());
    let client = || peer.ip().map_or("-".to_owned(), |ip| ip.to_string());
    if let ConnectionFailure::Tls(failure) = failure
        && failure.is_of_certificate()
    {
        if shard.log_ration.may_log_client() {
            let (client, why) = (client(), failure.in_words());
            info!(client, "a client was refused: {label}: {why}");
        }
    } else if tracing::enabled!(tracing::Level::DEBUG) && shard.log_ration.may_log_failure() {
        let client = client();
        debug!(client, "connection ended: {label}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::Abuse;

    #[test]
    fn failures_are_counted_under_their_reasons() {
        let rows = [
            (
                ConnectionFailure::Reason(ConnectionReason::ProxyHeader),
                "proxy_header",
            ),
            (
                ConnectionFailure::Reason(ConnectionReason::ProxySender),
                "proxy_sender",
            ),
            (
                ConnectionFailure::Reason(ConnectionReason::UnexpectedTls),
                "unexpected_tls",
            ),
            (ConnectionFailure::Tls(TlsFailure::Expired), "timeout"),
            (
                ConnectionFailure::Tls(TlsFailure::Refused(rustls::Error::DecryptError, None)),
                "misbehaved",
            ),
            (ConnectionError::BadPreface.into(), "bad_preface"),
            (
                ConnectionError::Abuse(Abuse::UnreadReplies).into(),
                "unread_replies",
            ),
        ];
        for (failure, label) in rows {
            assert_eq!(failure.reason().label(), label, "{failure:?}");
        }
    }
}
