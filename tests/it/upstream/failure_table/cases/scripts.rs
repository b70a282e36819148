//! The answers of a backend in both versions, sound ones and flawed ones.

use super::Version;
use crate::support::h2::frame::{Frame, data, flag, headers, section};

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
    pub(super) fn silences(&self, pool: Version) -> Vec<usize> {
        match pool {
            Version::H1 => {
                let (_, head_end) = self.h1_bytes(false);
                vec![0, head_end - 1, head_end + 2]
            }
            Version::H2 => self.frame_ends(),
        }
    }

    /// Places in the bytes of HTTP/2 at which a frame ends.
    pub(super) fn frame_ends(&self) -> Vec<usize> {
        let (mut bytes, _) = self.h2_bytes(false, 1);
        let all = bytes.len();
        let mut ends = vec![0];
        while Frame::take(&mut bytes).is_some() {
            ends.push(all - bytes.len());
        }
        ends
    }
}
