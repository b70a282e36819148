//! Writing field sections.
//!
//! Strings are sent as they are: Huffman coding saves a few bytes of a send and costs as much as all the rest. What
//! saves bytes and time is the table, and only what comes again belongs there: a field enters it when it is seen for
//! the second time, so that dates, lengths and identifiers pass by without pushing anything out.

use std::ops::RangeInclusive;

use super::table::{DynamicTable, TableEntry};
use super::words::{hash_name, hash_value, is_lower_of};
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
    /// The entry's number in the table if the field entered it; 0 if not.
    number: u32,
}

/// The writing side of a connection, with the table that the peer's decoder follows.
#[derive(Debug)]
pub struct Encoder {
    table: DynamicTable,
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
            table: DynamicTable::new(limits::H2_TABLE_BYTES),
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
        debug_assert!((100..1000).contains(&status), "a status has three digits");
        const WHOLE_LINES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match WHOLE_LINES.iter().position(|known| *known == status) {
            Some(at) => out.push(0x80 | (static_table::STATUS_200 + at) as u8),
            None => {
                let digits = [status / 100, status / 10 % 10, status % 10];
                let digits = digits.map(|digit| b'0' + digit as u8);
                literal_with_index(out, UNINDEXED, static_table::STATUS_200, &digits);
            }
        }
    }

    /// Appends a pseudo-field that has rows in the static table at `indices`, with a name at the first.
    pub fn pseudo(&mut self, out: &mut Vec<u8>, indices: RangeInclusive<usize>, value: &[u8]) {
        let first = *indices.start();
        let mut indices = indices.filter(|index| static_table::line(*index).value() == value);
        match indices.next() {
            Some(index) if !value.is_empty() => out.push(0x80 | index as u8),
            _ => self.field(out, static_table::line(first).name(), value, false),
        }
    }

    /// Appends a field. Its name is written in lower case; `sensitive` keeps it out of all tables on its way.
    #[inline]
    pub fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
        if name.len() > NAME_BYTES || value.len() > VALUE_BYTES || sensitive {
            return unlearnt(out, name, value, sensitive);
        }
        let name_hash = hash_name(name);
        let hash = hash_value(name_hash, value);
        let place = &mut self.seen[name_hash as usize % PLACES];
        if place[0].hash != hash {
            // The last one used comes first, so that values which come once push out nothing but each other.
            place.swap(0, 1);
        }
        if place[0].hash == hash
            && let Some(age) = self.table.age(place[0].number)
            && let Some(line) = self.table.get(age)
            && is_lower_of(line.name(), name)
            && line.value() == value
        {
            return integer::write(out, 0x80, 7, static_table::LEN + 1 + age);
        }
        self.learn(out, name, value, hash, name_hash as usize % PLACES);
    }

    /// Appends a field that is not in the table. It enters now if it was seen before.
    fn learn(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8], hash: u32, place: usize) {
        let mut room = [0; NAME_BYTES];
        let name = lower(name, &mut room);
        let index = static_table::index_of(name);
        if SECRETS.contains(&name) {
            return literal(out, NEVER_INDEXED, index, name, value);
        }
        let seen = &mut self.seen[place][0];
        if seen.hash != hash {
            *seen = Seen { hash, number: 0 };
            return literal(out, UNINDEXED, index, name, value);
        }
        literal(out, INDEXED, index, name, value);
        self.line.clear();
        for part in [name, SEPARATOR, value, b"\r\n"] {
            self.line.extend_from_slice(part);
        }
        self.table.insert(TableEntry {
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

/// A form of a literal field: the bits in front, and the bits of the first byte that are left for a number behind.
#[derive(Clone, Copy)]
struct LiteralForm {
    pattern: u8,
    prefix_bits: u32,
}

/// Adds the field to the table of the receiver (RFC 7541 section 6.2.1).
const INDEXED: LiteralForm = LiteralForm {
    pattern: 0x40,
    prefix_bits: 6,
};

/// Leaves the table of the receiver as it is (RFC 7541 section 6.2.2).
const UNINDEXED: LiteralForm = LiteralForm {
    pattern: 0x00,
    prefix_bits: 4,
};

/// Keeps the field out of the tables of all receivers on the way (RFC 7541 section 6.2.3).
const NEVER_INDEXED: LiteralForm = LiteralForm {
    pattern: 0x10,
    prefix_bits: 4,
};

fn literal(out: &mut Vec<u8>, form: LiteralForm, index: usize, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 16);
    if index > 0 {
        return literal_with_index(out, form, index, value);
    }
    out.push(form.pattern);
    integer::write(out, 0, 7, name.len());
    out.extend_from_slice(name);
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

fn literal_with_index(out: &mut Vec<u8>, form: LiteralForm, index: usize, value: &[u8]) {
    integer::write(out, form.pattern, form.prefix_bits, index);
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

/// A field that is not worth a place, or must not have one.
#[cold]
fn unlearnt(out: &mut Vec<u8>, name: &[u8], value: &[u8], sensitive: bool) {
    let form = if sensitive { NEVER_INDEXED } else { UNINDEXED };
    let mut room = [0; NAME_BYTES];
    if name.len() <= NAME_BYTES {
        let name = lower(name, &mut room);
        return literal(out, form, static_table::index_of(name), name, value);
    }
    out.push(form.pattern);
    integer::write(out, 0, 7, name.len());
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

/// A short name in lower case.
fn lower<'r>(name: &[u8], room: &'r mut [u8; NAME_BYTES]) -> &'r [u8] {
    debug_assert!(name.len() <= room.len());
    let room = &mut room[..name.len()];
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    room
}
