//! Every way in which an exchange can fail, and what follows from it: the status of the answer, whose fault it is, the
//! reason word (the same in the answer, the log and the metrics), and how loudly it is logged. One table; below it, how
//! failures are numbered where they are counted.

use tracing::Level;

use crate::http::refusal::Refusal;
use crate::shared::counts::KINDS;
use crate::shared::gauges::REASONS;
use crate::worker::multiplex::{Gone, Unconnected};

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request breaks a rule of HTTP or a bound.
    Refused(Refusal),
    /// The request's head took too long.
    HeadTimeout,
    /// The request's body took too long.
    BodyTimeout,
    /// The body of the request came more slowly than the listener allows.
    BodyTooSlow,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// The client sent more before its protocol upgrade was answered.
    EarlyUpgradeBytes,
    /// The client went away before its answer was complete.
    ClientLeft,
    /// The client stopped reading its answer.
    ClientStalled,
    /// The client took its answer more slowly than the listener allows.
    ReaderTooSlow,
    /// The request is for another host than the TLS connection was made to, or the connection does not meet what its
    /// listener demands by now.
    Misdirected,
    /// The route wants clients to have a certificate, and this one has none.
    CertificateMissing,
    /// Backends are to be told the subject of the client's certificate, and it is empty.
    SubjectMissing,
    /// Backends are to be told what the client's certificate says, and it cannot be read or says too much.
    CertificateUnusable,
    /// No route takes the request's host and path.
    NoRoute,
    /// No backend of the pool is usable.
    NoBackend,
    /// All usable backends have as many connections as they may.
    Saturated,
    ConnectFailed,
    ConnectTimeout,
    /// The backend has become unhealthy, and the request leaves it, or ends because the pool cuts such requests.
    BackendDown,
    /// The backend's certificate is not what it should be, or it does not speak TLS with us.
    Untrusted,
    /// This process has no descriptor left for a connection, or no memory for the exchange.
    Exhausted,
    /// The backend closed before its response head was complete.
    Reset,
    /// The backend refused the request's stream before it processed any of it, or ended the connection before it
    /// answered this one of several requests.
    Unprocessed,
    /// The backend's response breaks a rule of HTTP.
    MalformedResponse(Refusal),
    /// The backend sent more interim responses than anybody needs.
    TooManyInterim,
    ResponseTimeout,
    /// The route's bound on the whole exchange.
    ExchangeTimeout,
    /// The backend closed or fell silent in the middle of its response body.
    Truncated,
    /// The time for a stop was over before the exchange had ended.
    CutByStop,
}

/// The failures without a refusal in them, in the order in which they are counted.
const PLAIN: [Failure; KINDS - 3] = [
    Failure::HeadTimeout,
    Failure::BodyTimeout,
    Failure::BodyTooSlow,
    Failure::BodyTooLarge,
    Failure::EarlyUpgradeBytes,
    Failure::ClientLeft,
    Failure::ClientStalled,
    Failure::ReaderTooSlow,
    Failure::Misdirected,
    Failure::CertificateMissing,
    Failure::SubjectMissing,
    Failure::CertificateUnusable,
    Failure::NoRoute,
    Failure::NoBackend,
    Failure::Saturated,
    Failure::ConnectFailed,
    Failure::ConnectTimeout,
    Failure::BackendDown,
    Failure::Untrusted,
    Failure::Exhausted,
    Failure::Reset,
    Failure::Unprocessed,
    Failure::TooManyInterim,
    Failure::ResponseTimeout,
    Failure::ExchangeTimeout,
    Failure::Truncated,
    Failure::CutByStop,
];
const REFUSED: usize = PLAIN.len();
const MALFORMED: usize = PLAIN.len() + 1;
/// What a backend's answer of 500 or above is counted as. It is no [`Failure`]: the answer is passed on.
pub const STATUS_5XX: usize = PLAIN.len() + 2;
const _: () = assert!(REASONS == PLAIN.len() + 2 * Refusal::ALL.len());

/// The word of a kind, as counted per route and backend: finer reasons than these are counted for all routes together.
pub fn kind_word(kind: usize) -> &'static str {
    match kind {
        REFUSED => "refused",
        MALFORMED => "malformed_response",
        STATUS_5XX => "status_5xx",
        plain => PLAIN[plain].consequences().word,
    }
}

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    Client,
    Backend,
    Ours,
}

impl Fault {
    /// The word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Backend => "backend",
            Fault::Ours => "palantir",
        }
    }
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug)]
pub struct Consequences {
    /// The status of the answer, or of the log line where none can be given.
    pub status: u16,
    pub fault: Fault,
    /// One word for log, metrics and `Proxy-Status`.
    pub word: &'static str,
    /// The error type of RFC 9209, section 2.3.
    pub error_type: &'static str,
    pub level: Level,
}

impl Failure {
    /// What it means that a backend's stream is gone.
    pub fn of_gone(gone: Gone) -> Failure {
        match gone {
            Gone::Malformed(refusal) => Failure::MalformedResponse(refusal),
            Gone::Unprocessed => Failure::Unprocessed,
            Gone::Reset(_) | Gone::Lost | Gone::TooSlow => Failure::Reset,
            Gone::Unconnected(unconnected) => Failure::of_unconnected(unconnected),
        }
    }

    /// What it means that a backend cannot be connected to.
    pub fn of_unconnected(unconnected: Unconnected) -> Failure {
        match unconnected {
            Unconnected::Failed => Failure::ConnectFailed,
            Unconnected::TimedOut => Failure::ConnectTimeout,
            Unconnected::Untrusted => Failure::Untrusted,
            Unconnected::Exhausted => Failure::Exhausted,
        }
    }

    /// What follows from it.
    pub fn consequences(self) -> Consequences {
        use Fault::{Backend, Client, Ours};
        let (status, fault, word, error_type) = match self {
            Failure::Refused(refusal) => (
                refusal.status(),
                Client,
                refusal.word(),
                "http_request_error",
            ),
            Failure::HeadTimeout => (408, Client, "head_timeout", "http_request_error"),
            Failure::BodyTimeout => (408, Client, "body_timeout", "http_request_error"),
            Failure::BodyTooSlow => (408, Client, "body_too_slow", "http_request_error"),
            Failure::BodyTooLarge => (413, Client, "body_too_large", "http_request_error"),
            Failure::EarlyUpgradeBytes => {
                (400, Client, "early_upgrade_bytes", "http_request_error")
            }
            Failure::ClientLeft => (499, Client, "client_left", "http_request_error"),
            Failure::ClientStalled => (499, Client, "client_stalled", "http_request_error"),
            Failure::ReaderTooSlow => (499, Client, "reader_too_slow", "http_request_error"),
            Failure::Misdirected => (421, Client, "misdirected", "http_request_error"),
            Failure::CertificateMissing => (
                403,
                Client,
                "client_certificate_missing",
                "http_request_denied",
            ),
            Failure::SubjectMissing => {
                (403, Client, "client_subject_missing", "http_request_denied")
            }
            Failure::CertificateUnusable => (
                403,
                Client,
                "client_certificate_unusable",
                "http_request_denied",
            ),
            Failure::NoRoute => (404, Client, "no_route", "destination_not_found"),
            Failure::NoBackend => (503, Backend, "no_backend", "destination_unavailable"),
            Failure::Saturated => (503, Backend, "saturated", "connection_limit_reached"),
            Failure::ConnectFailed => (502, Backend, "connect_failed", "connection_refused"),
            Failure::ConnectTimeout => (504, Backend, "connect_timeout", "connection_timeout"),
            Failure::BackendDown => (502, Backend, "backend_down", "destination_unavailable"),
            Failure::Untrusted => (502, Backend, "untrusted", "tls_certificate_error"),
            Failure::Exhausted => (503, Ours, "exhausted", "proxy_internal_error"),
            Failure::Reset => (502, Backend, "reset", "connection_terminated"),
            Failure::Unprocessed => (502, Backend, "unprocessed", "connection_terminated"),
            Failure::MalformedResponse(refusal) => {
                (502, Backend, refusal.word(), "http_protocol_error")
            }
            Failure::TooManyInterim => (502, Backend, "too_many_interim", "http_protocol_error"),
            Failure::ResponseTimeout => (504, Backend, "response_timeout", "http_response_timeout"),
            Failure::ExchangeTimeout => (504, Backend, "exchange_timeout", "http_response_timeout"),
            Failure::Truncated => (502, Backend, "truncated", "http_response_incomplete"),
            Failure::CutByStop => (503, Ours, "cut_by_stop", "proxy_internal_error"),
        };
        let level = match fault {
            Client => Level::DEBUG,
            Backend | Ours => Level::WARN,
        };
        Consequences {
            status,
            fault,
            word,
            error_type,
            level,
        }
    }

    /// The failure counted as this reason, of all `REASONS`.
    pub fn of_reason(reason: usize) -> Failure {
        match reason.checked_sub(PLAIN.len()) {
            None => PLAIN[reason],
            Some(refusal) => match Refusal::ALL.get(refusal) {
                Some(refusal) => Failure::Refused(*refusal),
                None => Failure::MalformedResponse(Refusal::ALL[refusal - Refusal::ALL.len()]),
            },
        }
    }

    /// As what it is counted for all routes together, one number per word and fault.
    pub fn reason(self) -> usize {
        match self {
            Failure::Refused(refusal) => PLAIN.len() + refusal as usize,
            Failure::MalformedResponse(refusal) => {
                PLAIN.len() + Refusal::ALL.len() + refusal as usize
            }
            plain => plain.kind(),
        }
    }

    /// As what it is counted per route and backend.
    pub fn kind(self) -> usize {
        match self {
            Failure::Refused(_) => REFUSED,
            Failure::MalformedResponse(_) => MALFORMED,
            plain => PLAIN
                .iter()
                .position(|known| *known == plain)
                .expect("every failure without a refusal is listed"),
        }
    }

    /// Whether the backend is to blame, so that it counts against it.
    pub fn blames_backend(self) -> bool {
        !matches!(self, Failure::NoBackend | Failure::Saturated)
            && self.consequences().fault == Fault::Backend
    }

    /// Whether nothing of the request can have reached the backend.
    pub fn is_before_sending(self) -> bool {
        matches!(
            self,
            Failure::ConnectFailed
                | Failure::ConnectTimeout
                | Failure::Untrusted
                | Failure::Unprocessed
        )
    }

    /// Whether the client took too long to send its request.
    pub fn is_slowness(self) -> bool {
        matches!(
            self,
            Failure::HeadTimeout | Failure::BodyTimeout | Failure::BodyTooSlow
        )
    }

    /// Whether another backend might do better, if the request may be repeated at all.
    pub fn is_worth_another_try(self) -> bool {
        matches!(
            self,
            Failure::ConnectFailed
                | Failure::ConnectTimeout
                | Failure::Untrusted
                | Failure::Reset
                | Failure::BackendDown
                | Failure::Unprocessed
                | Failure::ResponseTimeout
                | Failure::MalformedResponse(_)
                | Failure::TooManyInterim
        )
    }

    /// Whether the failure leaves it certain where the client's next request begins, so that the connection can go on.
    pub fn keeps_connection(self) -> bool {
        matches!(
            self,
            Failure::Misdirected
                | Failure::CertificateMissing
                | Failure::SubjectMissing
                | Failure::CertificateUnusable
                | Failure::NoRoute
                | Failure::NoBackend
                | Failure::Saturated
                | Failure::ConnectFailed
                | Failure::ConnectTimeout
                | Failure::BackendDown
                | Failure::Untrusted
                | Failure::Exhausted
                | Failure::Reset
                | Failure::Unprocessed
                | Failure::MalformedResponse(_)
                | Failure::TooManyInterim
                | Failure::ResponseTimeout
                | Failure::ExchangeTimeout
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_is_its_failures_own() {
        let mut words = HashSet::new();
        for reason in 0..REASONS {
            let failure = Failure::of_reason(reason);
            assert_eq!(failure.reason(), reason, "{failure:?}");
            let Consequences { word, fault, .. } = failure.consequences();
            assert!(words.insert((word, fault)), "{word} twice for {fault:?}");
        }
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: HashSet<_> = (0..KINDS).map(kind_word).collect();
        assert_eq!(words.len(), KINDS);
        for reason in 0..REASONS {
            let failure = Failure::of_reason(reason);
            let (kind, word) = (failure.kind(), failure.consequences().word);
            let is_folded = matches!(failure, Failure::Refused(_) | Failure::MalformedResponse(_));
            assert!(is_folded || kind_word(kind) == word, "{word}");
        }
    }
}
