//! The secrets of a configuration, which are never shown: the values of header fields that hold credentials, and
//! passwords in URLs.

/// The text that is shown in the place of a secret.
pub const MASK: &str = "***";

/// Words in the names of header fields whose values are credentials. A harmless value that is hidden is better than a
/// credential that is shown.
const CREDENTIALS: [&str; 12] = [
    "auth",
    "bearer",
    "cookie",
    "credential",
    "jwt",
    "key",
    "pass",
    "pw",
    "secret",
    "session",
    "signature",
    "token",
];

const QUOTES: [char; 2] = ['"', '\''];

/// Whether the value of the setting at this way (`request_headers.set.authorization`) must be hidden. A value that is
/// no header field but stands in a place for header fields may be a field with its value.
pub fn hides(way: &str) -> bool {
    let Some((_, rest)) = way.split_once("_headers") else {
        return false;
    };
    match rest.strip_prefix(".set.") {
        Some(name) => is_credential(name) || !is_plain(name),
        // `limits.request_headers` is a number.
        None => !rest.is_empty() && !rest.starts_with(".remove["),
    }
}

/// Whether a text at this way may hold a credential: the text stands where a field name or a table of fields belongs and
/// is neither, or it contains a URL that names a user.
pub fn is_telling(way: &str, text: &str) -> bool {
    let is_more = way.contains("_headers.remove[") && !is_plain(text.trim_matches(QUOTES));
    let is_text = way.ends_with("_headers") && text.starts_with(QUOTES);
    is_more || is_text || names_user(text)
}

/// Whether a URL in the text names a user, perhaps with a password.
pub fn names_user(text: &str) -> bool {
    let mut urls = text.split("://").skip(1);
    urls.any(|rest| {
        let end = rest
            .find(['/', '?', '#', '"', '\'', ' '])
            .unwrap_or(rest.len());
        rest[..end].contains('@')
    })
}

/// Whether messages must hide the key of a table at this way: a key that stands in the place of a field name, but is
/// none, may be a field with its value.
pub fn hides_key(table: &str, key: &str) -> bool {
    table.contains("_headers") && !is_plain(key)
}

/// Whether the text may be the name of a header field, or the way of a setting below such a name.
fn is_plain(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte);
    name.bytes().all(is_of_name)
}

/// Whether the value of a header field of this name must be hidden. For a text that is no field name: whether the text
/// may hold a credential.
pub fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIALS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_table() {
        let rows = [
            ("request_headers.set.authorization", true),
            ("routes[3].response_headers.set.Set-Cookie", true),
            ("routes[3].request_headers.set.x-api-key[0]", true),
            ("routes[3].request_headers.set.x-team", false),
            ("routes[3].request_headers.set.\"x: y\"", true),
            ("routes[3].request_headers.set", true),
            ("limits.request_headers", false),
            ("routes[3].request_headers.sett.x-team", true),
            ("routes[3].request_headers.remove[1]", false),
            ("admin.token_file", false),
        ];
        for (way, hidden) in rows {
            assert_eq!(hides(way), hidden, "{way}");
        }
    }

    #[test]
    fn texts_table() {
        let remove = "routes[0].request_headers.remove[1]";
        let rows = [
            (remove, "\"x-team\"", false),
            (remove, "\"\"", false),
            ("routes[3].request_headers", "\"x-team: a\"", true),
            ("limits.request_headers", "257", false),
            (remove, "\"Bearer a\"", true),
            (remove, "\"authorization:a\"", true),
            ("routes[0].redirect", "\"https://a:b@c/\"", true),
            ("routes[0].redirect", "\"https://c/@b\"", false),
            ("routes[0].redirect", "\"https://c\" # a@b", false),
            ("pools[0].backends[0]", "\"c:80\"", false),
        ];
        for (way, text, telling) in rows {
            assert_eq!(is_telling(way, text), telling, "{way} = {text}");
        }
    }
}
