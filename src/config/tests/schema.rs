//! The JSON Schema of the configuration, against the reader.

use serde_json::{Value, json};
use toml::Table;

use super::cache::EVERY_CACHE_KEY;
use super::declared::SHIPPED;
use super::parsed;
use super::snapshots::EVERY_KEY;
use crate::base::setting::STATUS_PATTERN;
use crate::config::schema;

/// Whether a document fits a schema, as far as this project's schemas go.
fn fits(whole: &Value, schema: &Value, value: &Value) -> bool {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => &whole["$defs"][reference.trim_start_matches("#/$defs/")],
        None => schema,
    };
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|schema| fits(whole, schema, value));
    }
    let all = schema["allOf"].as_array().into_iter().flatten();
    if !all.clone().all(|required| has_either(required, value)) {
        return false;
    }
    let is_known = schema["enum"]
        .as_array()
        .is_none_or(|known| known.contains(value));
    is_known
        && match (schema["type"].as_str().unwrap(), value) {
            ("boolean", Value::Bool(_)) => true,
            ("string", Value::String(_)) => true,
            (kind @ ("integer" | "number"), Value::Number(number)) => {
                let number = number.as_f64().unwrap();
                let is_of_kind = kind == "number" || number.fract() == 0.0;
                let bound = |key: &str| schema[key].as_f64().unwrap();
                is_of_kind && (bound("minimum")..=bound("maximum")).contains(&number)
            }
            ("array", Value::Array(items)) => {
                let most = schema["maxItems"].as_u64().unwrap() as usize;
                items.len() <= most && items.iter().all(|item| fits(whole, &schema["items"], item))
            }
            ("object", Value::Object(members)) => {
                let required = schema["required"].as_array();
                let mut required = required.into_iter().flatten();
                let has_all = required.all(|key| members.contains_key(key.as_str().unwrap()));
                has_all
                    && members
                        .iter()
                        .all(|(key, member)| match &schema["properties"][key] {
                            Value::Null if has_status(schema, key) => {
                                fits(whole, &schema["patternProperties"][STATUS_PATTERN], member)
                            }
                            Value::Null if schema["additionalProperties"] == false => false,
                            Value::Null => fits(whole, &schema["additionalProperties"], member),
                            property => fits(whole, property, member),
                        })
            }
            _ => false,
        }
}

/// Whether an object has one of the keys, of which the schema requires one.
fn has_either(schema: &Value, value: &Value) -> bool {
    let mut keys = schema["anyOf"].as_array().unwrap().iter();
    keys.any(|key| value.get(key["required"][0].as_str().unwrap()).is_some())
}

/// Whether the schema knows a key as a status.
fn has_status(schema: &Value, key: &str) -> bool {
    let is_status = key.len() == 3 && matches!(key.parse(), Ok(200..=599));
    is_status && schema["patternProperties"][STATUS_PATTERN].is_object()
}

/// A value that the reader takes fits the schema, and the schema refuses values that no reader would take.
#[test]
fn the_schema_fits_the_reader() {
    let schema = schema::of_file();
    let fits = |text: &str| {
        let table: Table = text.parse().unwrap();
        self::fits(&schema, &schema, &serde_json::to_value(table).unwrap())
    };
    assert!(fits(SHIPPED));
    assert!(fits(EVERY_KEY));
    assert!(fits(EVERY_CACHE_KEY));
    let right = [
        "[timeouts]\nconnect = '500ms'\n[limits]\nmemory = '1GiB'\n",
        "[[pools]]\nname = 'a'\nbackends = ['a:1', { addr = 'b:1', weight = 2 }]\nhealth_check = { grpc = true }\ntls = true\n",
    ];
    for text in right {
        assert!(parsed(text).is_ok() && fits(text), "{text}");
    }
    let wrong = [
        "[timeouts]\nconect = 1\n",
        "[timeouts]\nconnect = 0\n",
        "[timeouts]\nconnect = true\n",
        "workers = 257\n",
        "workers = '4'\n",
        "[[pools]]\nbackends = ['a:1']\n",
        "[[pools]]\nname = 'a'\nbackends = ['a:1']\nprotocol = 'h3'\n",
        "[[listeners]]\nadr = 'a:1'\n",
        "[cache]\nname = 'a'\n",
        "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache = { ttl = { 99 = 1 } }\n",
        "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache = { ttl = { 200 = true } }\n",
        "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache = { ttl = { override = 1 } }\n",
        "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache = { stale_after = true }\n",
        "[cache]\nmax_size = '8MiB'\n[[routes]]\nbackend_addrs = ['a:1']\ncache = { stale_if_error = 0.5 }\n",
    ];
    for text in wrong {
        assert!(parsed(text).is_err() && !fits(text), "{text}");
    }
    assert_eq!(
        schema["$defs"]["TracingSettings"]["additionalProperties"],
        json!(false)
    );
}
