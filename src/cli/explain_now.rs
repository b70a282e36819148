//! The part of `palantir explain` that the running palantir knows: how its cache would treat the request now.

use std::path::Path;

use serde_json::Value;

use super::admin::{AdminClient, AdminError};
use super::report::Report;

/// Asks the running palantir how its cache would treat a request. The result is lines for people.
pub(super) fn explain_now(config: &Path, method: &str, url: &str, fields: &[String]) -> String {
    let mut report = Report::default();
    match ask(config, method, url, fields) {
        Ok(answer) => tell(&mut report, &answer),
        Err(error) => {
            let why = error.to_string().replace('\n', "; ");
            report.line("cache now", format!("not known: {why}"));
        }
    }
    report.into_text()
}

fn ask(config: &Path, method: &str, url: &str, fields: &[String]) -> Result<Value, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| AdminError::Unreachable(format!("no runtime: {error}")))?;
    let mut path = format!(
        "/cache/explain?url={}&method={}",
        escaped(url),
        escaped(method)
    );
    if !fields.is_empty() {
        path += &format!("&header={}", escaped(&fields.join("\n")));
    }
    runtime.block_on(async { AdminClient::find(config)?.get(&path).await })
}

/// A text as the value of a parameter.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(byte.into());
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

fn tell(report: &mut Report, answer: &Value) {
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or("?").to_owned();
    let (outcome, reason) = (word(answer, "outcome"), word(answer, "reason"));
    report.line("cache now", format!("{outcome}: {reason}"));
    if let Some(url) = answer["key_url"].as_str() {
        report.line(
            "cache key",
            format!("{url} in zone {}", word(answer, "zone")),
        );
    }
    let entry = &answer["entry"];
    if entry.is_object() {
        let ttl = match entry["ttl"].as_i64() {
            Some(ttl) if ttl > 0 => format!("fresh for {ttl} s"),
            Some(ttl) => format!("stale for {} s", -ttl),
            None => "of another zone".to_owned(),
        };
        let line = format!(
            "status {}, age {} s, {ttl}, {} bytes, {}",
            entry["status"],
            entry["age"],
            entry["body_bytes"],
            word(entry, "state")
        );
        report.line("cache entry", line);
        let source = word(entry, "lifetime_source");
        report.line(
            "cache lifetime",
            format!("{} s by {source}", answer["lifetime"]),
        );
    }
    let notes = [
        ("if_unreachable", "answers if no backend can be reached"),
        (
            "other_variants",
            "there are responses for other requests (Vary)",
        ),
        ("is_being_fetched", "a request for the same is under way"),
    ];
    for (key, note) in notes {
        if answer[key] == true {
            report.line("cache note", note);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_as_lines() {
        let mut report = Report::default();
        tell(
            &mut report,
            &json!({
                "outcome": "hit", "reason": "max_age", "zone": "api", "key_url": "http://a/", "lifetime": 60,
                "entry": {"status": 200, "age": 5, "ttl": 55, "body_bytes": 7, "state": "fresh",
                    "lifetime_source": "max_age"},
                "if_unreachable": true, "other_variants": false, "is_being_fetched": false,
            }),
        );
        let expected = "\
cache now       hit: max_age
cache key       http://a/ in zone api
cache entry     status 200, age 5 s, fresh for 55 s, 7 bytes, fresh
cache lifetime  60 s by max_age
cache note      answers if no backend can be reached
";
        assert_eq!(report.into_text(), expected);
        let mut report = Report::default();
        let answer = json!({"outcome": "none", "reason": "no_route", "entry": null});
        tell(&mut report, &answer);
        assert_eq!(report.into_text(), "cache now       none: no_route\n");
    }

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(
            escaped("http://a/b?c=d e\n"),
            "http%3A%2F%2Fa%2Fb%3Fc%3Dd%20e%0A"
        );
    }
}
