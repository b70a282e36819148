//! The secrets of a configuration, which are never shown: values of header fields that are credentials.

/// The text that is shown in the place of a secret.
pub const MASK: &str = "***";

/// Words that a header's name has when its value is a credential. Rather one too many is hidden than one shown.
const CREDENTIALS: [&str; 8] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "pass",
    "secret",
    "signature",
    "token",
];

/// Whether the value of the setting to which this is the way (`request_headers.set.authorization`) is to be hidden.
pub fn hides(way: &str) -> bool {
    way.split_once("_headers.set.")
        .is_some_and(|(_, name)| is_credential(name))
}

/// Whether the value of a header field of this name is to be hidden. Of a text that is not understood: whether it may
/// hold a credential.
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
            ("admin.token_file", false),
        ];
        for (way, hidden) in rows {
            assert_eq!(hides(way), hidden, "{way}");
        }
    }
}
