//! The cases: who asks what of whom, how the backend fails, and what else there is.

use super::rule::{Again, expected};
use crate::support::h2::frame::{code, data, flag, frame, headers, kind, section};

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

/// An answer with its flaws.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    pub name: &'static str,
    /// Of HTTP/1.1.
    pub text: &'static str,
    /// Of HTTP/2: type, flags, field section or payload.
    pub frames: &'static [FrameOf],
    pub flaw: Flaw,
    pub status: u16,
}

#[derive(Debug, PartialEq, Eq)]
pub enum FrameOf {
    Head(&'static [(&'static str, &'static str)], u8),
    Data(&'static str, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// No head comes of it.
    Head,
    /// The body breaks a rule, or ends before its end.
    Body,
}

use Flaw::{Body, Head, None as Sound};
use FrameOf::{Data as D, Head as H};

/// The body of every script that is sound.
pub const HELLO: &str = "hello";

const fn script(
    name: &'static str,
    text: &'static str,
    frames: &'static [FrameOf],
    flaw: Flaw,
    status: u16,
) -> Script {
    Script {
        name,
        text,
        frames,
        flaw,
        status,
    }
}

const OK: (&str, &str) = (":status", "200");
const FIVE: (&str, &str) = ("content-length", "5");
const END: u8 = flag::END_STREAM;

pub static PLAIN: Script = script(
    "plain",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    &[H(&[OK, FIVE], 0), D("hel", 0), D("lo", END)],
    Sound,
    200,
);
pub static INTERIM: Script = script(
    "100, 103, then plain",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
     HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    &[
        H(&[(":status", "100")], 0),
        H(&[(":status", "103"), ("link", "</a>")], 0),
        H(&[OK, FIVE], 0),
        D("hello", END),
    ],
    Sound,
    200,
);
pub static CHUNKED: Script = script(
    "chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    &[H(&[OK], 0), D("hel", 0), D("lo", 0), D("", END)],
    Sound,
    200,
);
pub static EARLY_401: Script = script(
    "401",
    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nhello",
    &[H(&[(":status", "401"), FIVE], 0), D("hello", END)],
    Sound,
    401,
);
pub static EARLY_413: Script = script(
    "413 that closes",
    "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    &[H(&[(":status", "413"), FIVE], 0), D("hello", END)],
    Sound,
    413,
);

/// Answers that break a rule, whole.
pub static FLAWED_H1: [Script; 12] = [
    script("garbage", "garbage\r\n\r\n", &[], Head, 502),
    script(
        "bad status",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        &[],
        Head,
        502,
    ),
    script(
        "space within a name",
        "HTTP/1.1 200 OK\r\nContent -Length: 0\r\n\r\n",
        &[],
        Head,
        502,
    ),
    script(
        // The fault is not in the length, which would not matter in an answer to HEAD.
        "NUL in a value",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a\0\r\n\r\nhello",
        &[],
        Head,
        502,
    ),
    script(
        "a connection option that is the length",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: content-length\r\n\r\nhello",
        &[],
        Head,
        502,
    ),
    script(
        "bare CR",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        &[],
        Head,
        502,
    ),
    script(
        "malformed behind an interim head",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX Y: z\r\n\r\n",
        &[],
        Head,
        502,
    ),
    script(
        "101 that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        &[],
        Head,
        502,
    ),
    script(
        "bad first chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
        &[],
        Body,
        200,
    ),
    script(
        "bad second chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\nhello\r\n0\r\n\r\n",
        &[],
        Body,
        200,
    ),
    script(
        "chunk without its end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
        &[],
        Body,
        200,
    ),
    script(
        "malformed trailers",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT\r\n\r\n",
        &[],
        Body,
        200,
    ),
];

pub static FLAWED_H2: [Script; 9] = [
    script("no status", "", &[H(&[("x", "y")], END)], Head, 502),
    script(
        "name with a blank",
        "",
        &[H(&[OK, ("x y", "z")], END)],
        Head,
        502,
    ),
    script(
        "value with a control byte",
        "",
        &[H(&[OK, ("x", "y\rz")], END)],
        Head,
        502,
    ),
    script(
        "bad status",
        "",
        &[H(&[(":status", "2x0")], END)],
        Head,
        502,
    ),
    script(
        "101",
        "",
        &[H(&[(":status", "101")], 0), H(&[OK], END)],
        Head,
        502,
    ),
    script(
        "malformed behind an interim head",
        "",
        &[H(&[(":status", "103")], 0), H(&[("x", "y")], END)],
        Head,
        502,
    ),
    script("DATA before the head", "", &[D("hello", END)], Head, 502),
    script(
        "shorter than its length",
        "",
        &[H(&[OK, FIVE], 0), D("hel", END)],
        Body,
        200,
    ),
    script(
        "longer than its length",
        "",
        &[H(&[OK, FIVE], 0), D("hello!", END)],
        Body,
        200,
    ),
];

impl Script {
    /// Whether all of it is an answer that keeps the rules. What is wrong with a body is not sent in answer to HEAD.
    pub fn is_sound(&self, is_head: bool) -> bool {
        self.flaw == Sound || is_head && self.flaw == Body
    }

    /// The bytes on the wire, and where the final head ends in them (0 without one).
    pub fn bytes(&self, pool: Version, is_head: bool, stream: u32) -> (Vec<u8>, usize) {
        match pool {
            Version::H1 => self.h1_bytes(is_head),
            Version::H2 => self.h2_bytes(is_head, stream),
        }
    }

    fn h1_bytes(&self, is_head: bool) -> (Vec<u8>, usize) {
        let last_head = self.text.rfind("HTTP/1.1 ").unwrap_or(0);
        let end = self.text[last_head..].find("\r\n\r\n");
        let head_end = end.map_or(0, |end| last_head + end + 4);
        let all = if is_head && self.flaw != Head {
            head_end
        } else {
            self.text.len()
        };
        (self.text.as_bytes()[..all].to_vec(), head_end)
    }

    fn h2_bytes(&self, is_head: bool, stream: u32) -> (Vec<u8>, usize) {
        let (mut bytes, mut head_end) = (Vec::new(), 0);
        for part in self.frames {
            match part {
                H(fields, flags) => {
                    let is_final = fields
                        .iter()
                        .any(|(name, value)| *name == ":status" && *value >= "200");
                    let ends = is_head && is_final && self.flaw != Head;
                    let end = if ends { END } else { *flags };
                    bytes.extend(headers(flag::END_HEADERS | end, stream, section(fields)));
                    head_end = bytes.len();
                }
                D(..) if is_head && self.flaw != Head => {}
                D(text, flags) => bytes.extend(data(*flags, stream, text)),
            }
        }
        (bytes, head_end)
    }

    /// Places behind which a backend may fall silent.
    fn silences(&self, pool: Version) -> Vec<usize> {
        match pool {
            Version::H1 => {
                let (_, head_end) = self.h1_bytes(false);
                vec![0, head_end - 1, head_end + 2]
            }
            Version::H2 => self.frame_ends(),
        }
    }

    /// Places in the bytes of HTTP/2 at which a frame ends.
    fn frame_ends(&self) -> Vec<usize> {
        let (mut bytes, _) = self.h2_bytes(false, 1);
        let all = bytes.len();
        let mut ends = vec![0];
        while crate::support::h2::frame::Frame::take(&mut bytes).is_some() {
            ends.push(all - bytes.len());
        }
        ends
    }
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
