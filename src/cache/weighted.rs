//! Lists of what a client accepts, with weights (RFC 9110 section 12.4.2).

use httparse::Header;

use crate::http::fields::{trim, values};

/// A member of a list with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'v> {
    /// The text before the parameters, as it was written, with the usual name of a coding that has two.
    pub value: &'v [u8],
    /// The weight in thousandths; 1,000 where none is written, or none that can be read.
    pub weight: u16,
    rest: &'v [u8],
}

impl<'v> Accepted<'v> {
    /// No member.
    pub const NONE: Accepted<'static> = Accepted {
        value: b"",
        weight: 0,
        rest: b"",
    };

    /// Reads a member.
    pub fn of(text: &'v [u8]) -> Accepted<'v> {
        let end = text.iter().position(|&byte| byte == b';');
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        let rest = rest.get(1..).unwrap_or_default();
        let weight = parts(rest).find_map(weight_of);
        Accepted {
            value: usual_name(trim(value)),
            weight: weight.unwrap_or(1_000),
            rest,
        }
    }

    /// The parameters other than the weight.
    pub fn parameters(&self) -> impl Iterator<Item = &'v [u8]> + use<'v> {
        parts(self.rest).filter(|part| weight_of(part).is_none())
    }

    /// Whether the member is this one, in any case.
    pub fn is(&self, value: &[u8]) -> bool {
        self.value.eq_ignore_ascii_case(value)
    }
}

/// The members of the lists in all lines of a field, empty ones left out.
pub fn weighted<'v>(request: &[Header<'v>], name: &str) -> impl Iterator<Item = Accepted<'v>> {
    values(request, name)
        .flat_map(members)
        .filter(|member| !member.is_empty())
        .map(Accepted::of)
}

/// The members of a list, without blanks around them. A comma in a quoted string is none between members.
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(line, b',')
}

fn parts(parameters: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(parameters, b';').filter(|part| !part.is_empty())
}

fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let parts = text.split(move |&byte| {
        let is_literal = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' => is_escaped = is_quoted && !is_literal,
            b'"' => is_quoted ^= !is_literal,
            _ => {}
        }
        byte == separator && !is_quoted
    });
    parts.map(trim)
}

/// The weight that a parameter is, in thousandths (RFC 9110 section 12.4.2).
fn weight_of(parameter: &[u8]) -> Option<u16> {
    let text = parameter
        .strip_prefix(b"q=")
        .or(parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = text.split_first()?;
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let units = [100, 10, 1].into_iter();
    let mut thousandths = digits
        .iter()
        .zip(units)
        .map(|(digit, unit)| u16::from(digit - b'0') * unit);
    match whole {
        _ if !digits.iter().all(u8::is_ascii_digit) => None,
        b'0' => Some(thousandths.sum()),
        b'1' if thousandths.all(|part| part == 0) => Some(1_000),
        _ => None,
    }
}

/// The usual name of a coding (RFC 9110 sections 8.4.1.1 and 8.4.1.3: the two names are to be taken for one).
fn usual_name(value: &[u8]) -> &[u8] {
    if value.eq_ignore_ascii_case(b"x-gzip") {
        b"gzip"
    } else if value.eq_ignore_ascii_case(b"x-compress") {
        b"compress"
    } else {
        value
    }
}
