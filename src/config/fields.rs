//! The header fields that a route may set or remove.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};

use super::document::{DocumentTable, Item};
use super::mask::{MASK, is_credential};
use crate::base::limits;
use crate::http::fields;
use crate::http::names::{self, FieldEdits};

/// `{ set = { "name" = "value" }, remove = ["name"] }`
pub(super) fn read(table: &mut DocumentTable<'_>) -> FieldEdits {
    let entries = table.get("set", |item| item.entries());
    let mut names = HashSet::new();
    let mut set = Vec::new();
    for (name, item) in entries.unwrap_or_default() {
        let name = match editable(&name) {
            Ok(name) if !names.insert(name.clone()) => item.wrong(format!("{name:?} is set twice")),
            Ok(name) => Some(name),
            Err(right) => item.wrong(right),
        };
        let value = item.parsed(|text| value_of(name.as_deref(), text));
        set.extend(name.zip(value));
    }
    let remove = table.list("remove", |item: &Item<'_>| item.parsed(editable));
    FieldEdits::new(remove, set)
}

/// A field name (RFC 9110 section 5.1), in lower case.
pub(super) fn name(text: &str) -> Result<String, String> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        // The message does not repeat the text, which may be a whole field with a credential.
        Err(_) => Err("is not a field name".to_owned()),
    }
}

/// The name of a field that may be set or removed, in lower case.
pub(super) fn editable(text: &str) -> Result<String, String> {
    let name = name(text)?;
    match name.as_str() {
        "host" => Err("\"host\" is set with host_header".to_owned()),
        _ if !fields::may_be_edited(&name) => Err(format!(
            "{name:?} belongs to the connection and cannot be changed"
        )),
        _ => Ok(name),
    }
}

/// The name of a field that a probe sends, in lower case.
pub(super) fn of_probe(text: &str) -> Result<String, String> {
    match name(text)?.as_str() {
        "host" => Err("\"host\" is set with host, beside headers".to_owned()),
        name if !fields::may_be_edited(name) => Err(format!(
            "{name:?} belongs to the connection and cannot be set"
        )),
        name => Ok(name.to_owned()),
    }
}

/// The name of a field that tells who the client is, in lower case: none that palantir writes for another purpose.
pub(super) fn identity(text: &str) -> Result<String, String> {
    let name = editable(text)?;
    let is_written = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "sec-websocket-key",
        "traceparent",
        "tracestate",
        "via",
    ]
    .iter()
    .any(|written| names::same(name.as_bytes(), written.as_bytes()));
    if is_written {
        return Err(format!("{name:?} has another meaning already"));
    }
    Ok(name)
}

/// The name, in lower case, of a field that passes only from trusted proxies unless settings say otherwise.
pub(super) fn from_proxies(text: &str) -> Result<String, String> {
    let name = name(text)?;
    let is_written = ["for", "host", "proto"].map(|end| format!("x-forwarded-{end}"));
    if is_written.contains(&name) || !fields::is_from_proxies(name.as_bytes()) {
        return Err("is not one of the fields that pass from trusted proxies alone".to_owned());
    }
    Ok(name)
}

/// The value of the field of this name. The mask of a credential is refused: a configuration that palantir has shown
/// and that is loaded again would otherwise make the mask the credential.
pub(super) fn value_of(name: Option<&str>, text: &str) -> Result<String, String> {
    match name {
        Some(name) if text == MASK && is_credential(name) => Err(format!(
            "{MASK} stands for a credential that is not shown; write the credential"
        )),
        _ => field_value(text),
    }
}

/// A field value (RFC 9110 section 5.5).
fn field_value(text: &str) -> Result<String, String> {
    let is_value = HeaderValue::from_bytes(text.as_bytes()).is_ok();
    if !is_value || text.trim_matches([' ', '\t']).len() != text.len() {
        return Err("a field value has no control characters and no blanks around it".to_owned());
    }
    if text.len() > limits::FIELD_EDIT_BYTES {
        return Err(format!(
            "a field value has at most {} bytes",
            limits::FIELD_EDIT_BYTES
        ));
    }
    Ok(text.to_owned())
}
