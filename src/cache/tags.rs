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
    pub fn of(fields: &[Header<'_>], origin: &[u8]) -> Result<Tags, TooManyTags> {
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
            groups.push(group_tag(origin, group));
        });
        // RFC 9651 section 4.2 (MUST): a field that is no list of strings is ignored as a whole.
        if is_list.is_ok() {
            for group in &groups {
                tags.add(group)?;
            }
        }
        Ok(tags)
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
