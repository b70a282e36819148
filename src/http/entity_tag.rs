//! Entity tags and their lists (RFC 9110 sections 8.8.3 and 13.1), read strictly: a text that is no entity tag
//! validates nothing.

use httparse::Header;

use super::fields::{trim, values};

/// An entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'b> {
    /// Whether the tag begins with `W/`.
    pub is_weak: bool,
    /// The tag as it is written, from `W/` or the first quote to the last quote.
    pub text: &'b [u8],
}

impl<'b> EntityTag<'b> {
    /// Reads a value that is one entity tag. `None`: the value is anything else.
    pub fn read(value: &'b [u8]) -> Option<EntityTag<'b>> {
        let (tag, rest) = EntityTag::take(trim(value))?;
        rest.is_empty().then_some(tag)
    }

    /// The entity tag of a response. `None`: `ETag` is absent, malformed, or there more than once.
    pub fn of(fields: &[Header<'b>]) -> Option<EntityTag<'b>> {
        let mut tags = values(fields, "etag");
        let tag = tags.next().and_then(EntityTag::read);
        tag.filter(|_| tags.next().is_none())
    }

    /// The text between the quotes.
    pub fn opaque(&self) -> &'b [u8] {
        let start = if self.is_weak { 3 } else { 1 };
        &self.text[start..self.text.len() - 1]
    }

    /// Weak comparison (RFC 9110 section 8.8.3.2): both name contents that may stand for each other.
    pub fn is_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque() == other.opaque()
    }

    /// Strong comparison (RFC 9110 section 8.8.3.2): both name the same bytes.
    pub fn is_strongly(&self, other: &EntityTag<'_>) -> bool {
        !self.is_weak && !other.is_weak && self.text == other.text
    }

    /// The entity tag at the start of a text, and the text behind the tag.
    fn take(text: &'b [u8]) -> Option<(EntityTag<'b>, &'b [u8])> {
        // RFC 9110 section 8.8.3: the sign of weakness is case-sensitive.
        let is_weak = text.starts_with(b"W/");
        let start = if is_weak { 3 } else { 1 };
        if text.get(start - 1) != Some(&b'"') {
            return None;
        }
        let is_tag_byte = |byte: &&u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        let end = start + text[start..].iter().take_while(is_tag_byte).count();
        let tag = EntityTag {
            is_weak,
            text: text.get(..=end)?,
        };
        (text[end] == b'"').then_some((tag, &text[end + 1..]))
    }
}

/// The tags that `If-None-Match` or `If-Match` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagMatch {
    /// `*`: any tag.
    Any,
    /// A list that has the tag in question.
    Listed,
    /// A list that does not have the tag in question.
    Unlisted,
    /// A text that is no list of entity tags.
    Malformed,
}

/// Looks in the values of `If-None-Match` or `If-Match` for a tag that `is_meant` recognises.
pub fn named<'b>(
    values: impl Iterator<Item = &'b [u8]>,
    mut is_meant: impl FnMut(&EntityTag<'b>) -> bool,
) -> TagMatch {
    let (mut is_any, mut is_listed, mut count) = (false, false, 0);
    for value in values {
        let mut rest = trim(value);
        while !rest.is_empty() {
            // RFC 9110 section 5.6.1.2 (MUST): empty members of a list are read over.
            if rest[0] == b',' {
                rest = trim(&rest[1..]);
                continue;
            }
            count += 1;
            let behind = match rest.strip_prefix(b"*") {
                Some(behind) => {
                    is_any = true;
                    behind
                }
                None => match EntityTag::take(rest) {
                    Some((tag, behind)) => {
                        is_listed |= is_meant(&tag);
                        behind
                    }
                    None => return TagMatch::Malformed,
                },
            };
            rest = trim(behind);
            if !matches!(rest, [] | [b',', ..]) {
                return TagMatch::Malformed;
            }
        }
    }
    match (is_any, is_listed) {
        (true, _) if count == 1 => TagMatch::Any,
        (true, _) => TagMatch::Malformed,
        (false, true) => TagMatch::Listed,
        (false, false) => TagMatch::Unlisted,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_table() {
        let rows = [
            ("\"a\"", Some((false, "a"))),
            ("W/\"a\"", Some((true, "a"))),
            (" \"a\"\t", Some((false, "a"))),
            ("\"\"", Some((false, ""))),
            ("\"a,b\"", Some((false, "a,b"))),
            ("\"a\\\"", Some((false, "a\\"))),
            ("\"\u{fc}\"", Some((false, "\u{fc}"))),
            ("W/\"\"", Some((true, ""))),
            ("a", None),
            ("", None),
            ("\"", None),
            ("W/", None),
            ("W/\"", None),
            ("W/a", None),
            ("w/\"a\"", None),
            ("W\\\"a\"", None),
            ("W\"a\"", None),
            ("\"a", None),
            ("\"a b\"", None),
            ("\"a\"b", None),
            ("\"a\", \"b\"", None),
            ("*", None),
            ("'a'", None),
            ("\"a\u{7f}\"", None),
        ];
        for (value, expected) in rows {
            let read = EntityTag::read(value.as_bytes());
            let read = read.map(|tag| (tag.is_weak, std::str::from_utf8(tag.opaque()).unwrap()));
            assert_eq!(read, expected, "{value}");
        }
    }

    /// The example of RFC 9110 section 8.8.3.2.
    #[test]
    fn comparisons_table() {
        let rows = [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"2\"", false, false),
        ];
        for (one, other, strongly, weakly) in rows {
            let tag = |text: &'static str| EntityTag::read(text.as_bytes()).unwrap();
            let (one, other) = (tag(one), tag(other));
            assert_eq!(one.is_strongly(&other), strongly, "{one:?} {other:?}");
            assert_eq!(other.is_strongly(&one), strongly, "{one:?} {other:?}");
            assert_eq!(one.is_weakly(&other), weakly, "{one:?} {other:?}");
        }
    }

    #[test]
    fn lists_table() {
        let rows: [(&[&str], TagMatch); 20] = [
            (&["*"], TagMatch::Any),
            (&[" * "], TagMatch::Any),
            (&["\"a\""], TagMatch::Listed),
            (&["\"b\""], TagMatch::Unlisted),
            (&["\"b\", \"a\""], TagMatch::Listed),
            (&["\"b\",\"c\" ,\t\"a\""], TagMatch::Listed),
            (&["\"b\"", "\"a\""], TagMatch::Listed),
            (&[",, \"a\",,"], TagMatch::Listed),
            (&["W/\"a\""], TagMatch::Listed),
            (&["\"x,\", \"a\""], TagMatch::Listed),
            (&["\"x, \"a\", \""], TagMatch::Malformed),
            (&[""], TagMatch::Unlisted),
            (&[], TagMatch::Unlisted),
            (&["a"], TagMatch::Malformed),
            (&["\"a\", b"], TagMatch::Malformed),
            (&["\"a\" \"b\""], TagMatch::Malformed),
            (&["\"a\"; x"], TagMatch::Malformed),
            (&["*, \"a\""], TagMatch::Malformed),
            (&["*", "\"a\""], TagMatch::Malformed),
            (&["**"], TagMatch::Malformed),
        ];
        let own = EntityTag::read(b"\"a\"").unwrap();
        for (values, expected) in rows {
            let found = named(values.iter().map(|value| value.as_bytes()), |tag| {
                tag.is_weakly(&own)
            });
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn a_response_has_one_tag_or_none() {
        let field = |name, value: &'static str| Header {
            name,
            value: value.as_bytes(),
        };
        let one = [field("ETag", "\"a\"")];
        assert_eq!(EntityTag::of(&one).unwrap().opaque(), b"a");
        let two = [field("etag", "\"a\""), field("ETag", "\"b\"")];
        assert_eq!(EntityTag::of(&two), None);
        assert_eq!(EntityTag::of(&[field("ETag", "a")]), None);
        assert_eq!(EntityTag::of(&[]), None);
    }

    proptest! {
        /// A text that is read as a tag is found in a list beside others, and bytes of any kind cause no panic.
        #[test]
        fn a_tag_is_found_in_its_list(opaque in "[!#-~\u{e9}]{0,12}", other in "[a-z, ]{0,6}", weak: bool) {
            let tag = format!("{}\"{opaque}\"", if weak { "W/" } else { "" });
            let own = EntityTag::read(tag.as_bytes()).unwrap();
            prop_assert_eq!(own.opaque(), opaque.as_bytes());
            let list = format!("\"{}\" , {tag}", other.replace(' ', "-"));
            let found = named([list.as_bytes()].into_iter(), |tag| tag.is_weakly(&own));
            prop_assert_eq!(found, TagMatch::Listed);
        }

        #[test]
        fn any_bytes_are_safe(value in proptest::collection::vec(any::<u8>(), 0..24), tagged in "[W/\"a, *]{0,16}") {
            for value in [&value[..], tagged.as_bytes()] {
                let _ = EntityTag::read(value);
                let _ = named([value].into_iter(), |_| false);
            }
        }
    }
}
