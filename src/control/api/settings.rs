//! Settings on their way between JSON and the configuration's TOML. What may stand in them is for the configuration to
//! say, so that a file and the API can never disagree; the types here describe it, and show what is in force.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Table;
use utoipa::ToSchema;

use super::body;
use super::problem::ApiProblem;
use crate::balance::HashKey;
use crate::config::{self, ClientTlsSettings, MASK};
use crate::snapshot::{Outlier, ProbeKind, ProbeTls};

/// How a backend is probed. `null` stands for the default.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckSettings {
    /// A probe that only connects; then there is neither `path` nor `expect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<bool>,
    /// A probe that asks `grpc.health.v1`; then there is neither `path` nor `expect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<AskedAbout>,
    /// What a probe asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^/[!-~]*$", example = "/health")]
    path: Option<String>,
    /// Statuses that count as success: `2xx`, `204`, `200-399`, several with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)(, ?[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)){0,15}$",
        example = "2xx"
    )]
    expect: Option<String>,
    /// The method of a probe by HTTP; GET if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Z-]{1,64}$", example = "GET")]
    method: Option<String>,
    /// A text that the first 32 KiB of the body of the answer must contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    body_contains: Option<String>,
    /// `Host` of a probe by HTTP or gRPC. If absent: the first text that a route of the pool has as `host_header`, else
    /// the address of the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "app.example.com")]
    host: Option<String>,
    /// Further fields of a probe by HTTP or gRPC. A credential is shown as `***`. A `***` that is sent back stands for
    /// the value in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    /// The port that is probed; the port of the backend if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 65535)]
    port: Option<u16>,
    /// TLS of a probe; as in requests of the pool if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsChoice>,
    /// Seconds between two probes.
    #[schema(minimum = 0.001, maximum = 86400)]
    interval_secs: Option<f64>,
    /// Seconds for one probe. `null` stands for the default: the interval, but at most 2 s, and at most 1 s after a
    /// failed probe.
    #[schema(minimum = 0.001, maximum = 86400)]
    timeout_secs: Option<f64>,
    /// Failures in a row that make a backend unhealthy.
    #[schema(minimum = 1, maximum = 1000)]
    unhealthy_after: Option<u32>,
    /// Successes in a row that make it healthy again.
    #[schema(minimum = 1, maximum = 1000)]
    healthy_after: Option<u32>,
}

/// What `grpc.health.v1` is asked about.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AskedAbout {
    /// `true`: the server as a whole.
    Whole(bool),
    /// The service of this name.
    Named(String),
}

/// When a backend is ejected for what its answers were like. `null` stands for the default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutlierSettings {
    /// Connect failures, resets and 5xx in a row.
    #[schema(minimum = 1, maximum = 1000)]
    consecutive_failures: Option<u32>,
    /// Seconds of a first ejection.
    #[schema(minimum = 0.001, maximum = 86400)]
    eject_secs: Option<f64>,
    /// Share of the pool's backends that may be ejected at once.
    #[schema(minimum = 0, maximum = 100)]
    max_ejected_percent: Option<u32>,
}

/// TLS with the backends of a pool: whether, or how. `null` stands for the default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TlsChoice {
    /// Whether TLS is spoken, with every setting at its default.
    Flag(bool),
    Settings(TlsSettings),
}

/// How TLS is spoken with the backends of a pool. `null` stands for the default.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The file of the authorities to verify backends by, else those of the machine.
    #[schema(example = "/etc/palantir/ca.pem")]
    ca: Option<String>,
    /// What backends are asked for and verified as, else each by its own name.
    #[schema(example = "api.internal")]
    server_name: Option<String>,
    /// The file of the certificate that palantir shows.
    cert: Option<String>,
    /// The file of its key.
    key: Option<String>,
    /// Whether backends must prove who they are.
    verify: Option<bool>,
}

impl From<&ClientTlsSettings> for TlsSettings {
    fn from(tls: &ClientTlsSettings) -> TlsSettings {
        let text = |path: &Path| path.display().to_string();
        let pair = tls.pair.as_ref();
        TlsSettings {
            ca: tls.ca.as_deref().map(text),
            server_name: tls.server_name.as_ref().map(|name| name.to_str().into()),
            cert: pair.map(|pair| text(&pair.cert)),
            key: pair.map(|pair| text(&pair.key)),
            verify: Some(tls.verify),
        }
    }
}

impl From<&config::HealthCheckSettings> for HealthCheckSettings {
    fn from(written: &config::HealthCheckSettings) -> HealthCheckSettings {
        let check = &written.check;
        let tls = match (&written.tls, &check.tls) {
            (Some(tls), _) => Some(TlsChoice::Settings(TlsSettings::from(&**tls))),
            (None, ProbeTls::Off) => Some(TlsChoice::Flag(false)),
            (None, _) => None,
        };
        let headers = check.headers.iter().map(|(name, value)| {
            let value = match config::is_credential(name) {
                true => MASK,
                false => value,
            };
            (name.clone(), value.to_owned())
        });
        let shown = HealthCheckSettings {
            host: check.host.clone(),
            headers: (!check.headers.is_empty()).then(|| headers.collect()),
            port: check.port,
            tls,
            interval_secs: Some(check.interval.as_secs_f64()),
            // Without the setting, a probe after a failed one has less time. A client that sends this object back must
            // not change that.
            timeout_secs: (check.timeout == check.timeout_again)
                .then_some(check.timeout.as_secs_f64()),
            unhealthy_after: Some(check.unhealthy_after),
            healthy_after: Some(check.healthy_after),
            ..HealthCheckSettings::default()
        };
        match &check.kind {
            ProbeKind::Tcp => HealthCheckSettings {
                tcp: Some(true),
                ..shown
            },
            ProbeKind::Grpc { service } => HealthCheckSettings {
                grpc: Some(match service.is_empty() {
                    true => AskedAbout::Whole(true),
                    false => AskedAbout::Named(service.clone()),
                }),
                ..shown
            },
            ProbeKind::Http {
                method,
                path,
                expect,
                body_contains,
            } => HealthCheckSettings {
                method: Some(method.clone()),
                path: Some(path.clone()),
                expect: Some(ranges_text(expect)),
                body_contains: body_contains.clone(),
                ..shown
            },
        }
    }
}

impl From<&Outlier> for OutlierSettings {
    fn from(outlier: &Outlier) -> OutlierSettings {
        OutlierSettings {
            consecutive_failures: Some(outlier.consecutive_failures),
            eject_secs: Some(outlier.eject.as_secs_f64()),
            max_ejected_percent: Some(outlier.max_ejected_percent),
        }
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

/// `hash_on` as the configuration writes it.
pub fn hash_key_text(key: &HashKey) -> String {
    match key {
        HashKey::ClientAddress => "client_address".to_owned(),
        HashKey::Path => "path".to_owned(),
        HashKey::Header(name) => format!("header:{name}"),
        HashKey::Cookie(name) => format!("cookie:{name}"),
    }
}

/// JSON settings as a table of a configuration file. `null` is as good as absent. Errors: a number that TOML has not,
/// and a `null` for what `T` does not describe, as the configuration will never see it.
pub fn table<T: DeserializeOwned>(settings: Map<String, Value>) -> Result<Table, ApiProblem> {
    check_nulls::<T>(&settings)?;
    let mut table = Table::new();
    for (key, value) in settings {
        if let Some(value) = toml_value(&key, value)? {
            table.insert(key, value);
        }
    }
    Ok(table)
}

/// JSON settings as changes of such a table: `null` takes a setting back to its default. Errors: as of [`table`].
pub fn changes<T: DeserializeOwned>(
    settings: Map<String, Value>,
) -> Result<Vec<(String, Option<toml::Value>)>, ApiProblem> {
    check_nulls::<T>(&settings)?;
    let changes = settings.into_iter().map(|(key, value)| {
        let value = toml_value(&key, value)?;
        Ok((key, value))
    });
    changes.collect()
}

fn check_nulls<T: DeserializeOwned>(settings: &Map<String, Value>) -> Result<(), ApiProblem> {
    match nulls_of_object(settings) {
        Some(nulls) => body::take::<T, _>(nulls).map(drop),
        None => Ok(()),
    }
}

/// What is `null`, with the objects and lists around it and nothing else.
fn nulls_of(value: &Value) -> Option<Value> {
    match value {
        Value::Null => Some(Value::Null),
        Value::Object(members) => nulls_of_object(members),
        Value::Array(items) => {
            let nulls: Vec<Option<Value>> = items.iter().map(nulls_of).collect();
            let has_any = nulls.iter().any(Option::is_some);
            let whole = nulls
                .into_iter()
                .map(|item| item.unwrap_or_else(|| Value::Object(Map::new())));
            has_any.then(|| Value::Array(whole.collect()))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn nulls_of_object(members: &Map<String, Value>) -> Option<Value> {
    let nulls = members
        .iter()
        .filter_map(|(key, member)| Some((key.clone(), nulls_of(member)?)));
    let nulls: Map<String, Value> = nulls.collect();
    (!nulls.is_empty()).then_some(Value::Object(nulls))
}

fn toml_value(field: &str, value: Value) -> Result<Option<toml::Value>, ApiProblem> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(flag) => toml::Value::Boolean(flag),
        Value::Number(number) => toml_number(field, &number)?,
        Value::String(text) => toml::Value::String(text),
        Value::Array(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                let field = format!("{field}[{index}]");
                match toml_value(&field, item)? {
                    Some(value) => values.push(value),
                    None => return Err(ApiProblem::of_field(field, "must not be null")),
                }
            }
            toml::Value::Array(values)
        }
        Value::Object(members) => {
            let mut table = Table::new();
            for (key, member) in members {
                if let Some(value) = toml_value(&format!("{field}.{key}"), member)? {
                    table.insert(key, value);
                }
            }
            toml::Value::Table(table)
        }
    }))
}

/// JSON does not tell 2.0 from 2 (RFC 8259, section 6), TOML does.
fn toml_number(field: &str, number: &serde_json::Number) -> Result<toml::Value, ApiProblem> {
    const EXACT: f64 = (1u64 << 53) as f64;
    if let Some(whole) = number.as_i64() {
        return Ok(toml::Value::Integer(whole));
    }
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() < EXACT => {
            Ok(toml::Value::Integer(float as i64))
        }
        Some(float) if float.is_finite() && float.abs() < EXACT => Ok(toml::Value::Float(float)),
        _ => Err(ApiProblem::of_field(field, "is too large a number")),
    }
}

/// Seconds; `None` for what is not set.
pub fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "describes")]
    struct Described {
        weight: Option<u16>,
        drain: Option<bool>,
        gone: Option<bool>,
        health_check: Option<HealthCheckSettings>,
        backends: Option<Vec<Described>>,
    }

    #[test]
    fn json_becomes_toml() {
        let json = r#"{"weight":2.0,"drain":false,"remove_after_secs":0.5,"addr":"a:1","gone":null,
            "health_check":{"path":"/","expect":null,"list":[1,"x"]}}"#;
        let expected: Table =
            "weight = 2\ndrain = false\nremove_after_secs = 0.5\naddr = \"a:1\"\n\
             health_check = { path = \"/\", list = [1, \"x\"] }"
                .parse()
                .unwrap();
        assert_eq!(table::<Described>(object(json)).unwrap(), expected);
        let changed = changes::<Described>(object(r#"{"weight":null,"drain":true}"#)).unwrap();
        let mut names: Vec<_> = changed
            .iter()
            .map(|(key, value)| (key.as_str(), value.is_some()))
            .collect();
        names.sort_unstable();
        assert_eq!(names, [("drain", true), ("weight", false)]);
    }

    #[test]
    fn what_toml_cannot_say_is_refused() {
        let rows = [
            (r#"{"weight":1e300}"#, "weight"),
            (r#"{"weight":18446744073709551615}"#, "weight"),
            (r#"{"backends":["a:1",null]}"#, "backends[1]"),
            (r#"{"":null}"#, ""),
            (r#"{"weigth":null}"#, "weigth"),
            (r#"{"health_check":{"pth":null}}"#, "health_check.pth"),
            (
                r#"{"backends":["a:1",{"weigth":null}]}"#,
                "backends[1].weigth",
            ),
        ];
        for (json, field) in rows {
            let problem = table::<Described>(object(json)).unwrap_err();
            let problem = serde_json::to_value(problem).unwrap();
            assert_eq!(problem["errors"][0]["field"], field, "{json}");
        }
    }

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
}
