//! The secrets of a configuration, which are never shown: values of header fields that are credentials, passwords in
//! URLs and addresses, and secrets that were written where the name of their file belongs.

use crate::base::limits;

/// The text that is shown in the place of a secret.
pub const MASK: &str = "***";

/// Words that a header's name has when its value is a credential. Rather one too many is hidden than one shown.
const CREDENTIALS: [&str; 13] = [
    "auth",
    "bearer",
    "cookie",
    "credential",
    "eab",
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

/// Settings that name a file with a secret, or stand for what holds one.
const SECRET_FILES: [&str; 5] = [
    "admin.token_file",
    "admin.read_token_file",
    "acme.eab",
    "acme.eab.hmac_key_file",
    "tls.ticket_key_file",
];

/// Parts of the ways to entries of lists of field names.
const NAME_LISTS: [&str; 5] = [
    "_headers.remove[",
    ".key_headers[",
    ".bypass.headers[",
    ".vary.ignore[",
    ".vary.uncacheable[",
];

/// Endings of files with secrets, by which a name without any folder is known.
const ENDINGS: [&str; 5] = [".key", ".pem", ".secret", ".token", ".txt"];

/// Whether the value of the setting to which this is the way (`request_headers.set.authorization`) is to be hidden.
/// Where header fields belong, and something else was written, it may be a field with its value.
pub fn hides(way: &str) -> bool {
    if let Some((_, rest)) = way.split_once("health_check.headers") {
        let name = rest.strip_prefix('.').unwrap_or(rest);
        return !name.is_empty() && (is_credential(name) || !is_plain(name));
    }
    let Some((_, rest)) = way.split_once("_headers") else {
        return false;
    };
    match rest.strip_prefix(".set.") {
        Some(name) => is_credential(name) || !is_plain(name),
        // `limits.request_headers` is a number.
        None => !rest.is_empty() && !lists_names(way),
    }
}

/// Whether a text that stands at this way may hold a credential: where the name of a field or a table of fields
/// belongs, there is something else; a URL or an address names a user; or a secret stands where its file is to be
/// named.
pub fn is_telling(way: &str, text: &str) -> bool {
    let bare = text.trim_matches(QUOTES);
    let is_more = lists_names(way) && !is_plain(bare);
    let is_table = way.ends_with("_headers") || way.ends_with("health_check.headers");
    let is_text = is_table && text.starts_with(QUOTES);
    let is_address = way.contains("addr") || way.contains("backends[");
    let is_secret = names_secret_file(way) && !is_file_name(bare);
    let is_pem = text.contains("-----BEGIN");
    is_more
        || is_text
        || is_secret
        || is_pem
        || (is_address && text.contains('@'))
        || names_user(text)
}

/// Whether a list of names of fields has its entries at this way.
fn lists_names(way: &str) -> bool {
    NAME_LISTS.iter().any(|list| way.contains(list))
}

fn names_secret_file(way: &str) -> bool {
    SECRET_FILES.contains(&way) || (way.contains("tls.") && way.ends_with(".key"))
}

/// Whether a text is the name of a file rather than a secret: it has folders and none of them is as random as a key, or
/// it is shorter than any token, or has the ending of a file.
pub fn is_file_name(text: &str) -> bool {
    let is_visible = text
        .chars()
        .all(|char| !char.is_whitespace() && char != '\\');
    let has_folder = text.get(1..).is_some_and(|rest| rest.contains('/'));
    let is_known = has_folder
        || text.len() < limits::TOKEN_BYTES_LEAST
        || ENDINGS.iter().any(|ending| text.ends_with(ending));
    is_visible && is_known && !text.split('/').any(is_random)
}

/// Whether a part of a path is more like a piece of a key: it has letters of both cases and digits, or signs of base64.
fn is_random(part: &str) -> bool {
    let has = |is: fn(&char) -> bool| part.chars().any(|char| is(&char));
    let is_mixed =
        has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    let is_file = part.contains('.');
    has(|char| "+=".contains(*char)) || (is_mixed && !is_file && part.len() >= 8)
}

/// Whether a URL in the text names a user, perhaps with a password, or an address names both.
pub fn names_user(text: &str) -> bool {
    let mut urls = text.split("://").skip(1);
    let mut words = text.split(|char: char| char.is_whitespace() || "\"',".contains(char));
    let mut addresses = words
        .by_ref()
        .filter(|word| !word.contains("://") && !word.starts_with("mailto:"));
    urls.any(|rest| authority(rest).contains('@'))
        || addresses.any(|word| {
            let user = authority(word).rsplit_once('@');
            user.is_some_and(|(user, _)| user.contains(':'))
        })
}

/// The part of a URL or of an address before any path.
fn authority(text: &str) -> &str {
    let end = text.find(['/', '?', '#', '"', '\'', ' ']);
    &text[..end.unwrap_or(text.len())]
}

/// Whether messages must hide the key of a table at this way: a key that stands in the place of a field name, but is
/// none, may be a field with its value.
pub fn hides_key(table: &str, key: &str) -> bool {
    let is_of_fields = table.contains("_headers") || table.contains("health_check.headers");
    is_of_fields && !is_plain(key)
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
            ("pools[0].health_check.headers.authorization", true),
            ("pools[0].health_check.headers.x-team", false),
            ("pools[0].health_check.headers", false),
            ("request_headers.set.authorization", true),
            ("routes[3].response_headers.set.Set-Cookie", true),
            ("routes[3].request_headers.set.x-api-key[0]", true),
            ("routes[3].request_headers.set.x-team", false),
            ("routes[3].request_headers.set.\"x: y\"", true),
            ("routes[3].request_headers.set", true),
            ("limits.request_headers", false),
            ("routes[3].request_headers.sett.x-team", true),
            ("routes[3].request_headers.remove[1]", false),
            ("routes[3].cache.key_headers[1]", false),
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
            ("routes[0].cache.key_headers[0]", "\"x-team\"", false),
            ("routes[0].cache.key_headers[0]", "\"x-team: a\"", true),
            ("routes[0].cache.bypass.headers[0]", "\"x-team: a\"", true),
            ("routes[0].cache.vary.ignore[0]", "\"x-team: a\"", true),
            (remove, "\"authorization:a\"", true),
            ("routes[0].redirect", "\"https://a:b@c/\"", true),
            ("routes[0].redirect", "\"https://c/@b\"", false),
            ("routes[0].redirect", "\"https://c\" # a@b", false),
            ("pools[0].backends[0]", "\"c:80\"", false),
            ("pools[0].backends[0]", "\"a:b@c:80\"", true),
            ("pools[0].backends[0].addr", "\"a:b c@d:80\"", true),
            ("routes[0].backend_addrs[0]", "\"a@c\"", true),
            ("routes[0].prefix", "\"/a:b@c\"", false),
            ("routes[0].backend_addr", "\"a:b@c:80\"", true),
            ("acme.contacts[0]", "\"mailto:a@b.example\"", false),
            ("acme.contacts[0]", "\"a@b.example\"", false),
            ("admin.token_file", "\"/run/secrets/token\"", false),
            ("admin.token_file", "\"0123456789abcdef\"", true),
            ("admin.read_token_file", "\"/0123456789abcdef\"", true),
            ("admin.token_file", "\"a\\u0062c/def\"", true),
            ("admin.state_file", "\"0123456789abcdef\"", false),
            ("acme.eab", "\"c2VjcmV0LWhtYWMta2V5\"", true),
            ("acme.eab.hmac_key_file", "\"c2VjcmV0LWhtYWMta2V5\"", true),
            (
                "listeners[0].tls.certificates[0].key",
                "\"c2VjcmV0LWhtYWMta2V5\"",
                true,
            ),
            (
                "listeners[0].tls.certificates[0].key",
                "\"a.example.key\"",
                false,
            ),
            (
                "listeners[0].tls.certificates[0].cert",
                "\"-----BEGIN PRIVATE KEY-----\\nMII\"",
                true,
            ),
        ];
        for (way, text, telling) in rows {
            assert_eq!(is_telling(way, text), telling, "{way} = {text}");
        }
    }

    #[test]
    fn file_names_table() {
        let rows = [
            ("token", true),
            ("./token", true),
            ("/run/credentials/palantir.service/token", true),
            ("/etc/Palantir/2024/admin-token-of-the-proxy", true),
            ("secrets/admin", true),
            ("/tmp/palantir-12901-5/token", true),
            ("admin-of-the-proxy.token", true),
            ("admin-of-the-proxy", false),
            ("/0123456789abcdef", false),
            ("0123456789abcdef0123456789abcdef", false),
            ("k3J/9dQm2xZr81LwTn/aa", false),
            ("a/b+c/d", false),
            ("ab/cd/ef==", false),
            ("/a b/c", false),
        ];
        for (text, is_name) in rows {
            assert_eq!(is_file_name(text), is_name, "{text}");
        }
    }
}
