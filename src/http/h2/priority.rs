//! Priorities (RFC 9218): how urgent a response is, and whether parts of it are of use.

use crate::base::limits;
use crate::http::fields::list;

/// A stream's priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7 (last).
    pub urgency: u8,
    /// Whether the receiver can use a part before the whole: such responses take turns, others come one by one.
    pub incremental: bool,
}

/// The urgency of a stream whose priority names none (section 4.1).
const URGENCY: u8 = 3;

impl Priority {
    /// Of a stream whose client named no priority, and of every stream towards a backend. Such streams take turns.
    /// Section 4 would have them come one by one, but it leaves the choice to the server (section 10), and those who
    /// name no priority (gRPC, Go, curl) have calls on one connection that know nothing of each other; over a
    /// connection to a backend even the clients are different ones.
    pub const UNNAMED: Priority = Priority {
        urgency: URGENCY,
        incremental: true,
    };

    /// Reads a `Priority` value (section 4), a dictionary of RFC 8941. Members that are unknown or out of range are
    /// ignored, as section 4 asks; so is the rest of a malformed member, and a value of more than
    /// `limits::PRIORITY_BYTES`.
    pub(super) fn parse(value: &[u8]) -> Priority {
        if value.len() > limits::PRIORITY_BYTES {
            return Priority::UNNAMED;
        }
        let mut priority = Priority {
            urgency: URGENCY,
            incremental: false, // Section 4.2.
        };
        for member in list(value) {
            let member = member
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default();
            match member {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_table() {
        let rows = [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i,u=1", 1, true),
            ("i=?0", 3, false),
            ("i=?1;x", 3, true),
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("u=10, i=1", 3, false),
            ("a=b, u=5", 5, false),
            ("u=1, u=2", 2, false),
        ];
        for (value, urgency, incremental) in rows {
            let expected = Priority {
                urgency,
                incremental,
            };
            assert_eq!(Priority::parse(value.as_bytes()), expected, "{value}");
        }
    }
}
