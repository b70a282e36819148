//! The settings of a listener that workers go by as they are written.

use std::time::Duration;

use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Value, Word, plain_settings, words};
use crate::http::path::MergeSlashes;

plain_settings! {
    /// The settings of a listener that depend on nothing else and that are used as they are written.
    pub struct ListenerOptions {
        /// Whether HTTP/2 is spoken besides HTTP/1.1: by ALPN with TLS, by prior knowledge without.
        http2: bool = Kind::Flag, Absent::Is(Value::Flag(true));
        /// Whether every connection begins with a PROXY header (version 1 or 2), which says who the client is.
        proxy_protocol: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// Whether every request is redirected to the same URL under `https`, so that none reaches a backend. A request
        /// without a host (HTTP/1.0) is answered 400. A listener with `tls` may not redirect.
        redirect_to_https: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// Port of the URL that `redirect_to_https` redirects to.
        https_port: u16 = Kind::whole(1, u16::MAX as u64), Absent::Is(Value::Whole(default::HTTPS_PORT as u64));
        /// Treatment of several slashes in a row. With `"on"` they count as one slash, when the route is looked for and
        /// in the forwarded path. With `"match_only"` they count as one slash when the route is looked for, and are
        /// forwarded as they came. With `"off"` each slash counts, and `//admin` is refused if `/admin` is a route.
        merge_slashes: MergeSlashes = Kind::Word(words::<MergeSlashes>), Absent::Is(Value::Word("on"));
        /// Treatment of a client that ends its sending side, over TLS by close_notify. With `"serve"` the client gets
        /// the answers to its complete requests; over HTTP/2 the streams with incomplete requests end. Only a reset
        /// shows that such a client is gone. With `"abort"` the client counts as gone, and its exchange ends.
        half_close: HalfClose = Kind::Word(words::<HalfClose>), Absent::Is(Value::Word("serve"));
        /// Bytes a second that a client must send of a body, or take of an answer.
        min_rate also "min_rate_bytes" zero "any rate is enough": u32 = Kind::size(0, limits::MIN_RATE_BYTES as u64),
            Absent::Is(Value::Size(default::MIN_RATE_BYTES as u64));
        /// Time for which a client may be slower than `min_rate`.
        min_rate_grace: Duration = Kind::TIME, Absent::secs(default::MIN_RATE_GRACE);
    }
}

/// How palantir treats a client that has ended its sending side while its requests are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfClose {
    /// The client gets the answers to its complete requests. That the client is gone is noticed only when its
    /// connection is reset.
    #[default]
    Serve,
    /// The client counts as gone.
    Abort,
}

impl Word for HalfClose {
    const WORDS: &'static [(&'static str, HalfClose)] =
        &[("serve", HalfClose::Serve), ("abort", HalfClose::Abort)];
}

impl Word for MergeSlashes {
    const WORDS: &'static [(&'static str, MergeSlashes)] = &[
        ("on", MergeSlashes::On),
        ("match_only", MergeSlashes::MatchOnly),
        ("off", MergeSlashes::Off),
    ];
}
