//! `[[listeners]]`, and the settings of a Unix socket's file.

use super::tls::SERVER_TLS;
use super::{ADDRESS, TEXT, Tolerable, flag, list, optional, required, size, time, whole, word};
use crate::base::limits::{self, default};
use crate::base::setting::{Absent, Kind, Section, Setting, Value, words};
use crate::http::path::MergeSlashes;
use crate::snapshot::HalfClose;

/// `[[listeners]]`
pub static LISTENER: Section = Section {
    name: "ListenerSettings",
    title: "[[listeners]]",
    doc: "A listener: an address where clients connect, with its own settings. An address in `listen_addr` is a \
          listener with the defaults. A file may have both.",
    settings: || SETTINGS.iter().chain(&SOCKET_FILE).collect(),
};

/// A network of addresses.
pub const NETWORK: Kind = Kind::text("", "10.0.0.0/8");

/// The access rights of a listener's Unix socket.
static SOCKET_FILE: [Setting; 3] = socket_file("0666");

static SETTINGS: [Setting; 13] = [
    required(
        "addr",
        ADDRESS,
        "Address to listen on: an IP address and a port, or a Unix socket `unix:/path`.",
    ),
    flag("http2", true, "Whether HTTP/2 is spoken besides HTTP/1.1."),
    flag(
        "proxy_protocol",
        false,
        "Whether every connection begins with a PROXY header (version 1 or 2), which says who the client is.",
    ),
    optional(
        "proxy_protocol_from",
        Kind::List {
            of: &NETWORK,
            least: 1,
            most: limits::TRUSTED_PROXIES,
        },
        "everybody who can reach the address",
        "Networks whose PROXY headers are taken. Connections of others are closed. Needed with `proxy_protocol`, unless \
         `addr` is on loopback or a Unix socket.",
    ),
    flag(
        "redirect_to_https",
        false,
        "Whether every request is redirected to the same URL under `https`, so that none reaches a backend. A request \
         without a host (HTTP/1.0) is answered 400.",
    ),
    whole(
        "https_port",
        (1, u16::MAX as u64),
        default::HTTPS_PORT as u64,
        "Port of the URL that `redirect_to_https` redirects to.",
    ),
    word(
        "merge_slashes",
        words::<MergeSlashes>,
        "on",
        "What several slashes in a row stand for. `\"on\"`: one slash, when the route is looked for and in the forwarded \
         path. `\"match_only\"`: one slash when the route is looked for; they are forwarded as they came. `\"off\"`: \
         each slash counts, and `//admin` is refused if `/admin` is a route.",
    ),
    word(
        "half_close",
        words::<HalfClose>,
        "serve",
        "What becomes of a client that ends its sending side, over TLS by close_notify. `\"serve\"`: the client gets the \
         answers to its complete requests; over HTTP/2 the streams with incomplete requests end. Only a reset shows that \
         such a client is gone. `\"abort\"`: the client counts as gone, and its exchange ends.",
    ),
    list(
        "tolerate",
        &Kind::Word(words::<Tolerable>),
        Tolerable::COUNT,
        "Faults in requests that are passed on instead of being refused. `\"control_bytes\"`: control bytes other than \
         NUL, CR and LF in `Cookie`.",
    ),
    whole(
        "connections",
        (0, limits::CONNECTIONS as u64),
        0,
        "Largest number of client connections at this address at once; 0: as `limits.connections` says.",
    ),
    size(
        "min_rate",
        (0, limits::MIN_RATE_BYTES as u64),
        default::MIN_RATE_BYTES as u64,
        "Bytes a second that a client must send of a body, or take of an answer; 0: any rate is enough.",
    )
    .also("min_rate_bytes"),
    time(
        "min_rate_grace",
        default::MIN_RATE_GRACE,
        "Time for which a client may be slower than `min_rate`.",
    ),
    optional(
        "tls",
        Kind::Table(&SERVER_TLS),
        "cleartext",
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
            "the user of the process",
            "User of the file of a Unix socket, by name or number.",
        ),
        optional(
            "group",
            TEXT,
            "the group of the process",
            "Group of the file of a Unix socket, by name or number.",
        ),
    ]
}

impl Tolerable {
    /// How many there are.
    const COUNT: usize = 1;
}
