//! The framing of a body on its way: how the body comes from its sender, and how it goes to its receiver. Plain
//! functions of plain values.
//!
//! HTTP/1.0 knows no chunks (RFC 9112 section 6.1), so that an answer of unknown length ends with the connection there.
//! HTTP/2 has no framing inside of a stream: the stream tells the end (RFC 9113 section 8.1).

use crate::http::h1::{ChunkedDecoder, RequestBody, ResponseBody, Version};
use crate::worker::body::Coming;

/// The framing of a request's body.
pub struct RequestFraming {
    /// How the body comes from the client.
    pub coming: Coming,
    /// Whether the body goes to the backend in chunks; otherwise without framing.
    pub chunked: bool,
}

/// The framing of a response's body.
pub struct ResponseFraming {
    /// The framing that the head for the client announces.
    pub announced: ResponseBody,
    /// How the body comes from the backend.
    pub coming: Coming,
    /// Whether the body goes to the client in chunks; otherwise without framing.
    pub chunked: bool,
    /// Whether the end of the client's connection is the end of the body (RFC 9112 section 6.3, rule 8).
    pub ends_by_close: bool,
}

/// The way of a response from its backend to its client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseWay {
    /// The version by which the response comes from its backend.
    pub from: Version,
    /// The version that the client speaks.
    pub to: Version,
    /// Whether the chunks of the backend must follow every rule.
    pub is_strict: bool,
}

/// The framing of a request's body that comes by the version `from`. `speaks_http1`: the request goes to the backend by
/// HTTP/1.1.
pub fn of_request(body: RequestBody, from: Version, speaks_http1: bool) -> RequestFraming {
    let coming = match body {
        RequestBody::None => Coming::Nothing,
        // The end of the stream is the end of the body (RFC 9113 section 8.1), perhaps behind trailers. The stream
        // checks the announced length (RFC 9113 section 8.1.1).
        _ if from == Version::Http2 => Coming::UntilClose,
        RequestBody::Length(length) => Coming::Length(length),
        RequestBody::Chunked => Coming::Chunked(Box::default()),
    };
    RequestFraming {
        coming,
        // HTTP/2 has no chunks (RFC 9113 section 8.2.2), and a body of known length keeps its length.
        chunked: body == RequestBody::Chunked && speaks_http1,
    }
}

/// The framing of a response's body on its way.
#[inline]
pub fn of_response(body: ResponseBody, way: ResponseWay) -> ResponseFraming {
    let is_old = way.to == Version::Http10;
    let announced = match body {
        // A client of HTTP/1.0 must not get chunks (RFC 9112 section 6.1).
        ResponseBody::Chunked if is_old => ResponseBody::UntilClose,
        // Chunks show the client whether the body is whole, and let its connection go on (RFC 9112 section 6.3, rule
        // 8).
        ResponseBody::UntilClose if !is_old => ResponseBody::Chunked,
        same => same,
    };
    let coming = match body {
        ResponseBody::None | ResponseBody::Length(0) => Coming::Nothing,
        // The end of the stream is the end of the body (RFC 9113 section 8.1).
        _ if way.from == Version::Http2 => Coming::UntilClose,
        ResponseBody::Length(length) => Coming::Length(length),
        ResponseBody::Chunked if way.is_strict => Coming::Chunked(Box::default()),
        ResponseBody::Chunked => Coming::Chunked(Box::new(ChunkedDecoder::of_backend())),
        ResponseBody::UntilClose => Coming::UntilClose,
    };
    ResponseFraming {
        announced,
        coming,
        // HTTP/2 has no chunks (RFC 9113 section 8.2.2).
        chunked: announced == ResponseBody::Chunked && way.to != Version::Http2,
        ends_by_close: announced == ResponseBody::UntilClose,
    }
}

/// The framing of a response's body that a filter changes. The length of the changed body is not known before its end,
/// so that the announced length is dropped (RFC 9110 section 7.7). `named`: the length that the backend's head names,
/// perhaps of a body that does not come.
pub fn of_filtered_response(
    body: ResponseBody,
    named: Option<u64>,
    way: ResponseWay,
) -> ResponseFraming {
    let given = match body {
        ResponseBody::Length(1..) => ResponseBody::UntilClose,
        other => other,
    };
    let mut framing = of_response(given, way);
    framing.coming = of_response(body, way).coming;
    if body == ResponseBody::None && named.is_some_and(|length| length > 0) {
        // The answer to a HEAD, and a 304, name the length that the answer to a GET would have (RFC 9110 section 8.6).
        // That length is not known, and a field that may be absent must not be wrong.
        framing.announced = ResponseBody::UntilClose;
    }
    framing
}

#[cfg(test)]
mod tests {
    use super::*;
    use Version::{Http2, Http10, Http11};

    fn way(from: Version, to: Version, is_strict: bool) -> ResponseWay {
        ResponseWay {
            from,
            to,
            is_strict,
        }
    }

    fn name(coming: &Coming) -> &'static str {
        match coming {
            Coming::Nothing => "nothing",
            Coming::Length(_) => "length",
            Coming::Chunked(_) => "chunked",
            Coming::UntilClose => "until close",
        }
    }

    #[test]
    fn framing_of_requests() {
        use RequestBody::{Chunked, Length, None};
        let rows = [
            (None, Http11, true, "nothing", false),
            (None, Http2, false, "nothing", false),
            (Length(3), Http10, true, "length", false),
            (Length(3), Http11, true, "length", false),
            (Length(3), Http2, true, "until close", false),
            (Chunked, Http11, true, "chunked", true),
            (Chunked, Http11, false, "chunked", false),
            (Chunked, Http2, true, "until close", true),
            (Chunked, Http2, false, "until close", false),
        ];
        for (body, from, speaks_http1, coming, chunked) in rows {
            let framing = of_request(body, from, speaks_http1);
            let found = (name(&framing.coming), framing.chunked);
            assert_eq!(found, (coming, chunked), "{body:?} {from:?} {speaks_http1}");
        }
    }

    #[test]
    fn a_filtered_response_has_no_length() {
        use ResponseBody::{Chunked, Length, None, UntilClose};
        let rows = [
            (None, Http11, Http11, None, "nothing", false),
            (None, Http2, Http10, None, "nothing", false),
            (Length(0), Http11, Http11, Length(0), "nothing", false),
            (Length(5), Http11, Http10, UntilClose, "length", false),
            (Length(5), Http11, Http11, Chunked, "length", true),
            (Length(5), Http11, Http2, Chunked, "length", false),
            (Length(5), Http2, Http11, Chunked, "until close", true),
            (Chunked, Http11, Http11, Chunked, "chunked", true),
            (Chunked, Http11, Http10, UntilClose, "chunked", false),
            (UntilClose, Http11, Http11, Chunked, "until close", true),
        ];
        for (body, from, to, announced, coming, chunked) in rows {
            let named = match body {
                Length(length) => Some(length),
                _ => Option::None,
            };
            let framing = of_filtered_response(body, named, way(from, to, false));
            let found = (framing.announced, name(&framing.coming), framing.chunked);
            let name = format!("{body:?} {from:?} {to:?}");
            assert_eq!(found, (announced, coming, chunked), "{name}");
            assert_eq!(framing.ends_by_close, announced == UntilClose);
        }
    }

    /// The answer to a HEAD, and a 304.
    #[test]
    fn the_length_of_a_body_that_a_filter_would_change_is_not_told() {
        use ResponseBody::{None, UntilClose};
        let rows = [(Some(5), UntilClose), (Some(0), None), (Option::None, None)];
        for (named, announced) in rows {
            for to in [Http10, Http11, Http2] {
                let framing = of_filtered_response(None, named, way(Http11, to, false));
                assert_eq!(framing.announced, announced, "{named:?} {to:?}");
                assert_eq!(name(&framing.coming), "nothing");
                assert!(!framing.chunked && !framing.ends_by_close);
            }
        }
    }

    #[test]
    fn framing_of_responses() {
        use ResponseBody::{Chunked, Length, None, UntilClose};
        let rows = [
            // No body.
            (None, Http11, Http11, None, "nothing", false),
            (None, Http2, Http10, None, "nothing", false),
            (Length(0), Http11, Http11, Length(0), "nothing", false),
            // A length stays a length for every client.
            (Length(5), Http11, Http10, Length(5), "length", false),
            (Length(5), Http11, Http11, Length(5), "length", false),
            (Length(5), Http11, Http2, Length(5), "length", false),
            (Length(5), Http2, Http11, Length(5), "until close", false),
            // Chunks.
            (Chunked, Http11, Http11, Chunked, "chunked", true),
            (Chunked, Http11, Http10, UntilClose, "chunked", false),
            (Chunked, Http11, Http2, Chunked, "chunked", false),
            // A body that ends with the backend's connection, or with its stream.
            (UntilClose, Http11, Http11, Chunked, "until close", true),
            (UntilClose, Http10, Http10, UntilClose, "until close", false),
            (UntilClose, Http2, Http10, UntilClose, "until close", false),
            (UntilClose, Http2, Http11, Chunked, "until close", true),
            (UntilClose, Http2, Http2, Chunked, "until close", false),
        ];
        for (body, from, to, announced, coming, chunked) in rows {
            for strict in [false, true] {
                let framing = of_response(body, way(from, to, strict));
                let found = (framing.announced, name(&framing.coming), framing.chunked);
                assert_eq!(
                    found,
                    (announced, coming, chunked),
                    "{body:?} {from:?} {to:?}"
                );
                assert_eq!(framing.ends_by_close, announced == UntilClose);
            }
        }
    }

    #[test]
    fn only_a_strict_pool_refuses_chunks_that_end_with_a_bare_line_feed() {
        for strict in [false, true] {
            let framing = of_response(ResponseBody::Chunked, way(Http11, Http11, strict));
            let Coming::Chunked(mut decoder) = framing.coming else {
                panic!("chunks come as chunks");
            };
            assert_eq!(decoder.decode(b"1\nx\n").is_err(), strict);
        }
    }
}
