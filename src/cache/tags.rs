//! The tags by which stored responses are purged together: `Surrogate-Key`, `Cache-Tag`, and the groups of RFC 9875.

use httparse::Header;

use crate::base::limits;
use crate::http::fields::{list, values};
use crate::http::structured::strings;

/// The tags of one response, each once. A tag of the backend and a group of the same name are two tags, and so are
/// groups of different origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Each tag behind its length of two bytes.
    bytes: Vec<u8>,
    /// Where the tags begin in `bytes`, in the order of their texts.
    starts: Vec<u16>,
}

/// The response has more tags than may be stored. It must not be stored, since a purge could not find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTags;

/// First byte of a tag that `Surrogate-Key` or `Cache-Tag` names.
const NAMED: u8 = b't';
/// First byte of a group, followed by its origin, a zero byte and the group.
const GROUP: u8 = b'g';

impl Tags {
    /// The tags of a response. `origin` is scheme, host and port of its URL as `key::write_authority` writes them: the
    /// groups of one origin are not those of another one (RFC 9875 section 2.1).
    pub fn of(
        fields: &[Header<'_>],
        origin: impl FnOnce() -> Vec<u8>,
    ) -> Result<Tags, TooManyTags> {
        let mut tags = Tags::default();
        for value in values(fields, "surrogate-key") {
            let blank_separated = value.split(|byte| matches!(byte, b' ' | b'\t'));
            tags.add_named(blank_separated.filter(|tag| !tag.is_empty()))?;
        }
        for value in values(fields, "cache-tag") {
            tags.add_named(list(value))?;
        }
        let mut groups = Vec::new();
        let is_list = strings(values(fields, "cache-groups"), |group| {
            groups.push(group.to_owned());
        });
        // RFC 9651 section 4.2 (MUST): a field that is no list of strings is ignored as a whole.
        if is_list.is_ok() && !groups.is_empty() {
            let origin = origin();
            for group in &groups {
                tags.add(&group_tag(&origin, group))?;
            }
        }
        Ok(tags)
    }

    /// The tags together with stored ones; see [`Tags::as_bytes`].
    pub fn joined(mut self, stored: &[u8]) -> Result<Tags, TooManyTags> {
        tags_in(stored).try_for_each(|tag| self.add(tag))?;
        Ok(self)
    }

    /// The tags as one text to store.
    /// See [`tags_in`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tags, each as [`named_tag`] and [`group_tag`] write them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        tags_in(&self.bytes)
    }

    /// The number of tags.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn add_named<'b>(&mut self, tags: impl Iterator<Item = &'b [u8]>) -> Result<(), TooManyTags> {
        for tag in tags {
            self.add(&named_tag(tag))?;
        }
        Ok(())
    }

    fn add(&mut self, tag: &[u8]) -> Result<(), TooManyTags> {
        let known = |start: &u16| tags_in(&self.bytes[usize::from(*start)..]).next();
        let Err(at) = self
            .starts
            .binary_search_by(|start| known(start).cmp(&Some(tag)))
        else {
            return Ok(());
        };
        let end = self.bytes.len();
        let is_full = self.starts.len() == limits::CACHE_TAGS
            || end + 2 + tag.len() > limits::CACHE_TAG_BYTES;
        let (Ok(start), Ok(len), false) = (u16::try_from(end), u16::try_from(tag.len()), is_full)
        else {
            return Err(TooManyTags);
        };
        self.starts.insert(at, start);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(tag);
        Ok(())
    }
}

/// The tags in stored bytes.
pub fn tags_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (tag, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = behind;
        Some(tag)
    })
}

/// A tag of `Surrogate-Key` or `Cache-Tag` as it is stored and purged.
pub fn named_tag(tag: &[u8]) -> Vec<u8> {
    [&[NAMED], tag].concat()
}

/// A group of an origin as it is stored and purged.
pub fn group_tag(origin: &[u8], group: &str) -> Vec<u8> {
    [&[GROUP], origin, &[0], group.as_bytes()].concat()
}

/// The groups, as stored, that the response to an unsafe method invalidates (RFC 9875 section 3). `origin`: see
/// [`Tags::of`]. Groups beyond the bound are not invalidated, as the RFC permits.
pub fn invalidated_groups(is_safe: bool, fields: &[Header<'_>], origin: &[u8]) -> Vec<Vec<u8>> {
    let mut groups = Vec::new();
    // RFC 9875 section 3 (MUST): the field is ignored on responses to safe methods.
    if is_safe {
        return groups;
    }
    let is_list = strings(values(fields, "cache-group-invalidation"), |group| {
        if groups.len() < limits::CACHE_GROUPS_INVALIDATED {
            groups.push(group_tag(origin, group));
        }
    });
    if is_list.is_err() {
        groups.clear();
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields<'f> = &'f [(&'f str, &'f str)];

    const ORIGIN: &[u8] = b"https://a.test";

    fn of(fields: Fields<'_>) -> Result<Vec<String>, TooManyTags> {
        let header = |(name, value): &(&'static str, &'static str)| Header {
            name,
            value: value.as_bytes(),
        };
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (leak(name), leak(value)))
            .collect();
        let fields: Vec<_> = fields.iter().map(header).collect();
        let tags = Tags::of(&fields, || ORIGIN.to_vec())?;
        assert_eq!(tags.len(), tags.iter().count());
        assert_eq!(tags.is_empty(), tags.iter().next().is_none());
        assert!(tags_in(tags.as_bytes()).eq(tags.iter()));
        let shown = tags
            .iter()
            .map(|tag| String::from_utf8_lossy(tag).replace('\0', " "));
        Ok(shown.collect())
    }

    #[test]
    fn tags_table() {
        let rows: [(Fields<'_>, &[&str]); 13] = [
            (&[], &[]),
            (&[("Surrogate-Key", "a b  c")], &["ta", "tb", "tc"]),
            (&[("surrogate-key", " a\tb ")], &["ta", "tb"]),
            (&[("Cache-Tag", "a, b c,,d")], &["ta", "tb c", "td"]),
            (
                &[
                    ("Surrogate-Key", "b a"),
                    ("Cache-Tag", "a,b"),
                    ("Cache-Tag", "c"),
                ],
                &["tb", "ta", "tc"],
            ),
            (&[("Surrogate-Key", "a,b")], &["ta,b"]),
            (
                &[("Cache-Groups", "\"a\", \"b c\";x=1")],
                &["ghttps://a.test a", "ghttps://a.test b c"],
            ),
            (
                &[("Cache-Groups", "\"a\""), ("Cache-Groups", "\"a\", \"b\"")],
                &["ghttps://a.test a", "ghttps://a.test b"],
            ),
            // A tag and a group of one name are two tags.
            (
                &[("Cache-Tag", "a"), ("Cache-Groups", "\"a\"")],
                &["ta", "ghttps://a.test a"],
            ),
            // RFC 9651 section 4.2 (MUST): a field that is no list of strings is ignored as a whole.
            (&[("Cache-Groups", "a")], &[]),
            (&[("Cache-Groups", "\"a\", b")], &[]),
            (&[("Cache-Groups", "\"a\", \"b")], &[]),
            (&[("Cache-Groups", "\"a\","), ("Cache-Tag", "t")], &["tt"]),
        ];
        for (fields, expected) in rows {
            assert_eq!(of(fields).unwrap(), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_response_with_too_many_tags_is_told() {
        let many = |count: usize| {
            (0..count)
                .map(|number| format!("{number}"))
                .collect::<Vec<_>>()
        };
        let most = many(limits::CACHE_TAGS).join(" ");
        assert_eq!(
            of(&[("Surrogate-Key", &most)]).unwrap().len(),
            limits::CACHE_TAGS
        );
        assert_eq!(
            of(&[("Surrogate-Key", &most), ("Cache-Tag", "7")])
                .unwrap()
                .len(),
            limits::CACHE_TAGS
        );
        assert_eq!(
            of(&[("Surrogate-Key", &most), ("Cache-Tag", "a")]),
            Err(TooManyTags)
        );
        assert_eq!(
            of(&[("Surrogate-Key", &most), ("Cache-Groups", "\"7\"")]),
            Err(TooManyTags)
        );
        // The length and the kind of a tag count too.
        let largest = "x".repeat(limits::CACHE_TAG_BYTES - 3);
        assert_eq!(of(&[("Cache-Tag", &largest)]).unwrap().len(), 1);
        assert_eq!(
            of(&[("Cache-Tag", &format!("{largest}x"))]),
            Err(TooManyTags)
        );
    }

    /// RFC 9875 section 2 (MUST): 32 groups of 32 characters at least.
    #[test]
    fn as_many_groups_as_the_rfc_demands_fit() {
        let groups = (0..32)
            .map(|number| format!("\"{number:032}\""))
            .collect::<Vec<_>>();
        assert_eq!(
            of(&[("Cache-Groups", &groups.join(", "))]).unwrap().len(),
            32
        );
    }

    #[test]
    fn invalidated_groups_table() {
        let of = |is_safe, value: &str| {
            let field = Header {
                name: "Cache-Group-Invalidation",
                value: value.as_bytes(),
            };
            invalidated_groups(is_safe, &[field], ORIGIN)
        };
        assert_eq!(
            of(false, "\"a\", \"b\""),
            [group_tag(ORIGIN, "a"), group_tag(ORIGIN, "b")]
        );
        // RFC 9875 section 3 (MUST): the field has no effect after safe methods.
        assert!(of(true, "\"a\"").is_empty());
        assert!(of(false, "\"a\", b").is_empty() && of(false, "").is_empty());
        let many = "\"a\",".repeat(1_000) + "\"a\"";
        assert_eq!(of(false, &many).len(), limits::CACHE_GROUPS_INVALIDATED);
    }

    #[test]
    fn groups_of_other_origins_are_other_tags() {
        assert_ne!(group_tag(ORIGIN, "a"), group_tag(b"http://a.test", "a"));
        assert_ne!(group_tag(b"a", "b"), group_tag(b"ab", ""));
    }

    proptest! {
        #[test]
        fn each_tag_is_kept_once(names in proptest::collection::vec("[ab]{1,3}", 0..20)) {
            let found = of(&[("Surrogate-Key", &names.join(" "))]).unwrap();
            let mut expected: Vec<String> = Vec::new();
            for name in &names {
                let tag = format!("t{name}");
                if !expected.contains(&tag) {
                    expected.push(tag);
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_stored_bytes_are_safe(bytes: Vec<u8>) {
            let read: usize = tags_in(&bytes).map(|tag| 2 + tag.len()).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
