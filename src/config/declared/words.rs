//! Settings that are one of several words, and the words.

use crate::base::setting::Word;
use crate::cache::policy::{Authorization, ClientDirectives, SetCookie, StatusField};
use crate::snapshot::AccessLogFormat;
use crate::tls::{Alpn, MinVersion};

/// Whether a client must show a certificate (`client_cert`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A client without a certificate is refused.
    Required,
    /// A client may show a certificate.
    Optional,
}

/// A fault in requests that is refused unless `tolerate` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerable {
    /// Control bytes in cookies.
    ControlBytes,
}

/// Treatment of a handshake for a name that no certificate is for (`unknown_sni`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSni {
    /// The default certificate is shown.
    Default,
    /// The handshake is refused.
    Refuse,
}

/// Proof to an authority that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// RFC 8555 section 8.3: the authority asks on port 80, in cleartext.
    Http01,
    /// RFC 8737: the authority asks on port 443, in a handshake.
    TlsAlpn01,
}

impl Word for Demand {
    const WORDS: &'static [(&'static str, Demand)] = &[
        ("required", Demand::Required),
        ("optional", Demand::Optional),
    ];
}

impl Word for Tolerable {
    const WORDS: &'static [(&'static str, Tolerable)] =
        &[("control_bytes", Tolerable::ControlBytes)];
}

impl Word for UnknownSni {
    const WORDS: &'static [(&'static str, UnknownSni)] = &[
        ("default", UnknownSni::Default),
        ("refuse", UnknownSni::Refuse),
    ];
}

impl Word for ChallengeKind {
    const WORDS: &'static [(&'static str, ChallengeKind)] = &[
        ("tls-alpn-01", ChallengeKind::TlsAlpn01),
        ("http-01", ChallengeKind::Http01),
    ];
}

impl Word for AccessLogFormat {
    const WORDS: &'static [(&'static str, AccessLogFormat)] = &[
        ("json", AccessLogFormat::Json),
        ("combined", AccessLogFormat::Combined),
    ];
}

impl Word for MinVersion {
    const WORDS: &'static [(&'static str, MinVersion)] =
        &[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
}

impl Word for Alpn {
    const WORDS: &'static [(&'static str, Alpn)] = &[("h2", Alpn::H2), ("http/1.1", Alpn::Http1)];
}

impl Word for SetCookie {
    const WORDS: &'static [(&'static str, SetCookie)] = &[
        ("refuse", SetCookie::Refuse),
        ("strip", SetCookie::Strip),
        ("store", SetCookie::Store),
    ];
}

impl Word for ClientDirectives {
    const WORDS: &'static [(&'static str, ClientDirectives)] = &[
        ("bounded", ClientDirectives::Bounded),
        ("honour", ClientDirectives::Honour),
        ("ignore", ClientDirectives::Ignore),
    ];
}

impl Word for StatusField {
    const WORDS: &'static [(&'static str, StatusField)] = &[
        ("full", StatusField::Full),
        ("brief", StatusField::Brief),
        ("off", StatusField::Off),
    ];
}

impl Word for Authorization {
    const WORDS: &'static [(&'static str, Authorization)] = &[
        ("rfc", Authorization::Rfc),
        ("checked_here", Authorization::CheckedHere),
    ];
}
