//! Why a connection or a stream ends, in the codes of RFC 9113 section 7 and in words of our own.

use super::hpack::HpackError;

/// An error code as it stands in RST_STREAM and GOAWAY; unknown ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Nothing went wrong.
    pub const NO_ERROR: ErrorCode = ErrorCode(0x0);
    /// The peer broke the protocol, and no other code fits.
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(0x1);
    /// The side that sends the code has a fault.
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(0x2);
    /// The peer sent more than its window allowed.
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(0x3);
    /// The peer did not acknowledge settings in time.
    pub const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(0x4);
    /// A frame came for a stream that was half closed.
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(0x5);
    /// A frame had a length that its kind does not allow.
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(0x6);
    /// Nothing of the stream was processed: the request may be sent again.
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(0x7);
    /// The stream is no longer wanted.
    pub const CANCEL: ErrorCode = ErrorCode(0x8);
    /// The tables of HPACK differ on both sides.
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(0x9);
    /// The connection of a CONNECT request was reset or closed abnormally.
    pub const CONNECT_ERROR: ErrorCode = ErrorCode(0xa);
    /// The peer causes too much load.
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(0xb);
    /// The TLS of the connection is weaker than RFC 9113 section 9.2 demands.
    pub const INADEQUATE_SECURITY: ErrorCode = ErrorCode(0xc);
    /// The request must be sent over HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: ErrorCode = ErrorCode(0xd);
}

/// Declares the abuses with their labels, each in the order of the number that it has.
macro_rules! abuses {
    ($($(#[doc = $doc:literal])+ $name:ident: $label:literal;)+) => {
        /// An act of a peer that is allowed once or twice and an attack in numbers. The numbers are in
        /// `limits::h2_flood`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Abuse {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Abuse {
            /// Every abuse.
            const ALL: [Abuse; [$($label,)+].len()] = [$(Abuse::$name,)+];

            /// The label for logs and metrics: a name in snake case.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Abuse::$name => $label,)+
                }
            }
        }
    };
}

abuses! {
    /// Streams opened and reset by the peer, or beyond the number allowed.
    RapidReset: "rapid_reset";
    /// Streams opened that we had to reset.
    ProvokedReset: "provoked_reset";
    /// Too many SETTINGS frames.
    Settings: "settings_flood";
    /// Too many PING frames.
    Ping: "ping_flood";
    /// DATA frames without a byte.
    EmptyData: "empty_data_flood";
    /// Too many WINDOW_UPDATE frames.
    WindowUpdate: "window_update_flood";
    /// PRIORITY and PRIORITY_UPDATE.
    Priority: "priority_churn";
    /// Frames of types that nobody knows.
    UnknownFrame: "unknown_frame_flood";
    /// A field section in too many pieces, or pieces that are too long together.
    Continuation: "continuation_flood";
    /// The client keeps the windows of all streams shut while something waits to be sent on each, and nothing else
    /// moves.
    WindowStall: "window_stall";
    /// A field section that becomes many times what is allowed.
    HeaderBomb: "header_bomb";
    /// Answers asked for and not read.
    UnreadReplies: "unread_replies";
}

/// Abuses that are counted in a bucket each: those before [`Abuse::Continuation`].
pub(super) const COUNTED_ABUSES: usize = Abuse::Continuation as usize;

/// Declares the errors of a connection that have nothing in them, with their codes and labels.
macro_rules! connection_errors {
    ($($(#[doc = $doc:literal])+ $name:ident: $code:ident, $label:literal;)+) => {
        /// The reason for which a connection ends. Before the reason is returned, the GOAWAY that gives it is in the
        /// output.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ConnectionError {
            $($(#[doc = $doc])+ $name,)+
            /// A field section that cannot be decoded.
            Compression(HpackError),
            /// Too much of something.
            Abuse(Abuse),
        }

        /// The numbers of the errors that have nothing in them.
        enum Number {
            $($name,)+
        }

        const PLAIN: [ConnectionError; PLAIN_COUNT] = [$(ConnectionError::$name,)+];
        const PLAIN_COUNT: usize = [$($label,)+].len();

        impl ConnectionError {
            /// The code that the peer is told.
            pub fn code(self) -> ErrorCode {
                match self {
                    $(ConnectionError::$name => ErrorCode::$code,)+
                    ConnectionError::Compression(_) => ErrorCode::COMPRESSION_ERROR,
                    ConnectionError::Abuse(_) => ErrorCode::ENHANCE_YOUR_CALM,
                }
            }

            /// The number of the error among all of them. All errors of compression have one number.
            pub const fn number(self) -> usize {
                match self {
                    $(ConnectionError::$name => Number::$name as usize,)+
                    ConnectionError::Compression(_) => PLAIN_COUNT,
                    ConnectionError::Abuse(abuse) => PLAIN_COUNT + 1 + abuse as usize,
                }
            }

            /// The label for logs and metrics: a name in snake case, different for every error.
            pub const fn label(self) -> &'static str {
                match self {
                    $(ConnectionError::$name => $label,)+
                    ConnectionError::Compression(_) => "compression",
                    ConnectionError::Abuse(abuse) => abuse.label(),
                }
            }
        }
    };
}

connection_errors! {
    /// The bytes before the first frame are not the client's preface, or the first frame is not SETTINGS.
    BadPreface: PROTOCOL_ERROR, "bad_preface";
    /// A frame longer than we allow, or of a length that its type cannot have.
    FrameSize: FRAME_SIZE_ERROR, "frame_size";
    /// A frame on a stream where its type cannot be, or on one that is not open yet.
    BadStreamId: PROTOCOL_ERROR, "bad_stream_id";
    /// A frame on a stream that has ended.
    ClosedStream: STREAM_CLOSED, "closed_stream";
    /// Padding as long as the frame or longer.
    BadPadding: PROTOCOL_ERROR, "bad_padding";
    /// A field section interrupted by another frame, or continued where none began.
    BrokenSection: PROTOCOL_ERROR, "broken_section";
    /// A setting with a value that it cannot have.
    BadSetting: PROTOCOL_ERROR, "bad_setting";
    /// A setting or update that would make a window larger than 2^31 - 1.
    WindowOverflow: FLOW_CONTROL_ERROR, "window_overflow";
    /// A window update of zero.
    EmptyWindowUpdate: PROTOCOL_ERROR, "empty_window_update";
    /// More DATA than the connection's window allows.
    WindowExceeded: FLOW_CONTROL_ERROR, "window_exceeded";
    /// PUSH_PROMISE, which we never allow.
    Push: PROTOCOL_ERROR, "push";
    /// A stream that depends on itself (RFC 7540 section 5.3.1).
    BadPriority: PROTOCOL_ERROR, "bad_priority";
    /// Our SETTINGS were not acknowledged in time.
    SettingsTimeout: SETTINGS_TIMEOUT, "settings_timeout";
    /// A field section, or a frame that is needed in one piece, did not end in time.
    HeadTimeout: ENHANCE_YOUR_CALM, "head_timeout";
}

impl ConnectionError {
    /// Every error by its number. One error of compression stands for all of them.
    pub const ALL: [ConnectionError; PLAIN_COUNT + 1 + Abuse::ALL.len()] = {
        let mut all = [ConnectionError::Compression(HpackError::Truncated);
            PLAIN_COUNT + 1 + Abuse::ALL.len()];
        let mut number = 0;
        while number < PLAIN_COUNT {
            all[number] = PLAIN[number];
            number += 1;
        }
        while number < PLAIN_COUNT + Abuse::ALL.len() {
            all[number + 1] = ConnectionError::Abuse(Abuse::ALL[number - PLAIN_COUNT]);
            number += 1;
        }
        all
    };
}

impl From<Abuse> for ConnectionError {
    fn from(abuse: Abuse) -> Self {
        ConnectionError::Abuse(abuse)
    }
}

impl From<HpackError> for ConnectionError {
    fn from(error: HpackError) -> Self {
        match error {
            HpackError::Bomb => Abuse::HeaderBomb.into(),
            _ => ConnectionError::Compression(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_number_of_its_place() {
        for (number, error) in ConnectionError::ALL.into_iter().enumerate() {
            assert_eq!(error.number(), number, "{error:?}");
        }
    }
}
