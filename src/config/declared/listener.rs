//! `[[listeners]]`, and the settings of a Unix socket's file.

use super::tls::SERVER_TLS;
use super::{ADDRESS, TEXT, Tolerable, list, optional, required, whole};
use crate::base::limits;
use crate::base::setting::{Absent, Kind, Plain, Section, Setting, Value, Word, words};
use crate::snapshot::ListenerOptions;

/// `[[listeners]]`
pub static LISTENER: Section = Section {
    name: "ListenerSettings",
    title: "[[listeners]]",
    doc: "A listener: an address where clients connect, with its own settings. An address in `listen_addr` is a \
          listener with the defaults. A file may have both.",
    settings: || {
        let settings = ADDR.iter().chain(ListenerOptions::SETTINGS);
        settings.chain(&FURTHER).chain(&SOCKET_FILE).collect()
    },
};

/// A network of addresses.
pub const NETWORK: Kind = Kind::text("", "10.0.0.0/8");

/// The access rights of a listener's Unix socket. As with a TCP address everybody may connect; the folder of the socket
/// limits who can reach it.
static SOCKET_FILE: [Setting; 3] = socket_file("0666");

static ADDR: [Setting; 1] = [required(
    "addr",
    ADDRESS,
    "Address to listen on: an IP address and a port, or a Unix socket `unix:/path`.",
)];

static FURTHER: [Setting; 4] = [
    optional(
        "proxy_protocol_from",
        Kind::List {
            of: &NETWORK,
            least: 1,
            most: limits::TRUSTED_PROXIES,
        },
        "PROXY headers are taken from everybody who can reach the address",
        "Networks whose PROXY headers are taken. Connections of others are closed. The setting is needed with \
         `proxy_protocol`, unless `addr` is on loopback or a Unix socket.",
    ),
    list(
        "tolerate",
        &Kind::Word(words::<Tolerable>),
        Tolerable::WORDS.len(),
        "Faults in requests that are passed on instead of being refused. `\"control_bytes\"` stands for control bytes \
         other than NUL, CR and LF in `Cookie`.",
    ),
    whole(
        "connections",
        (0, limits::CONNECTIONS as u64),
        0,
        "Largest number of client connections at this address at once.",
    )
    .zero_means("`limits.connections` counts"),
    optional(
        "tls",
        Kind::Table(&SERVER_TLS),
        "clients speak cleartext",
        "TLS with the clients.",
    ),
];

/// `mode`, `owner` and `group` of a Unix socket with this default mode.
pub const fn socket_file(mode: &'static str) -> [Setting; 3] {
    [
        Setting::new(
            "mode",
            Kind::text("^[0-7]{3,4}$", "0660"),
            Absent::Is(Value::Text(mode)),
            "Permissions of the file of a Unix socket, in octal digits. Clients need the permission to write. A reload \
             sets permissions, user and group once the change is in force, whenever the file has others; an upgrade sets \
             them once the new process serves. A socket that systemd passes stays as it is.",
        ),
        optional(
            "owner",
            TEXT,
            "the file belongs to the user of the process",
            "User of the file of a Unix socket, by name or number.",
        ),
        optional(
            "group",
            TEXT,
            "the file belongs to the group of the process",
            "Group of the file of a Unix socket, by name or number.",
        ),
    ]
}
