//! `/metrics`: the numbers as text, in the format that the scraper prefers.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Sources;
use super::families::Families;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The content type for a request's `Accept`. A request that does not ask for OpenMetrics
/// (<https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>) gets Prometheus' own format
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
pub fn content_type(accept: &str) -> &'static str {
    if prefers_openmetrics(accept) {
        OPENMETRICS
    } else {
        PROMETHEUS
    }
}

/// All present figures as a text of this content type.
pub fn render(sources: &Sources, kind: &str) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(sources.clone())));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    match kind {
        OPENMETRICS => text,
        _ => as_prometheus(&text),
    }
}

/// Whether OpenMetrics is accepted and no less liked than plain text (RFC 9110 section 12.5.1).
fn prefers_openmetrics(accept: &str) -> bool {
    let weight = |wanted: &str| {
        let ranges = accept.split(',').map(|range| range.trim());
        ranges
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_wanted = parts.next()?.eq_ignore_ascii_case(wanted);
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                is_wanted.then(|| weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
            })
            .fold(0.0, f64::max)
    };
    let openmetrics = weight("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= weight("text/plain")
}

/// The text in the older format, in which a counter's family has the name of its samples and no mark ends the text.
fn as_prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 1024);
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take() {
                text += &format!("# HELP {name}{suffix} {words}\n");
            }
            text += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if line != "# EOF" {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_table() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let rows = [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0", true),
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("application/openmetrics-text;q=0", false),
            (
                "application/openmetrics-text;q=0.2, text/plain;q=0.9",
                false,
            ),
            ("application/openmetrics-text;q=what", false),
        ];
        for (accept, expected) in rows {
            assert_eq!(prefers_openmetrics(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn counters_are_named_as_their_samples_in_the_older_format() {
        let openmetrics = "# HELP a What a is.\n# TYPE a counter\na_total{b=\"# TYPE a counter\"} 1\n\
             # HELP c What c is.\n# TYPE c gauge\nc 2\n# EOF\n";
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total{b=\"# TYPE a counter\"} 1\n\
             # HELP c What c is.\n# TYPE c gauge\nc 2\n";
        assert_eq!(as_prometheus(openmetrics), expected);
    }
}
