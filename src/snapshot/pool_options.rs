//! The settings of a pool that workers and the health thread go by as they are written.

use std::fmt;
use std::time::Duration;

use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Plain, Section, Value, Word, plain_settings, words};

plain_settings! {
    /// When a backend is ejected because of its answers.
    pub struct Outlier {
        /// Failures in a row (failed connections, resets, statuses from 500 on) that eject a backend.
        consecutive_failures: u32 = Kind::whole(1, limits::CHECKS_IN_A_ROW as u64),
            Absent::Is(Value::Whole(default::CONSECUTIVE_FAILURES as u64));
        /// Time for which a backend is ejected the first time.
        eject also "eject_secs": Duration = Kind::TIME, Absent::secs(default::EJECT_SECS);
        /// Percentage of the pool's backends that may be ejected at once. One backend may always be ejected, unless
        /// this is 0.
        max_ejected_percent: u32 = Kind::PERCENT,
            Absent::Is(Value::Whole(default::MAX_EJECTED_PERCENT as u64));
    }
}

/// `outlier` of a pool.
pub static OUTLIER: Section = Section {
    name: "OutlierSettings",
    title: "outlier",
    doc: "The table `outlier` of a pool: when a backend is ejected because of its answers to clients. Without the \
          table, no backend is ejected.",
    settings: || Outlier::SETTINGS.iter().collect(),
};

plain_settings! {
    /// The settings of a pool that depend on nothing else and that are used as they are written.
    pub struct PoolOptions {
        /// Treatment of requests in a backend that turns unhealthy, is drained or is removed, and that do not go on to
        /// another backend: with `"finish"` they go on within their time-outs; with `"cut"` they end (502,
        /// `backend_down`), and so do answers and tunnels under way.
        on_unhealthy: OnUnhealthy = Kind::Word(words::<OnUnhealthy>), Absent::Is(Value::Word("finish"));
        /// Percentage of healthy backends below which all backends take requests, whatever their states. Drained
        /// backends neither count nor take requests.
        panic_threshold zero "the states of backends always count": u32 = Kind::PERCENT,
            Absent::Is(Value::Whole(0));
        /// Largest number of idle connections that each core keeps to each backend. The load decides how many are kept
        /// within this number.
        idle_connections: u32 = Kind::whole(0, limits::IDLE_CONNECTIONS_MAX as u64),
            Absent::Is(Value::Whole(limits::IDLE_CONNECTIONS as u64));
        /// Protocol that the backends speak: `"h1"` is HTTP/1.1, `"h2"` is HTTP/2.
        protocol: Protocol = Kind::Word(words::<Protocol>), Absent::Is(Value::Word("h1"));
        /// Version of the PROXY header that every connection to a backend begins with. Such a connection serves one
        /// request and is not kept. The header names the client that `trusted_proxies` found, with port 0 if another
        /// proxy named the client in the request. Connections with `protocol = "h2"` have many clients, and
        /// no PROXY header.
        proxy_protocol: Option<ProxyProtocol> = Kind::Word(words::<ProxyProtocol>),
            Absent::Means("there is no PROXY header");
        /// Whether every response must follow the RFCs to the letter. Otherwise a malformed response that has one
        /// reading is passed on in its proper form. That concerns blanks before a colon or behind a chunk size, lines
        /// that end in LF alone or go on in the next line, several equal lengths, chunks in HTTP/1.0, statuses up to
        /// 999, and framing fields with a status that has no body; over HTTP/2 names in capitals, blanks around a
        /// value and the fields of a connection, but no `transfer-encoding` beside a body.
        strict_responses: bool = Kind::Flag, Absent::Is(Value::Flag(false));
    }
}

/// How palantir treats requests in a backend that turns unhealthy, unless they go on to another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// The requests go on, within their usual time-outs.
    Finish,
    /// The requests end, and so do tunnels.
    Cut,
}

/// The protocol that the backends of a pool speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with TLS, by prior knowledge without.
    Http2,
}

/// Version of the PROXY header, which tells a backend who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        })
    }
}

impl Word for OnUnhealthy {
    const WORDS: &'static [(&'static str, OnUnhealthy)] =
        &[("finish", OnUnhealthy::Finish), ("cut", OnUnhealthy::Cut)];
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Protocol)] =
        &[("h1", Protocol::Http1), ("h2", Protocol::Http2)];
}

impl Word for ProxyProtocol {
    const WORDS: &'static [(&'static str, ProxyProtocol)] =
        &[("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
}
