//! JSON Schema (2020-12) of the settings, for editors and for the management API's OpenAPI document.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::declared::ROOT;
use crate::base::limits;
use crate::base::quantity::{SIZE_PATTERN, TIME_PATTERN};
use crate::base::setting::{self, Absent, Kind, STATUS_PATTERN, Section, Setting};

/// The document that a schema belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `palantir schema`: the configuration file.
    File,
    /// The OpenAPI document: what the management API changes and shows. `null` stands for a default.
    Api,
}

/// The schema of the whole configuration file.
pub fn of_file() -> Value {
    let mut schema = of_section(&ROOT, Form::File);
    let definitions = below(&ROOT).into_iter();
    let definitions: Map<String, Value> = definitions
        .map(|section| (section.name.to_owned(), of_section(section, Form::File)))
        .collect();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "palantir's configuration".into();
    schema["$defs"] = definitions.into();
    schema
}

/// The sections that a section leads to, each once, in the order of the settings that lead to them.
pub fn below(section: &'static Section) -> Vec<&'static Section> {
    let mut found = Vec::new();
    put_below(section, &mut found);
    found
}

fn put_below(section: &'static Section, found: &mut Vec<&'static Section>) {
    for setting in (section.settings)() {
        for inner in sections_of(setting.kind) {
            if !found.iter().any(|known| known.name == inner.name) {
                found.push(inner);
                put_below(inner, found);
            }
        }
    }
}

/// The sections that a value of this kind may be or hold.
pub(super) fn sections_of(kind: Kind) -> Vec<&'static Section> {
    match kind {
        Kind::Table(section) => vec![section],
        Kind::ByStatus { of, beside, .. } => {
            let of = sections_of(*of).into_iter();
            of.chain([beside]).collect()
        }
        Kind::List { of, .. } => sections_of(*of),
        Kind::Any(kinds) => kinds.iter().copied().flat_map(sections_of).collect(),
        _ => Vec::new(),
    }
}

/// The schema of one section: an object with a property for each setting.
pub fn of_section(section: &Section, form: Form) -> Value {
    let settings = (section.settings)();
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut by_either_key = Vec::new();
    for setting in settings {
        if form == Form::Api && !setting.by_api {
            continue;
        }
        let schema = of_setting(setting, form);
        match (form, setting.alias) {
            (Form::File, Some(alias)) => {
                properties.insert(alias.to_owned(), of_alias(setting, &schema));
                properties.insert(setting.name.to_owned(), schema);
            }
            _ => drop(properties.insert(setting.api_name().to_owned(), schema)),
        }
        match (&setting.absent, form, setting.alias) {
            (Absent::Required, Form::File, Some(alias)) => {
                let keys = [setting.name, alias].map(|key| json!({ "required": [key] }));
                by_either_key.push(json!({ "anyOf": keys }));
            }
            (Absent::Required, ..) => required.push(setting.api_name()),
            _ => {}
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !by_either_key.is_empty() {
        schema["allOf"] = by_either_key.into();
    }
    schema
}

fn of_setting(setting: &Setting, form: Form) -> Value {
    let mut schema = match form {
        Form::File => of_kind(setting.kind, form),
        Form::Api if matches!(setting.absent, Absent::Required) => of_kind(setting.kind, form),
        Form::Api => json!({"anyOf": [of_kind(setting.kind, form), {"type": "null"}]}),
    };
    schema["description"] = description(setting).into();
    if let Some(value) = setting.default_value() {
        schema["default"] = match form {
            Form::File => as_written(value),
            Form::Api => as_json(value),
        };
    }
    schema
}

/// The documentation of a setting on one line, with what 0 and its absence mean.
fn description(setting: &Setting) -> String {
    let mut text = setting.doc.trim().to_owned();
    if let Some(zero) = setting.zero {
        text += &format!(" With 0, {zero}.");
    }
    if let Absent::Means(means) = setting.absent {
        text += &format!(" Without the setting, {means}.");
    }
    text
}

fn of_alias(setting: &Setting, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["description"] = format!("Another key for `{}`.", setting.name).into();
    schema["deprecated"] = true.into();
    schema
}

/// The schema of a kind of values.
pub fn of_kind(kind: Kind, form: Form) -> Value {
    match kind {
        Kind::Flag => json!({"type": "boolean"}),
        Kind::True => json!({"type": "boolean", "enum": [true]}),
        Kind::Whole { least, most } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Kind::Time { least } => json!({"anyOf": [
            {
                "type": "number",
                "minimum": seconds(least),
                "maximum": seconds(limits::LONGEST_TIMEOUT),
            },
            {"type": "string", "pattern": TIME_PATTERN},
        ]}),
        Kind::Lifetime => json!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": seconds(limits::LONGEST_LIFETIME)},
            {"type": "string", "pattern": TIME_PATTERN},
        ]}),
        Kind::Size { least, most } => json!({"anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            {"type": "string", "pattern": SIZE_PATTERN},
        ]}),
        Kind::Word(words) => json!({"type": "string", "enum": words()}),
        Kind::Text { pattern, example } => of_text(pattern, example),
        Kind::List { of, least, most } => json!({
            "type": "array",
            "items": of_kind(*of, form),
            "minItems": least,
            "maxItems": most,
        }),
        Kind::Map { most, .. } => json!({
            "type": "object",
            "additionalProperties": {"type": "string"},
            "maxProperties": most,
        }),
        Kind::Table(section) => match form {
            Form::File => json!({"$ref": format!("#/$defs/{}", section.name)}),
            Form::Api => json!({"$ref": format!("#/components/schemas/{}", section.name)}),
        },
        Kind::ByStatus { of, beside, .. } => of_statuses(*of, beside, form),
        Kind::Any(kinds) => {
            let schemas = kinds.iter().map(|kind| of_kind(*kind, form));
            json!({"anyOf": schemas.collect::<Vec<_>>()})
        }
    }
}

/// The schema of a table with statuses and the settings of a section as its keys.
fn of_statuses(of: Kind, beside: &Section, form: Form) -> Value {
    let mut schema = of_section(beside, form);
    let mut statuses = Map::new();
    statuses.insert(STATUS_PATTERN.to_owned(), of_kind(of, form));
    schema["patternProperties"] = statuses.into();
    schema
}

/// A number of seconds; a whole one where that is exact, as OpenAPI writes it.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => time.as_secs().into(),
        _ => time.as_secs_f64().into(),
    }
}

fn of_text(pattern: &str, example: &str) -> Value {
    let mut schema = json!({"type": "string"});
    if !pattern.is_empty() {
        schema["pattern"] = pattern.into();
    }
    if !example.is_empty() {
        schema["examples"] = json!([example]);
    }
    schema
}

/// A value in JSON: times as numbers of seconds, sizes as numbers of bytes.
pub fn as_json(value: setting::Value) -> Value {
    match value {
        setting::Value::Flag(flag) => flag.into(),
        setting::Value::Whole(number) | setting::Value::Size(number) => number.into(),
        setting::Value::Time(time) => time.as_secs_f64().into(),
        setting::Value::Word(text) | setting::Value::Text(text) => text.into(),
        setting::Value::List(texts) => texts.into(),
    }
}

/// A value in JSON as the reference writes it: times and sizes with their units.
fn as_written(value: setting::Value) -> Value {
    match value {
        setting::Value::Time(_) | setting::Value::Size(_) => {
            let text = value.to_string();
            serde_json::from_str(&text).unwrap_or(Value::Null)
        }
        value => as_json(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::declared::POOL;

    #[test]
    fn every_reference_leads_to_a_definition() {
        let schema = of_file();
        let text = schema.to_string();
        let references = text.split("\"#/$defs/").skip(1);
        let mut count = 0;
        for reference in references {
            let name = reference.split('"').next().unwrap();
            assert!(schema["$defs"][name].is_object(), "{name}");
            count += 1;
        }
        assert!(count > 20, "{count} references");
    }

    #[test]
    fn a_setting_of_each_kind() {
        let pool = of_section(&POOL, Form::File);
        let properties = &pool["properties"];
        assert_eq!(pool["required"], json!(["name", "backends"]));
        assert_eq!(properties["protocol"]["enum"], json!(["h1", "h2"]));
        assert_eq!(properties["protocol"]["default"], "h1");
        let whole = &properties["panic_threshold"];
        assert_eq!(
            (&whole["minimum"], &whole["maximum"]),
            (&json!(0), &json!(100))
        );
        let outlier = &of_file()["$defs"]["OutlierSettings"]["properties"];
        assert_eq!(outlier["eject"]["default"], "30s");
        assert_eq!(outlier["eject_secs"]["deprecated"], true);
        assert_eq!(outlier["eject"]["anyOf"][0]["maximum"], 86_400);
        assert!(properties["strict_responses"]["description"].is_string());
    }

    #[test]
    fn the_api_has_one_key_for_each_setting_that_it_may_change() {
        let pool = of_section(&POOL, Form::Api);
        assert!(pool["properties"]["name"].is_null());
        let null = json!({"type": "null"});
        assert_eq!(pool["properties"]["tls"]["anyOf"][1], null);
        let outlier = of_section(&crate::snapshot::OUTLIER, Form::Api);
        assert!(outlier["properties"]["eject"].is_null());
        assert_eq!(outlier["properties"]["eject_secs"]["default"], 30.0);
    }
}
