//! The report on the cache of a route, as lines for people.

use std::time::Duration;

use crate::base::quantity::{show_size, show_time};
use crate::base::setting::Word;
use crate::cache::pattern::Pattern;
use crate::cache::policy::{Policy, Replaces};

/// A line of the report: a label and a text.
type Line = (&'static str, String);

/// All that holds for responses of a route with this policy; `None`: they are not cached.
pub(super) fn cache_lines(policy: Option<&Policy>) -> Vec<Line> {
    let Some(policy) = policy else {
        return vec![("cache", "none".to_owned())];
    };
    let (zone, most) = (&policy.zone, show_size(policy.max_object));
    let mut lines = vec![
        ("cache", format!("zone {zone}, bodies of at most {most}")),
        ("cache fresh", fresh(policy)),
        ("cache stale", stale(policy)),
    ];
    lines.extend(key(policy).map(|key| ("cache key", key)));
    lines.extend(bypass(policy).map(|bypass| ("cache bypass", bypass)));
    if !policy.strip_cookies.is_empty() {
        let names = names(&policy.strip_cookies);
        lines.push(("cookies", format!("without {names}")));
    }
    lines.push(("cache rules", rules(policy)));
    lines
}

fn fresh(policy: &Policy) -> String {
    let ttl = policy.ttl.by_status.iter();
    let ttl = ttl.map(|(status, lifetime)| format!("{status} for {}", secs(*lifetime)));
    let ttl: Vec<String> = ttl.collect();
    let said = match policy.ttl.replaces {
        _ if ttl.is_empty() => "as the backend says".to_owned(),
        Replaces::Nothing => format!("as the backend says, else {}", ttl.join(", ")),
        Replaces::Lifetimes => format!("{}, unless for one client alone", ttl.join(", ")),
        Replaces::Everything => format!("{}, whatever the backend says", ttl.join(", ")),
    };
    let heuristic = match policy.heuristic_percent {
        0 => String::new(),
        percent => {
            let most = secs(policy.heuristic_max);
            format!("; else {percent} % of its age, at most {most}")
        }
    };
    let error = secs(policy.error_ttl_max);
    format!("{said}{heuristic}; an error at most {error}")
}

fn stale(policy: &Policy) -> String {
    let windows = [
        (policy.stale_if_unreachable, "if no answer can be had"),
        (
            policy.stale_if_error,
            "if the backend answers with an error",
        ),
        (policy.stale_while_revalidate, "while it is fetched anew"),
    ];
    let windows = windows.iter().filter(|(window, _)| *window > 0);
    let windows = windows.map(|(window, when)| format!("{} {when}", secs(*window)));
    let after = policy.stale_after.iter();
    let after = after.map(|time| format!("at once if the backend takes over {}", show_time(*time)));
    let all: Vec<String> = windows.chain(after).collect();
    if all.is_empty() {
        "never".to_owned()
    } else {
        all.join(", ")
    }
}

fn key(policy: &Policy) -> Option<String> {
    let mut parts = parts([
        ("without the parameters ", names(&policy.ignore_query)),
        ("with the fields ", policy.key_headers.join(" ")),
        ("Vary without ", policy.vary_ignore.join(" ")),
    ]);
    if policy.sort_query {
        parts.push("parameters in any order".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn bypass(policy: &Policy) -> Option<String> {
    let parts = parts([
        ("the cookies ", names(&policy.bypass.cookies)),
        ("the fields ", policy.bypass.headers.join(" ")),
        ("the paths ", names(&policy.bypass.paths)),
    ]);
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Texts before names, where there are any.
fn parts(parts: [(&str, String); 3]) -> Vec<String> {
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    parts
        .map(|(what, names)| format!("{what}{names}"))
        .collect()
}

fn rules(policy: &Policy) -> String {
    format!(
        "Set-Cookie {}, Authorization {}, directives of clients {}",
        policy.set_cookie.word(),
        policy.authorization.word(),
        policy.client_directives.word()
    )
}

fn names(patterns: &[Pattern]) -> String {
    let names = patterns.iter().map(Pattern::to_string);
    names.collect::<Vec<_>>().join(" ")
}

fn secs(secs: u32) -> String {
    show_time(Duration::from_secs(secs.into()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn reported(cache: &str) -> String {
        let text = format!(
            "[cache]\nmax_bytes = '8MiB'\n[[routes]]\nbackend_addrs = ['127.0.0.1:1']\ncache = {{ {cache} }}\n"
        );
        let config = config::parse(Path::new("c.toml"), text).unwrap();
        let policy = config.settings.routes[0].cache.as_ref().unwrap();
        let policy = policy.policy("palantir", "/".to_owned());
        let lines = cache_lines(Some(&policy)).into_iter();
        lines
            .map(|(label, text)| format!("{label}: {text}\n"))
            .collect()
    }

    #[test]
    fn defaults_are_shown() {
        let expected = "cache: zone /, bodies of at most 8MiB\n\
            cache fresh: as the backend says; else 10 % of its age, at most 1h; an error at most 10s\n\
            cache stale: 1d if no answer can be had\n\
            cache rules: Set-Cookie refuse, Authorization rfc, directives of clients bounded\n";
        assert_eq!(reported(""), expected);
    }

    #[test]
    fn settings_are_shown() {
        let shown = reported(
            "zone = 'z', ttl = { 404 = '30s', 200 = '10m', override = true }, heuristic = { percent = 0 }, \
             stale_if_unreachable = 0, stale_after = '2s', ignore_query = ['utm_*', 'a'], sort_query = true, \
             key_headers = ['X-A'], vary = { ignore = ['user-agent'] }, \
             bypass = { cookies = ['s*'], headers = ['X-P'], paths = ['/cart*'] }, strip_cookies = ['_ga*']",
        );
        let expected = "cache: zone z, bodies of at most 8MiB\n\
            cache fresh: 200 for 10m, 404 for 30s, unless for one client alone; an error at most 10s\n\
            cache stale: at once if the backend takes over 2s\n\
            cache key: without the parameters utm_* a, with the fields x-a, Vary without user-agent, \
            parameters in any order\n\
            cache bypass: the cookies s*, the fields x-p, the paths /cart*\n\
            cookies: without _ga*\n\
            cache rules: Set-Cookie refuse, Authorization rfc, directives of clients bounded\n";
        assert_eq!(shown, expected);
        assert_eq!(cache_lines(None), [("cache", "none".to_owned())]);
    }
}
