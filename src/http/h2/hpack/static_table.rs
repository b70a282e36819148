//! The static table (RFC 7541 appendix A) and the way from a name to its place there.

use super::table::TableEntry;
use crate::http::h2::field::Class;

/// Entries of the static table; its indices begin at 1.
pub(super) const LEN: usize = 61;
/// Index of the first `:status` row, `200`.
pub(super) const STATUS_200: usize = 8;

struct Row {
    line: &'static str,
    name_len: u32,
    class: Class,
}

macro_rules! row {
    ($name:literal, $value:literal, $class:ident) => {
        Row {
            line: concat!($name, ": ", $value, "\r\n"),
            name_len: $name.len() as u32,
            class: Class::$class,
        }
    };
}

#[rustfmt::skip]
static ROWS: [Row; LEN] = [
    row!(":authority", "", Authority),
    row!(":method", "GET", Method),
    row!(":method", "POST", Method),
    row!(":path", "/", Path),
    row!(":path", "/index.html", Path),
    row!(":scheme", "http", Scheme),
    row!(":scheme", "https", Scheme),
    row!(":status", "200", Status),
    row!(":status", "204", Status),
    row!(":status", "206", Status),
    row!(":status", "304", Status),
    row!(":status", "400", Status),
    row!(":status", "404", Status),
    row!(":status", "500", Status),
    row!("accept-charset", "", Plain),
    row!("accept-encoding", "gzip, deflate", Plain),
    row!("accept-language", "", Plain),
    row!("accept-ranges", "", Plain),
    row!("accept", "", Plain),
    row!("access-control-allow-origin", "", Plain),
    row!("age", "", Plain),
    row!("allow", "", Plain),
    row!("authorization", "", Plain),
    row!("cache-control", "", Plain),
    row!("content-disposition", "", Plain),
    row!("content-encoding", "", Plain),
    row!("content-language", "", Plain),
    row!("content-length", "", ContentLength),
    row!("content-location", "", Plain),
    row!("content-range", "", Plain),
    row!("content-type", "", Plain),
    row!("cookie", "", Cookie),
    row!("date", "", Plain),
    row!("etag", "", Plain),
    row!("expect", "", Expect),
    row!("expires", "", Plain),
    row!("from", "", Plain),
    row!("host", "", Host),
    row!("if-match", "", Plain),
    row!("if-modified-since", "", Plain),
    row!("if-none-match", "", Plain),
    row!("if-range", "", Plain),
    row!("if-unmodified-since", "", Plain),
    row!("last-modified", "", Plain),
    row!("link", "", Plain),
    row!("location", "", Plain),
    row!("max-forwards", "", Plain),
    row!("proxy-authenticate", "", Plain),
    row!("proxy-authorization", "", Plain),
    row!("range", "", Plain),
    row!("referer", "", Plain),
    row!("refresh", "", Plain),
    row!("retry-after", "", Plain),
    row!("server", "", Plain),
    row!("set-cookie", "", Plain),
    row!("strict-transport-security", "", Plain),
    row!("transfer-encoding", "", Forbidden),
    row!("user-agent", "", Plain),
    row!("vary", "", Plain),
    row!("via", "", Plain),
    row!("www-authenticate", "", Plain),
];

/// The entry at `index`, 1 to [`LEN`].
#[inline]
pub(super) fn line(index: usize) -> TableEntry<'static> {
    debug_assert!((1..=LEN).contains(&index));
    let row = &ROWS[index - 1];
    TableEntry {
        bytes: row.line.as_bytes(),
        name_len: row.name_len,
        class: row.class,
        bad_value: false,
    }
}

/// Length, first and last byte tell the names of ordinary fields apart; multiplied by this, the top bits of the product
/// do so as well.
const SPREAD: u32 = 0x7712_a5ad;
const SLOT_BITS: u32 = 7;

const fn slot(len: usize, first: u8, last: u8) -> usize {
    let key = len as u32 & 0xff | (first as u32) << 8 | (last as u32) << 16;
    (key.wrapping_mul(SPREAD) >> (32 - SLOT_BITS)) as usize
}

/// By slot: the first index of the name that it belongs to, or 0.
static SLOTS: [u8; 1 << SLOT_BITS] = {
    let mut slots = [0; 1 << SLOT_BITS];
    let mut index = LEN;
    while index > 0 {
        let row = &ROWS[index - 1];
        let name = row.line.as_bytes();
        let slot = slot(
            row.name_len as usize,
            name[0],
            name[row.name_len as usize - 1],
        );
        if name[0] != b':' {
            slots[slot] = index as u8;
        }
        index -= 1;
    }
    slots
};

/// The first index of a name in lower case; 0 if it has none.
#[inline]
pub(super) fn index_of(name: &[u8]) -> usize {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
        return 0;
    };
    if first == b':' {
        return pseudo_index_of(name);
    }
    let index = usize::from(SLOTS[slot(name.len(), first, last)]);
    if index > 0 && line(index).name() == name {
        index
    } else {
        0
    }
}

/// The first index of a pseudo-field's name; 0 if it has none.
fn pseudo_index_of(name: &[u8]) -> usize {
    const FIRST_ORDINARY: usize = 15;
    let mut indices = 1..FIRST_ORDINARY;
    indices
        .find(|index| line(*index).name() == name)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::field::classify;

    #[test]
    fn every_name_is_found_and_has_its_class() {
        let mut names: Vec<&[u8]> = Vec::new();
        for index in 1..=LEN {
            let entry = line(index);
            assert_eq!(classify(entry.name()), entry.class, "{index}");
            if !names.contains(&entry.name()) {
                assert_eq!(index_of(entry.name()), index);
                names.push(entry.name());
            }
        }
        assert_eq!(names.len(), 52);
        for name in [
            "",
            "x",
            "x-request-id",
            "hosts",
            "Host",
            "cache_control",
            ":protocol",
            ":",
        ] {
            assert_eq!(index_of(name.as_bytes()), 0, "{name}");
        }
    }
}
