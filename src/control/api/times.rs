//! Times in requests to the API, in the grammar of the configuration file.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problem::ApiProblem;
use super::schemas;
use crate::base::quantity::{self, TEXT_TIME_PATTERN};
use crate::base::setting::Kind;
use crate::config::schema::{Form, of_kind};

/// A time in a body: a number of seconds, or a text with a unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct JsonTime(pub Value);

/// A time in a query, where every value is a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct QueryTime(pub String);

impl JsonTime {
    /// The time within this range. Errors: the value is no such time; `field` names the value.
    pub fn read(
        &self,
        field: &str,
        range: &RangeInclusive<Duration>,
    ) -> Result<Duration, ApiProblem> {
        let time = match &self.0 {
            Value::Number(number) => number.as_f64().and_then(quantity::seconds),
            Value::String(text) => quantity::time_with_unit(text),
            _ => None,
        };
        let time = time.filter(|time| range.contains(time));
        time.ok_or_else(|| ApiProblem::of_field(field, quantity::right_time(range)))
    }
}

impl QueryTime {
    /// The time within this range. Errors: the text is no such time; `name` names the parameter.
    pub fn read(
        &self,
        name: &str,
        range: &RangeInclusive<Duration>,
    ) -> Result<Duration, ApiProblem> {
        quantity::time_within(&self.0, range)
            .map_err(|right| ApiProblem::new(StatusCode::BAD_REQUEST, format!("{name}: {right}")))
    }
}

impl PartialSchema for JsonTime {
    fn schema() -> RefOr<Schema> {
        schemas::read(of_kind(Kind::TIME, Form::Api))
    }
}

impl ToSchema for JsonTime {}

impl PartialSchema for QueryTime {
    fn schema() -> RefOr<Schema> {
        schemas::read(json!({"type": "string", "pattern": TEXT_TIME_PATTERN, "examples": ["10s"]}))
    }
}

impl ToSchema for QueryTime {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::limits;
    use crate::config::{self, BACKEND};
    use crate::control::api::settings;

    /// The time of an outlier's ejection as a file has it.
    fn of_file(value: &str) -> Option<Duration> {
        let text =
            format!("[[pools]]\nname = 'a'\nbackends = ['a:1']\noutlier = {{ eject = {value} }}\n");
        let config = config::parse(Path::new("c.toml"), text).ok()?;
        let outlier = config.settings.pools[0].outlier.as_ref();
        outlier.map(|outlier| outlier.eject)
    }

    /// The interval of a backend's probes as a request to the API has it.
    fn of_setting(value: &str) -> Option<Duration> {
        let check = format!("{{\"path\":\"/\",\"interval_secs\":{value}}}");
        let body = format!("{{\"addr\":\"a:1\",\"health_check\":{check}}}");
        let server = settings::table(&BACKEND, serde_json::from_str(&body).ok()?).ok()?;
        let server = toml::Value::Table(server);
        let text = format!("[[pools]]\nname = 'a'\nbackends = [{server}]\n");
        let config = config::parse(Path::new("c.toml"), text).ok()?;
        let check = config.settings.pools[0].backends[0].health_check.as_ref();
        check.map(|check| check.check.interval)
    }

    /// Every way by which a time comes in reads the same values: the file, a setting in the API, a body and, where all
    /// values are texts, a query (and the command line, which calls the same function).
    #[test]
    fn one_grammar_of_times() {
        let range = limits::SHORTEST_TIMEOUT..=limits::LONGEST_TIMEOUT;
        let rows = [
            ("10", Some(10_000)),
            ("10.0", Some(10_000)),
            ("0.25", Some(250)),
            ("86400", Some(86_400_000)),
            ("86401", None),
            ("0.0001", None),
            ("-1", None),
            ("true", None),
            ("[1]", None),
            ("\"500ms\"", Some(500)),
            ("\"10s\"", Some(10_000)),
            ("\"1m\"", Some(60_000)),
            ("\"1h\"", Some(3_600_000)),
            ("\"1d\"", Some(86_400_000)),
            ("\"2d\"", None),
            ("\"1.5s\"", None),
            ("\"10 s\"", None),
            ("\"10S\"", None),
            ("\"1h30m\"", None),
            ("\"-1s\"", None),
            ("\"s\"", None),
            ("\"\"", None),
        ];
        for (value, millis) in rows {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(of_file(value), expected, "{value} in the file");
            assert_eq!(
                of_setting(value),
                expected,
                "{value} as a setting of the API"
            );
            let body: JsonTime = serde_json::from_str(value).unwrap();
            let body = body.read("a", &range).ok();
            assert_eq!(body, expected, "{value} in a body");
            let text = value.trim_matches('"').to_owned();
            let query = QueryTime(text).read("a", &range).ok();
            assert_eq!(query, expected, "{value} in a query");
        }
        // A text without a unit is a mistake where a number could have been written, and a number elsewhere.
        let text = "\"10\"";
        assert_eq!((of_file(text), of_setting(text)), (None, None));
        assert!(JsonTime(json!("10")).read("a", &range).is_err());
        assert!(QueryTime("10".to_owned()).read("a", &range).is_ok());
    }

    #[test]
    fn a_mistake_says_what_would_be_right() {
        let range = Duration::ZERO..=limits::LONGEST_TIMEOUT;
        let right = quantity::right_time(&range);
        let problem = JsonTime(json!(true))
            .read("confirm_secs", &range)
            .unwrap_err();
        let problem = serde_json::to_value(problem).unwrap();
        assert_eq!(problem["errors"][0]["field"], "confirm_secs");
        assert_eq!(problem["errors"][0]["detail"], right);
        let problem = QueryTime("x".to_owned()).read("drain", &range).unwrap_err();
        let problem = serde_json::to_value(problem).unwrap();
        assert_eq!(problem["detail"], format!("drain: {right}"));
    }
}
