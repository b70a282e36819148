//! The settings of the configuration file, each declared once: one table of rows for each table of the file. A setting
//! of a pool, a route or a listener that depends on nothing else is declared in [`crate::snapshot::PoolOptions`],
//! [`crate::snapshot::RouteOptions`] or [`crate::snapshot::ListenerOptions`].

mod acme;
mod cache;
mod health_check;
mod listener;
mod pool;
mod route;
mod sections;
mod tls;
mod top;
mod words;

use std::time::Duration;

use crate::base::setting::{Absent, Kind, Setting, Value};

pub use cache::{ALL, Heuristic, ROUTE_CACHE, RouteCacheOptions, RouteCacheTimes};
pub use health_check::HEALTH_CHECK;
pub use listener::LISTENER;
pub use pool::{BACKEND, POOL, is_work_key, other_key_of_backend, work_keys};
pub use route::ROUTE;
pub use sections::ConnectionTimeouts;
pub use tls::CLIENT_TLS;
pub use top::{ROOT, is_for_the_next_start};
pub use words::ChallengeKind;
pub(super) use words::{Demand, Tolerable, UnknownSni};

/// The address of a backend, or of a listener.
const ADDRESS: Kind = Kind::text("", "127.0.0.1:9001");
/// Texts whose form their reader checks.
const TEXT: Kind = Kind::text("", "");

/// A setting that is true or false.
const fn flag(name: &'static str, default: bool, doc: &'static str) -> Setting {
    Setting::new(name, Kind::Flag, Absent::Is(Value::Flag(default)), doc)
}

/// A setting that is a whole number.
const fn whole(
    name: &'static str,
    (least, most): (u64, u64),
    default: u64,
    doc: &'static str,
) -> Setting {
    let absent = Absent::Is(Value::Whole(default));
    Setting::new(name, Kind::whole(least, most), absent, doc)
}

/// A setting that is a size.
const fn size(
    name: &'static str,
    (least, most): (u64, u64),
    default: u64,
    doc: &'static str,
) -> Setting {
    let absent = Absent::Is(Value::Size(default));
    Setting::new(name, Kind::size(least, most), absent, doc)
}

/// A setting that is a time of any length, its default in seconds.
const fn time(name: &'static str, default: u64, doc: &'static str) -> Setting {
    Setting::new(name, Kind::TIME, Absent::secs(default), doc)
}

/// A setting that is a time and may be 0, its default in seconds.
const fn time_or_zero(name: &'static str, default: u64, doc: &'static str) -> Setting {
    let kind = Kind::Time {
        least: Duration::ZERO,
    };
    Setting::new(name, kind, Absent::secs(default), doc)
}

/// A setting that names a file and that has no default; `means` says as a clause what holds without it.
const fn file(name: &'static str, means: &'static str, doc: &'static str) -> Setting {
    Setting::new(name, Kind::FILE, Absent::Means(means), doc)
}

/// A setting that must be there.
const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Setting {
    Setting::new(name, kind, Absent::Required, doc)
}

/// A setting without a value for its absence; `means` says as a clause what holds then.
const fn optional(
    name: &'static str,
    kind: Kind,
    means: &'static str,
    doc: &'static str,
) -> Setting {
    Setting::new(name, kind, Absent::Means(means), doc)
}

/// A setting that is one word of several.
const fn word(
    name: &'static str,
    words: fn() -> Vec<&'static str>,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    let absent = Absent::Is(Value::Word(default));
    Setting::new(name, Kind::Word(words), absent, doc)
}

/// A setting that is a list of at most `most`, and empty by default.
const fn list(name: &'static str, of: &'static Kind, most: usize, doc: &'static str) -> Setting {
    let kind = Kind::List { of, least: 0, most };
    Setting::new(name, kind, Absent::Is(Value::List(&[])), doc)
}
