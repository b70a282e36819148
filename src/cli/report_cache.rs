//! The report on the cache of a route, as lines for people.

use std::time::Duration;

use super::report::Report;
use crate::base::quantity::{show_size, show_time};
use crate::base::setting::Word;
use crate::cache::pattern::Pattern;
use crate::cache::policy::{Policy, Replaces};

/// All that holds for responses of a route with this policy; `None`: they are not cached.
pub(super) fn report_cache(report: &mut Report, policy: Option<&Policy>) {
    let Some(policy) = policy else {
        report.line("cache", "none");
        return;
    };
    let (zone, most) = (&policy.zone, show_size(policy.max_object));
    report.line("cache", format!("zone {zone}, bodies of at most {most}"));
    report.line("cache fresh", fresh(policy));
    report.line("cache stale", stale(policy));
    report_key(report, policy);
    report_requests(report, policy);
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
    match all.is_empty() {
        true => "never".to_owned(),
        false => all.join(", "),
    }
}

fn report_key(report: &mut Report, policy: &Policy) {
    let query = names(&policy.ignore_query);
    let parts = [
        ("without the parameters ", query),
        ("with the fields ", policy.key_headers.join(" ")),
        ("Vary without ", policy.vary_ignore.join(" ")),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts = parts.map(|(what, names)| format!("{what}{names}"));
    let sorted = policy
        .sort_query
        .then(|| "parameters in any order".to_owned());
    let parts: Vec<String> = parts.chain(sorted).collect();
    if !parts.is_empty() {
        report.line("cache key", parts.join(", "));
    }
}

fn report_requests(report: &mut Report, policy: &Policy) {
    let bypass = &policy.bypass;
    let parts = [
        ("the cookies ", names(&bypass.cookies)),
        ("the fields ", bypass.headers.join(" ")),
        ("the paths ", names(&bypass.paths)),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts
        .map(|(what, names)| format!("{what}{names}"))
        .collect();
    if !parts.is_empty() {
        report.line("cache bypass", parts.join(", "));
    }
    if !policy.strip_cookies.is_empty() {
        report.line(
            "cookies",
            format!("without {}", names(&policy.strip_cookies)),
        );
    }
    let line = format!(
        "Set-Cookie {}, Authorization {}, directives of clients {}",
        policy.set_cookie.word(),
        policy.authorization.word(),
        policy.client_directives.word()
    );
    report.line("cache rules", line);
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
        let mut report = Report::default();
        report_cache(
            &mut report,
            Some(&policy.policy("palantir", "/".to_owned())),
        );
        report.into_text()
    }

    #[test]
    fn defaults_are_shown() {
        let expected = "cache           zone /, bodies of at most 8MiB\n\
            cache fresh     as the backend says; else 10 % of its age, at most 1h; an error at most 10s\n\
            cache stale     1d if no answer can be had\n\
            cache rules     Set-Cookie refuse, Authorization rfc, directives of clients bounded\n";
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
        let expected = "cache           zone z, bodies of at most 8MiB\n\
            cache fresh     200 for 10m, 404 for 30s, unless for one client alone; an error at most 10s\n\
            cache stale     at once if the backend takes over 2s\n\
            cache key       without the parameters utm_* a, with the fields x-a, Vary without user-agent, \
            parameters in any order\n\
            cache bypass    the cookies s*, the fields x-p, the paths /cart*\n\
            cookies         without _ga*\n\
            cache rules     Set-Cookie refuse, Authorization rfc, directives of clients bounded\n";
        assert_eq!(shown, expected);
        let mut report = Report::default();
        report_cache(&mut report, None);
        assert_eq!(report.into_text(), "cache           none\n");
    }
}
