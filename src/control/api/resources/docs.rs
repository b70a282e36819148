//! `/openapi.json` and `/docs`: the description of the API, for programs and for people.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::Value;
use utoipa::openapi::OpenApi;

use crate::control::api::ApiState;

/// One page, without outside assets and without a script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("docs.css");

/// Both, made once of the whole document. They are no part of it themselves.
pub fn routes(document: &OpenApi) -> Router<Arc<ApiState>> {
    let json = serde_json::to_value(document).expect("the document is JSON");
    let text: Arc<str> = json.to_string().into();
    let html: Arc<str> = page(&json).into();
    let openapi = async move || {
        (
            [(header::CONTENT_TYPE, "application/json")],
            text.to_string(),
        )
    };
    let docs = async move || {
        let fields = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ];
        (fields, html.to_string())
    };
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/docs", get(docs))
}

fn page(document: &Value) -> String {
    let mut page = String::new();
    let title = escaped(&document["info"]["title"]);
    let version = escaped(&document["info"]["version"]);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\n\
         <body><header><h1>{title} {version}</h1>{}\
         <p>For programs: <a href=\"openapi.json\">openapi.json</a></p></header>\n",
        paragraphs(&document["info"]["description"])
    );
    let tags = document["tags"].as_array().into_iter().flatten();
    let tags: Vec<&Value> = tags.collect();
    write_menu(&mut page, document, &tags);
    for tag in &tags {
        let name = escaped(&tag["name"]);
        let _ = write!(
            page,
            "<section><h2 id=\"tag-{name}\">{name}</h2>{}",
            paragraphs(&tag["description"])
        );
        for (method, path, operation) in operations_of(document, &tag["name"]) {
            write_operation(&mut page, method, path, operation);
        }
        page += "</section>\n";
    }
    write_schemas(&mut page, &document["components"]["schemas"]);
    page += "</body></html>\n";
    page
}

fn write_menu(page: &mut String, document: &Value, tags: &[&Value]) {
    *page += "<nav><ul>";
    for tag in tags {
        let name = escaped(&tag["name"]);
        let _ = write!(page, "<li><a href=\"#tag-{name}\">{name}</a><ul>");
        for (method, path, _) in operations_of(document, &tag["name"]) {
            let _ = write!(
                page,
                "<li><a href=\"#{}\"><code>{} {}</code></a></li>",
                anchor(method, path),
                method.to_uppercase(),
                escape(path)
            );
        }
        *page += "</ul></li>";
    }
    *page += "<li><a href=\"#schemas\">schemas</a></li></ul></nav>\n";
}

/// Method, path and description of everything with this tag.
fn operations_of<'d>(
    document: &'d Value,
    tag: &'d Value,
) -> impl Iterator<Item = (&'d str, &'d str, &'d Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(move |(path, item)| {
        let operations = item.as_object().into_iter().flatten();
        let tagged = operations.filter(move |(_, operation)| {
            let tags = operation["tags"].as_array();
            tags.is_some_and(|tags| tags.contains(tag))
        });
        tagged.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

fn write_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        page,
        "<article id=\"{}\"><h3><span class=\"{method}\">{}</span> <code>{}</code></h3><p><strong>{}</strong></p>{}",
        anchor(method, path),
        method.to_uppercase(),
        escape(path),
        escaped(&operation["summary"]),
        paragraphs(&operation["description"])
    );
    let parameters = operation["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        *page += "<table><caption>Parameters</caption>";
        for parameter in parameters {
            let _ = write!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(&parameter["name"]),
                escaped(&parameter["in"]),
                kind(&parameter["schema"]),
                escaped(&parameter["description"])
            );
        }
        *page += "</table>";
    }
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        *page += "<table><caption>Body</caption>";
        for (media_type, content) in content {
            let _ = write!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td></tr>",
                escape(media_type),
                kind(&content["schema"])
            );
        }
        *page += "</table>";
    }
    write_responses(page, &operation["responses"]);
    *page += "</article>\n";
}

fn write_responses(page: &mut String, responses: &Value) {
    *page += "<table><caption>Answers</caption>";
    for (status, response) in responses.as_object().into_iter().flatten() {
        let content = response["content"].as_object().into_iter().flatten();
        let kinds: Vec<String> = content
            .map(|(media_type, content)| {
                format!(
                    "{} <small>{}</small>",
                    kind(&content["schema"]),
                    escape(media_type)
                )
            })
            .collect();
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(status),
            escaped(&response["description"]),
            kinds.join("<br>")
        );
    }
    *page += "</table>";
}

fn write_schemas(page: &mut String, schemas: &Value) {
    *page += "<section><h2 id=\"schemas\">schemas</h2>";
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        let name = escape(name);
        let _ = write!(
            page,
            "<article id=\"schema-{name}\"><h3>{name}</h3>{}",
            paragraphs(&schema["description"])
        );
        if schema["properties"].is_object() {
            write_fields(page, schema);
        } else {
            let _ = write!(page, "<p>{}</p>", kind(schema));
        }
        *page += "</article>\n";
    }
    *page += "</section>\n";
}

fn write_fields(page: &mut String, schema: &Value) {
    let required = schema["required"].as_array();
    *page += "<table>";
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|names| names.iter().any(|name| name == field));
        let _ = write!(
            page,
            "<tr><td><code>{}</code>{}</td><td>{}</td><td>{}</td></tr>",
            escape(field),
            if is_required {
                ""
            } else {
                " <small>may be absent</small>"
            },
            kind(schema),
            escaped(&schema["description"])
        );
    }
    *page += "</table>";
}

/// A short text about the values of this schema.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        let name = escape(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(escaped).collect();
        return words.join(" | ");
    }
    let of_items = match &schema["items"] {
        Value::Null => String::new(),
        items => format!(" of {}", kind(items)),
    };
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().map(escaped).collect::<Vec<_>>().join(" or "),
        name => escaped(name),
    };
    format!("{name}{of_items}{}", bounds(schema))
}

fn bounds(schema: &Value) -> String {
    let mut bounds = String::new();
    for (key, sign) in [("minimum", "≥"), ("maximum", "≤"), ("pattern", "~")] {
        if !schema[key].is_null() {
            let _ = write!(bounds, " <small>{sign} {}</small>", escaped(&schema[key]));
        }
    }
    bounds
}

fn anchor(method: &str, path: &str) -> String {
    let words = path.split(|char: char| !char.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{method}-{}", words.join("-"))
}

/// Text in paragraphs, with what stands between backticks as code.
fn paragraphs(text: &Value) -> String {
    let Some(text) = text.as_str() else {
        return String::new();
    };
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let mut html = String::new();
        for (index, part) in paragraph.split('`').enumerate() {
            let part = escape(part);
            match index % 2 {
                0 => html += &part,
                _ => html += &format!("<code>{part}</code>"),
            }
        }
        format!("<p>{html}</p>")
    });
    paragraphs.collect()
}

fn escaped(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        let text = Value::String("a <b> \"c\" & `<d>`\n\ne".to_owned());
        assert_eq!(
            paragraphs(&text),
            "<p>a &lt;b&gt; &quot;c&quot; &amp; <code>&lt;d&gt;</code></p><p>e</p>"
        );
    }

    #[test]
    fn kinds_table() {
        let rows = [
            (
                r##"{"$ref":"#/components/schemas/Pool"}"##,
                "<a href=\"#schema-Pool\">Pool</a>",
            ),
            (
                r#"{"type":["integer","null"],"minimum":1}"#,
                "integer or null <small>≥ 1</small>",
            ),
            (
                r#"{"type":"array","items":{"type":"string"}}"#,
                "array of string",
            ),
            (
                r#"{"oneOf":[{"type":"null"},{"enum":["a","b"]}]}"#,
                "null or a | b",
            ),
        ];
        for (schema, expected) in rows {
            assert_eq!(kind(&serde_json::from_str(schema).unwrap()), expected);
        }
    }
}
