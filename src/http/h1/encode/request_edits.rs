//! The changes of a request on its way to a backend.

use std::net::IpAddr;

use super::lines::ComputedField;
use crate::http::names::{FieldEdits, Identity, NameSet};
use crate::http::traceparent::TraceFields;

/// The changes of a request on its way to a backend.
#[derive(Clone, Copy, Debug)]
pub struct RequestEdits<'a> {
    /// Normalised, perhaps without its prefix; the query is appended as received.
    pub path: &'a [u8],
    /// `None`: the client's.
    pub host: Option<&'a [u8]>,
    /// The host that the backend is told the client asked for, as `X-Forwarded-Host`; `None`: the client's own spelling
    /// of it.
    pub asked_host: Option<&'a [u8]>,
    /// Appended to `X-Forwarded-For`; `None` when it has no address (a Unix socket).
    pub client: Option<IpAddr>,
    /// Whether the client is a proxy that is believed what it says of its own client: `X-Forwarded-Proto`,
    /// `X-Forwarded-Host` and `KnownField::FromProxies`.
    pub client_trusted: bool,
    /// The forwarding fields that are written or passed on.
    pub forwarding: Forwarding<'a>,
    /// `http` or `https`: how the client reached us.
    pub proto: &'a str,
    /// Has the last word on every field of its names.
    pub operator: &'a FieldEdits,
    /// The fields that tell the backend who the client is by its certificate.
    pub identity: Identity<'a>,
    /// Whether `Via` is added.
    pub via: bool,
    /// Whether `Expect` is passed on.
    pub expect: bool,
    /// The treatment of the fields that name the request's trace.
    pub trace: TraceFields<'a>,
    /// Added as `Sec-WebSocket-Key` to a request for a WebSocket that came over HTTP/2, where there is none (RFC 8441
    /// section 5).
    pub websocket_key: Option<&'a [u8]>,
    /// The number that is written as `Max-Forwards`; `None`: the client's field passes.
    pub max_forwards: Option<u32>,
    /// The fields of the client that are replaced.
    pub replaced: ReplacedFields<'a>,
}

/// Fields of a request that palantir takes out, and fields that palantir writes in their place.
#[derive(Clone, Copy, Debug)]
pub struct ReplacedFields<'a> {
    /// The names, in lower case, of the fields that are taken out.
    pub left_out: &'a [&'a str],
    /// The fields that are written.
    pub written: &'a [ComputedField<'a>],
}

impl ReplacedFields<'static> {
    /// No field is replaced.
    pub const NONE: ReplacedFields<'static> = ReplacedFields {
        left_out: &[],
        written: &[],
    };
}

/// The forwarding fields that the configuration wants written or passed on.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Whether `Forwarded` (RFC 7239) is written.
    pub forwarded: bool,
    /// The address that is written as `X-Real-IP`; `None`: the field of a trusted proxy passes.
    pub real_ip: Option<IpAddr>,
    /// Names of fields that pass from every client, although they pass only from trusted proxies by default.
    pub pass: &'a NameSet,
}

impl Forwarding<'static> {
    /// No field is written, and only the fields of trusted proxies pass.
    pub const NONE: Forwarding<'static> = {
        static NO_NAMES: NameSet = NameSet::none();
        Forwarding {
            forwarded: false,
            real_ip: None,
            pass: &NO_NAMES,
        }
    };
}
