//! Every way in which an exchange can fail, and what follows from it: the status of the answer, whose fault it is, the
//! reason word (the same in the answer, the log and the metrics), and how loudly it is logged. One table.

use tracing::Level;

use crate::http::refusal::Refusal;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request breaks a rule of HTTP or a bound.
    Refused(Refusal),
    /// The request's head took too long.
    HeadTimeout,
    /// The request's body took too long.
    BodyTimeout,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// The client sent more before its protocol upgrade was answered.
    EarlyUpgradeBytes,
    /// The client went away before its answer was complete.
    ClientLeft,
    /// The client stopped reading its answer.
    ClientStalled,
    /// No route takes the request's host and path.
    NoRoute,
    /// No backend of the pool is usable.
    NoBackend,
    /// All usable backends have as many connections as they may.
    Saturated,
    ConnectFailed,
    ConnectTimeout,
    /// This process has no descriptor or memory left for a connection.
    Exhausted,
    /// The backend closed before its response head was complete.
    Reset,
    /// The backend's response breaks a rule of HTTP.
    MalformedResponse(Refusal),
    /// The backend sent more interim responses than anybody needs.
    TooManyInterim,
    ResponseTimeout,
    /// The route's bound on the whole exchange.
    ExchangeTimeout,
    /// The backend closed or fell silent in the middle of its response body.
    Truncated,
}

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Client,
    Backend,
    Ours,
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
            Failure::BodyTooLarge => (413, Client, "body_too_large", "http_request_error"),
            Failure::EarlyUpgradeBytes => {
                (400, Client, "early_upgrade_bytes", "http_request_error")
            }
            Failure::ClientLeft => (499, Client, "client_left", "http_request_error"),
            Failure::ClientStalled => (499, Client, "client_stalled", "http_request_error"),
            Failure::NoRoute => (404, Client, "no_route", "destination_not_found"),
            Failure::NoBackend => (503, Backend, "no_backend", "destination_unavailable"),
            Failure::Saturated => (503, Backend, "saturated", "connection_limit_reached"),
            Failure::ConnectFailed => (502, Backend, "connect_failed", "connection_refused"),
            Failure::ConnectTimeout => (504, Backend, "connect_timeout", "connection_timeout"),
            Failure::Exhausted => (503, Ours, "exhausted", "proxy_internal_error"),
            Failure::Reset => (502, Backend, "reset", "connection_terminated"),
            Failure::MalformedResponse(refusal) => {
                (502, Backend, refusal.word(), "http_protocol_error")
            }
            Failure::TooManyInterim => (502, Backend, "too_many_interim", "http_protocol_error"),
            Failure::ResponseTimeout => (504, Backend, "response_timeout", "http_response_timeout"),
            Failure::ExchangeTimeout => (504, Backend, "exchange_timeout", "http_response_timeout"),
            Failure::Truncated => (502, Backend, "truncated", "http_response_incomplete"),
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

    /// Whether the backend is to blame, so that it counts against it.
    pub fn blames_backend(self) -> bool {
        !matches!(self, Failure::NoBackend | Failure::Saturated)
            && self.consequences().fault == Fault::Backend
    }

    /// Whether nothing of the request can have reached the backend.
    pub fn is_before_sending(self) -> bool {
        matches!(self, Failure::ConnectFailed | Failure::ConnectTimeout)
    }

    /// Whether another backend might do better, if the request may be repeated at all.
    pub fn is_worth_another_try(self) -> bool {
        matches!(
            self,
            Failure::ConnectFailed
                | Failure::ConnectTimeout
                | Failure::Reset
                | Failure::ResponseTimeout
                | Failure::MalformedResponse(_)
                | Failure::TooManyInterim
        )
    }

    /// Whether the failure leaves it certain where the client's next request begins, so that the connection can go on.
    pub fn keeps_connection(self) -> bool {
        matches!(
            self,
            Failure::NoRoute
                | Failure::NoBackend
                | Failure::Saturated
                | Failure::ConnectFailed
                | Failure::ConnectTimeout
                | Failure::Exhausted
                | Failure::Reset
                | Failure::MalformedResponse(_)
                | Failure::TooManyInterim
                | Failure::ResponseTimeout
                | Failure::ExchangeTimeout
        )
    }
}
