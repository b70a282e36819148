//! The cases: who asks what of whom, how the backend fails, and what else there is.

mod scripts;

pub use scripts::{Flaw, HELLO, Script};

use super::rule::{Again, expected};
use crate::support::h2::frame::{code, frame, kind};
use scripts::{CHUNKED, EARLY_401, EARLY_413, FLAWED_H1, FLAWED_H2, INTERIM, PLAIN};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    H1,
    H2,
}

pub const VERSIONS: [Version; 2] = [Version::H1, Version::H2];

/// The request of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Get,
    Head,
    PutSmall,
    PostEmpty,
    PostSmall,
    /// A large body whose length is announced.
    PostLength,
    /// A large body that comes in chunks; over HTTP/2, without a length.
    PostChunked,
}

pub const REQUESTS: [Request; 7] = [
    Request::Get,
    Request::Head,
    Request::PutSmall,
    Request::PostEmpty,
    Request::PostSmall,
    Request::PostLength,
    Request::PostChunked,
];

/// A request of text that makes up every large body: it must never arrive as a request.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\nX: 123456789\r\n\r\n";
const LARGE: usize = 120_000;
/// Bytes of one chunk of a large body.
pub const CHUNK: usize = 10_000;

impl Request {
    pub fn method(self) -> &'static str {
        match self {
            Request::Get => "GET",
            Request::Head => "HEAD",
            Request::PutSmall => "PUT",
            _ => "POST",
        }
    }

    pub fn is_idempotent(self) -> bool {
        matches!(self, Request::Get | Request::Head | Request::PutSmall)
    }

    /// Whether the body is small and comes with the head, so that the proxy has the whole request in its hands.
    pub fn is_kept(self) -> bool {
        !self.is_large()
    }

    pub fn is_large(self) -> bool {
        matches!(self, Request::PostLength | Request::PostChunked)
    }

    /// Whether the body's length is announced.
    pub fn has_length(self) -> bool {
        !matches!(self, Request::Get | Request::Head | Request::PostChunked)
    }

    pub fn body(self) -> Vec<u8> {
        let count = match self {
            Request::Get | Request::Head | Request::PostEmpty => 0,
            Request::PutSmall | Request::PostSmall => 1,
            Request::PostLength | Request::PostChunked => LARGE / SMUGGLED.len(),
        };
        SMUGGLED.repeat(count).into_bytes()
    }
}

/// The other backend in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Another backend; whatever is sent a second time is answered.
    Good,
    /// Nothing: the only backend fails again and again.
    Nobody,
    /// As `Good`, on a route with `retries = 0`.
    Forbidden,
}

pub const ELSEWHERE: [Elsewhere; 3] = [Elsewhere::Good, Elsewhere::Nobody, Elsewhere::Forbidden];

/// The end of the backend's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Close,
    Reset,
    /// The connection stays open, and nothing more is sent on it for this request.
    Stay,
}

/// When the backend fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as the head is there.
    Head,
    /// After so many bytes of the body, or its end.
    Bytes(usize),
    /// When the request has ended.
    End,
}

/// All bytes of an answer, however many they are.
pub const WHOLE: usize = usize::MAX;

/// A frame that ends a stream or announces the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Nothing,
    Reset(u32),
    /// GOAWAY whose last stream is the one before this.
    GoAwayBefore,
    /// GOAWAY whose last stream is this one.
    GoAwayThis,
}

/// How the backend fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    RefusesConnections,
    /// Ends every connection as soon as it is made.
    EndsAtOnce(Ending),
    /// Closes the connections to it while they are idle, before the request.
    DiesIdle,
    /// Takes one stream at a time and refuses all others, as it announces when a connection begins.
    RefusesStreams,
    /// Sends the first `bytes` of an answer, then a signal, then ends the connection.
    Fails {
        when: When,
        answer: &'static Script,
        bytes: usize,
        signal: Signal,
        ending: Ending,
    },
}

/// The frame behind what was sent of an answer.
pub fn signal_frame(signal: Signal, stream: u32) -> Vec<u8> {
    let goaway = |last: u32| {
        let payload = [last.to_be_bytes(), code::NO_ERROR.to_be_bytes()].concat();
        frame(kind::GOAWAY, 0, 0, payload)
    };
    match signal {
        Signal::Nothing => Vec::new(),
        Signal::Reset(code) => crate::support::h2::frame::reset(stream, code),
        Signal::GoAwayBefore => goaway(stream.saturating_sub(2)),
        Signal::GoAwayThis => goaway(stream),
    }
}

/// One exchange to walk through.
#[derive(Clone, Debug)]
pub struct Case {
    pub client: Version,
    pub pool: Version,
    pub request: Request,
    pub failure: Failure,
    pub elsewhere: Elsewhere,
    /// Whether the connections to the backends have served a request before.
    pub reused: bool,
}

impl Case {
    /// The features that cases have in common that fail for the same reason, as a rule.
    pub fn class(&self) -> String {
        let Case {
            client,
            pool,
            request,
            ..
        } = self;
        let failure = match self.failure {
            Failure::Fails {
                when,
                answer,
                bytes,
                signal,
                ending,
            } => {
                let (all, head_end) = answer.bytes(self.pool, *request == Request::Head, 1);
                let sent = match bytes.min(all.len()) {
                    0 => "nothing".to_owned(),
                    sent if sent < head_end => format!("part of the head of {:?}", answer.name),
                    sent if sent < all.len() => format!("part of the body of {:?}", answer.name),
                    _ => format!("all of {:?}", answer.name),
                };
                format!("{when:?}: sends {sent}, {signal:?}, {ending:?}")
            }
            plain => format!("{plain:?}"),
        };
        format!("{client:?} client, {pool:?} pool, {request:?}: {failure}")
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for pool in VERSIONS {
        for failure in failures(pool) {
            for client in VERSIONS {
                for request in REQUESTS {
                    for elsewhere in ELSEWHERE {
                        for reused in [false, true] {
                            let case = Case {
                                client,
                                pool,
                                request,
                                failure,
                                elsewhere,
                                reused,
                            };
                            cases.extend(is_meant(&case).then_some(case));
                        }
                    }
                }
            }
        }
    }
    cases
}

/// Whether the dimensions fit together, and add something.
fn is_meant(case: &Case) -> bool {
    match case.failure {
        Failure::RefusesConnections | Failure::EndsAtOnce(_) => !case.reused,
        Failure::DiesIdle => case.reused && case.elsewhere != Elsewhere::Nobody,
        Failure::RefusesStreams => false,
        Failure::Fails {
            answer,
            bytes,
            ending,
            ..
        } => {
            let (all, _) = answer.bytes(case.pool, case.request == Request::Head, 1);
            // A request that was cut at some byte is most interesting where it could be sent again.
            let is_cut = bytes > 0 && bytes < all.len() && ending != Ending::Stay;
            // Two kinds of requests are cut at every byte, the others at every seventh.
            let is_every = matches!(case.request, Request::Get | Request::PostSmall);
            if is_cut && !is_every && !(bytes + case.request as usize).is_multiple_of(7) {
                return false;
            }
            // Where nothing is sent again anyway, forbidding it changes nothing.
            if case.elsewhere == Elsewhere::Forbidden && !is_sent_again(case) {
                return false;
            }
            (bytes <= all.len() || bytes == WHOLE) && (!is_cut || case.elsewhere == Elsewhere::Good)
        }
    }
}

fn failures(pool: Version) -> Vec<Failure> {
    let mut failures = vec![
        Failure::RefusesConnections,
        Failure::EndsAtOnce(Ending::Close),
        Failure::EndsAtOnce(Ending::Reset),
        Failure::DiesIdle,
    ];
    for when in [When::Head, When::Bytes(30_000), When::End] {
        for ending in [Ending::Close, Ending::Reset] {
            failures.push(fails(when, &PLAIN, 0, Signal::Nothing, ending));
        }
    }
    // Cut at every byte.
    for answer in [&PLAIN, &INTERIM, &CHUNKED] {
        let (all, _) = answer.bytes(pool, false, 1);
        for bytes in 1..=all.len() {
            failures.push(fails(
                When::End,
                answer,
                bytes,
                Signal::Nothing,
                Ending::Close,
            ));
            if *answer == PLAIN {
                failures.push(fails(
                    When::End,
                    answer,
                    bytes,
                    Signal::Nothing,
                    Ending::Reset,
                ));
            }
        }
    }
    // Silent before, in and behind the heads, and in the body. Over HTTP/2 whole frames are sent: the connection
    // lives on.
    for (answer, places) in [(&PLAIN, 3), (&INTERIM, 2)] {
        let ends = answer.silences(pool);
        for &bytes in ends.iter().take(places) {
            let silence = fails(When::End, answer, bytes, Signal::Nothing, Ending::Stay);
            failures.push(silence);
        }
    }
    for answer in [&EARLY_401, &EARLY_413] {
        for when in [When::Head, When::Bytes(30_000)] {
            for ending in [Ending::Close, Ending::Stay] {
                failures.push(fails(when, answer, WHOLE, Signal::Nothing, ending));
            }
        }
    }
    match pool {
        Version::H1 => failures.extend(h1_failures()),
        Version::H2 => failures.extend(h2_failures()),
    }
    failures
}

fn fails(
    when: When,
    answer: &'static Script,
    bytes: usize,
    signal: Signal,
    ending: Ending,
) -> Failure {
    Failure::Fails {
        when,
        answer,
        bytes,
        signal,
        ending,
    }
}

fn h1_failures() -> impl Iterator<Item = Failure> {
    FLAWED_H1
        .iter()
        .map(|answer| fails(When::End, answer, WHOLE, Signal::Nothing, Ending::Stay))
}

fn h2_failures() -> Vec<Failure> {
    let mut failures = Vec::new();
    let codes = [
        code::REFUSED_STREAM,
        code::INTERNAL_ERROR,
        code::CANCEL,
        code::NO_ERROR,
    ];
    for code in codes {
        let signal = Signal::Reset(code);
        for when in [When::Head, When::Bytes(30_000), When::End] {
            failures.push(fails(when, &PLAIN, 0, signal, Ending::Stay));
        }
        for bytes in PLAIN.frame_ends().into_iter().skip(1) {
            failures.push(fails(When::End, &PLAIN, bytes, signal, Ending::Stay));
        }
    }
    for signal in [Signal::GoAwayBefore, Signal::GoAwayThis] {
        for when in [When::Head, When::Bytes(30_000), When::End] {
            failures.push(fails(when, &PLAIN, 0, signal, Ending::Close));
        }
    }
    let no_error = Signal::Reset(code::NO_ERROR);
    for when in [When::Head, When::Bytes(30_000)] {
        let answered = |signal, ending| fails(when, &EARLY_401, WHOLE, signal, ending);
        failures.push(answered(no_error, Ending::Stay));
        failures.push(answered(Signal::GoAwayThis, Ending::Close));
    }
    let flawed = FLAWED_H2.iter();
    let flawed =
        flawed.map(|answer| fails(When::End, answer, WHOLE, Signal::Nothing, Ending::Stay));
    failures.extend(flawed);
    failures
}

fn is_sent_again(case: &Case) -> bool {
    let allowed = Case {
        elsewhere: Elsewhere::Good,
        ..case.clone()
    };
    expected(&allowed).again != Again::Never
}

/// Cases for one pool whose backend takes one stream at a time, several of each kind.
pub fn crowd() -> Vec<Case> {
    let mut cases = Vec::new();
    for _ in 0..4 {
        for client in VERSIONS {
            for request in REQUESTS {
                cases.push(Case {
                    client,
                    pool: Version::H2,
                    request,
                    failure: Failure::RefusesStreams,
                    elsewhere: Elsewhere::Good,
                    reused: false,
                });
            }
        }
    }
    cases
}
