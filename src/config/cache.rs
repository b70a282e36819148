//! The settings of the cache: `[cache]`, and `cache` of a route.

use std::time::Duration;

use super::address;
use super::declared::{ALL, Heuristic, RouteCacheOptions, RouteCacheTimes};
use super::document::{DocumentTable, Item};
use super::fields;
use super::notes::{Position, Positioned};
use super::pool;
use crate::base::cidr::Cidr;
use crate::base::limits;
use crate::cache::pattern::Pattern;
use crate::cache::policy::{
    Authorization, Bypass, ClientDirectives, Policy, Replaces, SetCookie, TtlRules,
};
use crate::snapshot::{CacheDisk, CacheOptions};

/// `[cache]`
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The place of the section.
    pub position: Position,
    /// Bytes that everything which entries need may take, with the place where they are written.
    pub max_bytes: Positioned<u64>,
    /// The name of the cache in `Cache-Status`.
    pub name: String,
    /// The tier on disk; `None`: there is none.
    pub disk: Option<CacheDisk>,
}

/// `cache` of a route.
#[derive(Clone, Debug)]
pub struct RouteCacheSettings {
    /// The place of the table.
    pub position: Position,
    /// The largest body that is stored, in bytes.
    pub max_object: Positioned<u64>,
    /// Freshness lifetimes, with the place of the table.
    pub ttl: Positioned<TtlRules>,
    /// The freshness of responses that name no lifetime.
    pub heuristic: Heuristic,
    /// The treatment of a response with `Set-Cookie`.
    pub set_cookie: Positioned<SetCookie>,
    /// The side that decides on requests with `Authorization`.
    pub authorization: Positioned<Authorization>,
    /// Times.
    pub times: RouteCacheTimes,
    /// The settings that depend on nothing else.
    pub options: RouteCacheOptions,
    /// The time after which a client gets a stale response; `None`: never.
    pub stale_after: Option<Duration>,
    /// The name of the zone; `None`: that of the route's pool.
    pub zone: Option<String>,
    /// The parameters of the query that are not part of the key.
    pub ignore_query: Vec<Pattern>,
    /// Whether the order of the parameters of the query does not matter.
    pub sort_query: bool,
    /// Names, in lower case, of the fields that are part of the key.
    pub key_headers: Vec<String>,
    /// Fields that count less, or more, than `Vary` says.
    pub vary: VarySettings,
    /// The requests that bypass the cache.
    pub bypass: Bypass,
    /// The names of the cookies that are taken out of requests.
    pub strip_cookies: Vec<Pattern>,
    /// The effect of the directives of clients.
    pub client_directives: Positioned<ClientDirectives>,
    /// The names of the targeted fields, as written.
    pub targeted: Vec<String>,
    /// The clients that may purge by requests to the route.
    pub purge_method: Vec<Positioned<Cidr>>,
    /// The size of slices in bytes; `None`: bodies are fetched whole.
    pub slice: Option<Positioned<u64>>,
}

/// `vary` of a route's cache, its names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VarySettings {
    /// The fields that make no difference.
    pub ignore: Vec<String>,
    /// The fields that keep a response from being stored.
    pub uncacheable: Vec<String>,
}

impl CacheSettings {
    /// The cache as the process has it.
    pub fn options(&self) -> CacheOptions {
        CacheOptions {
            max_bytes: self.max_bytes.value,
            name: self.name.clone(),
            disk: self.disk.clone(),
        }
    }
}

impl RouteCacheSettings {
    /// The policy of a route that leads to this pool, for a cache of this name.
    pub fn policy(&self, name: &str, pool: String) -> Policy {
        let (times, options) = (&self.times, &self.options);
        Policy {
            name: name.to_owned(),
            zone: self.zone.clone().unwrap_or(pool),
            max_percent: options.max_percent,
            max_object: self.max_object.value,
            ttl: self.ttl.value.clone(),
            heuristic_percent: self.heuristic.percent,
            heuristic_max: whole_secs(self.heuristic.max),
            error_ttl_max: whole_secs(times.error_ttl_max),
            stale_if_unreachable: whole_secs(times.stale_if_unreachable),
            stale_if_error: whole_secs(times.stale_if_error),
            stale_after: self.stale_after,
            stale_while_revalidate: whole_secs(times.stale_while_revalidate),
            collapse_timeout: times.collapse_timeout,
            uncacheable_memory: whole_secs(times.uncacheable_memory),
            set_cookie: self.set_cookie.value,
            min_uses: options.min_uses,
            ignore_query: self.ignore_query.clone(),
            sort_query: self.sort_query,
            key_headers: self.key_headers.clone(),
            vary_ignore: self.vary.ignore.clone(),
            vary_uncacheable: self.vary.uncacheable.clone(),
            max_variants: options.max_variants,
            bypass: self.bypass.clone(),
            strip_cookies: self.strip_cookies.clone(),
            client_directives: self.client_directives.value,
            targeted: lower(&self.targeted),
            strip_targeted: options.strip_targeted,
            status: options.status,
            authorization: self.authorization.value,
            forward_tags: options.forward_tags,
            purge_method: self
                .purge_method
                .iter()
                .map(|network| network.value)
                .collect(),
            slice: self.slice.as_ref().map(|slice| slice.value),
        }
    }
}

fn lower(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// The seconds of a lifetime, which is a whole number of them.
fn whole_secs(time: Duration) -> u32 {
    debug_assert!(time <= limits::LONGEST_LIFETIME && time.subsec_nanos() == 0);
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// `[cache]`
pub(super) fn read(table: &mut DocumentTable<'_>) -> Option<CacheSettings> {
    let name = table.parsed("name", cache_name);
    let disk = table.get("disk", |item| item.table(read_disk)).flatten();
    let max_bytes = table.must("max_size", |item| Some(item.positioned(item.size()?)))?;
    Some(CacheSettings {
        position: table.position().clone(),
        max_bytes,
        name,
        disk,
    })
}

fn read_disk(table: &mut DocumentTable<'_>) -> Option<CacheDisk> {
    let path = table.must("path", |item| match address::file_path(item)? {
        path if path.is_absolute() => Some(path),
        _ => item
            .wrong("must begin with \"/\": processes with another working directory use it, too"),
    });
    let max_bytes = table.must("max_size", Item::size);
    Some(CacheDisk {
        path: path?,
        max_bytes: max_bytes?,
    })
}

/// A name that is a token of structured fields (RFC 9651 section 3.3.4).
fn cache_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let most = limits::CACHE_NAME_BYTES;
    let begins_right = text.starts_with(|char: char| char.is_ascii_alphabetic());
    if begins_right && text.len() <= most && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be a letter, and at most {} further letters, digits, \"-\", \"_\" or \".\"",
        most - 1
    ))
}

/// `cache` of a route.
pub(super) fn read_of_route(table: &mut DocumentTable<'_>) -> RouteCacheSettings {
    RouteCacheSettings {
        position: table.position().clone(),
        max_object: table.positioned_size("max_object"),
        ttl: table.get("ttl", read_ttl).unwrap_or_default(),
        heuristic: table.section("heuristic", DocumentTable::plain),
        set_cookie: table.positioned_word("set_cookie"),
        authorization: table.positioned_word("authorization"),
        times: table.plain(),
        options: table.plain(),
        stale_after: table.get("stale_after", |item| item.unless_off(Item::time)),
        zone: table.get("zone", |item| item.parsed(pool::pool_name)),
        ignore_query: table.texts("ignore_query", pattern),
        sort_query: table.flag("sort_query"),
        key_headers: table.texts("key_headers", fields::name),
        vary: table.section("vary", |table| VarySettings {
            ignore: table.texts("ignore", fields::name),
            uncacheable: table.texts("uncacheable", fields::name),
        }),
        bypass: table.section("bypass", |table| Bypass {
            cookies: table.texts("cookies", pattern),
            headers: table.texts("headers", fields::name),
            paths: table.texts("paths", path_pattern),
        }),
        strip_cookies: table.texts("strip_cookies", pattern),
        client_directives: table.positioned_word("client_directives"),
        targeted: table.texts("targeted", targeted_name),
        purge_method: table
            .get("purge_method", |item| {
                item.unless_off(|item| item.table(read_allowed))
            })
            .unwrap_or_default(),
        slice: table.get("slice", |item| {
            item.unless_off(|item| Some(item.positioned(item.size()?)))
        }),
    }
}

fn read_ttl(item: &Item<'_>) -> Option<Positioned<TtlRules>> {
    let (statuses, replaces) = item.by_status(|table| {
        let replaces = table.get("override", read_override);
        replaces.unwrap_or_default()
    })?;
    let lifetimes = statuses.into_iter();
    let lifetimes = lifetimes.filter_map(|(status, item)| Some((status, whole_secs(item.time()?))));
    Some(item.positioned(TtlRules {
        by_status: lifetimes.collect(),
        replaces,
    }))
}

fn read_override(item: &Item<'_>) -> Option<Replaces> {
    match item.flag_or_text()? {
        Ok(true) => Some(Replaces::Lifetimes),
        Ok(false) => Some(Replaces::Nothing),
        Err(ALL) => Some(Replaces::Everything),
        Err(_) => item.wrong(format!("must be true, false or {ALL:?}")),
    }
}

fn read_allowed(table: &mut DocumentTable<'_>) -> Vec<Positioned<Cidr>> {
    let networks = table.must("allow", |item| {
        let networks = item.list()?;
        if networks.is_empty() {
            return item.wrong("must not be empty: name the networks of those who may purge");
        }
        Some(networks)
    });
    let networks = networks.into_iter().flatten();
    let read = |item: Item<'_>| Some(item.positioned(item.parsed(str::parse)?));
    networks.filter_map(read).collect()
}

/// A pattern of names.
fn pattern(text: &str) -> Result<Pattern, String> {
    let most = limits::CACHE_PATTERN_BYTES;
    if text.len() > most {
        return Err(format!("must have at most {most} bytes"));
    }
    let right = "must be a name, with a \"*\" at either end for any text, or without";
    let pattern = Pattern::read(text).filter(|_| !text.is_empty());
    pattern.ok_or_else(|| right.to_owned())
}

/// A pattern of paths.
fn path_pattern(text: &str) -> Result<Pattern, String> {
    if text.starts_with(['/', '*']) {
        pattern(text)
    } else {
        Err("never matches: a path begins with \"/\"".to_owned())
    }
}

/// The name of a targeted field (RFC 9213), as written.
fn targeted_name(text: &str) -> Result<String, String> {
    match fields::name(text)?.as_str() {
        "cache-control" => {
            Err("counts where none of the targeted fields does; leave it out".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}
