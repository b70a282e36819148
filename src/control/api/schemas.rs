//! Types of the OpenAPI document that are made of the configuration's declarations.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::shown::Members;
use crate::base::setting::{Plain, Section};
use crate::config::schema::{Form, below, of_section};
use crate::config::{BACKEND, POOL, ROUTE_CACHE};
use crate::snapshot::{RouteOptions, RouteTimeouts};

/// The settings of a pool, for a change.
pub struct PoolSettingsSchema;

/// The settings of a server, for a change.
pub struct ServerSettingsSchema;

/// A server to add.
pub struct NewServer;

/// The settings of a pool in force.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ShownPool(pub Members);

/// The settings of a server in force.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ShownServer(pub Members);

/// The settings of a route in force that are used as they are written.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ShownRoute(pub Members);

/// The time-outs of a route in force.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ShownRouteTimeouts(pub Members);

/// The cache of a route in force.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ShownRouteCache(pub Members);

static SHOWN_ROUTE: Section = Section {
    name: "ShownRoute",
    title: "routes",
    doc: "The settings of a route that are used as they are written.",
    settings: || RouteOptions::SETTINGS.iter().collect(),
};

static SHOWN_ROUTE_TIMEOUTS: Section = Section {
    name: "ShownRouteTimeouts",
    title: "routes.timeouts",
    doc: "The time-outs of a route in seconds.",
    settings: || RouteTimeouts::SETTINGS.iter().collect(),
};

impl PartialSchema for PoolSettingsSchema {
    fn schema() -> RefOr<Schema> {
        let mut schema = of_section(&POOL, Form::Api);
        // A change of some settings names no others.
        remove(&mut schema, &["required"]);
        schema["description"] = "The settings of a pool. `null` stands for the default.".into();
        read(schema)
    }
}

impl ToSchema for PoolSettingsSchema {
    fn name() -> Cow<'static, str> {
        "PoolSettings".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        put_below(&POOL, schemas);
    }
}

impl PartialSchema for ServerSettingsSchema {
    fn schema() -> RefOr<Schema> {
        let mut schema = of_server();
        schema["description"] = "The settings of a server. `null` stands for the default.".into();
        read(schema)
    }
}

impl ToSchema for ServerSettingsSchema {
    fn name() -> Cow<'static, str> {
        "ServerSettings".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        put_below(&BACKEND, schemas);
    }
}

impl PartialSchema for NewServer {
    fn schema() -> RefOr<Schema> {
        let mut schema = of_server();
        schema["description"] = "A server to add.".into();
        schema["required"] = json!(["url"]);
        schema["properties"]["url"] = json!({
            "type": "string",
            "description": "The address of the server: an address or a name, and a port; or `unix:/path`. The path of \
                            an `http://` URL does not matter: requests keep their own.",
            "examples": ["http://127.0.0.1:9001"],
        });
        schema["properties"]["pool"] = json!({
            "type": ["string", "null"],
            "description": "The pool that the server joins; without this, the default one.",
        });
        read(schema)
    }
}

impl ToSchema for NewServer {
    fn name() -> Cow<'static, str> {
        "NewServer".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        put_below(&BACKEND, schemas);
    }
}

impl PartialSchema for ShownPool {
    fn schema() -> RefOr<Schema> {
        let mut schema = of_section(&POOL, Form::Api);
        // The backends are shown in full, and other members stand beside the settings.
        remove(&mut schema, &["additionalProperties", "required"]);
        remove(&mut schema["properties"], &["backends"]);
        read(schema)
    }
}

impl ToSchema for ShownPool {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        put_below(&POOL, schemas);
    }
}

impl PartialSchema for ShownServer {
    fn schema() -> RefOr<Schema> {
        let mut schema = of_server();
        remove(&mut schema, &["additionalProperties"]);
        read(schema)
    }
}

impl ToSchema for ShownServer {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        put_below(&BACKEND, schemas);
    }
}

impl PartialSchema for ShownRoute {
    fn schema() -> RefOr<Schema> {
        let mut schema = of_section(&SHOWN_ROUTE, Form::Api);
        // Other members stand beside the settings.
        remove(&mut schema, &["additionalProperties"]);
        read(schema)
    }
}

impl ToSchema for ShownRoute {}

impl PartialSchema for ShownRouteTimeouts {
    fn schema() -> RefOr<Schema> {
        read(of_section(&SHOWN_ROUTE_TIMEOUTS, Form::Api))
    }
}

impl ToSchema for ShownRouteTimeouts {}

impl PartialSchema for ShownRouteCache {
    fn schema() -> RefOr<Schema> {
        read(of_section(&ROUTE_CACHE, Form::Api))
    }
}

impl ToSchema for ShownRouteCache {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        put_below(&ROUTE_CACHE, schemas);
    }
}

/// The settings of a server, whose address stands elsewhere.
fn of_server() -> Value {
    let mut schema = of_section(&BACKEND, Form::Api);
    remove(&mut schema, &["required"]);
    remove(&mut schema["properties"], &["addr"]);
    schema
}

fn remove(object: &mut Value, keys: &[&str]) {
    if let Value::Object(members) = object {
        members.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

fn put_below(section: &'static Section, schemas: &mut Vec<(String, RefOr<Schema>)>) {
    let below = below(section).into_iter();
    schemas.extend(below.map(|section| {
        let schema = read(of_section(section, Form::Api));
        (section.name.to_owned(), schema)
    }));
}

/// The schema as the OpenAPI document has it.
///
/// # Panics
///
/// The configuration's declarations make no schema, which a test excludes.
pub fn read(schema: Value) -> RefOr<Schema> {
    serde_json::from_value(schema).expect("a JSON Schema is a schema of OpenAPI 3.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schema says the same after [`read`] has read it.
    #[test]
    fn nothing_of_a_schema_is_lost() {
        let mut schemas = Vec::new();
        PoolSettingsSchema::schemas(&mut schemas);
        for section in below(&POOL) {
            let (_, read) = schemas
                .iter()
                .find(|(name, _)| name == section.name)
                .unwrap();
            let made = serde_json::to_value(read).unwrap();
            for (key, property) in of_section(section, Form::Api)["properties"]
                .as_object()
                .unwrap()
            {
                assert_eq!(&made["properties"][key], property, "{}.{key}", section.name);
            }
            assert_eq!(made["additionalProperties"], false);
        }
        for schema in [
            NewServer::schema(),
            ShownPool::schema(),
            ShownServer::schema(),
        ] {
            let made = serde_json::to_value(schema).unwrap();
            assert!(made["properties"].as_object().unwrap().len() > 4, "{made}");
        }
    }
}
