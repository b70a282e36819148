//! Every way in which an exchange can fail. [`FAILURES`] is the one table of them: each row has all that follows from a
//! failure, and the number of rows sizes the counters. A new failure is one new row.

use tracing::Level;

use crate::http::refusal::Refusal;

/// The party at fault, which has to do something about the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client.
    Client,
    /// The backend that the request was sent to.
    Backend,
    /// All backends of the pool together. The failure counts against none of them.
    Pool,
    /// palantir.
    Ours,
}

impl Fault {
    /// The label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Backend | Fault::Pool => "backend",
            Fault::Ours => "palantir",
        }
    }
}

/// The rule by which a failed attempt may be repeated, if the request may be repeated at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryRule {
    /// Nothing: another attempt would fail, too, or the client is to blame.
    Never,
    /// The next backend: nothing was sent to this one.
    Unconnected,
    /// Any other connection to the same backend, which has said that it processed nothing; later another backend.
    Unprocessed,
    /// A connection that was never idle, if the lost one was reused; else another backend.
    Lost,
    /// Another backend, because this one has become unhealthy.
    Down,
    /// Another backend, which may do better.
    Another,
}

/// Whether the client's connection goes on behind the reply to a failure. It ends where nobody knows for certain where
/// the next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The connection takes the next request.
    GoesOn,
    /// The connection is closed behind the reply.
    Ends,
}

/// The consequences of a failure.
#[derive(Clone, Copy, Debug)]
pub struct FailureRow {
    /// The failure.
    pub failure: Failure,
    /// The status of the reply, or of the log line where no reply can be given.
    pub status: u16,
    /// The party that has to do something about the failure.
    pub fault: Fault,
    /// The label for logs, metrics and `Proxy-Status`: a name in snake case.
    pub label: &'static str,
    /// The error type of RFC 9209, section 2.3.
    pub error_type: &'static str,
    /// The rule by which the failed attempt may be repeated.
    pub retry: RetryRule,
    /// Whether the client's connection goes on.
    pub afterwards: Afterwards,
    /// As what the failure is counted per route and backend, of all [`REASON_GROUPS`].
    pub group: usize,
}

impl FailureRow {
    /// How loudly the failure is logged.
    pub fn level(&self) -> Level {
        match self.fault {
            Fault::Client => Level::DEBUG,
            Fault::Backend | Fault::Pool | Fault::Ours => Level::WARN,
        }
    }
}

/// Declares the failures without a refusal in them, one row each: status, fault, label, error type, retry rule, and
/// what becomes of the client's connection.
macro_rules! failures {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $status:literal, $fault:ident, $label:literal, $error_type:literal, $retry:ident, $afterwards:ident;
    )+) => {
        /// Why an exchange failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure {
            $($(#[doc = $doc])+ $name,)+
            /// The request breaks a rule of HTTP or a bound.
            Refused(Refusal),
            /// The backend's response breaks a rule of HTTP.
            MalformedResponse(Refusal),
        }

        /// The numbers of the failures without a refusal in them.
        enum Number {
            $($name,)+
        }

        const PLAIN: [FailureRow; PLAIN_COUNT] = [$(FailureRow {
            failure: Failure::$name,
            status: $status,
            fault: Fault::$fault,
            label: $label,
            error_type: $error_type,
            retry: RetryRule::$retry,
            afterwards: Afterwards::$afterwards,
            group: Number::$name as usize,
        },)+];
        const PLAIN_COUNT: usize = [$($label,)+].len();

        impl Failure {
            /// The number of the failure: its row in [`FAILURES`], and its place among the counters.
            pub fn reason(self) -> usize {
                match self {
                    $(Failure::$name => Number::$name as usize,)+
                    Failure::Refused(refusal) => PLAIN_COUNT + refusal as usize,
                    Failure::MalformedResponse(refusal) => {
                        PLAIN_COUNT + Refusal::ALL.len() + refusal as usize
                    }
                }
            }
        }
    };
}

failures! {
    /// The request's head took too long.
    HeadTimeout: 408, Client, "head_timeout", "http_request_error", Never, Ends;
    /// The request's body took too long.
    BodyTimeout: 408, Client, "body_timeout", "http_request_error", Never, Ends;
    /// The body of the request came more slowly than the listener allows.
    BodyTooSlow: 408, Client, "body_too_slow", "http_request_error", Never, Ends;
    /// The body is longer than the route allows.
    BodyTooLarge: 413, Client, "body_too_large", "http_request_error", Never, Ends;
    /// The client sent more before its protocol upgrade was answered.
    EarlyUpgradeBytes: 400, Client, "early_upgrade_bytes", "http_request_error", Never, Ends;
    /// The client went away before its answer was complete.
    ClientLeft: 499, Client, "client_left", "http_request_error", Never, Ends;
    /// The client stopped reading its answer.
    ClientStalled: 499, Client, "client_stalled", "http_request_error", Never, Ends;
    /// The client took its answer more slowly than the listener allows.
    ReaderTooSlow: 499, Client, "reader_too_slow", "http_request_error", Never, Ends;
    /// The request is for another host than the TLS connection was made to, or the connection does not meet what its
    /// listener demands by now.
    Misdirected: 421, Client, "misdirected", "http_request_error", Never, GoesOn;
    /// The route wants clients to have a certificate, and this one has none.
    CertificateMissing: 403, Client, "client_certificate_missing", "http_request_denied", Never, GoesOn;
    /// Backends are to be told the subject of the client's certificate, and it is empty.
    SubjectMissing: 403, Client, "client_subject_missing", "http_request_denied", Never, GoesOn;
    /// Backends are to be told what the client's certificate says, and it cannot be read or says too much.
    CertificateUnusable: 403, Client, "client_certificate_unusable", "http_request_denied", Never, GoesOn;
    /// No route takes the request's host and path.
    NoRoute: 404, Client, "no_route", "destination_not_found", Never, GoesOn;
    /// No backend of the pool is usable.
    NoBackend: 503, Pool, "no_backend", "destination_unavailable", Never, GoesOn;
    /// All usable backends have as many connections as they may.
    Saturated: 503, Pool, "saturated", "connection_limit_reached", Never, GoesOn;
    /// The backend could not be connected to.
    ConnectFailed: 502, Backend, "connect_failed", "connection_refused", Unconnected, GoesOn;
    /// The backend could not be connected to in time.
    ConnectTimeout: 504, Backend, "connect_timeout", "connection_timeout", Unconnected, GoesOn;
    /// The backend has become unhealthy, and the request leaves it, or ends because the pool cuts such requests.
    BackendDown: 502, Backend, "backend_down", "destination_unavailable", Down, GoesOn;
    /// The backend's certificate is not what it should be, or it does not speak TLS with us.
    Untrusted: 502, Backend, "untrusted", "tls_certificate_error", Unconnected, GoesOn;
    /// The process has no descriptor left for a connection, or no memory for the exchange.
    Exhausted: 503, Ours, "exhausted", "proxy_internal_error", Never, GoesOn;
    /// The backend closed before its response head was complete.
    Reset: 502, Backend, "reset", "connection_terminated", Lost, GoesOn;
    /// The backend refused the request's stream before it processed any of it, or ended the connection before it
    /// answered this one of several requests.
    Unprocessed: 502, Backend, "unprocessed", "connection_terminated", Unprocessed, GoesOn;
    /// The backend sent more interim responses than anybody needs.
    TooManyInterim: 502, Backend, "too_many_interim", "http_protocol_error", Another, GoesOn;
    /// The backend did not answer in time.
    ResponseTimeout: 504, Backend, "response_timeout", "http_response_timeout", Another, GoesOn;
    /// The route's bound on the whole exchange.
    ExchangeTimeout: 504, Backend, "exchange_timeout", "http_response_timeout", Never, GoesOn;
    /// The backend closed or fell silent in the middle of its response body.
    Truncated: 502, Backend, "truncated", "http_response_incomplete", Never, Ends;
    /// The backend broke a tunnel off.
    TunnelBroken: 502, Pool, "tunnel_broken", "connection_terminated", Never, Ends;
    /// Nothing moved in a tunnel for too long.
    TunnelIdle: 408, Client, "tunnel_idle", "http_request_error", Never, Ends;
    /// The time for a stop was over before the exchange had ended, or a tunnel's time behind a change of its listener.
    CutByStop: 503, Ours, "cut_by_stop", "proxy_internal_error", Never, Ends;
}

/// Reasons that are counted apart for all routes together, one row each.
pub const REASONS: usize = PLAIN_COUNT + 2 * Refusal::ALL.len();

/// Groups of reasons that are counted apart per route and backend: one for each failure without a refusal in it, one
/// for all refusals, one for all malformed responses, and [`STATUS_5XX`].
pub const REASON_GROUPS: usize = PLAIN_COUNT + 3;
const REFUSED: usize = PLAIN_COUNT;
const MALFORMED: usize = PLAIN_COUNT + 1;
/// The group of a backend's answers of 500 and above. They are no [`Failure`]: such an answer is passed on.
pub const STATUS_5XX: usize = PLAIN_COUNT + 2;

/// All failures, by [`Failure::reason`].
pub static FAILURES: [FailureRow; REASONS] = rows();

const fn rows() -> [FailureRow; REASONS] {
    let mut rows = [PLAIN[0]; REASONS];
    let mut reason = 0;
    while reason < PLAIN_COUNT {
        rows[reason] = PLAIN[reason];
        reason += 1;
    }
    let mut refusal = 0;
    while refusal < Refusal::ALL.len() {
        rows[PLAIN_COUNT + refusal] = refused(Refusal::ALL[refusal]);
        rows[PLAIN_COUNT + Refusal::ALL.len() + refusal] = malformed(Refusal::ALL[refusal]);
        refusal += 1;
    }
    rows
}

/// The row of a request that is refused.
const fn refused(refusal: Refusal) -> FailureRow {
    FailureRow {
        failure: Failure::Refused(refusal),
        status: refusal.status(),
        fault: Fault::Client,
        label: refusal.label(),
        error_type: "http_request_error",
        retry: RetryRule::Never,
        afterwards: Afterwards::Ends,
        group: REFUSED,
    }
}

/// The row of a response that no client gets.
const fn malformed(refusal: Refusal) -> FailureRow {
    FailureRow {
        failure: Failure::MalformedResponse(refusal),
        status: 502,
        fault: Fault::Backend,
        label: refusal.label(),
        error_type: "http_protocol_error",
        retry: RetryRule::Another,
        afterwards: Afterwards::GoesOn,
        group: MALFORMED,
    }
}

/// The label of a group of reasons.
pub fn group_label(group: usize) -> &'static str {
    debug_assert!(group < REASON_GROUPS);
    match group {
        REFUSED => "refused",
        MALFORMED => "malformed_response",
        STATUS_5XX => "status_5xx",
        plain => PLAIN[plain].label,
    }
}

impl Failure {
    /// All that follows from the failure.
    pub fn row(self) -> &'static FailureRow {
        &FAILURES[self.reason()]
    }

    /// The label for logs, metrics and `Proxy-Status`: a name in snake case.
    pub fn label(self) -> &'static str {
        self.row().label
    }

    /// As what the failure is counted per route and backend.
    pub fn reason_group(self) -> usize {
        self.row().group
    }

    /// Whether the backend that the request was sent to is to blame, so that the failure counts against it.
    pub fn blames_backend(self) -> bool {
        self.row().fault == Fault::Backend
    }

    /// Whether the failure means that no answer of a backend can be had.
    pub fn is_of_upstream(self) -> bool {
        matches!(self.row().fault, Fault::Backend | Fault::Pool)
    }

    /// Whether nothing of the request can have reached the backend.
    pub fn is_before_sending(self) -> bool {
        matches!(
            self.row().retry,
            RetryRule::Unconnected | RetryRule::Unprocessed
        )
    }

    /// Whether the client took too long: with its request, or with the next bytes of a tunnel.
    pub fn is_slowness(self) -> bool {
        self.row().status == 408
    }

    /// Whether the client takes no reply any more. To a client that did not take all of an interim answer, a reply
    /// would be the rest of that.
    pub fn is_without_reader(self) -> bool {
        self.row().status == 499
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_the_row_of_its_failure() {
        let mut labels = HashSet::new();
        for (reason, row) in FAILURES.iter().enumerate() {
            assert_eq!(row.failure.reason(), reason, "{row:?}");
            assert!(
                labels.insert((row.label, row.fault.label())),
                "{row:?} twice"
            );
            assert!(matches!(row.status, 400..=599), "{row:?}");
        }
    }

    #[test]
    fn every_group_has_a_label_of_its_own() {
        let labels: HashSet<_> = (0..REASON_GROUPS).map(group_label).collect();
        assert_eq!(labels.len(), REASON_GROUPS);
        for row in &FAILURES {
            let is_folded = matches!(
                row.failure,
                Failure::Refused(_) | Failure::MalformedResponse(_)
            );
            assert!(is_folded || group_label(row.group) == row.label, "{row:?}");
        }
    }

    #[test]
    fn the_client_is_never_to_blame_for_what_may_be_tried_again() {
        for row in &FAILURES {
            let is_retried = row.retry != RetryRule::Never;
            assert!(!is_retried || row.fault == Fault::Backend, "{row:?}");
        }
    }

    #[test]
    fn what_is_read_off_the_rows() {
        let slow = [
            Failure::HeadTimeout,
            Failure::BodyTimeout,
            Failure::BodyTooSlow,
            Failure::TunnelIdle,
        ];
        let gone = [
            Failure::ClientLeft,
            Failure::ClientStalled,
            Failure::ReaderTooSlow,
        ];
        let unsent = [
            Failure::ConnectFailed,
            Failure::ConnectTimeout,
            Failure::Untrusted,
            Failure::Unprocessed,
        ];
        for row in &FAILURES {
            let failure = row.failure;
            assert_eq!(failure.is_slowness(), slow.contains(&failure), "{row:?}");
            assert_eq!(
                failure.is_without_reader(),
                gone.contains(&failure),
                "{row:?}"
            );
            assert_eq!(
                failure.is_before_sending(),
                unsent.contains(&failure),
                "{row:?}"
            );
        }
    }
}
