//! Where clients come in: `listen_addr`, which is short for an address with the defaults, and `[[listeners]]`.

use super::address;
use super::document::{Item, Table};
use super::notes::Placed;
use crate::base::limits::{self, default};
use crate::snapshot::ListenAddr;

/// A listener as written.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    pub addr: Placed<ListenAddr>,
    pub http2: bool,
    pub proxy_protocol: bool,
    pub redirect_to_https: bool,
}

/// Reads both forms; the default address if there is neither.
pub(super) fn read(table: &mut Table<'_>) -> Vec<ListenerSettings> {
    let read_short = |item: &Item<'_>| Some(ListenerSettings::short(read_addr(item)?));
    let short = table.get("listen_addr", |item| {
        item.one_or_list(limits::LISTENERS, read_short)
    });
    let long = table.list("listeners", limits::LISTENERS, |item| {
        item.table(read_long).flatten()
    });
    if !table.has("listen_addr") && !table.has("listeners") {
        let value = address::listen_addr(default::LISTEN_ADDR).expect("the default is an address");
        let place = table.place().clone();
        return vec![ListenerSettings::short(Placed { place, value })];
    }
    short.into_iter().flatten().chain(long).collect()
}

fn read_addr(item: &Item<'_>) -> Option<Placed<ListenAddr>> {
    Some(item.placed(item.parsed(address::listen_addr)?))
}

fn read_long(table: &mut Table<'_>) -> Option<ListenerSettings> {
    Some(ListenerSettings {
        http2: table.flag("http2", true),
        proxy_protocol: table.flag("proxy_protocol", false),
        redirect_to_https: table.flag("redirect_to_https", false),
        addr: table.must("addr", read_addr)?,
    })
}

impl ListenerSettings {
    fn short(addr: Placed<ListenAddr>) -> ListenerSettings {
        ListenerSettings {
            addr,
            http2: true,
            proxy_protocol: false,
            redirect_to_https: false,
        }
    }
}
