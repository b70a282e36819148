//! The normal form of a field of a request: two requests whose normal forms are equal have the same meaning, so that
//! they select the same variant (RFC 9111 section 4.1).

use std::cmp::Ordering;

use httparse::Header;

use crate::base::limits::CACHE_VARY_MEMBERS;
use crate::cache::weighted::{Accepted, members, weighted};
use crate::http::fields::{trim, values};

/// Takes the bytes of a normal form one after the other.
pub trait NormalSink {
    /// Takes more bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Takes more bytes, in lower case.
    fn put_lower(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.put(&[byte.to_ascii_lowercase()]);
        }
    }
}

impl NormalSink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Compares a normal form with bytes, without keeping it.
#[derive(Debug)]
pub struct Comparison<'b> {
    rest: &'b [u8],
    is_same: bool,
}

impl<'b> Comparison<'b> {
    /// A comparison with these bytes.
    pub fn with(bytes: &'b [u8]) -> Comparison<'b> {
        Comparison {
            rest: bytes,
            is_same: true,
        }
    }

    /// Whether what was taken is exactly these bytes.
    pub fn is_equal(&self) -> bool {
        self.is_same && self.rest.is_empty()
    }
}

impl NormalSink for Comparison<'_> {
    fn put(&mut self, bytes: &[u8]) {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => self.rest = rest,
            None => self.is_same = false,
        }
    }
}

/// Writes the normal form of the field of this name (in lower case). Returns whether the request has the field: an
/// absent one differs from an empty one.
pub fn write(name: &[u8], request: &[Header<'_>], sink: &mut impl NormalSink) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let is_there = values(request, name).next().is_some();
    match name {
        "accept" | "accept-charset" | "accept-encoding" | "accept-language" => {
            write_weighted(name, request, sink);
        }
        // RFC 9113 section 8.2.3: the lines of this field are parts of one that is separated otherwise than a list.
        "cookie" => write_joined(values(request, name).map(trim), b"; ", sink),
        _ => write_joined(values(request, name).flat_map(members), b",", sink),
    }
    is_there
}

fn write_joined<'v>(
    parts: impl Iterator<Item = &'v [u8]>,
    separator: &[u8],
    sink: &mut impl NormalSink,
) {
    for (number, part) in parts.enumerate() {
        if number > 0 {
            sink.put(separator);
        }
        sink.put(part);
    }
}

/// Writes a list whose members have weights: the heaviest first, those of equal weight by their text, without repeats
/// (RFC 9110 section 12.4.2).
fn write_weighted(name: &str, request: &[Header<'_>], sink: &mut impl NormalSink) {
    let mut sorted = [Accepted::NONE; CACHE_VARY_MEMBERS];
    let mut count = 0;
    for member in weighted(request, name) {
        let Some(free) = sorted.get_mut(count) else {
            return write_joined(values(request, name).flat_map(members), b",", sink);
        };
        *free = member;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable_by(order);
    let mut last = None;
    for member in sorted {
        if last.is_some_and(|last| order(last, member) == Ordering::Equal) {
            continue;
        }
        if last.is_some() {
            sink.put(b",");
        }
        write_member(member, sink);
        last = Some(member);
    }
}

fn order(one: &Accepted<'_>, other: &Accepted<'_>) -> Ordering {
    let by_value = || {
        let one = one.value.iter().map(u8::to_ascii_lowercase);
        one.cmp(other.value.iter().map(u8::to_ascii_lowercase))
    };
    let by_parameters = || one.parameters().cmp(other.parameters());
    let by_weight = other.weight.cmp(&one.weight);
    by_weight.then_with(by_value).then_with(by_parameters)
}

fn write_member(member: &Accepted<'_>, sink: &mut impl NormalSink) {
    // RFC 9110 sections 12.5.1 to 12.5.4: types, charsets, codings and languages are compared without regard to case.
    sink.put_lower(member.value);
    for parameter in member.parameters() {
        sink.put(b";");
        sink.put(parameter);
    }
    if member.weight < 1_000 {
        let digits = [100, 10, 1].map(|unit| b'0' + (member.weight / unit % 10) as u8);
        sink.put(b";q=0.");
        sink.put(&digits);
    }
}
