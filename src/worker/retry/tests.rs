//! The decisions about another attempt, as tables.

use super::*;
use crate::http::refusal::Refusal;

const GET: Repeatable = Repeatable {
    is_kept: true,
    is_idempotent: true,
    is_answered: false,
};
const POST: Repeatable = Repeatable {
    is_idempotent: false,
    ..GET
};

fn lost(lost_reused: bool, is_unprocessed: bool) -> FailedAttempt {
    FailedAttempt {
        failure: Failure::Reset,
        is_unprocessed,
        lost_reused,
    }
}

fn used(free: u8, fresh: bool, retries: u8) -> Used {
    Used {
        free,
        fresh,
        retries,
        ..Used::default()
    }
}

fn unconnected(unconnected: u8, connect_timeouts: u8) -> Used {
    Used {
        unconnected,
        connect_timeouts,
        ..Used::default()
    }
}

fn allowed(used: Used, retries: u8) -> Allowance {
    Allowance { used, retries }
}

#[test]
fn what_is_sent_again_and_where() {
    let none = Used::default();
    let refused = FailedAttempt::without_connection(Failure::ConnectFailed);
    let timed_out = FailedAttempt::without_connection(Failure::ConnectTimeout);
    let unprocessed = FailedAttempt::without_connection(Failure::Unprocessed);
    let late = FailedAttempt::without_connection(Failure::ResponseTimeout);
    let left = FailedAttempt::without_connection(Failure::ClientLeft);
    let rows = [
        // A connection that is lost.
        (GET, lost(false, false), none, 1, Again::Retry),
        (GET, lost(false, false), none, 0, Again::Never),
        (GET, lost(true, false), none, 1, Again::Fresh),
        (GET, lost(true, false), none, 0, Again::Never),
        (GET, lost(true, false), used(0, true, 0), 1, Again::Retry),
        (POST, lost(false, false), none, 3, Again::Never),
        (POST, lost(true, false), none, 3, Again::Never),
        (POST, lost(true, true), none, 0, Again::Fresh),
        (POST, lost(true, true), used(0, true, 0), 0, Again::Never),
        (POST, lost(false, true), none, 1, Again::Retry),
        // A connection that was never there, a stream that was refused.
        (GET, refused, none, 1, Again::Next),
        (POST, refused, none, 1, Again::Next),
        (POST, refused, used(0, false, 1), 1, Again::Next),
        (POST, refused, none, 0, Again::Never),
        (POST, refused, unconnected(6, 2), 1, Again::Next),
        (POST, refused, unconnected(7, 0), 1, Again::Never),
        (POST, timed_out, unconnected(1, 1), 1, Again::Next),
        (POST, timed_out, unconnected(2, 2), 1, Again::Never),
        (POST, unprocessed, none, 0, Again::Elsewhere),
        (POST, unprocessed, used(4, false, 0), 1, Again::Retry),
        (POST, unprocessed, used(4, false, 0), 0, Again::Never),
        // A backend that is silent, a client that left.
        (GET, late, none, 1, Again::Retry),
        (POST, late, none, 1, Again::Never),
        (GET, left, none, 1, Again::Never),
    ];
    for (request, failed, used, most, expected) in rows {
        let decided = again(request, &failed, allowed(used, most), || true);
        assert_eq!(decided, expected, "{request:?} {failed:?} {used:?} {most}");
    }
    // Sent to all of them, it is not sent to one again that could not be connected to a moment ago.
    for (failed, expected) in [(refused, Again::Never), (lost(false, false), Again::Retry)] {
        assert_eq!(
            again(GET, &failed, allowed(none, 1), || false),
            expected,
            "{failed:?}"
        );
    }
}

#[test]
fn a_backend_that_refuses_is_tried_again_at_the_cost_of_a_retry() {
    let retried = |unconnected, retries| Used {
        unconnected,
        retries,
        ..Used::default()
    };
    let rows = [
        (Again::Next, retried(0, 1), Again::Next),
        (Again::Next, retried(1, 0), Again::Retry),
        (Again::Next, retried(1, 1), Again::Never),
        (Again::Fresh, retried(1, 1), Again::Fresh),
        (Again::Never, retried(1, 0), Again::Never),
    ];
    for (again, used, expected) in rows {
        let decided = again.after_second_try(allowed(used, 1));
        assert_eq!(decided, expected, "{again:?} {used:?}");
    }
}

#[test]
fn each_kind_of_another_attempt_is_counted_by_itself() {
    let left = Used {
        left: 1,
        ..Used::default()
    };
    let rows = [
        (Again::Never, Failure::Reset, Used::default(), 0),
        (Again::Fresh, Failure::Reset, used(0, true, 0), 1),
        (Again::Elsewhere, Failure::Unprocessed, used(1, false, 0), 1),
        (Again::Next, Failure::ConnectFailed, unconnected(1, 0), 1),
        (Again::Next, Failure::ConnectTimeout, unconnected(1, 1), 1),
        (Again::Leave, Failure::BackendDown, left, 1),
        (Again::Retry, Failure::Reset, used(0, false, 1), 1),
    ];
    for (again, failure, expected, rounds) in rows {
        let mut used = Used::default();
        used.count(again, failure);
        let counted = (format!("{used:?}"), used.rounds());
        assert_eq!(counted, (format!("{expected:?}"), rounds), "{again:?}");
    }
}

#[test]
fn only_a_request_that_may_be_repeated_goes_out_on_an_old_connection() {
    let rows = [
        (true, true, false),
        (true, false, false),
        (false, true, true),
        (false, false, false),
    ];
    for (is_whole, is_http1, expected) in rows {
        assert_eq!(wants_fresh(is_whole, is_http1), expected);
    }
}

#[test]
fn whose_fault_a_failure_is() {
    let alone = Blame {
        is_of_pools_protocol: true,
        is_body_pending: false,
        has_sent_body: false,
        is_bound_by_client: false,
        is_answered: false,
        backend_had_most: true,
    };
    let pending = Blame {
        is_body_pending: true,
        ..alone
    };
    let sending = Blame {
        has_sent_body: true,
        ..pending
    };
    let foreign = Blame {
        is_of_pools_protocol: false,
        ..alone
    };
    let hurried = Blame {
        is_bound_by_client: true,
        ..alone
    };
    let reading = Blame {
        is_answered: true,
        ..alone
    };
    let queued = Blame {
        backend_had_most: false,
        ..alone
    };
    let rows = [
        (Failure::Reset, alone, true),
        (Failure::Reset, queued, true),
        (Failure::Reset, foreign, false),
        (Failure::Saturated, alone, false),
        (Failure::ClientLeft, alone, false),
        (Failure::ResponseTimeout, alone, true),
        (Failure::ResponseTimeout, pending, false),
        (Failure::ResponseTimeout, sending, true),
        (Failure::ExchangeTimeout, alone, true),
        (Failure::ExchangeTimeout, hurried, false),
        (Failure::ExchangeTimeout, sending, false),
        (Failure::ExchangeTimeout, reading, false),
        (Failure::ExchangeTimeout, queued, false),
    ];
    for (failure, blame, expected) in rows {
        assert_eq!(
            is_backends_fault(failure, blame),
            expected,
            "{failure:?} {blame:?}"
        );
    }
}

#[test]
fn a_request_leaves_a_backend_that_fell_if_another_one_takes_it() {
    let fell = FailedAttempt {
        failure: Failure::BackendDown,
        is_unprocessed: false,
        lost_reused: false,
    };
    let unsent = FailedAttempt::unsent(Failure::BackendDown);
    let after = |left| Used {
        left,
        ..Used::default()
    };
    let most = limits::LEFT_BACKENDS;
    let rows = [
        (GET, fell, after(0), 1, true, Again::Leave),
        (GET, fell, after(most - 1), 1, true, Again::Leave),
        (GET, fell, after(most), 1, true, Again::Never),
        (GET, fell, after(0), 0, true, Again::Never),
        (GET, fell, after(0), 1, false, Again::Never),
        (POST, fell, after(0), 1, true, Again::Never),
        (POST, unsent, after(0), 1, true, Again::Leave),
    ];
    for (request, failed, used, most, has_next, expected) in rows {
        let decided = again(request, &failed, allowed(used, most), || has_next);
        assert_eq!(decided, expected, "{request:?} {failed:?} {used:?} {most}");
    }
}

#[test]
fn nothing_is_sent_again_that_is_not_whole_or_was_answered() {
    let failures = [
        Failure::ConnectFailed,
        Failure::Unprocessed,
        Failure::Reset,
        Failure::BackendDown,
        Failure::ResponseTimeout,
        Failure::MalformedResponse(Refusal::BadStatusLine),
    ];
    let given_away = Repeatable {
        is_kept: false,
        ..GET
    };
    let answered = Repeatable {
        is_answered: true,
        ..GET
    };
    for failure in failures {
        for request in [given_away, answered] {
            let failed = FailedAttempt {
                failure,
                is_unprocessed: true,
                lost_reused: true,
            };
            let decided = again(request, &failed, allowed(Used::default(), 9), || true);
            assert_eq!(decided, Again::Never, "{request:?} {failure:?}");
        }
    }
}
