//! `health_check` of a pool, and of a backend.

use std::collections::HashSet;
use std::time::Duration;

use ::http::uri::PathAndQuery;

use super::document::{DocumentTable, Item};
use super::fields;
use super::notes::Position;
use super::tls::{self, ClientTlsSettings};
use crate::base::limits::{self, default};
use crate::http::host;
use crate::snapshot::{HealthCheck, ProbeKind, ProbeTls, Protocol};
use crate::tls::{Alpn, TlsClientSettings};

/// A health check as the configuration has it.
#[derive(Clone, Debug)]
pub struct HealthCheckSettings {
    /// The check, without the TLS configuration that its own settings lead to.
    pub check: HealthCheck,
    /// The check's own TLS settings; `None`: TLS is as `check` says.
    pub tls: Option<Box<ClientTlsSettings>>,
    /// The place of `port` in the file, if the check has one.
    pub(super) port_position: Option<Position>,
}

impl HealthCheckSettings {
    /// The check's own TLS settings and the TLS configuration built of them, if the check has any, for a pool of this
    /// protocol.
    pub(super) fn own_tls(
        &self,
        protocol: Protocol,
    ) -> Option<(&ClientTlsSettings, TlsClientSettings)> {
        let tls = self.tls.as_deref()?;
        let mut settings = tls.settings(protocol);
        if let ProbeKind::Grpc { .. } = self.check.kind {
            settings.alpn = Alpn::H2;
        }
        Some((tls, settings))
    }
}

pub(super) fn read(table: &mut DocumentTable<'_>) -> HealthCheckSettings {
    let timeout = table.timeout("timeout");
    let or_default = |secs| timeout.unwrap_or(Duration::from_secs(secs));
    let (tls, own_tls) = read_tls(table);
    let mut port_position = None;
    let port = table.get("port", |item| {
        let port = item.whole()?;
        port_position = Some(item.positioned(()).position);
        Some(port)
    });
    let kind = read_probe(table);
    let check = HealthCheck {
        port,
        tls,
        host: read_host(table, &kind),
        headers: read_headers(table, &kind),
        kind,
        interval: table.time("interval"),
        timeout: or_default(default::PROBE_TIMEOUT),
        timeout_again: or_default(default::PROBE_AGAIN_TIMEOUT),
        unhealthy_after: table.whole("unhealthy_after"),
        healthy_after: table.whole("healthy_after"),
    };
    HealthCheckSettings {
        check,
        tls: own_tls,
        port_position,
    }
}

fn read_tls(table: &mut DocumentTable<'_>) -> (ProbeTls, Option<Box<ClientTlsSettings>>) {
    if !table.has("tls") {
        table.get("tls", |_| Some(()));
        return (ProbeTls::AsPool, None);
    }
    // `read_client` gives `None` for `tls = false`, and for a mistake, which it has noted.
    match table.get("tls", tls::read_client) {
        Some(tls) => (ProbeTls::AsPool, Some(Box::new(tls))),
        None => (ProbeTls::Off, None),
    }
}

const SENDS_NOTHING: &str = "a probe with tcp = true sends no request; leave this out";

fn read_host(table: &mut DocumentTable<'_>, kind: &ProbeKind) -> Option<String> {
    if *kind == ProbeKind::Tcp {
        table.refuse("host", SENDS_NOTHING);
        return None;
    }
    table.get("host", |item| item.parsed(authority))
}

/// The value of `Host` in a request.
fn authority(text: &str) -> Result<String, String> {
    match host::split(text.as_bytes()) {
        Some(_) => Ok(text.to_owned()),
        None => Err("must be a host name or an address, with or without a port: \"app.example.com\", \"[::1]:80\"".to_owned()),
    }
}

fn read_headers(table: &mut DocumentTable<'_>, kind: &ProbeKind) -> Vec<(String, String)> {
    if *kind == ProbeKind::Tcp {
        table.refuse("headers", SENDS_NOTHING);
        return Vec::new();
    }
    let is_grpc = matches!(kind, ProbeKind::Grpc { .. });
    let entries = table.get("headers", |item| item.entries());
    let mut names = HashSet::new();
    let read = |(name, item): (String, Item<'_>)| {
        let name = match fields::of_probe(&name) {
            Ok(name) if !names.insert(name.clone()) => item.wrong(format!("{name:?} is set twice")),
            Ok(name) if is_grpc && name == "content-type" => {
                item.wrong("a gRPC probe has a \"content-type\" of its own")
            }
            Ok(name) => Some(name),
            Err(right) => item.wrong(right),
        };
        let value = item.parsed(|text| fields::value_of(name.as_deref(), text));
        name.zip(value)
    };
    entries.into_iter().flatten().filter_map(read).collect()
}

fn read_probe(table: &mut DocumentTable<'_>) -> ProbeKind {
    if table.flag("tcp") {
        for key in ["path", "expect", "method", "body_contains", "grpc"] {
            table.refuse(key, SENDS_NOTHING);
        }
        return ProbeKind::Tcp;
    }
    let is_grpc = table.has("grpc");
    let service = table.get("grpc", |item| item.name_or_true(grpc_name));
    if is_grpc {
        for key in ["path", "expect", "method", "body_contains"] {
            table.refuse(
                key,
                "a probe with grpc asks its own question; leave this out",
            );
        }
        let service = service.unwrap_or_default();
        return ProbeKind::Grpc { service };
    }
    if !table.has("path") {
        table.lacks("needs path = \"/…\" for an HTTP probe, tcp = true, or grpc = true");
    }
    let path = table.get("path", |item| item.parsed(probe_path));
    let expect = table.parsed("expect", expected_statuses);
    let method = table.parsed("method", method);
    let body_contains = table.get("body_contains", |item| match item.parsed(pattern)? {
        _ if method == "HEAD" => item.wrong("an answer to HEAD has no body"),
        pattern => Some(pattern),
    });
    ProbeKind::Http {
        method,
        path: path.unwrap_or_default(),
        expect,
        body_contains,
    }
}

/// A method (RFC 9110 section 9.1). Methods are case-sensitive, so a method in small letters is taken for a mistake.
fn method(text: &str) -> Result<String, String> {
    let is_method = (1..=limits::METHOD_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    match text {
        "CONNECT" => Err("is not a method that asks for anything".to_owned()),
        _ if is_method => Ok(text.to_owned()),
        _ => Err("must be a method such as \"GET\", \"HEAD\" or \"OPTIONS\"".to_owned()),
    }
}

fn pattern(text: &str) -> Result<String, String> {
    match text.len() {
        1..=limits::PROBE_PATTERN_BYTES => Ok(text.to_owned()),
        _ => Err(format!(
            "must be a text of 1 to {} bytes",
            limits::PROBE_PATTERN_BYTES
        )),
    }
}

fn grpc_name(text: &str) -> Result<String, String> {
    let is_name = (1..=limits::PROBE_SERVICE_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "must be true, or the name of a service in 1 to {} characters without blanks",
            limits::PROBE_SERVICE_BYTES
        )
    })
}

fn probe_path(text: &str) -> Result<String, String> {
    let is_visible = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    // Probes are written by a library that has rules of its own, and that leaves out a fragment.
    let is_sent_so = || PathAndQuery::try_from(text).is_ok_and(|target| target.as_str() == text);
    if is_visible && is_sent_so() {
        return Ok(text.to_owned());
    }
    Err("must begin with \"/\" and have no blanks; other characters are written as %XX".to_owned())
}

/// Reads `2xx`, `200`, `200-399`, or several of these separated by commas, as inclusive ranges.
fn expected_statuses(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let ranges: Option<Vec<_>> = text
        .split(',')
        .map(|range| statuses(range.trim()))
        .collect();
    ranges
        .filter(|ranges| ranges.len() <= limits::EXPECTED_STATUSES)
        .ok_or_else(|| {
            "must be statuses such as \"2xx\", \"204\", \"200-399\" or \"2xx, 404\"".to_owned()
        })
}

fn statuses(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| {
        let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|status| is_plain && (100..=599).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let class = class
            .parse::<u16>()
            .ok()
            .filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    match text.split_once('-') {
        None => Some((status(text)?, status(text)?)),
        Some((first, last)) => {
            Some((status(first.trim())?, status(last.trim())?)).filter(|(a, b)| a <= b)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_statuses_table() {
        let understood: [(&str, &[(u16, u16)]); 4] = [
            ("2xx", &[(200, 299)]),
            ("204", &[(204, 204)]),
            ("200-399", &[(200, 399)]),
            ("2xx, 404", &[(200, 299), (404, 404)]),
        ];
        for (text, expected) in understood {
            assert_eq!(expected_statuses(text).as_deref(), Ok(expected), "{text:?}");
        }
        for text in ["", "6xx", "0xx", "399-200", "20", "+20", "200,", "700"] {
            assert!(expected_statuses(text).is_err(), "{text:?}");
        }
    }

    /// A path is taken only if a probe can send exactly this text.
    #[test]
    fn probe_paths_table() {
        let sent = ["/", "/h?a=b&c=%22", "/a%20b;c=d,e", "//h", "/h?"];
        for path in sent {
            assert_eq!(probe_path(path), Ok(path.to_owned()));
        }
        let refused = [
            "", "h", "/a b", "/a<b", "/h?a=<b>", "/h?\"q\"", "/h#frag", "/\u{e9}",
        ];
        for path in refused {
            assert!(probe_path(path).is_err(), "{path}");
        }
    }
}
