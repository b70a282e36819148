//! Listening addresses: `listen_addr`, which stands for an address with the default settings, and `[[listeners]]`.

use std::net::SocketAddr;

use super::address;
use super::declared::{LISTENER, Tolerable};
use super::document::{DocumentTable, Item};
use super::notes::Positioned;
use super::socket_access;
use super::tls::{self, ServerTlsSettings};
use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::base::cidr::Cidr;
use crate::snapshot::ListenerOptions;

/// A listener as written.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The address to listen on.
    pub addr: Positioned<ListenAddr>,
    /// TLS with clients; `None`: cleartext.
    pub tls: Option<ServerTlsSettings>,
    /// The settings that depend on nothing else.
    pub options: ListenerOptions,
    /// Networks whose PROXY headers are taken. Empty: those of everybody who reaches the address, which then is a local
    /// one.
    pub proxy_protocol_from: Vec<Positioned<Cidr>>,
    /// Whether cookies may have control bytes.
    pub tolerates_control_bytes: bool,
    /// The access rights of a Unix socket.
    pub access: SocketAccess,
    /// Largest number of clients at once; 0: as `limits.connections` says.
    pub connections: u32,
}

/// Reads both forms; the default address if there is neither.
pub(super) fn read(table: &mut DocumentTable<'_>) -> Vec<ListenerSettings> {
    let read_short = |item: &Item<'_>| {
        let addr = read_addr(item)?;
        item.defaults_of(&LISTENER, |table| read_at(table, Some(addr)))
    };
    let short = table.get("listen_addr", |item| item.one_or_list(read_short));
    let long = table.list("listeners", |item| item.table(read_long).flatten());
    if !table.has("listen_addr") && !table.has("listeners") {
        let value = table.parsed("listen_addr", address::listen_addr);
        let position = table.position().clone();
        let addr = Positioned { position, value };
        let listener = table.defaults_of(&LISTENER, |table| read_at(table, Some(addr)));
        return listener.into_iter().collect();
    }
    short.into_iter().flatten().chain(long).collect()
}

fn read_addr(item: &Item<'_>) -> Option<Positioned<ListenAddr>> {
    Some(item.positioned(item.parsed(address::listen_addr)?))
}

fn read_long(table: &mut DocumentTable<'_>) -> Option<ListenerSettings> {
    let addr = table.must("addr", read_addr);
    read_at(table, addr)
}

/// Reads the settings of the listener at an address; `None` if the address was mistaken.
fn read_at(
    table: &mut DocumentTable<'_>,
    addr: Option<Positioned<ListenAddr>>,
) -> Option<ListenerSettings> {
    let options = read_options(table);
    let tolerated = table.list("tolerate", Item::word);
    Some(ListenerSettings {
        tls: table.get("tls", |item| tls::read_server(item, options.http2)),
        proxy_protocol_from: read_from(table, options.proxy_protocol, addr.as_deref()),
        options,
        tolerates_control_bytes: tolerated.contains(&Tolerable::ControlBytes),
        access: socket_access::read(table, addr.as_deref()),
        connections: table.whole("connections"),
        addr: addr?,
    })
}

fn read_options(table: &mut DocumentTable<'_>) -> ListenerOptions {
    const REDIRECT: &str = "redirect_to_https";
    let redirects = table.is_true(REDIRECT);
    if redirects && table.has("tls") {
        table.refuse(REDIRECT, "the listener speaks TLS itself; leave this out");
    }
    if !redirects || table.has("tls") {
        table.refuse("https_port", "means nothing without redirect_to_https");
    }
    table.plain()
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
