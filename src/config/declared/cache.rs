//! `[cache]`, and `cache` of a route.

use std::time::Duration;

use super::{flag, list, optional, required, size, word};
use crate::base::limits::{self, default};
use crate::base::setting::{
    Absent, Kind, OFF, Plain, Section, Setting, Value, plain_settings, words,
};
use crate::cache::policy::{Authorization, ClientDirectives, SetCookie, StatusField};

/// `[cache]`
pub static CACHE: Section = Section {
    name: "CacheSettings",
    title: "[cache]",
    doc: "The cache of the process (RFC 9111), which the routes with a table `cache` use. Without the section nothing is \
          cached.",
    settings: || CACHE_SETTINGS.iter().collect(),
};

/// `disk` of `[cache]`.
pub static CACHE_DISK: Section = Section {
    name: "CacheDiskSettings",
    title: "cache.disk",
    doc: "The table `disk` of `[cache]`: a second tier of the cache, on disk.",
    settings: || DISK_SETTINGS.iter().collect(),
};

/// `cache` of a route.
pub static ROUTE_CACHE: Section = Section {
    name: "RouteCacheSettings",
    title: "routes.cache",
    doc: "The table `cache` of a route: its responses are cached, as RFC 9111 permits and as the settings say. `cache = \
          {}` caches with all defaults. The table needs the section `[cache]`.",
    settings: || {
        let settings = STORED.iter().chain(RouteCacheTimes::SETTINGS);
        let settings = settings.chain(&KEY).chain(RouteCacheOptions::SETTINGS);
        settings.chain(&FURTHER).collect()
    },
};

/// `ttl` of a route's cache.
pub static TTL: Section = Section {
    name: "TtlSettings",
    title: "routes.cache.ttl",
    doc: "The table `ttl` of a route's `cache`: beside the statuses and their freshness lifetimes it may say what these \
          replace.",
    settings: || TTL_SETTINGS.iter().collect(),
};

/// `heuristic` of a route's cache.
static HEURISTIC: Section = Section {
    name: "HeuristicSettings",
    title: "routes.cache.heuristic",
    doc: "The table `heuristic` of a route's `cache`: the freshness of responses that name no lifetime (RFC 9111 section \
          4.2.2).",
    settings: || Heuristic::SETTINGS.iter().collect(),
};

/// `vary` of a route's cache.
static VARY: Section = Section {
    name: "VarySettings",
    title: "routes.cache.vary",
    doc: "The table `vary` of a route's `cache`: fields that count less, or more, than `Vary` of a response says.",
    settings: || VARY_SETTINGS.iter().collect(),
};

/// `bypass` of a route's cache.
static BYPASS: Section = Section {
    name: "BypassSettings",
    title: "routes.cache.bypass",
    doc: "The table `bypass` of a route's `cache`: requests that are neither answered from the cache nor stored.",
    settings: || BYPASS_SETTINGS.iter().collect(),
};

/// `purge_method` of a route's cache.
static PURGE_METHOD: Section = Section {
    name: "PurgeMethodSettings",
    title: "routes.cache.purge_method",
    doc: "The table `purge_method` of a route's `cache`: who may purge by requests to the route itself.",
    settings: || PURGE_METHOD_SETTINGS.iter().collect(),
};

/// The name of a field.
const FIELD: Kind = Kind::text("", "accept-language");
/// The form of a pattern of names.
const NAMES: &str = "^[*]?[^*]{0,256}[*]?$";
/// The form of a pattern of paths.
const PATHS: &str = "^[*/][^*]{0,256}[*]?$";
/// A pattern of parameters of the query.
const PATTERN: Kind = Kind::text(NAMES, "utm_*");
/// A pattern of the names of cookies.
const COOKIE_PATTERN: Kind = Kind::text(NAMES, "_ga*");
/// A pattern of paths.
const PATH_PATTERN: Kind = Kind::text(PATHS, "/cart*");

plain_settings! {
    /// The times of a route's cache.
    pub struct RouteCacheTimes {
        /// Longest freshness lifetime of a response with a status 4xx other than 404 and 410, or 5xx. A longer one
        /// would let one request that a backend refuses take a page away from all clients.
        error_ttl_max: Duration = Kind::Lifetime, Absent::secs(default::ERROR_TTL_MAX);
        /// Time beyond its freshness for which a response is served where no answer can be had: the pool has no usable
        /// backend, or the connection fails, is reset or takes too long.
        stale_if_unreachable: Duration = Kind::Lifetime, Absent::secs(default::STALE_IF_UNREACHABLE);
        /// Time beyond its freshness for which a response is served in place of a 500, 502, 503 or 504 of the backend,
        /// where the response names no `stale-if-error` itself (RFC 5861).
        stale_if_error: Duration = Kind::Lifetime, Absent::secs(0);
        /// Time beyond its freshness for which a response is served while it is fetched anew, where the response names
        /// no `stale-while-revalidate` itself (RFC 5861).
        stale_while_revalidate: Duration = Kind::Lifetime, Absent::secs(0);
        /// Time after which a request that waits for the response to another one goes to a backend by itself.
        collapse_timeout: Duration = Kind::TIME, Absent::secs(default::COLLAPSE_TIMEOUT);
        /// Time for which requests for a URL do not wait for each other, because its last response could not be
        /// stored.
        uncacheable_memory: Duration = Kind::Lifetime, Absent::secs(default::UNCACHEABLE_MEMORY);
    }
}

plain_settings! {
    /// The settings of a route's cache that depend on nothing else, except for times.
    pub struct RouteCacheOptions {
        /// Largest number of responses to one URL that differ by what `Vary` names.
        max_variants: u16 = Kind::whole(1, limits::CACHE_VARIANTS as u64),
            Absent::Is(Value::Whole(default::CACHE_VARIANTS as u64));
        /// Number of requests for a URL from which on its response is stored.
        min_uses: Option<u8> = Kind::whole(1, limits::CACHE_USES as u64),
            Absent::Means("the first response is stored, and while the cache is full the second one");
        /// Share of the cache, in percent, that the entries of the zone may use.
        max_percent: u8 = Kind::whole(1, 100), Absent::Is(Value::Whole(100));
        /// Whether clients do not get the fields that `targeted` names.
        strip_targeted: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// Whether clients get the fields with the tags of a response, by which a cache in front can purge:
        /// `Surrogate-Key`, `Cache-Tag` and `Cache-Groups`.
        forward_tags: bool = Kind::Flag, Absent::Is(Value::Flag(false));
        /// How much `Cache-Status` (RFC 9211) says: all, or only whether the response came from the cache and for how
        /// long it stays fresh, or nothing.
        status: StatusField = Kind::Word(words::<StatusField>), Absent::Is(Value::Word("brief"));
    }
}

plain_settings! {
    /// The freshness of responses that name no lifetime.
    pub struct Heuristic {
        /// Share of the time since `Last-Modified`, in percent, for which such a response is fresh.
        percent zero "a response without a lifetime is never fresh": u8 = Kind::PERCENT,
            Absent::Is(Value::Whole(default::HEURISTIC_PERCENT as u64));
        /// Longest time for which such a response is fresh.
        max: Duration = Kind::Lifetime, Absent::secs(default::HEURISTIC_MAX);
    }
}

static CACHE_SETTINGS: [Setting; 3] = [
    required(
        "max_size",
        Kind::size(limits::CACHE_BYTES_LEAST, limits::CACHE_BYTES),
        "Largest size of everything that cached responses need: bodies and heads, the index, tags, and what is being \
         fetched. Heads and bodies lie in memory beside what `limits.memory` counts, so the two together should be less than \
         the memory of the machine. A size above 75 % of that memory, or of what the control group of the process may have, \
         is a mistake.",
    )
    .also("max_bytes"),
    Setting::new(
        "name",
        Kind::text("^[A-Za-z][A-Za-z0-9._-]{0,63}$", "palantir"),
        Absent::Is(Value::Text(default::CACHE_NAME)),
        "Name of the cache in `Cache-Status` (RFC 9211).",
    ),
    optional(
        "disk",
        Kind::Table(&CACHE_DISK),
        "the cache is in memory alone",
        "A second tier of the cache, on disk.",
    ),
];

static DISK_SETTINGS: [Setting; 2] = [
    required(
        "path",
        Kind::FILE,
        "Folder for the files of the cache. palantir makes the folder if it is absent, for its own user alone. Two \
         processes never use one folder at a time.",
    ),
    required(
        "max_size",
        Kind::size(limits::CACHE_DISK_BYTES_LEAST, limits::CACHE_DISK_BYTES),
        "Largest size of all files that palantir writes in the folder. Beyond, the oldest of them go.",
    )
    .also("max_bytes"),
];

static STORED: [Setting; 5] = [
    size(
        "max_object",
        (0, limits::CACHE_OBJECT_BYTES),
        default::CACHE_OBJECT_BYTES,
        "Largest size of a body that is stored.",
    ),
    optional(
        "ttl",
        Kind::ByStatus {
            of: &Kind::Lifetime,
            beside: &TTL,
            example: "200 = \"10m\", 404 = \"30s\"",
        },
        "responses are fresh for as long as the backend says",
        "Freshness lifetimes of responses, by status, where the backend names none.",
    ),
    optional(
        "heuristic",
        Kind::Table(&HEURISTIC),
        "the settings of the table have their defaults",
        "Freshness of responses for which neither the backend nor `ttl` names a lifetime. There is none where the \
         request had `Cookie`, `Authorization` or a field that says who the client is, or where the response has \
         `Set-Cookie`.",
    ),
    word(
        "set_cookie",
        words::<SetCookie>,
        "refuse",
        "Treatment of a response with `Set-Cookie`: it is not stored, or stored without its cookies, which then no \
         client gets, or stored with its cookies, which then every client gets.",
    ),
    word(
        "authorization",
        words::<Authorization>,
        "rfc",
        "Condition for the reuse of a response to a request with `Authorization`: the response permits it as RFC 9111 \
         section 3.5 says, or the request passed an authentication of palantir, which is enough if the backend does not \
         look at who asks.",
    ),
];

static TTL_SETTINGS: [Setting; 1] = [Setting::new(
    "override",
    Kind::Any(&[Kind::Flag, Kind::Word(|| vec![ALL])]),
    Absent::Is(Value::Flag(false)),
    "Whether the lifetimes replace what the backend says. With `true` they do so except for `private`, `no-store` and \
     `Set-Cookie`; with `\"all\"` they replace these, too.",
)];

/// The word of `override` by which lifetimes replace everything that a backend says.
pub const ALL: &str = "all";

static KEY: [Setting; 9] = [
    Setting::new(
        "stale_after",
        Kind::Any(&[Kind::TIME, Kind::OFF]),
        Absent::Is(Value::Word(OFF)),
        "Time after which a client gets the stale response while the backend is still being asked whether it has \
         changed. The answer of the backend then counts for later requests. With `\"off\"` the client waits for that \
         answer.",
    ),
    optional(
        "zone",
        Kind::text("^[A-Za-z0-9._-]{1,64}$", "api"),
        "the zone is that of the route's pool",
        "Name of the zone, which is a part of every key: entries of different zones never meet.",
    ),
    list(
        "ignore_query",
        &PATTERN,
        limits::CACHE_PATTERNS,
        "Patterns of the parameters of the query that are not a part of the key. A `*` at either end stands for any \
         text.",
    ),
    flag(
        "sort_query",
        false,
        "Whether the order of the parameters of the query does not matter for the key.",
    ),
    list(
        "key_headers",
        &FIELD,
        limits::CACHE_FIELDS,
        "Names of fields of requests that are a part of the key.",
    ),
    optional(
        "vary",
        Kind::Table(&VARY),
        "every field counts as `Vary` says",
        "Fields that count less, or more, than `Vary` of a response says.",
    ),
    optional(
        "bypass",
        Kind::Table(&BYPASS),
        "no request bypasses the cache",
        "Requests that are neither answered from the cache nor stored.",
    ),
    list(
        "strip_cookies",
        &COOKIE_PATTERN,
        limits::CACHE_PATTERNS,
        "Patterns of the names of cookies that are taken out of requests before anything else is decided. Backends do \
         not get these cookies.",
    ),
    word(
        "client_directives",
        words::<ClientDirectives>,
        "bounded",
        "Effect of `no-cache`, `max-age`, `min-fresh` and `Pragma` of clients: at most one question to the backend per \
         URL and second, or as RFC 9111 says, or none.",
    ),
];

static FURTHER: [Setting; 3] = [
    Setting::new(
        "targeted",
        Kind::List {
            of: &Kind::text("", "CDN-Cache-Control"),
            least: 0,
            most: limits::CACHE_FIELDS,
        },
        Absent::Is(Value::List(&[
            "Palantir-Cache-Control",
            "CDN-Cache-Control",
        ])),
        "Names of the fields that count instead of `Cache-Control` of a response (RFC 9213), the first one before the \
         others. A field that is empty or cannot be understood counts as absent.",
    ),
    Setting::new(
        "purge_method",
        Kind::Any(&[Kind::Table(&PURGE_METHOD), Kind::OFF]),
        Absent::Is(Value::Word(OFF)),
        "Clients whose requests with the methods `PURGE` and `BAN` purge the cache. With `\"off\"` such requests are \
         forwarded as any other.",
    ),
    Setting::new(
        "slice",
        Kind::Any(&[
            Kind::size(limits::CACHE_SLICE_BYTES_LEAST, limits::CACHE_SLICE_BYTES),
            Kind::OFF,
        ]),
        Absent::Is(Value::Word(OFF)),
        "Size of the slices in which large bodies are fetched and stored, if the backend supports ranges and sends \
         `ETag` or `Last-Modified`. It is at most `max_object`, which bounds a slice then and not the body. With \
         `\"off\"` bodies are fetched and stored whole.",
    ),
];

static VARY_SETTINGS: [Setting; 2] = [
    list(
        "ignore",
        &FIELD,
        limits::CACHE_FIELDS,
        "Names of fields that make no difference although `Vary` names them.",
    ),
    list(
        "uncacheable",
        &FIELD,
        limits::CACHE_FIELDS,
        "Names of fields that keep a response from being stored when `Vary` names them.",
    ),
];

static BYPASS_SETTINGS: [Setting; 3] = [
    list(
        "cookies",
        &COOKIE_PATTERN,
        limits::CACHE_PATTERNS,
        "Patterns of the names of cookies: a request with such a cookie bypasses the cache.",
    ),
    list(
        "headers",
        &FIELD,
        limits::CACHE_FIELDS,
        "Names of fields: a request with such a field bypasses the cache.",
    ),
    list(
        "paths",
        &PATH_PATTERN,
        limits::CACHE_PATTERNS,
        "Patterns of paths: a request with such a path bypasses the cache.",
    ),
];

static PURGE_METHOD_SETTINGS: [Setting; 1] = [required(
    "allow",
    Kind::List {
        of: &super::listener::NETWORK,
        least: 1,
        most: limits::TRUSTED_PROXIES,
    },
    "Networks of the clients that may purge.",
)];
