//! HTTP/2 (RFC 9113), for both sides of a proxy and without I/O.
//!
//! [`H2Connection`] is one side of one connection: bytes in, [`H2Event`]s out; commands in, bytes out. Below it, in
//! reading order: `frame` (bytes), [`hpack`] (field sections), `field` and `check` (what a head must be), `stream`
//! (what is open and how the rest ended), `flood` (what is an attack in numbers). `lower` gives a [`Head`] the form of
//! an HTTP/1 head, so that routing, caching and forwarding know no difference.

mod check;
mod connection;
mod error;
mod field;
mod flood;
mod frame;
mod head;
pub mod hpack;
mod priority;
mod repair;
mod settings;
mod stream;
mod to_h1;
pub mod to_h2;

pub use connection::{Closed, H2Connection, H2Event, Patience, StreamRequest};
pub use error::{Abuse, ConnectionError, ErrorCode};
pub use head::{Field, Head};
pub use priority::Priority;
pub use settings::LocalSettings;
pub use stream::{ById, IdHasher};

/// The beginning of the preface, which names the protocol of a connection even if mistakes follow.
const NAMED: &[u8] = b"PRI * HTTP/2";

/// Whether `bytes` begin a client's connection (RFC 9113 section 3.4), perhaps with mistakes behind the name of the
/// protocol; `None` if there are too few bytes to tell. No request of HTTP/1 begins so.
pub fn begins_connection(bytes: &[u8]) -> Option<bool> {
    let known = bytes.len().min(frame::PREFACE.len());
    if bytes[..known] != frame::PREFACE[..known] {
        return Some(bytes.starts_with(NAMED));
    }
    (known == frame::PREFACE.len()).then_some(true)
}

/// Whether `bytes` are the beginning of a client's preface, and can become no request of HTTP/1: the method is nobody
/// else's (RFC 9113 section 11.6).
pub fn is_part_of_preface(bytes: &[u8]) -> bool {
    const METHOD: &[u8] = b"PRI * ";
    bytes.len() >= METHOD.len() && frame::PREFACE.starts_with(bytes)
}

/// Whether `bytes` begin a connection of neither version of HTTP: a line of words without a target and a version, and
/// no fields. A client that sends such a line instead of a preface does not understand an answer of HTTP/1 (RFC 9113
/// section 3.4).
pub fn is_of_another_protocol(bytes: &[u8]) -> bool {
    let Some(line) = bytes.strip_suffix(b"\r\n\r\n") else {
        return false;
    };
    let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic);
    line.split(|byte| *byte == b' ').count() > 2 && line.split(|byte| *byte == b' ').all(is_word)
}

/// Identifies a stream within its connection; odd, because nobody may push. 31 bits.
pub type StreamId = u32;

/// The side of a connection that we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Towards a client.
    Server,
    /// Towards a backend.
    Client,
}

impl Role {
    fn other(self) -> Role {
        match self {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_preface_is_told_from_that_of_a_request() {
        let rows: [(&[u8], bool); 6] = [
            (b"PR", false),
            (b"PRI *", false),
            (b"PRI * ", true),
            (&frame::PREFACE[..23], true),
            (b"PRI * HTTP/1", false),
            (b"PRI / HTTP", false),
        ];
        for (bytes, expected) in rows {
            assert_eq!(
                is_part_of_preface(bytes),
                expected,
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn what_the_first_bytes_speak() {
        let rows: [(&[u8], Option<bool>, bool); 9] = [
            (b"P", None, false),
            (b"PRI * HTTP/2.0\r\n", None, false),
            (frame::PREFACE, Some(true), false),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some(true), false),
            (b"PRI * HTTP/2.1", Some(true), false),
            (b"PRI * HTTP/1.1\r\n\r\n", Some(false), false),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Some(false), true),
            (b"GET / HTTP/1.1\r\n\r\n", Some(false), false),
            (b"GET\r\n\r\n", Some(false), false),
        ];
        for (bytes, begins, other) in rows {
            let found = (begins_connection(bytes), is_of_another_protocol(bytes));
            assert_eq!(found, (begins, other), "{}", bytes.escape_ascii());
        }
    }
}
