//! The part of a request that an algorithm goes by, and its setting `hash_on`.

use std::fmt;

use http::HeaderName;

use crate::base::setting::{Absent, Kind, Setting, Value};

/// The part of a request that makes its key, for an algorithm that uses one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashKey {
    /// The address that the client is taken to have.
    #[default]
    ClientAddress,
    /// The value of the field of this name, which is in lower case.
    Header(String),
    /// The value of the cookie of this name.
    Cookie(String),
    /// The normalised path without the query.
    Path,
}

/// The parameter of every algorithm that uses a key.
pub const HASH_ON: Setting = Setting::new(
    "hash_on",
    Kind::text(
        "^(client_address|path|header:.+|cookie:.+)$",
        "header:x-user",
    ),
    Absent::Is(Value::Text("client_address")),
    "Part of a request that makes its key: `\"client_address\"`, `\"path\"`, `\"header:name\"` or `\"cookie:name\"`. \
     The setting is for algorithms that use a key.",
);

impl HashKey {
    /// Reads a value of [`HASH_ON`]. Errors: what would be right.
    pub fn parse(text: &str) -> Result<HashKey, String> {
        match text.split_once(':') {
            None if text == "client_address" => Ok(HashKey::ClientAddress),
            None if text == "path" => Ok(HashKey::Path),
            Some(("header", name)) => field_name(name).map(HashKey::Header),
            Some(("cookie", name)) => field_name(name).map(|_| HashKey::Cookie(name.to_owned())),
            _ => Err(
                "must be \"client_address\", \"path\", \"header:name\" or \"cookie:name\""
                    .to_owned(),
            ),
        }
    }
}

/// A field name (RFC 9110 section 5.1), in lower case. The names of cookies have the same form (RFC 6265 section
/// 4.1.1).
fn field_name(text: &str) -> Result<String, String> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err("is not a field name".to_owned()),
    }
}

/// The value of [`HASH_ON`] that stands for the key.
impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashKey::ClientAddress => f.write_str("client_address"),
            HashKey::Path => f.write_str("path"),
            HashKey::Header(name) => write!(f, "header:{name}"),
            HashKey::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        let header = HashKey::Header("x-user".to_owned());
        let cookie = HashKey::Cookie("Session".to_owned());
        for key in [
            HashKey::ClientAddress,
            HashKey::Path,
            header.clone(),
            cookie,
        ] {
            assert_eq!(HashKey::parse(&key.to_string()), Ok(key));
        }
        assert_eq!(HashKey::parse("header:X-User"), Ok(header));
        for text in [
            "",
            "client",
            "header",
            "header:",
            "header:a b",
            "cookie:",
            "path:a",
        ] {
            assert!(HashKey::parse(text).is_err(), "{text:?}");
        }
    }
}
