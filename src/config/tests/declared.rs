//! The declarations of the settings, against the reader, the shipped file and the documentation.

use std::collections::HashSet;

use toml::Table;

use super::parsed;
use crate::base::limits;
use crate::base::quantity::show_size;
use crate::base::setting::{Absent, Kind, Section, Setting};
use crate::config::declared::ROOT;
use crate::config::schema::{self, below};
use crate::config::{is_for_the_next_start, reference};

/// The file that palantir is shipped with.
pub(super) const SHIPPED: &str = include_str!("../../../config.toml");
/// The reference as it is in the repository.
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_reference_is_up_to_date() {
    let new = reference::markdown();
    let differs = REFERENCE
        .lines()
        .zip(new.lines())
        .find(|(old, new)| old != new);
    assert!(
        REFERENCE == new,
        "docs/configuration.md is stale; write it anew:\n    \
         cargo run -- schema --reference > docs/configuration.md\nThe first difference: {differs:?}"
    );
    let longest = new.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(120), "{longest:?} columns");
}

fn sections() -> Vec<&'static Section> {
    std::iter::once(&ROOT).chain(below(&ROOT)).collect()
}

pub(super) fn settings() -> impl Iterator<Item = (&'static Section, &'static Setting)> {
    let sections = sections().into_iter();
    sections.flat_map(|section| {
        let settings = (section.settings)().into_iter();
        settings.map(move |setting| (section, setting))
    })
}

#[test]
fn every_declaration_is_complete_and_no_key_means_two_things() {
    for section in sections() {
        let settings = (section.settings)();
        let keys = settings
            .iter()
            .flat_map(|setting| [Some(setting.name), setting.alias]);
        let mut keys: Vec<&str> = keys.flatten().collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "{}", section.name);
        assert!(section.doc.ends_with('.'), "{}", section.name);
    }
    for (section, setting) in settings() {
        let name = format!("{}.{}", section.name, setting.name);
        let doc = setting.doc.trim();
        assert!(
            doc.ends_with('.') && doc.starts_with(|char: char| char.is_uppercase() || char == '`'),
            "{name}: {doc}"
        );
        let has_unit = ["_secs", "_millis", "_bytes"]
            .iter()
            .any(|unit| setting.name.ends_with(unit));
        assert!(!has_unit, "{name}: the documented key has no unit");
    }
}

/// The reader's verdict on a file with the setting at its default, or in a form that is surely wrong.
#[test]
fn the_reader_knows_every_declared_key() {
    // The last part of the way to each mistake about an unknown key.
    let unknown = |text: &str| -> Vec<String> {
        let mistakes = parsed(text).err();
        let notes = mistakes.into_iter().flat_map(|mistakes| mistakes.notes);
        let notes = notes.filter(|note| note.text.starts_with("unknown key"));
        notes.map(|note| note.key).collect()
    };
    let wrong = |section: &Section| -> String {
        let settings = (section.settings)().into_iter();
        let keys = settings.flat_map(|setting| [Some(setting.name), setting.alias]);
        // No setting is a date.
        keys.flatten()
            .map(|key| format!("{key} = 2026-01-01\n"))
            .collect()
    };
    let headers = [
        ("Settings", ""),
        ("ListenerSettings", "[[listeners]]\n"),
        (
            "ListenerTlsSettings",
            "[[listeners]]\naddr = 'unix:/a'\n[listeners.tls]\n",
        ),
        (
            "CertificateSettings",
            "[[listeners]]\n[[listeners.tls.certificates]]\n",
        ),
        ("TicketSettings", "[tls]\n"),
        ("AcmeSettings", "[acme]\n"),
        ("ExternalAccountSettings", "[acme.eab]\n"),
        ("TimeoutSettings", "[timeouts]\n"),
        ("LimitSettings", "[limits]\n"),
        ("AccessLogSettings", "[access_log]\n"),
        ("AdminSettings", "[admin]\n"),
        ("TracingSettings", "[tracing]\n"),
        ("CacheSettings", "[cache]\n"),
        ("CacheDiskSettings", "[cache.disk]\n"),
        ("RouteCacheSettings", "[[routes]]\n[routes.cache]\n"),
        ("TtlSettings", "[[routes]]\n[routes.cache.ttl]\n"),
        (
            "HeuristicSettings",
            "[[routes]]\n[routes.cache.heuristic]\n",
        ),
        ("VarySettings", "[[routes]]\n[routes.cache.vary]\n"),
        ("BypassSettings", "[[routes]]\n[routes.cache.bypass]\n"),
        (
            "PurgeMethodSettings",
            "[[routes]]\n[routes.cache.purge_method]\n",
        ),
        ("TestServerSettings", "[test_server]\n"),
        ("PoolSettings", "[[pools]]\n"),
        ("BackendEntry", "[[pools]]\n[[pools.backends]]\n"),
        ("HealthCheckSettings", "[[pools]]\n[pools.health_check]\n"),
        ("TlsSettings", "[[pools]]\n[pools.tls]\n"),
        ("OutlierSettings", "[[pools]]\n[pools.outlier]\n"),
        ("RouteSettings", "[[routes]]\n"),
        ("FieldSettings", "[[routes]]\n[routes.request_headers]\n"),
        ("RouteTimeoutSettings", "[[routes]]\n[routes.timeouts]\n"),
        ("RouteLimitSettings", "[[routes]]\n[routes.limits]\n"),
    ];
    for section in sections() {
        let header = headers.iter().find(|(name, _)| *name == section.name);
        let (_, header) = header.unwrap_or_else(|| panic!("{} has no row here", section.name));
        let text = format!("{header}{}", wrong(section));
        let found = parsed(&text).expect_err(section.name).notes.len();
        let declared = (section.settings)().len();
        assert!(
            found >= declared,
            "{}: {found} mistakes of {declared}",
            section.name
        );
        assert_eq!(unknown(&text), Vec::<String>::new(), "{}", section.name);
        assert_eq!(
            unknown(&format!("{header}nothing = 1\n")).len(),
            1,
            "{header}"
        );
    }
}

#[test]
fn both_keys_of_a_setting_are_a_mistake() {
    let both =
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\noutlier = { eject_secs = 1, eject = '2s' }\n";
    super::mistakes::expect(
        both,
        &[
            "4:26: pools[0].outlier.eject_secs = 1: is another key for \"eject\", which is set too; leave one of the two out",
        ],
    );
    let one = |key: &str| {
        let text = both.replace("eject_secs = 1, eject = '2s'", &format!("{key} = 2"));
        let config = parsed(&text).unwrap();
        config.settings.pools[0].outlier.clone().unwrap().eject
    };
    assert_eq!(one("eject"), one("eject_secs"));
}

#[test]
fn settings_that_a_reload_does_not_take_over() {
    for way in [
        "workers",
        "admin",
        "admin.token_file",
        "tls.ticket_key_file",
        "test_server.listen_addrs",
        "cache.max_bytes",
    ] {
        assert!(is_for_the_next_start(way), "{way}");
    }
    for way in [
        "limits.memory",
        "admin.state_file",
        "timeouts.connect",
        "access_log.path",
        "routes[0].cache.max_object",
    ] {
        assert!(!is_for_the_next_start(way), "{way}");
    }
}

/// One line of the shipped file that says something of a setting: the section, the key, the value.
fn shipped_lines() -> Vec<(&'static Section, String, String)> {
    let mut section = &ROOT;
    let mut lines = Vec::new();
    for line in SHIPPED.lines() {
        let bare = line.trim_start_matches(['#', ' ']);
        if bare.starts_with('[') && bare.trim_end().ends_with(']') {
            let title = bare.trim_end();
            let mut sections = sections().into_iter();
            let found = sections.find(|section| section.title == title);
            section = found.unwrap_or_else(|| panic!("{title}"));
            continue;
        }
        // Prose has blanks before any equals sign, or begins in capitals.
        let Some((key, value)) = bare.split_once(" = ") else {
            continue;
        };
        if key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            let value = value.split(" #").next().unwrap_or(value);
            lines.push((section, key.to_owned(), value.trim().to_owned()));
        }
    }
    lines
}

/// Settings that the shipped file shows with another value than their default, because the default would show nothing.
const EXAMPLES: [&str; 5] = [
    "balancing_algorithm",
    "contacts",
    "listen_addrs",
    "mode",
    "prefix",
];

/// Settings of tables within a value that the shipped file shows with another value than their default.
const INNER_EXAMPLES: [&str; 12] = [
    "cookies",
    "headers",
    "ignore",
    "ignore_query",
    "key_headers",
    "max_connections",
    "paths",
    "remove",
    "strip_cookies",
    "tcp",
    "uncacheable",
    "weight",
];

/// Checks a table within a value of the shipped file: every key is declared, and has its default or is an example.
fn check_inner(setting: &Setting, value: &toml::Value) {
    match value {
        toml::Value::Array(values) => values.iter().for_each(|value| check_inner(setting, value)),
        toml::Value::Table(table) => {
            let sections = schema::sections_of(setting.kind);
            let settings = sections.iter().flat_map(|section| (section.settings)());
            let settings: Vec<&Setting> = settings.collect();
            for (key, value) in table {
                let Some(inner) = settings.iter().find(|inner| inner.has_key(key)) else {
                    let is_status = matches!(setting.kind, Kind::ByStatus { .. }) && key.len() == 3;
                    assert!(
                        settings.is_empty() || is_status,
                        "{}: {key} is not declared",
                        setting.name
                    );
                    continue;
                };
                check_inner(inner, value);
                if let Some(default) = inner.default_value() {
                    let default = format!("a = {default}").parse::<Table>().unwrap();
                    assert!(
                        default["a"] == *value || INNER_EXAMPLES.contains(&key.as_str()),
                        "{}: {key} = {value}, but the default is {}",
                        setting.name,
                        default["a"]
                    );
                }
            }
        }
        _ => {}
    }
}

/// Every key of the shipped file, commented out or not, is declared, and has its default or is an example.
#[test]
fn the_shipped_file_shows_the_declared_defaults() {
    let lines = shipped_lines();
    assert!(lines.len() > 60, "{} lines", lines.len());
    let mut inner = 0;
    for (section, key, value) in lines {
        let settings = (section.settings)().into_iter();
        let mut settings = settings.chain(inner_settings(section));
        let setting = settings.find(|setting| setting.has_key(&key));
        let setting = setting.unwrap_or_else(|| panic!("{}: {key} is not declared", section.title));
        let read = |text: &str| format!("a = {text}").parse::<Table>().ok();
        let whole = value.replace("[…]", "[]").replace("{ … }", "{}");
        if let Some(value) = read(&whole) {
            check_inner(setting, &value["a"]);
            inner += usize::from(value["a"].is_table());
        } else {
            assert_eq!(value, "[", "{}: {key} is no TOML", section.title);
        }
        let Absent::Is(default) = setting.absent else {
            continue;
        };
        let is_default = read(&value).is_some() && read(&value) == read(&default.to_string());
        assert!(
            is_default || EXAMPLES.contains(&key.as_str()),
            "{}: {key} = {value}, but the default is {default}",
            section.title
        );
    }
    assert!(inner > 10, "{inner} tables within values");
}

/// Bounds that are no kind of a value stand in texts: in patterns and documentation, and in the shipped file.
#[test]
fn the_numbers_in_texts_are_those_of_the_bounds() {
    let text_of = |name: &str| {
        let (section, key) = name.split_once('.').unwrap();
        let found = settings().find(|(of, setting)| of.name == section && setting.name == key);
        let (_, setting) = found.unwrap_or_else(|| panic!("{name}"));
        let zero = setting.zero.unwrap_or_default();
        format!(
            "{:?} {:?} {} {zero}",
            setting.kind, setting.absent, setting.doc
        )
    };
    let many = |most: usize| format!("{{1,{most}}}");
    let rows = [
        ("PoolSettings.name", many(limits::POOL_NAME_BYTES)),
        ("RouteSettings.pool", many(limits::POOL_NAME_BYTES)),
        ("HealthCheckSettings.method", many(limits::METHOD_BYTES)),
        (
            "HealthCheckSettings.body_contains",
            many(limits::PROBE_PATTERN_BYTES),
        ),
        (
            "HealthCheckSettings.body_contains",
            format!("{} bytes", limits::PROBE_PATTERN_BYTES),
        ),
        (
            "HealthCheckSettings.body_contains",
            format!("{} KiB", limits::PROBE_BODY_BYTES >> 10),
        ),
        (
            "HealthCheckSettings.grpc",
            many(limits::PROBE_SERVICE_BYTES),
        ),
        (
            "HealthCheckSettings.expect",
            format!("{{0,{}}}", limits::EXPECTED_STATUSES - 1),
        ),
        (
            "HealthCheckSettings.timeout",
            format!("has {} s", limits::default::PROBE_TIMEOUT),
        ),
        (
            "HealthCheckSettings.timeout",
            format!("failed has {} s", limits::default::PROBE_AGAIN_TIMEOUT),
        ),
        ("RouteCacheSettings.zone", many(limits::POOL_NAME_BYTES)),
        (
            "RouteCacheSettings.strip_cookies",
            format!("{{0,{}}}", limits::CACHE_PATTERN_BYTES),
        ),
        (
            "BypassSettings.paths",
            format!("{{0,{}}}", limits::CACHE_PATTERN_BYTES),
        ),
        (
            "CacheSettings.name",
            format!("{{0,{}}}", limits::CACHE_NAME_BYTES - 1),
        ),
        (
            "CacheSettings.max_size",
            format!("{} %", limits::CACHE_MEMORY_PERCENT),
        ),
        (
            "LimitSettings.memory",
            format!("{} %", limits::MEMORY_PERCENT),
        ),
    ];
    for (name, number) in rows {
        let text = text_of(name);
        assert!(text.contains(&number), "{name} lacks {number}: {text}");
    }
    for number in [
        format!("0: {} %", limits::MEMORY_PERCENT),
        format!("at least \"{}\"", show_size(limits::MEMORY_BYTES_LEAST)),
        format!("one has {} s", limits::default::PROBE_AGAIN_TIMEOUT),
    ] {
        assert!(SHIPPED.contains(&number), "config.toml lacks {number}");
    }
}

/// The pages that tell of settings beside the reference.
const PAGES: [(&str, &str); 5] = [
    ("backends", include_str!("../../../docs/backends.md")),
    (
        "management-api",
        include_str!("../../../docs/management-api.md"),
    ),
    ("requests", include_str!("../../../docs/requests.md")),
    ("tls", include_str!("../../../docs/tls.md")),
    ("tuning", include_str!("../../../docs/tuning.md")),
];

/// A default that stands in two places is wrong in one of them some day.
#[test]
fn the_reference_alone_has_tables_of_defaults() {
    for (page, text) in PAGES {
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let has = |word: &str| cells.iter().any(|cell| cell.starts_with(word));
            assert!(!(has("key") && has("default")), "docs/{page}.md: {line}");
        }
    }
}

/// The sections that are written as such are shown whole.
#[test]
fn the_shipped_file_shows_every_setting() {
    let is_of_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words: HashSet<&str> = SHIPPED.split(|char| !is_of_word(char)).collect();
    for (section, setting) in settings() {
        let is_section = section.title.starts_with('[') || section.title == ROOT.title;
        assert!(
            !is_section || words.contains(setting.name),
            "config.toml does not show {} of {}",
            setting.name,
            section.title
        );
    }
}

/// Settings of the tables that the shipped file writes within a section.
fn inner_settings(section: &'static Section) -> Vec<&'static Setting> {
    let inner = below(section).into_iter();
    inner.flat_map(|section| (section.settings)()).collect()
}
