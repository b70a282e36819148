//! Settings on their way from JSON to the configuration's TOML. Only the configuration decides about their values, so
//! that a file and the API never disagree. Its declarations say where a `null` may stand.

use serde_json::{Map, Value};
use toml::Table;

use super::problem::ApiProblem;
use crate::base::setting::{Kind, Section, Setting};

/// JSON settings of a section as a table of a configuration file. `null` is as good as absent. Errors: a number that
/// TOML has not, and a `null` for a setting that the section does not have, as the configuration will never see it.
pub fn table(section: &Section, settings: Map<String, Value>) -> Result<Table, ApiProblem> {
    check_nulls(section, &settings)?;
    let mut table = Table::new();
    for (key, value) in settings {
        if let Some(value) = toml_value(&key, value)? {
            table.insert(key, value);
        }
    }
    Ok(table)
}

/// JSON settings of a section as changes of such a table: `null` takes a setting back to its default. Errors: as of
/// [`table`].
pub fn changes(
    section: &Section,
    settings: Map<String, Value>,
) -> Result<Vec<(String, Option<toml::Value>)>, ApiProblem> {
    check_nulls(section, &settings)?;
    let changes = settings.into_iter().map(|(key, value)| {
        let value = toml_value(&key, value)?;
        Ok((key, value))
    });
    changes.collect()
}

fn check_nulls(section: &Section, settings: &Map<String, Value>) -> Result<(), ApiProblem> {
    check_nulls_below("", section, settings)
}

/// Checks that every `null` among these members stands for a setting of the section. `way`: the way to the members.
fn check_nulls_below(
    way: &str,
    section: &Section,
    members: &Map<String, Value>,
) -> Result<(), ApiProblem> {
    let settings = (section.settings)();
    for (key, member) in members.iter().filter(|(_, member)| has_null(member)) {
        let way = match way {
            "" => key.clone(),
            way => format!("{way}.{key}"),
        };
        let mut known = settings.iter().copied();
        match known.find(|setting: &&Setting| setting.has_key(key)) {
            None => return Err(ApiProblem::of_field(way, "unknown key")),
            Some(_) if member.is_null() => {}
            Some(setting) => check_nulls_in(&way, setting.kind, member)?,
        }
    }
    Ok(())
}

/// Checks the nulls within a value of this kind.
fn check_nulls_in(way: &str, kind: Kind, value: &Value) -> Result<(), ApiProblem> {
    let section = kind.find(|kind| match kind {
        Kind::Table(section) => Some(section),
        _ => None,
    });
    let entries = kind.find(|kind| match kind {
        Kind::List { of, .. } => Some(*of),
        _ => None,
    });
    match (value, section, entries) {
        (Value::Object(members), Some(section), _) => check_nulls_below(way, section, members),
        (Value::Array(items), _, Some(of)) => {
            let items = items.iter().enumerate();
            let mut items = items.filter(|(_, item)| has_null(item));
            items.try_for_each(|(index, item)| check_nulls_in(&format!("{way}[{index}]"), of, item))
        }
        _ => Err(ApiProblem::of_field(
            way,
            "must not be null, nor hold a null",
        )),
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(has_null),
        Value::Array(items) => items.iter().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BACKEND, POOL};

    fn object(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn json_becomes_toml() {
        let json = r#"{"weight":2.0,"drain":false,"remove_after_secs":0.5,"addr":"a:1","max_connections":null,
            "health_check":{"path":"/","expect":null,"list":[1,"x"]}}"#;
        let expected: Table =
            "weight = 2\ndrain = false\nremove_after_secs = 0.5\naddr = \"a:1\"\n\
             health_check = { path = \"/\", list = [1, \"x\"] }"
                .parse()
                .unwrap();
        assert_eq!(table(&BACKEND, object(json)).unwrap(), expected);
        let changed = changes(&BACKEND, object(r#"{"weight":null,"drain":true}"#)).unwrap();
        let mut names: Vec<_> = changed
            .iter()
            .map(|(key, value)| (key.as_str(), value.is_some()))
            .collect();
        names.sort_unstable();
        assert_eq!(names, [("drain", true), ("weight", false)]);
    }

    #[test]
    fn a_null_takes_back_any_setting_by_either_key() {
        for json in [
            r#"{"tls":null,"hash_on":null}"#,
            r#"{"tls":{"ca":null},"outlier":{"eject":null}}"#,
            r#"{"outlier":{"eject_secs":null}}"#,
            r#"{"backends":["a:1",{"addr":"b:1","remove_after_secs":null}]}"#,
        ] {
            assert!(table(&POOL, object(json)).is_ok(), "{json}");
        }
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
                r#"{"health_check":{"headers":{"a":null}}}"#,
                "health_check.headers",
            ),
            (r#"{"tls":[null]}"#, "tls"),
            (
                r#"{"backends":["a:1",{"weigth":null}]}"#,
                "backends[1].weigth",
            ),
        ];
        for (json, field) in rows {
            let problem = table(&POOL, object(json)).unwrap_err();
            let problem = serde_json::to_value(problem).unwrap();
            assert_eq!(problem["errors"][0]["field"], field, "{json}");
        }
    }
}
