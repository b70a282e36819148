//! One form of a table of the configuration for all ways to write the same: each setting by its documented name, times
//! and sizes with their largest units, and each backend as a table, in the order of the addresses. Documents are
//! compared in this form, so that a file that is only written in another way takes nothing back.

use std::time::Duration;

use toml::{Table, Value};

use crate::base::quantity;
use crate::base::setting::{Kind, Section, Setting};
use crate::config::{BACKEND, BackendAddress, POOL};

/// The normal form of a checked table of this section.
pub fn normal(table: &Table, section: &Section) -> Table {
    let settings = (section.settings)();
    // A route has the settings of a pool too if the pool is its own.
    let of_pool = (POOL.settings)();
    let find = |key: &str| -> Option<&'static Setting> {
        let mut all = settings.iter().chain(&of_pool);
        all.find(|setting| setting.has_key(key)).copied()
    };
    let entries = table.iter().map(|(key, value)| match find(key) {
        Some(setting) => (setting.name.to_owned(), normal_value(value, setting.kind)),
        None => (key.clone(), value.clone()),
    });
    entries.collect()
}

fn normal_value(value: &Value, kind: Kind) -> Value {
    let found = kind.find(|kind| match (kind, value) {
        (Kind::Time { .. } | Kind::Lifetime, _) => {
            Some(Value::String(quantity::show_time(time(value)?)))
        }
        (Kind::Size { .. }, _) => Some(Value::String(quantity::show_size(size(value)?))),
        (Kind::Table(section), Value::Table(table)) => Some(Value::Table(normal(table, section))),
        (Kind::ByStatus { of, beside, .. }, Value::Table(table)) => {
            Some(Value::Table(normal_statuses(table, *of, beside)))
        }
        (Kind::List { of, .. }, Value::Array(entries)) if is_of_backends(*of) => {
            Some(Value::Array(normal_backends(entries)))
        }
        (Kind::List { of, .. }, Value::Array(entries)) => {
            let entries = entries.iter().map(|entry| normal_value(entry, *of));
            Some(Value::Array(entries.collect()))
        }
        _ => None,
    });
    found.unwrap_or_else(|| value.clone())
}

/// The normal form of a table with statuses and the settings of a section as its keys.
fn normal_statuses(table: &Table, of: Kind, beside: &Section) -> Table {
    let mut normal = normal(table, beside);
    for (key, value) in &mut normal {
        if key.bytes().all(|byte| byte.is_ascii_digit()) {
            *value = normal_value(value, of);
        }
    }
    normal
}

fn is_of_backends(kind: Kind) -> bool {
    let is_backend = |kind| match kind {
        Kind::Table(section) => (section.name == BACKEND.name).then_some(()),
        _ => None,
    };
    kind.find(is_backend).is_some()
}

fn normal_backends(entries: &[Value]) -> Vec<Value> {
    let mut backends: Vec<(String, Table)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let (addr, settings) = match entry {
            Value::Table(table) => (table.get("addr"), normal(table, &BACKEND)),
            addr => (Some(addr), Table::new()),
        };
        let addr = addr.and_then(Value::as_str).unwrap_or_default();
        // The host counts, because the backend may get it as `Host`.
        let place = BackendAddress::parse(addr).map_or_else(
            |_| addr.to_owned(),
            |addr| format!("{} as {}", addr.target, addr.host),
        );
        backends.push((place, settings));
    }
    // Of backends that are in the list twice, the first one counts, so that their order must stay.
    backends.sort_by(|(one, _), (other, _)| one.cmp(other));
    let write = |(place, mut settings): (String, Table)| {
        settings.insert("addr".to_owned(), Value::String(place));
        Value::Table(settings)
    };
    backends.into_iter().map(write).collect()
}

fn time(value: &Value) -> Option<Duration> {
    match value {
        Value::Integer(secs) => quantity::seconds(*secs as f64),
        Value::Float(secs) => quantity::seconds(*secs),
        Value::String(text) => quantity::time_with_unit(text),
        _ => None,
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::String(text) => quantity::size_with_unit(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ROOT;

    #[test]
    fn what_is_the_same_however_it_is_written_table() {
        let pool = |backends: &str, more: &str| {
            format!("[[pools]]\nname = \"api\"\nbackends = [{backends}]\n{more}")
        };
        let route = |more: &str| format!("[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n{more}");
        let rows = [
            (
                "shutdown_timeout = 60".to_owned(),
                "shutdown_timeout = \"1m\"".to_owned(),
                true,
            ),
            (
                "shutdown_timeout = 60".to_owned(),
                "shutdown_timeout = 61".to_owned(),
                false,
            ),
            (
                "shutdown_timeout = 1.5".to_owned(),
                "shutdown_timeout = \"1500ms\"".to_owned(),
                true,
            ),
            (
                "[limits]\nmemory = \"1GiB\"".to_owned(),
                "[limits]\nmemory = \"1024MiB\"".to_owned(),
                true,
            ),
            (
                pool("\"a:1\", \"b:1\"", ""),
                pool("\"b:1\", \"http://a:1\"", ""),
                true,
            ),
            (pool("\"b:1\"", ""), pool("\"B:1\"", ""), false),
            (
                pool("\"a:1\", \"b:1\"", ""),
                pool("\"a:1\", \"b:2\"", ""),
                false,
            ),
            (
                pool("{ addr = \"a:1\", remove_after_secs = 60 }", ""),
                pool("{ addr = \"a:1\", remove_after = \"1m\" }", ""),
                true,
            ),
            (pool("\"a:1\"", ""), pool("{ addr = \"a:1\" }", ""), true),
            (
                pool("\"a:1\"", ""),
                pool("{ addr = \"a:1\", weight = 2 }", ""),
                false,
            ),
            (
                route("health_check = { path = \"/\", interval_secs = 2 }"),
                route("health_check = { path = \"/\", interval = \"2s\" }"),
                true,
            ),
            (
                route("health_check = { path = \"/\", interval_secs = 2 }"),
                route("health_check = { path = \"/\", interval = \"3s\" }"),
                false,
            ),
            (
                "[cache]\nmax_bytes = 1048576".to_owned(),
                "[cache]\nmax_size = \"1MiB\"".to_owned(),
                true,
            ),
            (
                route(
                    "cache = { ttl = { 200 = 600, override = true }, stale_after = 1, slice = 65536 }",
                ),
                route(
                    "cache = { slice = \"64KiB\", stale_after = \"1s\", ttl = { override = true, 200 = \"10m\" } }",
                ),
                true,
            ),
            (
                route("cache = { ttl = { 200 = 600 } }"),
                route("cache = { ttl = { 200 = \"11m\" } }"),
                false,
            ),
            (
                route("cache = { stale_if_error = 60 }"),
                route("cache = { stale_if_error = \"1m\" }"),
                true,
            ),
            (route("cache = {}"), route(""), false),
        ];
        for (one, other, is_same) in rows {
            let [first, second] =
                [&one, &other].map(|text| normal(&text.parse::<Table>().unwrap(), &ROOT));
            assert_eq!(
                first == second,
                is_same,
                "{one}\n{other}\n{first:?}\n{second:?}"
            );
        }
    }
}
