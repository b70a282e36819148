//! The common ground of the fuzz targets: the parsers of palantir, requests as palantir forwards them, and two other
//! parsers that read the result.

// Only these three modules of palantir are compiled here: they import none of the others, and the rest of the program
// would take minutes to build with the instructions of the fuzzer.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../../src/base/mod.rs"]
pub mod base;
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../../src/cache/mod.rs"]
pub mod cache;
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../../src/http/mod.rs"]
pub mod http;
#[allow(dead_code)]
#[path = "../../src/cache/sample.rs"]
pub mod sample;

pub mod forward;
pub mod hyper_reader;
pub mod strict_reader;

use crate::http::h1::{Forwarding, HeadLimits, ReplacedFields, RequestEdits};
use crate::http::names::{Identity, NO_EDITS};
use crate::http::traceparent::TraceFields;

/// The limits on heads that a listener has by default.
pub const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 32_768,
    fields: 100,
    target_bytes: 8_192,
};

/// Limits that no head exceeds which palantir has written.
pub const WIDE: HeadLimits = HeadLimits {
    head_bytes: 200_000,
    fields: 250,
    target_bytes: 100_000,
};

/// A request as a parser reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub method: Vec<u8>,
    /// The path and the query.
    pub target: Vec<u8>,
    /// Names in lower case; sorted by name, with the values of one name in their order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    /// In the form of `fields`.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Message {
    /// The first value of a field, named in lower case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .fields
            .iter()
            .find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| &value[..])
    }
}

/// Fields in the form of [`Message::fields`].
pub fn sorted<'b>(fields: impl Iterator<Item = (&'b [u8], &'b [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut sorted: Vec<_> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted
}

/// The edits of a route without settings, for a client whose address is not known.
pub fn edits(path: &[u8]) -> RequestEdits<'_> {
    RequestEdits {
        path,
        host: None,
        client: None,
        client_trusted: true,
        forwarding: Forwarding::NONE,
        proto: "http",
        operator: &NO_EDITS,
        identity: Identity::UNKNOWN,
        via: false,
        expect: true,
        trace: TraceFields::Pass,
        websocket_key: None,
        max_forwards: None,
        asked_host: None,
        replaced: ReplacedFields::NONE,
    }
}
