//! The rule, as `docs/architecture.md` states it: what may reach backends how often, and what the client gets.

use super::cases::{Case, Elsewhere, Ending, Failure, Flaw, Request, Script, Signal, Version};
use crate::support::h2::frame::code;

/// The knowledge of a request when the attempt to have it answered ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The backend has certainly processed nothing of it.
    Untouched,
    /// No byte of the request was processed, and the backend has said so over HTTP/2.
    Refused,
    /// Nobody knows, and no byte of an answer came.
    Unknown,
    /// One of the two, as it happens.
    UntouchedOrUnknown,
    /// Part of a frame came, which may become part of an answer.
    UnknownOrBegun,
    /// Part of an answer came, or one that breaks the rules: with a final head of this status, or without one.
    Begun { head: Option<u16> },
    /// A whole answer came.
    Answered(u16),
}

/// Whether the request is sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Never,
    /// The rule allows it and does not demand it, or which row of the table holds is decided by a race.
    May,
    Must,
}

/// The results that a case may show.
#[derive(Clone, Debug)]
pub struct Expected {
    pub again: Again,
    /// Most attempts that backends may see.
    pub attempts: usize,
    /// The statuses that the client may get for its failed request, as a whole answer.
    pub failures: Vec<u16>,
    /// The status of an answer that may be there, but cut.
    pub cut: Option<u16>,
    /// The status of the scripted answer, if that is to arrive.
    pub answered: Option<u16>,
    /// Whether the answer of an attempt that goes well may be there.
    pub well: bool,
}

/// States the rule for a case.
pub fn expected(case: &Case) -> Expected {
    let fate = fate(case);
    let again = again(case, fate);
    let goes_well = match case.failure {
        Failure::DiesIdle | Failure::RefusesStreams => true,
        _ => again != Again::Never && case.elsewhere != Elsewhere::Nobody,
    };
    // The backend of two that is asked first is not for this table to say: the good one may be.
    let may_miss = matches!(
        case.failure,
        Failure::RefusesConnections | Failure::EndsAtOnce(_)
    ) && case.elsewhere != Elsewhere::Nobody;
    let must_go_well = goes_well && again == Again::Must && case.elsewhere == Elsewhere::Good
        || case.failure == Failure::DiesIdle && again == Again::Must;
    let (mut failures, mut cut, mut answered) = (Vec::new(), None, None);
    match fate {
        Fate::Answered(status) => answered = Some(status),
        Fate::Begun { head } => {
            failures = failure_statuses(case, head.is_some());
            cut = head;
        }
        _ if must_go_well => {}
        _ => failures = failure_statuses(case, false),
    }
    Expected {
        again,
        attempts: attempts(case, fate, again),
        failures,
        cut,
        answered,
        well: goes_well || may_miss,
    }
}

/// The condition that all kinds of repetition share, then what is known, then what the route allows.
fn again(case: &Case, fate: Fate) -> Again {
    let idempotent = case.request.is_idempotent();
    let may_retry = case.elsewhere != Elsewhere::Forbidden;
    if !case.request.is_kept() {
        return match case.failure {
            // The connection was found to be dead before anything was sent.
            Failure::DiesIdle if case.pool == Version::H1 => Again::Must,
            Failure::DiesIdle => Again::May,
            _ => Again::Never,
        };
    }
    match fate {
        Fate::Begun { .. } | Fate::Answered(_) => Again::Never,
        Fate::Refused if !may_retry => Again::May,
        Fate::Refused => Again::Must,
        Fate::Untouched if case.failure == Failure::DiesIdle => Again::Must,
        Fate::UntouchedOrUnknown if case.failure == Failure::DiesIdle => {
            if idempotent && may_retry {
                Again::Must
            } else {
                Again::May
            }
        }
        _ if !may_retry => Again::Never,
        Fate::Untouched => Again::Must,
        Fate::Unknown | Fate::UntouchedOrUnknown if idempotent => Again::Must,
        Fate::UntouchedOrUnknown => Again::May,
        Fate::UnknownOrBegun if idempotent => Again::May,
        Fate::Unknown | Fate::UnknownOrBegun => Again::Never,
    }
}

fn attempts(case: &Case, fate: Fate, again: Again) -> usize {
    match (again, case.elsewhere) {
        (Again::Never, _) => 1,
        _ if case.failure == Failure::DiesIdle => 1,
        (_, Elsewhere::Good | Elsewhere::Forbidden) => 2,
        // The first, one that replaces a connection that was reused, and a retry; refusals count apart, up to four.
        (_, Elsewhere::Nobody) => {
            2 + usize::from(case.reused) + if fate == Fate::Refused { 4 } else { 0 }
        }
    }
}

fn failure_statuses(case: &Case, head: bool) -> Vec<u16> {
    match case.failure {
        Failure::Fails {
            ending: Ending::Stay,
            answer,
            signal: Signal::Nothing,
            ..
        } if answer.flaw == Flaw::None => {
            if head {
                vec![502, 504]
            } else {
                vec![504]
            }
        }
        _ => vec![502],
    }
}

fn fate(case: &Case) -> Fate {
    match case.failure {
        Failure::RefusesConnections => Fate::Untouched,
        Failure::RefusesStreams => Fate::Refused,
        Failure::EndsAtOnce(_) => Fate::UntouchedOrUnknown,
        // Over HTTP/1.1 a connection is looked at before it is used.
        Failure::DiesIdle => match case.pool {
            Version::H1 => Fate::Untouched,
            Version::H2 => Fate::UntouchedOrUnknown,
        },
        Failure::Fails {
            answer,
            bytes,
            signal,
            ..
        } => fate_by_answer(case, answer, bytes, signal),
    }
}

fn fate_by_answer(case: &Case, answer: &Script, bytes: usize, signal: Signal) -> Fate {
    let is_head = case.request == Request::Head;
    let (mut all, head_end) = answer.bytes(case.pool, is_head, 1);
    let sent = bytes.min(all.len());
    if sent == 0 {
        return match signal {
            Signal::Reset(code::REFUSED_STREAM) | Signal::GoAwayBefore => Fate::Refused,
            _ => Fate::Unknown,
        };
    }
    if sent == all.len() && answer.is_sound(is_head) {
        return Fate::Answered(answer.status);
    }
    if case.pool == Version::H2 && sent < first_frame(&mut all) {
        return Fate::UnknownOrBegun;
    }
    let has_head = answer.flaw != Flaw::Head && sent >= head_end;
    Fate::Begun {
        head: has_head.then_some(answer.status),
    }
}

fn first_frame(bytes: &mut Vec<u8>) -> usize {
    let all = bytes.len();
    crate::support::h2::frame::Frame::take(bytes).expect("a frame");
    all - bytes.len()
}
