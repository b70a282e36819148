//! Patterns of the operator for names and paths: a text in which one `*` at either end stands for any text.

use std::fmt;

/// A text that matches itself, what begins with it (`utm_*`), what ends with it (`*.jpg`), or what contains it
/// (`*session*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    is_open_before: bool,
    is_open_behind: bool,
}

impl Pattern {
    /// Reads a pattern. `None`: a `*` stands in the middle.
    pub fn read(text: &str) -> Option<Pattern> {
        let is_open_before = text.starts_with('*');
        let inner = text.strip_prefix('*').unwrap_or(text);
        let is_open_behind = inner.ends_with('*') || text == "*";
        let inner = inner.strip_suffix('*').unwrap_or(inner);
        (!inner.contains('*')).then(|| Pattern {
            text: inner.to_owned(),
            is_open_before,
            is_open_behind,
        })
    }

    /// Whether the pattern matches a text as a whole. Capitals count.
    pub fn matches(&self, text: &[u8]) -> bool {
        let own = self.text.as_bytes();
        match (self.is_open_before, self.is_open_behind) {
            (false, false) => text == own,
            (false, true) => text.starts_with(own),
            (true, false) => text.ends_with(own),
            (true, true) => memchr::memmem::find(text, own).is_some(),
        }
    }
}

/// The pattern as it was written.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = |is_open| if is_open { "*" } else { "" };
        // A `*` alone is open at both ends, and empty.
        let is_any = self.text.is_empty() && self.is_open_before;
        let before = star(self.is_open_before && !is_any);
        write!(f, "{before}{}{}", self.text, star(self.is_open_behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_table() {
        let rows = [
            ("a", "a", true),
            ("a", "ab", false),
            ("utm_*", "utm_source", true),
            ("utm_*", "xutm_source", false),
            ("*.jpg", "/a.jpg", true),
            ("*.jpg", "/a.jpg/b", false),
            ("*session*", "my_session_id", true),
            ("*session*", "SESSION", false),
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in rows {
            let written = pattern;
            let pattern = Pattern::read(pattern).expect(pattern);
            assert_eq!(pattern.to_string(), written);
            assert_eq!(
                pattern.matches(text.as_bytes()),
                expected,
                "{pattern:?} {text}"
            );
        }
        assert_eq!(Pattern::read("a*b"), None);
    }
}
