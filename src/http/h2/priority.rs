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

    /// A `Priority` field without members (sections 4.1 and 4.2).
    const EMPTY: Priority = Priority {
        urgency: URGENCY,
        incremental: false,
    };

    /// Reads a whole value, such as that of a PRIORITY_UPDATE frame.
    pub(super) fn parse(value: &[u8]) -> Priority {
        let mut fields = PriorityFields::default();
        fields.add(value);
        fields.priority().unwrap_or(Priority::UNNAMED)
    }

    /// Takes over the members of a list (section 4), which is a dictionary of RFC 8941. Members that are unknown or out
    /// of range are ignored, as section 4 asks. The rest of a malformed member is ignored, too.
    fn read(&mut self, members: &[u8]) {
        for member in list(members) {
            let member = member
                .split(|&byte| byte == b';')
                .next()
                .unwrap_or_default();
            match member {
                [b'u', b'=', urgency @ b'0'..=b'7'] => self.urgency = urgency - b'0',
                b"i" | b"i=?1" => self.incremental = true,
                b"i=?0" => self.incremental = false,
                _ => {}
            }
        }
    }
}

/// The priority that all `Priority` fields of a head name: several fields form one list, in their order (RFC 8941
/// section 4.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PriorityFields {
    read: Option<Priority>,
    /// Bytes of the list that have come so far.
    bytes: usize,
}

impl PriorityFields {
    pub(super) fn add(&mut self, value: &[u8]) {
        if self.read.is_some() {
            self.bytes += b", ".len();
        }
        self.bytes += value.len();
        let priority = self.read.get_or_insert(Priority::EMPTY);
        if self.bytes <= limits::PRIORITY_BYTES {
            priority.read(value);
        }
    }

    /// The priority; `None`: there is no field, or the list has more than `limits::PRIORITY_BYTES`.
    pub(super) fn priority(&self) -> Option<Priority> {
        self.read.filter(|_| self.bytes <= limits::PRIORITY_BYTES)
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

    #[test]
    fn several_fields_are_one_list() {
        let longest = "a".repeat(limits::PRIORITY_BYTES - 5);
        let rows: [(&[&str], _); 7] = [
            (&[], None),
            (&["u=5", "i"], Some((5, true))),
            (&["i", "u=0"], Some((0, true))),
            (&["u=1, i", "u=6", "i=?0"], Some((6, false))),
            (&["", "u=2", ""], Some((2, false))),
            (&["u=1", &longest], Some((1, false))),
            (&["u=1", "", &longest], None),
        ];
        for (values, expected) in rows {
            let mut fields = PriorityFields::default();
            values.iter().for_each(|value| fields.add(value.as_bytes()));
            let found = fields.priority();
            let found = found.map(|priority| (priority.urgency, priority.incremental));
            assert_eq!(found, expected, "{values:?}");
        }
    }
}
