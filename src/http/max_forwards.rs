//! `Max-Forwards` (RFC 9110 section 7.6.2): how many more proxies may forward a request.

use httparse::Header;

use super::fields::values;
use super::refusal::Refusal;

/// How often a request may still be forwarded. A proxy must obey the field in OPTIONS and in TRACE (which palantir
/// always refuses). The field of other methods is ignored, as the RFC allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwards {
    /// The field, if there is one, passes unchanged.
    Unbounded,
    /// The request is forwarded with this value in the field.
    Left(u32),
    /// The request is not forwarded, and palantir answers it.
    Spent,
}

impl Forwards {
    /// How often a request of this method with these fields may be forwarded. Errors: the value is not a number, or
    /// there are several fields, which servers read differently even if their values are equal.
    pub fn of(method: &[u8], fields: &[Header<'_>]) -> Result<Forwards, Refusal> {
        if method != b"OPTIONS" {
            return Ok(Forwards::Unbounded);
        }
        let mut written = values(fields, "max-forwards");
        match (written.next(), written.next()) {
            (None, _) => Ok(Forwards::Unbounded),
            (Some(value), None) => match number(value)?.checked_sub(1) {
                Some(left) => Ok(Forwards::Left(left)),
                None => Ok(Forwards::Spent),
            },
            (Some(_), Some(_)) => Err(Refusal::BadMaxForwards),
        }
    }

    /// The value of the field for the next server; `None`: the field stays as it is.
    pub fn written(self) -> Option<u32> {
        match self {
            Forwards::Left(left) => Some(left),
            Forwards::Unbounded | Forwards::Spent => None,
        }
    }
}

/// Reads a number of digits alone. A number that is too large is replaced by the largest, which the RFC allows.
fn number(value: &[u8]) -> Result<u32, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::BadMaxForwards);
    }
    Ok(value.iter().fold(0, |number: u32, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(method: &str, values: &[&str]) -> Result<Forwards, Refusal> {
        let fields = values.iter().map(|value| Header {
            name: "Max-Forwards",
            value: value.as_bytes(),
        });
        Forwards::of(method.as_bytes(), &fields.collect::<Vec<_>>())
    }

    #[test]
    fn values_table() {
        let bad = Err(Refusal::BadMaxForwards);
        let rows: [(&[&str], _); 15] = [
            (&[], Ok(Forwards::Unbounded)),
            (&["0"], Ok(Forwards::Spent)),
            (&["00"], Ok(Forwards::Spent)),
            (&["1"], Ok(Forwards::Left(0))),
            (&["010"], Ok(Forwards::Left(9))),
            (&["4294967295"], Ok(Forwards::Left(u32::MAX - 1))),
            (
                &["99999999999999999999999"],
                Ok(Forwards::Left(u32::MAX - 1)),
            ),
            (&[""], bad),
            (&["-1"], bad),
            (&["+1"], bad),
            (&["1.0"], bad),
            (&["0x1"], bad),
            (&["1, 1"], bad),
            (&["1", "1"], bad),
            (&["0", "5"], bad),
        ];
        for (values, expected) in rows {
            assert_eq!(of("OPTIONS", values), expected, "{values:?}");
            for method in ["GET", "POST", "options"] {
                let found = of(method, values);
                assert_eq!(found, Ok(Forwards::Unbounded), "{method} {values:?}");
            }
        }
    }

    proptest! {
        /// A forwarded request may be forwarded once less, and a value with any other character than digits is refused.
        #[test]
        fn any_value(value in "[0-9]{1,9}|[ -~]{0,6}") {
            match of("OPTIONS", &[&value]) {
                Ok(Forwards::Left(left)) => {
                    prop_assert_eq!(value.parse::<u32>().ok(), left.checked_add(1));
                }
                Ok(Forwards::Spent) => prop_assert!(value.bytes().all(|byte| byte == b'0')),
                Ok(Forwards::Unbounded) => prop_assert!(false, "the field is there"),
                Err(_) => prop_assert!(value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit())),
            }
        }
    }
}
