//! The key of a stored response: two requests have the same key only if a backend is told the same URL.
//!
//! A key is read from both ends, so that no byte of one part can pass for one of another part: the length of the zone
//! and the zone; the URL as text; the values of the fields of the key, one behind the other; then the length of each
//! value, the number of values and the length of the URL. The key of a slice has its number as a further value. All
//! keys of one zone with a URL of the same beginning have the same beginning, by which they are purged.

use std::io::Write as _;
use std::net::Ipv6Addr;

use httparse::Header;

use crate::cache::pattern::Pattern;
use crate::cache::policy::Policy;
use crate::http::fields::values;
use crate::http::host::without_root;

/// The text in a key before the number of a slice. The values of fields begin with a line feed.
const SLICE: &str = "\0slice ";

/// The parts of a key. The method is none of them: GET and HEAD share a stored response.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// The zone, and the rules for the query and for fields.
    pub policy: &'a Policy,
    /// The scheme that the backend is told, `http` or `https`.
    pub scheme: &'a str,
    /// The host that the client asked for, without a port.
    pub host: &'a [u8],
    /// The port that the client asked for, if it named one.
    pub port: Option<u16>,
    /// The path as it is forwarded, before a prefix is stripped.
    pub path: &'a [u8],
    /// The query as it is forwarded; an empty one is another one than none.
    pub query: Option<&'a [u8]>,
    /// The fields of the request as the client sent them.
    pub fields: &'a [Header<'a>],
}

/// A key taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'k> {
    /// The zone.
    pub zone: &'k [u8],
    /// The URL: scheme, host, port unless it is the default, path and query without what the policy ignores.
    pub url: &'k [u8],
    /// The values of the fields of the key and their lengths.
    pub values: &'k [u8],
}

impl<'k> Key<'k> {
    /// Appends the key of a request.
    pub fn write(parts: &KeyParts<'_>, out: &mut Vec<u8>) {
        // RFC 9111 section 4 (MUST NOT, a): the target URI is in the key, and keys are compared as a whole.
        let policy = parts.policy;
        let start = Key::write_url(parts, out);
        let url_len = length(out.len() - start);
        let values_start = out.len();
        for name in &policy.key_headers {
            write_value(parts.fields, name, out);
        }
        // The lengths follow from the fields once more, so that nothing has to be kept meanwhile.
        let mut rest = out.len() - values_start;
        for name in &policy.key_headers {
            let len = value_len(parts.fields, name);
            out.extend_from_slice(&length(len).to_be_bytes());
            rest -= len;
        }
        debug_assert_eq!(rest, 0, "each value has its length");
        out.extend_from_slice(&length(policy.key_headers.len()).to_be_bytes());
        out.extend_from_slice(&url_len.to_be_bytes());
    }

    /// Appends the zone and the URL: all keys of the URL begin so, whatever the fields of the key are. Returns the
    /// position of the URL.
    pub fn write_url(parts: &KeyParts<'_>, out: &mut Vec<u8>) -> usize {
        let policy = parts.policy;
        let start = Key::write_start(&policy.zone, parts.scheme, out);
        write_authority(parts.scheme, parts.host, parts.port, out);
        out.extend_from_slice(parts.path);
        if let Some(query) = parts.query {
            write_query(query, &policy.ignore_query, policy.sort_query, out);
        }
        start
    }

    /// The values of the fields of the key, each `None` if the request did not have the field.
    pub fn fields(&self) -> Option<Vec<Option<&'k [u8]>>> {
        let (rest, count) = self.values.split_last_chunk::<4>()?;
        let count = u32::from_be_bytes(*count) as usize;
        let lengths_at = rest.len().checked_sub(count.checked_mul(4)?)?;
        let (mut rest, lengths) = rest.split_at(lengths_at);
        let mut fields = Vec::new();
        for len in lengths.as_chunks::<4>().0 {
            let len = u32::from_be_bytes(*len);
            if len == 0 {
                fields.push(None);
                continue;
            }
            let (field, behind) = rest.split_at_checked(len as usize)?;
            if !field.starts_with(SLICE.as_bytes()) {
                fields.push(Some(field.strip_prefix(b"\n").unwrap_or(field)));
            }
            rest = behind;
        }
        Some(fields)
    }

    /// The key of a slice of what has this key: one value more, which no field has. Purges of the URL reach the slice.
    /// `None`: the bytes are no key.
    pub fn of_slice(key: &[u8], number: u64, size: u64) -> Option<Vec<u8>> {
        let (rest, url_len) = key.split_last_chunk::<4>()?;
        let (rest, count) = rest.split_last_chunk::<4>()?;
        let count = u32::from_be_bytes(*count);
        let lengths_at = rest.len().checked_sub((count as usize).checked_mul(4)?)?;
        let (values, lengths) = rest.split_at(lengths_at);
        let value = format!("{SLICE}{number}/{size}");
        let added = length(value.len()).to_be_bytes();
        let count = count.checked_add(1)?.to_be_bytes();
        Some([values, value.as_bytes(), lengths, &added, &count, url_len].concat())
    }

    /// Appends the beginning of all keys of a zone whose URL begins with a text, such as `https://a.test/img/`. The
    /// text is written as [`write_authority`] writes URLs, and as requests of its path are forwarded.
    pub fn write_prefix(zone: &str, url: &[u8], out: &mut Vec<u8>) {
        write_zone(zone, out);
        out.extend_from_slice(url);
    }

    /// Takes a key apart. `None`: the bytes are no key.
    pub fn read(bytes: &'k [u8]) -> Option<Key<'k>> {
        let (zone_len, rest) = bytes.split_first_chunk::<2>()?;
        let (zone, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*zone_len)))?;
        let (rest, url_len) = rest.split_last_chunk::<4>()?;
        let url_len = u32::from_be_bytes(*url_len) as usize;
        let (url, values) = rest.split_at_checked(url_len)?;
        (values.len() >= 4).then_some(Key { zone, url, values })
    }

    /// Appends what stands before the authority; the result is where the URL begins.
    fn write_start(zone: &str, scheme: &str, out: &mut Vec<u8>) -> usize {
        write_zone(zone, out);
        let start = out.len();
        out.extend_from_slice(scheme.as_bytes());
        out.extend_from_slice(b"://");
        start
    }
}

fn write_zone(zone: &str, out: &mut Vec<u8>) {
    // The configuration bounds names. A longer one would be cut, and zones would still be told apart by their length.
    let zone = &zone.as_bytes()[..zone.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(zone.len() as u16).to_be_bytes());
    out.extend_from_slice(zone);
}

/// Appends host and port in the one form that a key has: lower case, no dot at the end, an IPv6 address as RFC 5952
/// writes it, no port that is the scheme's default. A route with a cache must tell its backend the host in this form,
/// or one form could be answered with what was made for another one.
pub fn write_authority(scheme: &str, host: &[u8], port: Option<u16>, out: &mut Vec<u8>) {
    match ipv6(host) {
        // A vector takes every byte: nothing can fail.
        Some(address) => drop(write!(out, "[{address}]")),
        None => {
            let start = out.len();
            out.extend_from_slice(without_root(host));
            out[start..].make_ascii_lowercase();
        }
    }
    let default_port = if scheme == "https" { 443 } else { 80 };
    if let Some(port) = port.filter(|port| *port != default_port) {
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    }
}

fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let address = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(address).ok()?.parse().ok()
}

/// Appends `?` and the query without ignored parameters. Nothing is written if all of its parameters are ignored.
fn write_query(query: &[u8], ignored: &[Pattern], is_sorted: bool, out: &mut Vec<u8>) {
    // Some servers separate parameters at `;` too: what is one parameter here would be several ones there, of which
    // only the first one is ignored, and their order would count.
    let has_other_separator = memchr::memchr(b';', query).is_some();
    let changes = !query.is_empty() && !has_other_separator;
    if !changes || (ignored.is_empty() && !is_sorted) {
        out.push(b'?');
        out.extend_from_slice(query);
        return;
    }
    let is_kept = |parameter: &&[u8]| {
        !ignored
            .iter()
            .any(|known| known.matches(name_of(parameter)))
    };
    let kept = query.split(|&byte| byte == b'&').filter(is_kept);
    let is_in_order = || kept.clone().is_sorted_by_key(name_of);
    if is_sorted && !is_in_order() {
        let mut kept: Vec<&[u8]> = kept.collect();
        // Parameters of the same name keep their order, which may have a meaning.
        kept.sort_by_key(|parameter| name_of(parameter));
        write_parameters(kept.into_iter(), out);
    } else {
        write_parameters(kept, out);
    }
}

fn write_parameters<'q>(parameters: impl Iterator<Item = &'q [u8]>, out: &mut Vec<u8>) {
    for (index, parameter) in parameters.enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(parameter);
    }
}

fn name_of(parameter: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'=', parameter);
    &parameter[..end.unwrap_or(parameter.len())]
}

/// Appends the lines of a field, each behind a line feed, which no value has.
fn write_value(fields: &[Header<'_>], name: &str, out: &mut Vec<u8>) {
    for value in values(fields, name) {
        out.push(b'\n');
        out.extend_from_slice(value);
    }
}

/// The number of bytes that [`write_value`] appends: 0 only if the request does not have the field.
fn value_len(fields: &[Header<'_>], name: &str) -> usize {
    values(fields, name).map(|value| 1 + value.len()).sum()
}

/// A length in a key. Heads are bounded far below.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
