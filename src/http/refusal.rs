//! Why a message is refused: one word per reason, and the status that a client is told.

/// The mistake in a message that was refused. A request is answered with [`Refusal::status`]; a backend's response that
/// deserves one of these becomes a 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not `METHOD SP target SP HTTP/d.d CRLF`.
    BadRequestLine,
    /// The status line is not `HTTP/1.x SP ddd [SP reason] CRLF`, or its status is outside 100–999.
    BadStatusLine,
    /// A version other than 1.0 and 1.1.
    UnsupportedVersion,
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// A method longer than the limit, which nobody can have implemented.
    MethodTooLong,
    /// A `:protocol` longer than the limit.
    ProtocolTooLong,
    /// A target that is in none of the forms of RFC 9112 section 3.2 or has bytes that no URI has.
    BadTarget,
    /// A target longer than the limit.
    TargetTooLong,
    /// A head larger than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// A line of the head that ends in a bare LF.
    BadLineEnd,
    /// A field name that is empty, has a bad character or a space before its colon, or begins a folded line.
    BadFieldName,
    /// A control byte in a field value.
    BadFieldValue,
    /// A name that decides framing, routing or trust once `_` and `-` are taken for the same, as some servers do.
    DisguisedField,
    /// `Connection` names a field that must not be removed on the way.
    BadConnection,
    /// A pseudo-field of HTTP/2 that is missing, repeated, malformed, out of place or of the other kind of message.
    BadPseudoField,
    /// A field in HTTP/2 that concerns an HTTP/1 connection, or a `te` other than `trailers`.
    ConnectionField,
    /// No `Host` in HTTP/1.1, neither `:authority` nor `host` in HTTP/2.
    MissingHost,
    /// More than one `Host`.
    RepeatedHost,
    /// An authority that is not `host[:port]`.
    BadHost,
    /// `:authority` and `host` of a request over HTTP/2 name different hosts.
    HostMismatch,
    /// `Content-Length` is not a decimal of at most 63 bits.
    BadContentLength,
    /// More than one `Content-Length`, even if they agree.
    RepeatedContentLength,
    /// `Transfer-Encoding` and `Content-Length` together.
    LengthAndCoding,
    /// A body in HTTP/2 that is longer or shorter than its `content-length`.
    LengthMismatch,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInHttp10,
    /// `Transfer-Encoding` is malformed or repeated, or `chunked` in it is repeated or not last.
    BadTransferEncoding,
    /// A transfer coding other than `chunked`.
    UnknownTransferCoding,
    /// An expectation other than `100-continue`.
    UnknownExpectation,
    /// `Max-Forwards` of OPTIONS is not one number.
    BadMaxForwards,
    /// A body announced by a response that cannot have one (1xx, 204).
    BodyNotAllowed,
    /// 101 that was not asked for or does not say what it switches to.
    BadSwitch,
    /// A frame of HTTP/2 that its stream may not have: out of place, or beyond a window.
    BadFrame,
    /// A chunk's size, extension or end is malformed.
    BadChunk,
    /// Chunk extensions or trailers beyond their limits.
    ChunkOverheadTooLarge,
    /// A malformed trailer field.
    BadTrailer,
    /// A percent sign without two hexadecimal digits, or `%00`.
    BadEscape,
    /// A path that climbs above the root.
    PathAboveRoot,
    /// A dot segment to some servers and none to others (`..;`, `..%2f`, `..\`).
    AmbiguousPath,
    /// A path that another route would take if slashes were merged, escapes decoded, backslashes taken for slashes or
    /// parameters cut, as some servers do.
    AmbiguousRoute,
}

const _: () = {
    let mut at = 0;
    while at < Refusal::ALL.len() {
        assert!(
            Refusal::ALL[at] as usize == at,
            "a refusal stands at its number"
        );
        at += 1;
    }
};
impl Refusal {
    /// Every refusal, in the order of the numbers that `as usize` gives them.
    pub const ALL: [Refusal; 40] = [
        Refusal::BadRequestLine,
        Refusal::BadStatusLine,
        Refusal::UnsupportedVersion,
        Refusal::MethodNotAllowed,
        Refusal::MethodTooLong,
        Refusal::ProtocolTooLong,
        Refusal::BadTarget,
        Refusal::TargetTooLong,
        Refusal::HeadTooLarge,
        Refusal::TooManyFields,
        Refusal::BadLineEnd,
        Refusal::BadFieldName,
        Refusal::BadFieldValue,
        Refusal::DisguisedField,
        Refusal::BadConnection,
        Refusal::BadPseudoField,
        Refusal::ConnectionField,
        Refusal::MissingHost,
        Refusal::RepeatedHost,
        Refusal::BadHost,
        Refusal::HostMismatch,
        Refusal::BadContentLength,
        Refusal::RepeatedContentLength,
        Refusal::LengthAndCoding,
        Refusal::LengthMismatch,
        Refusal::CodingInHttp10,
        Refusal::BadTransferEncoding,
        Refusal::UnknownTransferCoding,
        Refusal::UnknownExpectation,
        Refusal::BadMaxForwards,
        Refusal::BodyNotAllowed,
        Refusal::BadSwitch,
        Refusal::BadFrame,
        Refusal::BadChunk,
        Refusal::ChunkOverheadTooLarge,
        Refusal::BadTrailer,
        Refusal::BadEscape,
        Refusal::PathAboveRoot,
        Refusal::AmbiguousPath,
        Refusal::AmbiguousRoute,
    ];

    /// The status that a client gets for a request refused this way.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::MethodNotAllowed => 405,
            Refusal::TargetTooLong => 414,
            Refusal::UnknownExpectation => 417,
            Refusal::HeadTooLarge | Refusal::TooManyFields | Refusal::ChunkOverheadTooLarge => 431,
            Refusal::MethodTooLong | Refusal::ProtocolTooLong | Refusal::UnknownTransferCoding => {
                501
            }
            Refusal::UnsupportedVersion => 505,
            _ => 400,
        }
    }

    /// The label for logs, `Proxy-Status` and metrics: a name in snake case, different for every refusal.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::BadRequestLine => "bad_request_line",
            Refusal::BadStatusLine => "bad_status_line",
            Refusal::UnsupportedVersion => "unsupported_version",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::MethodTooLong => "method_too_long",
            Refusal::ProtocolTooLong => "protocol_too_long",
            Refusal::BadTarget => "bad_target",
            Refusal::TargetTooLong => "target_too_long",
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::TooManyFields => "too_many_fields",
            Refusal::BadLineEnd => "bad_line_end",
            Refusal::BadFieldName => "bad_field_name",
            Refusal::BadFieldValue => "bad_field_value",
            Refusal::DisguisedField => "disguised_field",
            Refusal::BadConnection => "bad_connection",
            Refusal::BadPseudoField => "bad_pseudo_field",
            Refusal::ConnectionField => "connection_field",
            Refusal::MissingHost => "missing_host",
            Refusal::RepeatedHost => "repeated_host",
            Refusal::BadHost => "bad_host",
            Refusal::HostMismatch => "host_mismatch",
            Refusal::BadContentLength => "bad_content_length",
            Refusal::RepeatedContentLength => "repeated_content_length",
            Refusal::LengthAndCoding => "length_and_coding",
            Refusal::LengthMismatch => "length_mismatch",
            Refusal::CodingInHttp10 => "coding_in_http10",
            Refusal::BadTransferEncoding => "bad_transfer_encoding",
            Refusal::UnknownTransferCoding => "unknown_transfer_coding",
            Refusal::UnknownExpectation => "unknown_expectation",
            Refusal::BadMaxForwards => "bad_max_forwards",
            Refusal::BodyNotAllowed => "body_not_allowed",
            Refusal::BadSwitch => "bad_switch",
            Refusal::BadFrame => "bad_frame",
            Refusal::BadChunk => "bad_chunk",
            Refusal::ChunkOverheadTooLarge => "chunk_overhead_too_large",
            Refusal::BadTrailer => "bad_trailer",
            Refusal::BadEscape => "bad_escape",
            Refusal::PathAboveRoot => "path_above_root",
            Refusal::AmbiguousPath => "ambiguous_path",
            Refusal::AmbiguousRoute => "ambiguous_route",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn all_are_in_the_order_of_their_numbers() {
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, number, "{}", refusal.label());
        }
    }

    /// Every refusal that has a status of its own.
    #[test]
    fn statuses_table() {
        let rows = [
            (Refusal::BadRequestLine, 400),
            (Refusal::MissingHost, 400),
            (Refusal::LengthAndCoding, 400),
            (Refusal::BadChunk, 400),
            (Refusal::PathAboveRoot, 400),
            (Refusal::MethodNotAllowed, 405),
            (Refusal::TargetTooLong, 414),
            (Refusal::UnknownExpectation, 417),
            (Refusal::HeadTooLarge, 431),
            (Refusal::TooManyFields, 431),
            (Refusal::ChunkOverheadTooLarge, 431),
            (Refusal::MethodTooLong, 501),
            (Refusal::ProtocolTooLong, 501),
            (Refusal::UnknownTransferCoding, 501),
            (Refusal::UnsupportedVersion, 505),
        ];
        for (refusal, status) in rows {
            assert_eq!(refusal.status(), status, "{}", refusal.label());
        }
    }
}
