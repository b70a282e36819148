//! Whether a request is sent again after an attempt that failed. Plain functions of plain values.
//!
//! A request may be executed twice only if its method is idempotent (RFC 9110 section 9.2.2). So the decision depends
//! on whether it is known that the backend processed nothing of the request, and not on how likely that is.

use crate::base::limits;
use crate::worker::failure::{Failure, RetryRule};

/// The facts of a request that decide whether it may be sent again.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable {
    /// Whether the whole request is still there: no byte of its body was given away.
    pub is_kept: bool,
    /// Whether the request may be executed twice (RFC 9110 section 9.2.2).
    pub is_idempotent: bool,
    /// Whether a byte of any answer has come. From then on the backend may have processed the request.
    pub is_answered: bool,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt {
    /// The failure of the attempt.
    pub failure: Failure,
    /// Whether it is known that the backend processed nothing of the request.
    pub is_unprocessed: bool,
    /// Whether a connection was lost that had served other requests: the backend may have closed it while it was idle
    /// (RFC 9112 section 9.5).
    pub lost_reused: bool,
}

/// The attempts that a request has used up, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Attempts that count as no retries, because no backend has processed anything of the request.
    pub free: u8,
    /// Whether the request was sent anew because a reused connection was lost.
    pub fresh: bool,
    /// Retries that the route allows.
    pub retries: u8,
    /// Backends that could not be connected to.
    pub unconnected: u8,
    /// Backends, among those that could not be connected to, that did not answer in time.
    pub connect_timeouts: u8,
    /// How many backends the request has left because they had become unhealthy.
    pub left: u8,
    /// How often another core opened the connection that the request was about to open.
    pub lost_races: u8,
}

impl Used {
    /// Counts another attempt after this failure.
    pub fn count(&mut self, again: Again, failure: Failure) {
        debug_assert!(
            self.free <= limits::UNPROCESSED_ATTEMPTS && self.left <= limits::LEFT_BACKENDS,
            "each kind of another attempt has its bound: {self:?}"
        );
        match again {
            Again::Never => {}
            Again::Fresh => self.fresh = true,
            Again::Elsewhere => self.free += 1,
            Again::Retry => self.retries += 1,
            Again::Leave => self.left += 1,
            Again::Next => {
                self.unconnected += 1;
                self.connect_timeouts += u8::from(failure == Failure::ConnectTimeout);
            }
        }
    }

    /// The number of attempts so far, for whatever reason they were made.
    pub fn rounds(self) -> u32 {
        let counters = [
            self.free,
            self.fresh.into(),
            self.retries,
            self.unconnected,
            self.left,
            self.lost_races,
        ];
        counters.into_iter().map(u32::from).sum()
    }
}

/// The attempts that a request has used up, and the retries that its route allows.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// The attempts that the request has used up.
    pub used: Used,
    /// The retries that the route allows; 0: no request goes out twice unless no backend has processed it.
    pub retries: u8,
}

/// How a request goes on after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The request is not sent again, and the client is told of the failure.
    Never,
    /// The request goes to the same backend, on a connection that was never idle. The failure is not the backend's, and
    /// the attempt is no retry.
    Fresh,
    /// The request goes to the same backend, on any other connection. The failure is not the backend's, and the attempt
    /// is no retry.
    Elsewhere,
    /// The request goes to another backend, because this one could not be connected to. Nothing was sent, so that the
    /// attempt is no retry.
    Next,
    /// The request goes to another backend, because this one has become unhealthy. The attempt is no retry: each
    /// request does so `limits::LEFT_BACKENDS` times at most, and only when the backend's own probes have failed.
    Leave,
    /// The request goes to another backend, if the pool's budget of retries allows it.
    Retry,
}

impl Again {
    /// The decision where the backend that could not be connected to has failed the request before, and the request
    /// came back because the others of its pool have no place. To try a backend once more is a retry: else a request
    /// would try one that refuses as often as it may try different ones.
    pub fn after_second_try(self, allowance: Allowance) -> Again {
        let used = allowance.used;
        match self {
            Again::Next if used.unconnected == 0 => Again::Next,
            Again::Next if used.retries < allowance.retries => Again::Retry,
            Again::Next => Again::Never,
            again => again,
        }
    }
}

impl FailedAttempt {
    /// An attempt without a connection: the backend has got no byte of the request.
    pub fn unsent(failure: Failure) -> FailedAttempt {
        FailedAttempt {
            failure,
            is_unprocessed: true,
            lost_reused: false,
        }
    }

    /// An attempt that failed on a connection that is gone, or whose answer was passed on.
    pub fn without_connection(failure: Failure) -> FailedAttempt {
        FailedAttempt {
            failure,
            is_unprocessed: failure.is_before_sending(),
            lost_reused: false,
        }
    }
}

/// Whether a request should have a connection that was never idle. A request that cannot be sent again should not go
/// out on an idle connection of HTTP/1, which the backend may just have closed (RFC 9112 section 9.5). The end of a
/// connection of HTTP/2 is announced before it comes (RFC 9113 section 6.8).
pub fn wants_fresh(is_whole: bool, is_http1: bool) -> bool {
    !is_whole && is_http1
}

/// Circumstances, other than the backend itself, that may have delayed the answer.
#[derive(Clone, Copy, Debug)]
pub struct Blame {
    /// Whether the request was sent by the protocol of its pool.
    pub is_of_pools_protocol: bool,
    /// Whether the client has not sent its whole request.
    pub is_body_pending: bool,
    /// Whether the client has sent any of the body.
    pub has_sent_body: bool,
    /// Whether the client has set the bound on the exchange.
    pub is_bound_by_client: bool,
    /// Whether the answer has begun, so that the exchange may have waited for the client to read it.
    pub is_answered: bool,
    /// Whether the backend had most of the time of the exchange.
    pub backend_had_most: bool,
}

/// Whether a failure counts against the backend. The time for the exchange may have been used up by others: the client
/// set the time itself, sent its request late or incompletely, or had to read the answer; or the request had to wait
/// for other requests. A client that asks a backend of HTTP/2 for a protocol which the backend may not support is to
/// blame itself, too. Otherwise one client, or high load, could have any backend ejected.
pub fn is_backends_fault(failure: Failure, blame: Blame) -> bool {
    if !failure.blames_backend() || !blame.is_of_pools_protocol {
        return false;
    }
    match failure {
        // The client waits for `100 Continue` for longer than it should (RFC 9110 section 10.1.1). The backend need not
        // know of the wait.
        Failure::ResponseTimeout => !blame.is_body_pending || blame.has_sent_body,
        Failure::ExchangeTimeout => {
            !blame.is_bound_by_client
                && !blame.is_body_pending
                && !blame.is_answered
                && blame.backend_had_most
        }
        _ => true,
    }
}

/// Decides whether and how a request is sent again. `has_next`: whether another backend of the pool takes requests that
/// this request was not sent to yet.
pub fn again(
    request: Repeatable,
    failed: &FailedAttempt,
    allowance: Allowance,
    has_next: impl FnOnce() -> bool,
) -> Again {
    let (used, most) = (allowance.used, allowance.retries);
    let may_repeat = request.is_idempotent || failed.is_unprocessed;
    let is_kept = request.is_kept;
    #[cfg(test)]
    let may_repeat =
        may_repeat || crate::simulated::is_planted(crate::simulated::Fault::RepeatsAnything);
    #[cfg(test)]
    let is_kept = is_kept || crate::simulated::is_planted(crate::simulated::Fault::ResendsPart);
    // Only a request that is idempotent, or that the backend has not processed, may be sent again (RFC 9110 section
    // 9.2.2). A request whose body was given away is not there any more, and an answer that has begun cannot be
    // replaced.
    if !is_kept || request.is_answered || !may_repeat {
        return Again::Never;
    }
    match failed.failure.row().retry {
        // The stream came while the backend was ending the connection, or exceeded the number of streams that the
        // backend takes: the backend has processed nothing of it (RFC 9113 section 8.7).
        RetryRule::Unprocessed if used.free < limits::UNPROCESSED_ATTEMPTS => Again::Elsewhere,
        // A backend may close an idle connection while a request is on its way (RFC 9112 section 9.5). If the operator
        // allows no retries, no request goes out twice unless the backend is known to have processed nothing.
        RetryRule::Lost
            if failed.lost_reused && !used.fresh && (most > 0 || failed.is_unprocessed) =>
        {
            Again::Fresh
        }
        // The backend has got no byte of the request, so that any method may be repeated. The backend rests from now
        // on, so that few requests are affected.
        RetryRule::Unconnected => {
            let mut with_this = used;
            with_this.count(Again::Next, failed.failure);
            let is_within = with_this.unconnected < limits::UNCONNECTED_ATTEMPTS
                && with_this.connect_timeouts < limits::CONNECT_TIMEOUTS;
            if most > 0 && is_within && has_next() {
                Again::Next
            } else {
                Again::Never
            }
        }
        // The backend fails its probes, so that an answer is unlikely. Only a request that may be repeated gets here.
        RetryRule::Down => {
            if most > 0 && used.left < limits::LEFT_BACKENDS && has_next() {
                Again::Leave
            } else {
                Again::Never
            }
        }
        RetryRule::Unprocessed | RetryRule::Lost | RetryRule::Another if used.retries < most => {
            Again::Retry
        }
        _ => Again::Never,
    }
}

#[cfg(test)]
mod tests;
