//! The cache of a route in force as JSON, with the keys of the configuration.

use serde_json::{Value, json};

use super::shown::Members;
use crate::base::setting::{OFF, Word};
use crate::cache::pattern::Pattern;
use crate::cache::policy::{Policy, Replaces};

/// The settings of a route's cache, every default filled in; `null` for those that are absent and have no default.
pub fn route_cache(policy: &Policy) -> Members {
    let mut members = stored(policy);
    members.extend(key(policy));
    members.extend(clients(policy));
    members
}

/// The settings that say what is stored and for how long.
fn stored(policy: &Policy) -> Members {
    let after = policy.stale_after;
    super::shown::members(json!({
        "max_object": policy.max_object,
        "ttl": ttl(policy),
        "heuristic": { "percent": policy.heuristic_percent, "max": policy.heuristic_max },
        "set_cookie": policy.set_cookie.word(),
        "authorization": policy.authorization.word(),
        "error_ttl_max": policy.error_ttl_max,
        "stale_if_unreachable": policy.stale_if_unreachable,
        "stale_if_error": policy.stale_if_error,
        "stale_while_revalidate": policy.stale_while_revalidate,
        "collapse_timeout": policy.collapse_timeout.as_secs_f64(),
        "uncacheable_memory": policy.uncacheable_memory,
        "stale_after": or_off(after.map(|after| after.as_secs_f64().into())),
        "min_uses": policy.min_uses,
        "slice": or_off(policy.slice.map(Value::from)),
    }))
}

/// The settings that say which requests have the same entry.
fn key(policy: &Policy) -> Members {
    super::shown::members(json!({
        "zone": policy.zone,
        "max_percent": policy.max_percent,
        "ignore_query": texts(&policy.ignore_query),
        "sort_query": policy.sort_query,
        "key_headers": policy.key_headers,
        "vary": { "ignore": policy.vary_ignore, "uncacheable": policy.vary_uncacheable },
        "max_variants": policy.max_variants,
    }))
}

/// The settings about requests and their answers.
fn clients(policy: &Policy) -> Members {
    let networks = policy.purge_method.iter().map(ToString::to_string);
    let networks: Vec<String> = networks.collect();
    let purge = (!networks.is_empty()).then(|| json!({ "allow": networks }));
    super::shown::members(json!({
        "bypass": {
            "cookies": texts(&policy.bypass.cookies),
            "headers": policy.bypass.headers,
            "paths": texts(&policy.bypass.paths),
        },
        "strip_cookies": texts(&policy.strip_cookies),
        "client_directives": policy.client_directives.word(),
        "targeted": policy.targeted,
        "strip_targeted": policy.strip_targeted,
        "forward_tags": policy.forward_tags,
        "status": policy.status.word(),
        "purge_method": or_off(purge),
    }))
}

fn ttl(policy: &Policy) -> Members {
    let statuses = policy.ttl.by_status.iter();
    let statuses = statuses.map(|(status, secs)| (status.to_string(), Value::from(*secs)));
    let mut members: Members = statuses.collect();
    let replaces = match policy.ttl.replaces {
        Replaces::Nothing => false.into(),
        Replaces::Lifetimes => true.into(),
        Replaces::Everything => "all".into(),
    };
    members.insert("override".to_owned(), replaces);
    members
}

fn or_off(value: Option<Value>) -> Value {
    value.unwrap_or_else(|| OFF.into())
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::setting::Section;
    use crate::config::{self, Config, ROUTE_CACHE};

    fn config(cache: &str) -> Config {
        let text = format!(
            "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache = {cache}\n"
        );
        config::parse(Path::new("c.toml"), text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn policy(cache: &str) -> Policy {
        let config = config(cache);
        let cache = config.settings.routes[0].cache.as_ref();
        cache.unwrap().policy("palantir", "api".to_owned())
    }

    fn keys(section: &Section) -> Vec<&'static str> {
        let settings = (section.settings)().into_iter();
        let mut keys: Vec<_> = settings.map(|setting| setting.api_name()).collect();
        keys.sort_unstable();
        keys
    }

    fn section(name: &str) -> &'static Section {
        let below = config::schema::below(&ROUTE_CACHE).into_iter();
        let mut named = below.filter(|section| section.name == name);
        named.next().unwrap()
    }

    fn shown_keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<_> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn every_setting_is_shown() {
        let shown = Value::from(route_cache(&policy(
            "{ purge_method = { allow = ['::1'] } }",
        )));
        assert_eq!(shown_keys(&shown), keys(&ROUTE_CACHE));
        for (key, name) in [
            ("heuristic", "HeuristicSettings"),
            ("ttl", "TtlSettings"),
            ("vary", "VarySettings"),
            ("bypass", "BypassSettings"),
            ("purge_method", "PurgeMethodSettings"),
        ] {
            assert_eq!(shown_keys(&shown[key]), keys(section(name)), "{key}");
        }
        assert_eq!(shown["purge_method"], json!({ "allow": ["::1/128"] }));
    }

    /// A cache that is written as it is shown is the same one.
    #[test]
    fn what_is_shown_can_be_written() {
        for cache in [
            "{}",
            "{ ttl = { 200 = '10m', override = 'all' }, stale_after = 2, slice = '1MiB', min_uses = 2, zone = 'z', \
             ignore_query = ['utm_*', '*'], bypass = { paths = ['*.php'] }, vary = { ignore = ['A'] }, \
             purge_method = { allow = ['10.0.0.0/8'] }, targeted = ['A-B'], set_cookie = 'store' }",
        ] {
            let policy = policy(cache);
            let mut shown = route_cache(&policy);
            shown.retain(|_, value| !value.is_null());
            let written = toml::Value::try_from(&shown).unwrap().to_string();
            assert_eq!(self::policy(&written), policy, "{written}");
        }
    }
}
