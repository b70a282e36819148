//! Settings in force as JSON, with the keys by which they are changed.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::base::setting::Plain;
use crate::config::schema::as_json;
use crate::config::{
    self, BackendSettings, ClientTlsSettings, HealthCheckSettings, MASK, PoolSettings,
};
use crate::snapshot::{HealthCheck, ProbeKind, ProbeTls};

/// Members of an object.
pub type Members = Map<String, Value>;

/// The settings of a pool; `null` for those that are absent and have no default.
pub fn pool(pool: &PoolSettings) -> Members {
    let algorithm = &pool.algorithm;
    let hash_on = algorithm.uses_key().then(|| algorithm.key.to_string());
    let mut members = plain(&pool.options);
    members.insert("balancing_algorithm".to_owned(), algorithm.name().into());
    members.insert("hash_on".to_owned(), hash_on.into());
    members.insert(
        "health_check".to_owned(),
        pool.health_check.as_ref().map(health_check).into(),
    );
    members.insert(
        "outlier".to_owned(),
        pool.outlier.as_ref().map(plain).into(),
    );
    members.insert("tls".to_owned(), pool.tls.as_deref().map(tls).into());
    members
}

/// The settings of a backend, without its address.
pub fn backend(backend: &BackendSettings) -> Members {
    let secs = backend.remove_after.map(|time| time.as_secs_f64());
    members(json!({
        "weight": backend.weight,
        "max_connections": backend.max_connections,
        "drain": backend.draining,
        "remove_after_secs": secs,
        "health_check": backend.health_check.as_ref().map(health_check),
    }))
}

/// The values of settings that were declared together.
pub fn plain<T: Plain>(settings: &T) -> Members {
    let values = settings.values().into_iter();
    let members = values.map(|(setting, value)| {
        let value = value.map_or(Value::Null, as_json);
        (setting.api_name().to_owned(), value)
    });
    members.collect()
}

fn tls(tls: &ClientTlsSettings) -> Members {
    let text = |path: &Path| path.display().to_string();
    let pair = tls.pair.as_ref();
    members(json!({
        "ca": tls.ca.as_deref().map(text),
        "server_name": tls.server_name.as_ref().map(|name| name.to_str()),
        "cert": pair.map(|pair| text(&pair.cert)),
        "key": pair.map(|pair| text(&pair.key)),
        "verify": tls.verify,
    }))
}

/// The settings of a probe. Those of another kind of probe are left out, so that a client may send the object back.
fn health_check(written: &HealthCheckSettings) -> Members {
    let check = &written.check;
    // Without the setting, a probe after a failed one has less time. A client that sends this object back must not
    // change that.
    let timeout = (check.timeout == check.timeout_again).then_some(check.timeout.as_secs_f64());
    let mut shown = members(json!({
        "interval_secs": check.interval.as_secs_f64(),
        "timeout_secs": timeout,
        "unhealthy_after": check.unhealthy_after,
        "healthy_after": check.healthy_after,
    }));
    shown.extend(members(probe(&check.kind)));
    let tls = match (&written.tls, &check.tls) {
        (Some(own), _) => Some(Value::from(tls(own))),
        (None, ProbeTls::Off) => Some(false.into()),
        (None, _) => None,
    };
    let further = [
        ("host", check.host.clone().map(Value::from)),
        ("headers", headers(check)),
        ("port", check.port.map(Value::from)),
        ("tls", tls),
    ];
    let further = further.into_iter();
    shown.extend(further.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    shown
}

fn headers(check: &HealthCheck) -> Option<Value> {
    let headers = check.headers.iter().map(|(name, value)| {
        let is_hidden = config::is_credential(name);
        let value = if is_hidden { MASK } else { value };
        (name.clone(), Value::from(value))
    });
    let headers: Members = headers.collect();
    (!headers.is_empty()).then(|| headers.into())
}

fn probe(kind: &ProbeKind) -> Value {
    match kind {
        ProbeKind::Tcp => json!({"tcp": true}),
        ProbeKind::Grpc { service } if service.is_empty() => json!({"grpc": true}),
        ProbeKind::Grpc { service } => json!({"grpc": service}),
        ProbeKind::Http {
            method,
            path,
            expect,
            body_contains,
        } => {
            let mut shown = json!({"method": method, "path": path, "expect": ranges_text(expect)});
            if let Some(text) = body_contains {
                shown["body_contains"] = text.as_str().into();
            }
            shown
        }
    }
}

/// The members of an object.
pub(super) fn members(object: Value) -> Members {
    match object {
        Value::Object(members) => members,
        _ => Members::new(),
    }
}

fn ranges_text(ranges: &[(u16, u16)]) -> String {
    let texts: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match (first, last) {
            (first, last) if first == last => first.to_string(),
            (first, last) if first % 100 == 0 && *last == first + 99 => {
                format!("{}xx", first / 100)
            }
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::setting::Section;
    use crate::config::{BACKEND, Config, HEALTH_CHECK, POOL};

    #[test]
    fn statuses_are_written_as_they_are_read() {
        let rows: [(&[(u16, u16)], &str); 3] = [
            (&[(200, 299)], "2xx"),
            (&[(204, 204)], "204"),
            (&[(200, 399), (404, 404)], "200-399, 404"),
        ];
        for (ranges, text) in rows {
            assert_eq!(ranges_text(ranges), text);
        }
    }

    fn config(text: &str) -> Config {
        config::parse(Path::new("c.toml"), text.to_owned()).unwrap()
    }

    /// Keys that the API may change, without these.
    fn keys(section: &Section, without: &[&str]) -> Vec<&'static str> {
        let settings = (section.settings)().into_iter();
        let settings = settings.filter(|setting| setting.by_api);
        let keys = settings.map(|setting| setting.api_name());
        let mut keys: Vec<_> = keys.filter(|key| !without.contains(key)).collect();
        keys.sort_unstable();
        keys
    }

    fn shown_keys(members: &Members) -> Vec<&str> {
        let mut keys: Vec<_> = members.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    /// A setting that can be changed is shown, under the same key.
    #[test]
    fn every_setting_that_the_api_changes_is_shown() {
        let config = config(
            "[[pools]]\nname = 'a'\nbackends = ['a:1']\ntls = { ca = '/a' }\noutlier = {}\n\
             health_check = { path = '/', body_contains = 'a', host = 'a', port = 1, tls = false, \
             headers = { x-a = 'b' } }\n",
        );
        let settings = &config.settings.pools[0];
        let shown = pool(settings);
        assert_eq!(shown_keys(&shown), keys(&POOL, &["backends"]));
        let of_backend = backend(&settings.backends[0]);
        assert_eq!(shown_keys(&of_backend), keys(&BACKEND, &["addr"]));
        let check = shown["health_check"].as_object().unwrap();
        assert_eq!(shown_keys(check), keys(&HEALTH_CHECK, &["tcp", "grpc"]));
        assert_eq!(shown["outlier"]["eject_secs"], 30.0);
        assert_eq!(shown["protocol"], "h1");
        assert_eq!(shown["proxy_protocol"], Value::Null);
    }
}
