//! Listening addresses: `listen_addr`, which stands for an address with the default settings, and `[[listeners]]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::address;
use super::declared::Tolerable;
use super::document::{DocumentTable, Item};
use super::notes::Positioned;
use super::socket_access;
use super::tls::{self, ServerTlsSettings};
use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::base::cidr::Cidr;
use crate::base::limits::default;
use crate::http::path::MergeSlashes;
use crate::snapshot::HalfClose;

/// A listener as written.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The address to listen on.
    pub addr: Positioned<ListenAddr>,
    /// TLS with clients; `None`: cleartext.
    pub tls: Option<ServerTlsSettings>,
    /// Whether HTTP/2 is spoken besides HTTP/1.1.
    pub http2: bool,
    /// Whether every connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Networks whose PROXY headers are taken. Empty: those of everybody who reaches the address, which then is a local
    /// one.
    pub proxy_protocol_from: Vec<Positioned<Cidr>>,
    /// Whether every request is redirected to the same URL under `https`.
    pub redirect_to_https: bool,
    /// Treatment of several slashes in a row.
    pub merge_slashes: MergeSlashes,
    /// The port of the URL that `redirect_to_https` redirects to.
    pub https_port: u16,
    /// Treatment of clients that end their sending side.
    pub half_close: HalfClose,
    /// Whether cookies may have control bytes.
    pub tolerates_control_bytes: bool,
    /// The access rights of a Unix socket.
    pub access: SocketAccess,
    /// Largest number of clients at once; 0: as `limits.connections` says.
    pub connections: u32,
    /// Least rate of a client, in bytes a second; 0: any rate is enough.
    pub min_rate_bytes: u32,
    /// Time for which a client may be slower than the least rate.
    pub min_rate_grace: Duration,
}

/// Reads both forms; the default address if there is neither.
pub(super) fn read(table: &mut DocumentTable<'_>) -> Vec<ListenerSettings> {
    let read_short = |item: &Item<'_>| Some(ListenerSettings::short(read_addr(item)?));
    let short = table.get("listen_addr", |item| item.one_or_list(read_short));
    let long = table.list("listeners", |item| item.table(read_long).flatten());
    if !table.has("listen_addr") && !table.has("listeners") {
        let value = address::listen_addr(default::LISTEN_ADDR).expect("the default is an address");
        let position = table.position().clone();
        return vec![ListenerSettings::short(Positioned { position, value })];
    }
    short.into_iter().flatten().chain(long).collect()
}

fn read_addr(item: &Item<'_>) -> Option<Positioned<ListenAddr>> {
    Some(item.positioned(item.parsed(address::listen_addr)?))
}

fn read_long(table: &mut DocumentTable<'_>) -> Option<ListenerSettings> {
    let http2 = table.flag("http2");
    let has_tls = table.has("tls");
    let redirect = table.get("redirect_to_https", |item| {
        let redirect = item.flag()?;
        if redirect && has_tls {
            return item.wrong("the listener speaks TLS itself; leave this out");
        }
        Some(redirect)
    });
    let proxy_protocol = table.flag("proxy_protocol");
    let addr = table.must("addr", read_addr);
    Some(ListenerSettings {
        tls: table.get("tls", |item| tls::read_server(item, http2)),
        http2,
        proxy_protocol,
        proxy_protocol_from: read_from(table, proxy_protocol, addr.as_deref()),
        redirect_to_https: redirect.unwrap_or(false),
        merge_slashes: table.word("merge_slashes"),
        https_port: read_https_port(table, redirect.unwrap_or(false)),
        half_close: table.word("half_close"),
        tolerates_control_bytes: table
            .list("tolerate", Item::word)
            .contains(&Tolerable::ControlBytes),
        access: socket_access::read(table, addr.as_deref(), default::LISTENER_MODE),
        connections: table.whole("connections"),
        min_rate_bytes: table.size("min_rate"),
        min_rate_grace: table.time("min_rate_grace"),
        addr: addr?,
    })
}

fn read_https_port(table: &mut DocumentTable<'_>, redirects: bool) -> u16 {
    const KEY: &str = "https_port";
    if !redirects {
        table.refuse(KEY, "means nothing without redirect_to_https");
        return default::HTTPS_PORT;
    }
    table.whole(KEY)
}

/// `proxy_protocol_from`. A PROXY header says who a client is, so not everybody may send one.
fn read_from(
    table: &mut DocumentTable<'_>,
    proxy_protocol: bool,
    addr: Option<&ListenAddr>,
) -> Vec<Positioned<Cidr>> {
    const KEY: &str = "proxy_protocol_from";
    let is_unix = matches!(addr, Some(ListenAddr::Unix(_)));
    if !proxy_protocol || is_unix {
        let why = if is_unix {
            "means nothing at a socket, whose clients have no address"
        } else {
            "means nothing without proxy_protocol"
        };
        table.refuse(KEY, why);
        return Vec::new();
    }
    let is_reached = |addr: &SocketAddr| !addr.ip().to_canonical().is_loopback();
    if let Some(ListenAddr::Tcp(addr)) = addr
        && is_reached(addr)
        && !table.has(KEY)
    {
        table.lacks(format!(
            "has \"proxy_protocol\" at an address that others can reach, who could say that they are anybody, so it needs {KEY:?}, the networks of the proxies before it"
        ));
    }
    let read = table.get(KEY, |item| {
        let items = item.list()?;
        if items.is_empty() {
            return item.wrong("must name at least one network");
        }
        let ranges = items.iter();
        Some(ranges.filter_map(read_range).collect())
    });
    read.unwrap_or_default()
}

/// A network, with its place.
pub(super) fn read_range(item: &Item<'_>) -> Option<Positioned<Cidr>> {
    Some(item.positioned(item.parsed(str::parse)?))
}

impl ListenerSettings {
    fn short(addr: Positioned<ListenAddr>) -> ListenerSettings {
        ListenerSettings {
            addr,
            tls: None,
            http2: true,
            proxy_protocol: false,
            proxy_protocol_from: Vec::new(),
            redirect_to_https: false,
            merge_slashes: MergeSlashes::On,
            https_port: default::HTTPS_PORT,
            half_close: HalfClose::Serve,
            tolerates_control_bytes: false,
            access: SocketAccess::of_mode(default::LISTENER_MODE),
            connections: 0,
            min_rate_bytes: default::MIN_RATE_BYTES,
            min_rate_grace: Duration::from_secs(default::MIN_RATE_GRACE),
        }
    }
}
