//! Writing field sections.
//!
//! Strings are sent as they are: Huffman coding saves a few bytes of a send and costs as much as all the rest. What
//! saves bytes and time is the table, and only what comes again belongs there: a field enters it when it is seen for the
//! second time, so that dates, lengths and identifiers pass by without pushing anything out.

use super::table::{Line, Table};
use super::{SEPARATOR, integer, static_table};
use crate::base::limits;
use crate::http::h2::field::Class;

/// Bytes of the longest name that is looked up; all names that come in numbers are shorter.
const NAME_BYTES: usize = 32;
/// Bytes of the longest value that may enter the table.
const VALUE_BYTES: usize = 512;
/// Places for names; each remembers the last two values.
const PLACES: usize = 64;

/// A field that was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    hash: u32,
    /// Its number in the table if it entered; 0 if not.
    number: u32,
}

/// The writing side of a connection, with the table that the peer's decoder follows.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    seen: Box<[[Seen; 2]; PLACES]>,
    /// The smallest size that the table had to take since the last section, if the peer must still be told.
    resized_to: Option<usize>,
    line: Vec<u8>,
}

/// Names whose values never enter a table (RFC 7541 section 7.1.3): from a table that many share, secrets are guessed.
const SECRETS: [&[u8]; 4] = [
    b"authorization",
    b"cookie",
    b"set-cookie",
    b"proxy-authorization",
];

impl Encoder {
    /// An encoder with a table of `limits::H2_TABLE_BYTES`, the size that holds before any SETTINGS.
    pub fn new() -> Encoder {
        Encoder {
            table: Table::new(limits::H2_TABLE_BYTES),
            seen: Box::new([[Seen::default(); 2]; PLACES]),
            resized_to: None,
            line: Vec::new(),
        }
    }

    /// Heeds the peer's SETTINGS_HEADER_TABLE_SIZE; more than `limits::H2_TABLE_BYTES` is never used.
    pub fn set_max_size(&mut self, bytes: usize) {
        let bytes = bytes.min(limits::H2_TABLE_BYTES);
        if bytes != self.table.max_size() {
            self.table.set_max_size(bytes);
            let smallest = self.resized_to.map_or(bytes, |earlier| earlier.min(bytes));
            self.resized_to = Some(smallest);
        }
    }

    /// Begins a section. Must come before its first field.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.resized_to.take() {
            integer::write(out, 0x20, 5, smallest);
            if smallest != self.table.max_size() {
                integer::write(out, 0x20, 5, self.table.max_size());
            }
        }
    }

    /// Appends `:status`.
    #[inline]
    pub fn status(&mut self, out: &mut Vec<u8>, status: u16) {
        const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match INDEXED.iter().position(|indexed| *indexed == status) {
            Some(at) => out.push(0x80 | (static_table::STATUS_200 + at) as u8),
            None => {
                let digits = [status / 100, status / 10 % 10, status % 10];
                let digits = digits.map(|digit| b'0' + digit as u8);
                literal_with_index(out, 0x00, 4, static_table::STATUS_200, &digits);
            }
        }
    }

    /// Appends a pseudo-field that has rows in the static table at `indices`, with a name at the first.
    pub fn pseudo(
        &mut self,
        out: &mut Vec<u8>,
        indices: std::ops::RangeInclusive<usize>,
        value: &[u8],
    ) {
        let first = *indices.start();
        match indices
            .into_iter()
            .find(|index| static_table::line(*index).value() == value)
        {
            Some(index) if !value.is_empty() => out.push(0x80 | index as u8),
            _ => {
                let name = static_table::line(first).name();
                self.learnt(out, name, value, first, hash(0, name));
            }
        }
    }

    /// Appends a field. Its name is written in lower case; `sensitive` keeps it out of all tables on its way.
    pub fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
        let mut room = [0; NAME_BYTES];
        let Some(lower) = room.get_mut(..name.len()) else {
            return long_name(out, name, value, sensitive);
        };
        lower.copy_from_slice(name);
        // The whole room, because a constant number of bytes is two instructions.
        room.make_ascii_lowercase();
        let name = &room[..name.len()];
        let index = static_table::index_of(name);
        if sensitive || SECRETS.contains(&name) {
            return literal(out, 0x10, 4, index, name, value);
        }
        if value.len() > VALUE_BYTES {
            return literal(out, 0x00, 4, index, name, value);
        }
        self.learnt(out, name, value, index, hash(0, &room));
    }

    /// Appends a field by its place in the table, lets it enter, or only remembers it. `index` is its name's in the
    /// static table or 0.
    fn learnt(
        &mut self,
        out: &mut Vec<u8>,
        name: &[u8],
        value: &[u8],
        index: usize,
        name_hash: u32,
    ) {
        let place = &mut self.seen[name_hash as usize % PLACES];
        // Never 0, which would be taken for a place that nothing was put in yet.
        let hash = hash(name_hash, value) | 1;
        if place[0].hash != hash {
            // The last one used comes first, so that values which come once push out nothing but each other.
            place.swap(0, 1);
        }
        let seen = &mut place[0];
        if seen.hash != hash {
            *seen = Seen { hash, number: 0 };
            return literal(out, 0x00, 4, index, name, value);
        }
        if let Some(age) = self.table.age(seen.number)
            && let Some(line) = self.table.get(age)
            && (line.name(), line.value()) == (name, value)
        {
            return integer::write(out, 0x80, 7, static_table::LEN + 1 + age);
        }
        literal(out, 0x40, 6, index, name, value);
        self.line.clear();
        for part in [name, SEPARATOR, value, b"\r\n"] {
            self.line.extend_from_slice(part);
        }
        self.table.insert(Line {
            bytes: &self.line,
            name_len: name.len() as u32,
            class: Class::Plain,
            bad_value: false,
        });
        seen.number = self.table.inserted();
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

/// A hash of `text` that goes on from `seed`. Collisions cost a comparison or a place in the table, nothing else.
#[inline(always)]
fn hash(seed: u32, text: &[u8]) -> u32 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    let mut hash = mix(u64::from(seed), text.len() as u64);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    for byte in rest {
        hash = mix(hash, u64::from(*byte));
    }
    (hash >> 32) as u32
}

fn literal(
    out: &mut Vec<u8>,
    pattern: u8,
    prefix_bits: u32,
    index: usize,
    name: &[u8],
    value: &[u8],
) {
    out.reserve(name.len() + value.len() + 16);
    if index > 0 {
        return literal_with_index(out, pattern, prefix_bits, index, value);
    }
    out.push(pattern);
    integer::write(out, 0, 7, name.len());
    out.extend_from_slice(name);
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

fn literal_with_index(
    out: &mut Vec<u8>,
    pattern: u8,
    prefix_bits: u32,
    index: usize,
    value: &[u8],
) {
    integer::write(out, pattern, prefix_bits, index);
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

fn long_name(out: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
    out.push(if sensitive { 0x10 } else { 0x00 });
    integer::write(out, 0, 7, name.len());
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}
