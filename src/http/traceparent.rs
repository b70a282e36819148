//! `traceparent`: which trace a request belongs to (W3C Trace Context, section 3.2).

/// Bytes of a value that we make.
pub const BYTES: usize = 55;

/// The treatment of `traceparent` and `tracestate` on the way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFields<'a> {
    /// The client's are passed on as they are.
    Pass,
    /// The client's are left out.
    Drop,
    /// The client's are left out, and this is sent as `traceparent`.
    Replace(&'a [u8; BYTES]),
}

/// The trace's id in a value: 32 lower-case hexadecimal digits. `None` if the value is malformed (section 3.2.2).
pub fn trace_id(value: &[u8]) -> Option<&[u8]> {
    let (head, rest) = value.split_at_checked(BYTES)?;
    let [v0, v1, b'-', id @ .., b'-', f0, f1] = head else {
        return None;
    };
    let (trace, parent) = id.split_at(32);
    let (b'-', parent) = parent.split_first()? else {
        return None;
    };
    let version = [*v0, *v1];
    // A later version may append fields; 00 has none.
    let ends_well = rest.is_empty() || (version != *b"00" && rest[0] == b'-');
    let is_well_formed = [&version, trace, parent, &[*f0, *f1]]
        .into_iter()
        .all(is_hex)
        && version != *b"ff"
        && !is_zero(trace)
        && !is_zero(parent);
    (is_well_formed && ends_well).then_some(trace)
}

fn is_hex(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte == b'0')
}

/// A value for a trace that begins here. The flag says that the trace is recorded: whoever comes next would else take
/// it for one that nobody wants to see.
pub fn new(trace: [u64; 2], parent: u64) -> [u8; BYTES] {
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-01";
    write_hex(trace[0], &mut value[3..19]);
    // Zeros throughout would make an id invalid.
    write_hex(trace[1].max(1), &mut value[19..35]);
    write_hex(parent.max(1), &mut value[36..52]);
    value
}

fn write_hex(number: u64, digits: &mut [u8]) {
    debug_assert_eq!(digits.len(), 16, "a number has 16 digits");
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_table() {
        let id = Some("4bf92f3577b34da6a3ce929d0e0e4736");
        let rows = [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                id,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                id,
            ),
            (
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
                id,
            ),
            (
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
                None,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
                None,
            ),
            (
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                None,
            ),
            (
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                None,
            ),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                None,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                None,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                None,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
                None,
            ),
            (
                "00.4bf92f3577b34da6a3ce929d0e0e4736.00f067aa0ba902b7.01",
                None,
            ),
            ("", None),
        ];
        for (value, expected) in rows {
            assert_eq!(
                trace_id(value.as_bytes()),
                expected.map(str::as_bytes),
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_made_is_well_formed(trace in any::<[u64; 2]>(), parent in any::<u64>()) {
            for (trace, parent) in [(trace, parent), ([trace[0], 0], 0), ([0, 0], parent)] {
                let made = new(trace, parent);
                let id = format!("{:016x}{:016x}", trace[0], trace[1].max(1));
                prop_assert_eq!(trace_id(&made), Some(id.as_bytes()));
            }
        }

        #[test]
        fn nothing_makes_it_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            trace_id(&value);
        }
    }
}
