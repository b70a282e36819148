//! A client's connection that is of no more use, by the client's fault: counted and logged. The table of the reasons is
//! in `shared/connection_failure.rs`, because it sizes the counters.

use tracing::{debug, info};

use crate::http::h2::ConnectionError;
use crate::net::{RemoteAddr, TlsFailure};
use crate::shared::connection_failure::ConnectionReason;
use crate::worker::shard::Shard;

/// A connection that is of no more use, by the client's fault.
#[derive(Debug)]
pub enum ConnectionFailure {
    /// The connection does not begin with a PROXY header although the listener wants one.
    ProxyHeader,
    /// The connection comes from somebody who may not send the PROXY header that the listener wants.
    ProxySender,
    /// The client speaks TLS where there is none.
    UnexpectedTls,
    Tls(TlsFailure),
    Http2(ConnectionError),
}

impl ConnectionFailure {
    /// The reason under which the failure is counted.
    pub fn reason(&self) -> ConnectionReason {
        match self {
            ConnectionFailure::ProxyHeader => ConnectionReason::ProxyHeader,
            ConnectionFailure::ProxySender => ConnectionReason::ProxySender,
            ConnectionFailure::UnexpectedTls => ConnectionReason::UnexpectedTls,
            ConnectionFailure::Tls(failure) => failure.reason(),
            ConnectionFailure::Http2(error) => ConnectionReason::Http2(*error),
        }
    }
}

/// Counts it, and says so to who listens closely.
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
            (ConnectionFailure::ProxyHeader, "proxy_header"),
            (ConnectionFailure::ProxySender, "proxy_sender"),
            (ConnectionFailure::UnexpectedTls, "unexpected_tls"),
            (ConnectionFailure::Tls(TlsFailure::Expired), "timeout"),
            (
                ConnectionFailure::Tls(TlsFailure::Refused(rustls::Error::DecryptError, None)),
                "misbehaved",
            ),
            (
                ConnectionFailure::Http2(ConnectionError::BadPreface),
                "bad_preface",
            ),
            (
                ConnectionFailure::Http2(ConnectionError::Abuse(Abuse::UnreadReplies)),
                "unread_replies",
            ),
        ];
        for (failure, label) in rows {
            assert_eq!(failure.reason().label(), label, "{failure:?}");
        }
    }
}
