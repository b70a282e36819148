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
    count: usize,
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
    pub fn of(fields: &[Header<'_>], origin: &[u8]) -> Result<Tags, TooManyTags> {
        let mut tags = Tags::default();
        for value in values(fields, "surrogate-key") {
            let blank_separated = value.split(|byte| matches!(byte, b' ' | b'\t'));
            tags.add_named(blank_separated.filter(|tag| !tag.is_empty()))?;
        }
        for value in values(fields, "cache-tag") {
            tags.add_named(list(value))?;
        }
        let mut result = Ok(());
        let mut groups = Tags::default();
        let is_list = strings(values(fields, "cache-groups"), |group| {
            result = result.and_then(|()| groups.add(&group_tag(origin, group)));
        });
        // RFC 9651 section 4.2 (MUST): a field that is no list of strings is ignored as a whole.
        if is_list.is_ok() {
            result?;
            for group in groups.iter() {
                tags.add(group)?;
            }
        }
        Ok(tags)
    }

    /// Tags that were stored: see [`Tags::as_bytes`]. `None`: the bytes are no tags.
    pub fn from_bytes(bytes: &[u8]) -> Option<Tags> {
        let tags = Tags {
            count: tags_in(bytes).count(),
            bytes: bytes.to_vec(),
        };
        let read: usize = tags.iter().map(|tag| 2 + tag.len()).sum();
        (read == bytes.len()).then_some(tags)
    }

    /// The tags as one text to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tags, each as [`named_tag`] and [`group_tag`] write them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        tags_in(&self.bytes)
    }

    /// The number of tags.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add_named<'b>(&mut self, tags: impl Iterator<Item = &'b [u8]>) -> Result<(), TooManyTags> {
        for tag in tags {
            self.add(&named_tag(tag))?;
        }
        Ok(())
    }

    fn add(&mut self, tag: &[u8]) -> Result<(), TooManyTags> {
        if self.iter().any(|known| known == tag) {
            return Ok(());
        }
        let is_full = self.count == limits::CACHE_TAGS
            || self.bytes.len() + 2 + tag.len() > limits::CACHE_TAG_BYTES;
        let len = u16::try_from(tag.len()).ok().filter(|_| !is_full);
        self.bytes
            .extend_from_slice(&len.ok_or(TooManyTags)?.to_be_bytes());
        self.bytes.extend_from_slice(tag);
        self.count += 1;
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
/// [`Tags::of`].
pub fn invalidated_groups(
    is_safe: bool,
    fields: &[Header<'_>],
    origin: &[u8],
) -> Result<Vec<Vec<u8>>, TooManyTags> {
    // RFC 9875 section 3 (MUST): the field is ignored on responses to safe methods.
    if is_safe {
        return Ok(Vec::new());
    }
    let mut groups = Vec::new();
    let is_list = strings(values(fields, "cache-group-invalidation"), |group| {
        if groups.len() <= limits::CACHE_GROUPS_INVALIDATED {
            groups.push(group_tag(origin, group));
        }
    });
    match is_list {
        Ok(()) if groups.len() > limits::CACHE_GROUPS_INVALIDATED => Err(TooManyTags),
        Ok(()) => Ok(groups),
        Err(_) => Ok(Vec::new()),
    }
}
