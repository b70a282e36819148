//! Why a client's connection was ended before or beside any request, and the words under which that is counted.

use tracing::{debug, info};

use crate::http::h2::ConnectionError;
use crate::net::{Peer, TlsFailure};
use crate::shared::gauges::CONNECTION_FAILURES;
use crate::worker::shard::Shard;

/// A connection that is of no more use, by the client's fault.
#[derive(Debug)]
pub enum ConnectionFailure {
    /// It does not begin with a PROXY header although the listener wants one.
    ProxyHeader,
    /// It comes from somebody who may not send the PROXY header that the listener wants.
    ProxySender,
    /// It speaks TLS where there is none.
    UnexpectedTls,
    Tls(TlsFailure),
    Http2(ConnectionError),
}

/// Every word, in the order in which they are counted. The first is for what has no word of its own.
pub const WORDS: [&str; CONNECTION_FAILURES] = [
    "other",
    "proxy_header",
    "proxy_sender",
    "unexpected_tls",
    "timeout",
    "closed",
    "plain_http",
    "certificate_expired",
    "certificate_not_yet_valid",
    "certificate_wrong_name",
    "certificate_unknown_issuer",
    "certificate_revoked",
    "certificate_invalid",
    "certificate_missing",
    "no_common_protocol",
    "incompatible",
    "refused_by_peer",
    "malformed",
    "misbehaved",
    "bad_preface",
    "frame_size",
    "bad_stream_id",
    "closed_stream",
    "bad_padding",
    "broken_section",
    "bad_setting",
    "window_overflow",
    "empty_window_update",
    "window_exceeded",
    "push",
    "bad_priority",
    "compression",
    "settings_timeout",
    "head_timeout",
    "rapid_reset",
    "provoked_reset",
    "settings_flood",
    "ping_flood",
    "empty_data_flood",
    "window_update_flood",
    "priority_churn",
    "unknown_frame_flood",
    "window_stall",
    "continuation_flood",
    "header_bomb",
    "unread_replies",
];

impl ConnectionFailure {
    /// The word for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            ConnectionFailure::ProxyHeader => "proxy_header",
            ConnectionFailure::ProxySender => "proxy_sender",
            ConnectionFailure::UnexpectedTls => "unexpected_tls",
            ConnectionFailure::Tls(failure) => failure.word(),
            ConnectionFailure::Http2(error) => error.word(),
        }
    }
}

/// Counts it, and says so to who listens closely.
pub fn report(shard: &Shard, peer: Peer, failure: &ConnectionFailure) {
    let word = failure.word();
    let number = WORDS.iter().position(|known| *known == word);
    let gauges = shard.links.gauges(shard.worker);
    gauges.note_connection_failure(number.unwrap_or_default());
    let client = || peer.ip().map_or("-".to_owned(), |ip| ip.to_string());
    if let ConnectionFailure::Tls(failure) = failure
        && failure.is_of_certificate()
    {
        if shard.log_ration.may_log_client() {
            let (client, why) = (client(), failure.in_words());
            info!(client, "a client was refused: {word}: {why}");
        }
    } else if tracing::enabled!(tracing::Level::DEBUG) && shard.log_ration.may_log_failure() {
        let client = client();
        debug!(client, "connection ended: {word}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::Abuse;

    #[test]
    fn words_are_counted_apart() {
        let failures = [
            ConnectionFailure::ProxyHeader,
            ConnectionFailure::ProxySender,
            ConnectionFailure::UnexpectedTls,
            ConnectionFailure::Tls(TlsFailure::Expired),
            ConnectionFailure::Tls(TlsFailure::Refused(rustls::Error::DecryptError, None)),
            ConnectionFailure::Http2(ConnectionError::BadPreface),
            ConnectionFailure::Http2(ConnectionError::Abuse(Abuse::RapidReset)),
            ConnectionFailure::Http2(ConnectionError::Abuse(Abuse::UnreadReplies)),
        ];
        for failure in failures {
            assert!(WORDS.contains(&failure.word()), "{failure:?}");
        }
        let words: std::collections::HashSet<_> = WORDS.iter().collect();
        assert_eq!(words.len(), WORDS.len());
    }
}
