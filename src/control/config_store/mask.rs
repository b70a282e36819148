//! A configuration in the form that everybody may read, without its secrets.

use toml::{Table, Value};

use crate::config::{MASK, is_credential, is_telling};

/// The document without the values of header fields that are credentials (`authorization`, `x-api-key`, …), and without
/// tokens that stand where their files are to be named: these files are read at the start alone.
pub fn masked(document: &Table) -> Table {
    let mut document = document.clone();
    let admin = document.get_mut("admin").and_then(Value::as_table_mut);
    for (key, value) in admin.into_iter().flatten() {
        let way = format!("admin.{key}");
        if value.as_str().is_some_and(|text| is_telling(&way, text)) {
            *value = Value::String(MASK.to_owned());
        }
    }
    let routes = document.get_mut("routes").and_then(Value::as_array_mut);
    for route in routes.into_iter().flatten() {
        for headers in ["request_headers", "response_headers"] {
            let set = route
                .get_mut(headers)
                .and_then(|edits| edits.get_mut("set"));
            mask_fields(set);
        }
    }
    for pools in ["pools", "routes"] {
        let pools = document.get_mut(pools).and_then(Value::as_array_mut);
        pools.into_iter().flatten().for_each(mask_checks);
    }
    document
}

/// Masks the fields of the probes of a pool and of its backends.
fn mask_checks(pool: &mut Value) {
    mask_check(pool);
    for backends in ["backends", "backend_addrs"] {
        let backends = pool.get_mut(backends).and_then(Value::as_array_mut);
        backends.into_iter().flatten().for_each(mask_check);
    }
}

fn mask_check(probed: &mut Value) {
    let check = probed.get_mut("health_check");
    mask_fields(check.and_then(|check| check.get_mut("headers")));
}

fn mask_fields(fields: Option<&mut Value>) {
    for (name, value) in fields.and_then(Value::as_table_mut).into_iter().flatten() {
        if is_credential(name) {
            *value = Value::String(MASK.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_credentials_are_hidden_and_nothing_else() {
        let document: Table = r#"
admin = { token_file = "0123456789abcdef", read_token_file = "/run/secrets/token" }
[[routes]]
request_headers = { set = { "Authorization" = "Bearer a", "x-api-key" = "b", "x-team" = "c" }, remove = ["cookie"] }
response_headers = { set = { "Set-Cookie" = "d=e", "cache-control" = "no-store" } }
[[routes]]
prefix = "/token"
backend_addrs = ["a:1", { addr = "b:1", health_check = { path = "/", headers = { cookie = "a" } } }]
health_check = { path = "/", headers = { authorization = "a", x-a = "b" } }
[[pools]]
health_check = { path = "/", headers = { authorization = "a", x-a = "b" } }
backends = ["a:1", { addr = "b:1", health_check = { path = "/", headers = { cookie = "a" } } }]
"#
        .parse()
        .unwrap();
        let expected: Table = r#"
admin = { token_file = "***", read_token_file = "/run/secrets/token" }
[[routes]]
request_headers = { set = { "Authorization" = "***", "x-api-key" = "***", "x-team" = "c" }, remove = ["cookie"] }
response_headers = { set = { "Set-Cookie" = "***", "cache-control" = "no-store" } }
[[routes]]
prefix = "/token"
backend_addrs = ["a:1", { addr = "b:1", health_check = { path = "/", headers = { cookie = "***" } } }]
health_check = { path = "/", headers = { authorization = "***", x-a = "b" } }
[[pools]]
health_check = { path = "/", headers = { authorization = "***", x-a = "b" } }
backends = ["a:1", { addr = "b:1", health_check = { path = "/", headers = { cookie = "***" } } }]
"#
        .parse()
        .unwrap();
        assert_eq!(masked(&document), expected);
    }
}
