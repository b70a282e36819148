//! How servers may read a path. Some merge slashes, some decode `%2f`, take a backslash for a slash or cut what
//! follows a semicolon, and each in an order of its own. A path is only safe on a route that all of these readings
//! lead to.
//!
//! Not every combination has to be tried. A prefix is found in a reading if its segments stand there one by one, and
//! each step that turns an odd segment into a plain one (merging, decoding, separating at more than a slash, cutting)
//! leaves plain segments alone: a reader who does more of these steps finds every prefix that a reader who does less
//! finds. So all readings here take all steps. What is left is where a parameter ends, because cutting also takes
//! something away: a server that cuts before it decodes takes all up to the next slash, one that decodes first takes
//! less.

/// The three separators that are slashes to some servers only.
const ENCODED_SLASH: u8 = 0b001;
const BACKSLASH: u8 = 0b010;
const ENCODED_BACKSLASH: u8 = 0b100;
const SEPARATORS: u32 = 3;

/// A part of a path, as the server sees it that gives a meaning to most bytes.
enum Symbol {
    Slash,
    /// One of the three separators that are slashes to some servers only, by its bit.
    Separator(u8),
    /// The beginning of a parameter: a semicolon (0), or one that is encoded (1), which is only seen after decoding.
    Parameter(usize),
    /// A byte, escaped or not.
    Byte(u8),
}

/// Whether every server reads the path alike: nothing in it can be merged, decoded, cut or taken for a slash.
pub fn is_plain(path: &[u8]) -> bool {
    let neighbours = path.iter().zip(path.get(1..).unwrap_or_default());
    let merges = neighbours.fold(false, |merges, (one, next)| {
        merges | ((*one == b'/') & (*next == b'/'))
    });
    !merges && memchr::memchr3(b'%', b';', b'\\', path).is_none()
}

/// The readings of a normalised path: never none, and hardly ever more than one.
pub struct Readings<'p> {
    path: &'p [u8],
    /// The separators that end parameters in the next reading: [`SEPARATORS`] bits for each kind of semicolon. `None`:
    /// all were given.
    ends: Option<u8>,
    /// The bits of `ends` whose separators stand behind such a semicolon in this path: no other bit changes its
    /// reading.
    relevant: u8,
}

impl<'p> Readings<'p> {
    /// All readings of this path.
    pub fn of(path: &'p [u8]) -> Readings<'p> {
        let (mut separators, mut parameters) = (0, [false; 2]);
        for symbol in symbols(path) {
            match symbol {
                Symbol::Separator(kind) => separators |= kind,
                Symbol::Parameter(kind) => parameters[kind] = true,
                Symbol::Slash | Symbol::Byte(_) => {}
            }
        }
        let [plain, encoded] = parameters.map(u8::from);
        let relevant = (separators * plain) | ((separators * encoded) << SEPARATORS);
        Readings {
            path,
            ends: Some(relevant),
            relevant,
        }
    }

    /// Puts the next reading in the place of what `out` holds; false: there is none.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(ends) = self.ends else {
            return false;
        };
        read(self.path, ends, out);
        // The next smaller number that has no bits but relevant ones.
        self.ends = ends.checked_sub(1).map(|below| below & self.relevant);
        true
    }
}

/// The one reading of a path that all servers have who take every step; `None`: they differ in where a parameter ends.
pub fn only_reading(path: &[u8]) -> Option<Vec<u8>> {
    let mut readings = Readings::of(path);
    let (mut only, mut other) = (Vec::new(), Vec::new());
    readings.next_into(&mut only);
    while readings.next_into(&mut other) {
        if only != other {
            return None;
        }
    }
    Some(only)
}

fn read(path: &[u8], ends: u8, out: &mut Vec<u8>) {
    out.clear();
    let mut cuts = [false; 2];
    for symbol in symbols(path) {
        let ended_by = match symbol {
            Symbol::Slash => [true; 2],
            Symbol::Separator(kind) => [ends & kind != 0, (ends >> SEPARATORS) & kind != 0],
            Symbol::Parameter(_) | Symbol::Byte(_) => [false; 2],
        };
        // A parameter behind a plain semicolon is cut before anything is decoded. It may therefore contain the bytes
        // that would end a parameter behind an encoded one.
        cuts[0] &= !ended_by[0];
        cuts[1] &= cuts[0] || !ended_by[1];
        match symbol {
            _ if cuts[0] => {}
            Symbol::Parameter(kind) => cuts[kind] = true,
            _ if cuts[1] => {}
            Symbol::Slash | Symbol::Separator(_) if out.last() == Some(&b'/') => {}
            // A segment of one dot that only a decoding server sees leads nowhere else.
            Symbol::Slash | Symbol::Separator(_) if out.ends_with(b"/.") => {
                out.truncate(out.len() - 1)
            }
            Symbol::Slash | Symbol::Separator(_) => out.push(b'/'),
            Symbol::Byte(byte) => push(byte, out),
        }
    }
    if out.ends_with(b"/.") {
        out.truncate(out.len() - 1);
    }
}

/// Bytes that a path cannot have as they are stay escaped, and in one way.
fn push(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_graphic() && !b"%?#".contains(&byte) {
        return out.push(byte);
    }
    let [high, low] = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
    out.extend([b'%', high, low]);
}

fn symbols(path: &[u8]) -> impl Iterator<Item = Symbol> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let escaped = match first {
            b'%' => super::escaped(rest).ok(),
            _ => None,
        };
        rest = if escaped.is_some() { &rest[3..] } else { after };
        Some(match (first, escaped) {
            (b'/', _) => Symbol::Slash,
            (b'\\', _) => Symbol::Separator(BACKSLASH),
            (b';', _) => Symbol::Parameter(0),
            (_, Some(b'/')) => Symbol::Separator(ENCODED_SLASH),
            (_, Some(b'\\')) => Symbol::Separator(ENCODED_BACKSLASH),
            (_, Some(b';')) => Symbol::Parameter(1),
            (byte, escaped) => Symbol::Byte(escaped.unwrap_or(byte)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let mut readings = Readings::of(path.as_bytes());
        let (mut all, mut reading) = (Vec::new(), Vec::new());
        while readings.next_into(&mut reading) {
            all.push(String::from_utf8(reading.clone()).unwrap());
        }
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn plain_table() {
        let plain = ["/", "*", "", "/a", "/a/b/", "/a.b/~c:d@e,f=1"];
        let odd = ["//", "/a//b", "/a//", "/%61", "/a;", "/a\\b", "/a/b//"];
        for path in plain {
            assert!(is_plain(path.as_bytes()), "{path}");
            assert_eq!(readings(path), [path], "{path}");
        }
        for path in odd {
            assert!(!is_plain(path.as_bytes()), "{path}");
            assert_ne!(readings(path), [path], "{path}");
        }
    }

    #[test]
    fn readings_table() {
        let rows: [(&str, &[&str]); 24] = [
            ("/x/.%2Fadmin", &["/x/admin"]),
            ("/.%2F.%2Fadmin%2F.", &["/admin/"]),
            ("/x/.;y/admin%2F.z", &["/x/admin/.z"]),
            ("//admin//x/", &["/admin/x/"]),
            ("/admin%2fx", &["/admin/x"]),
            ("/admin%2Fx", &["/admin/x"]),
            ("/admin\\x%5cy%5C", &["/admin/x/y/"]),
            ("/%2f%5c\\/admin", &["/admin"]),
            ("/admin;v=1/x;y", &["/admin/x"]),
            ("/;/admin", &["/admin"]),
            ("/admin%3Bv=1;w%3bx/x", &["/admin/x"]),
            ("/%61%64min", &["/admin"]),
            ("/a%40b%2Cc", &["/a@b,c"]),
            ("/a%20%c3%A9%3f%23%25", &["/a%20%C3%A9%3F%23%25"]),
            // No server decodes a path twice.
            ("/%2561dmin%252fx", &["/%2561dmin%252fx"]),
            ("/a;x%2fb/c", &["/a/b/c", "/a/c"]),
            ("/a;x\\b/c", &["/a/b/c", "/a/c"]),
            ("/a%3bx%2fb/c", &["/a/b/c", "/a/c"]),
            ("/a;x%2fb\\c/d", &["/a/b/c/d", "/a/c/d", "/a/d"]),
            ("/a%2fb;x", &["/a/b"]),
            ("/a;x/b\\c", &["/a/b/c"]),
            ("/a;x%3by%2fb/c", &["/a/b/c", "/a/c"]),
            ("/a%3bx;y%2fb/c", &["/a/b/c", "/a/c"]),
            ("/a;%2f%5c/b", &["/a/b"]),
        ];
        for (path, expected) in rows {
            assert_eq!(readings(path), expected, "{path}");
        }
    }

    #[test]
    fn some_paths_have_one_reading() {
        assert_eq!(only_reading(b"/a;x/b%2fc").as_deref(), Some(&b"/a/b/c"[..]));
        assert_eq!(only_reading(b"/a").as_deref(), Some(&b"/a"[..]));
        assert_eq!(only_reading(b"/a;x%2fb"), None);
    }
}
