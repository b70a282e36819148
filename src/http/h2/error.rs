//! Why a connection or a stream ends, in the codes of RFC 9113 section 7 and in words of our own.

use super::hpack::HpackError;

/// An error code as it stands in RST_STREAM and GOAWAY; unknown ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    pub const NO_ERROR: ErrorCode = ErrorCode(0x0);
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(0x1);
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(0x2);
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(0x3);
    pub const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(0x4);
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(0x5);
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(0x6);
    /// Nothing of the stream was processed: the request may be sent again.
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(0x7);
    pub const CANCEL: ErrorCode = ErrorCode(0x8);
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(0x9);
    pub const CONNECT_ERROR: ErrorCode = ErrorCode(0xa);
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(0xb);
    pub const INADEQUATE_SECURITY: ErrorCode = ErrorCode(0xc);
    pub const HTTP_1_1_REQUIRED: ErrorCode = ErrorCode(0xd);
}

/// What a peer does that is allowed once or twice and an attack in numbers. The numbers are in `limits::h2_flood`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abuse {
    /// Streams opened and reset by the peer, or beyond the number allowed.
    RapidReset,
    /// Streams opened that we had to reset.
    ProvokedReset,
    Settings,
    Ping,
    /// DATA frames without a byte.
    EmptyData,
    WindowUpdate,
    /// PRIORITY and PRIORITY_UPDATE.
    Priority,
    /// Frames of types that nobody knows.
    UnknownFrame,
    /// A field section in too many pieces, or pieces that are too long together.
    Continuation,
    /// The client keeps the windows of all streams shut while something waits to be sent on each, and nothing else
    /// moves.
    WindowStall,
    /// A field section that becomes many times what is allowed.
    HeaderBomb,
    /// Answers asked for and not read.
    UnreadReplies,
}

/// Abuses that are counted in a bucket each: those before [`Abuse::Continuation`].
pub(super) const COUNTED_ABUSES: usize = Abuse::Continuation as usize;

/// Why a connection ends. Before it is returned, the GOAWAY that says so is in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// The bytes before the first frame are not the client's preface, or the first frame is not SETTINGS.
    BadPreface,
    /// A frame longer than we allow, or of a length that its type cannot have.
    FrameSize,
    /// A frame on a stream where its type cannot be, or on one that is not open yet.
    BadStreamId,
    /// A frame on a stream that has ended.
    ClosedStream,
    /// Padding as long as the frame or longer.
    BadPadding,
    /// A field section interrupted by another frame, or continued where none began.
    BrokenSection,
    /// A setting with a value that it cannot have.
    BadSetting,
    /// A setting or update that would make a window larger than 2^31 - 1.
    WindowOverflow,
    /// A window update of zero.
    EmptyWindowUpdate,
    /// More DATA than the connection's window allows.
    WindowExceeded,
    /// PUSH_PROMISE, which we never allow.
    Push,
    /// A stream that depends on itself (RFC 7540 section 5.3.1).
    BadPriority,
    /// A field section that cannot be decoded.
    Compression(HpackError),
    /// Our SETTINGS were not acknowledged in time.
    SettingsTimeout,
    /// A field section, or a frame that is needed in one piece, did not end in time.
    HeadTimeout,
    /// Too much of something.
    Abuse(Abuse),
}

impl ConnectionError {
    /// What the peer is told.
    pub fn code(self) -> ErrorCode {
        match self {
            ConnectionError::BadPreface
            | ConnectionError::BadStreamId
            | ConnectionError::BadPadding
            | ConnectionError::BrokenSection
            | ConnectionError::BadSetting
            | ConnectionError::EmptyWindowUpdate
            | ConnectionError::Push
            | ConnectionError::BadPriority => ErrorCode::PROTOCOL_ERROR,
            ConnectionError::FrameSize => ErrorCode::FRAME_SIZE_ERROR,
            ConnectionError::ClosedStream => ErrorCode::STREAM_CLOSED,
            ConnectionError::WindowOverflow | ConnectionError::WindowExceeded => {
                ErrorCode::FLOW_CONTROL_ERROR
            }
            ConnectionError::Compression(_) => ErrorCode::COMPRESSION_ERROR,
            ConnectionError::SettingsTimeout => ErrorCode::SETTINGS_TIMEOUT,
            ConnectionError::HeadTimeout | ConnectionError::Abuse(_) => {
                ErrorCode::ENHANCE_YOUR_CALM
            }
        }
    }

    /// Every error, in the order of the numbers that [`ConnectionError::number`] gives them.
    pub const ALL: [ConnectionError; 27] = [
        ConnectionError::BadPreface,
        ConnectionError::FrameSize,
        ConnectionError::BadStreamId,
        ConnectionError::ClosedStream,
        ConnectionError::BadPadding,
        ConnectionError::BrokenSection,
        ConnectionError::BadSetting,
        ConnectionError::WindowOverflow,
        ConnectionError::EmptyWindowUpdate,
        ConnectionError::WindowExceeded,
        ConnectionError::Push,
        ConnectionError::BadPriority,
        ConnectionError::Compression(HpackError::Truncated), // It stands for all errors of compression.
        ConnectionError::SettingsTimeout,
        ConnectionError::HeadTimeout,
        ConnectionError::Abuse(Abuse::RapidReset),
        ConnectionError::Abuse(Abuse::ProvokedReset),
        ConnectionError::Abuse(Abuse::Settings),
        ConnectionError::Abuse(Abuse::Ping),
        ConnectionError::Abuse(Abuse::EmptyData),
        ConnectionError::Abuse(Abuse::WindowUpdate),
        ConnectionError::Abuse(Abuse::Priority),
        ConnectionError::Abuse(Abuse::UnknownFrame),
        ConnectionError::Abuse(Abuse::WindowStall),
        ConnectionError::Abuse(Abuse::Continuation),
        ConnectionError::Abuse(Abuse::HeaderBomb),
        ConnectionError::Abuse(Abuse::UnreadReplies),
    ];

    /// The number of the error among all of them.
    pub fn number(self) -> usize {
        let error = match self {
            ConnectionError::Compression(_) => ConnectionError::Compression(HpackError::Truncated),
            other => other,
        };
        let number = ConnectionError::ALL
            .iter()
            .position(|known| *known == error);
        number.expect("every error is listed")
    }

    /// The reason for logs and metrics: one word in snake case, different for every error.
    pub const fn word(self) -> &'static str {
        match self {
            ConnectionError::BadPreface => "bad_preface",
            ConnectionError::FrameSize => "frame_size",
            ConnectionError::BadStreamId => "bad_stream_id",
            ConnectionError::ClosedStream => "closed_stream",
            ConnectionError::BadPadding => "bad_padding",
            ConnectionError::BrokenSection => "broken_section",
            ConnectionError::BadSetting => "bad_setting",
            ConnectionError::WindowOverflow => "window_overflow",
            ConnectionError::EmptyWindowUpdate => "empty_window_update",
            ConnectionError::WindowExceeded => "window_exceeded",
            ConnectionError::Push => "push",
            ConnectionError::BadPriority => "bad_priority",
            ConnectionError::Compression(_) => "compression",
            ConnectionError::SettingsTimeout => "settings_timeout",
            ConnectionError::HeadTimeout => "head_timeout",
            ConnectionError::Abuse(abuse) => abuse.word(),
        }
    }
}

impl Abuse {
    /// The reason for logs, metrics and the ban: one word in snake case.
    pub const fn word(self) -> &'static str {
        match self {
            Abuse::RapidReset => "rapid_reset",
            Abuse::ProvokedReset => "provoked_reset",
            Abuse::Settings => "settings_flood",
            Abuse::Ping => "ping_flood",
            Abuse::EmptyData => "empty_data_flood",
            Abuse::WindowUpdate => "window_update_flood",
            Abuse::Priority => "priority_churn",
            Abuse::UnknownFrame => "unknown_frame_flood",
            Abuse::WindowStall => "window_stall",
            Abuse::Continuation => "continuation_flood",
            Abuse::HeaderBomb => "header_bomb",
            Abuse::UnreadReplies => "unread_replies",
        }
    }
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
