//! The one grammar of times and sizes, in the configuration file, the management API and on the command line.
//!
//! A time is a number of seconds, which may have a fraction, or a text with a unit: `500ms`, `10s`, `1m`, `1h`, `1d`. A
//! size is a whole number of bytes, or a text with a unit: `512B`, `64KiB`, `10MB`. KiB, MiB and GiB are powers of
//! 1,024; kB (also written KB), MB and GB are powers of 1,000. Between number and unit there is no blank, and a number
//! with a unit is a whole one.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The units of a time, the largest first, and the milliseconds of each.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The units of a size and the bytes of each, in the order in which a shown size tries them.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("KB", 1_000),
];

/// The form of a text with a time, as a regular expression (JSON Schema, OpenAPI).
pub const TIME_PATTERN: &str = "^[0-9]+(ms|s|m|h|d)$";
/// The form of a text with a size, as a regular expression (JSON Schema, OpenAPI).
pub const SIZE_PATTERN: &str = "^[0-9]+(B|[kK]B|MB|GB|KiB|MiB|GiB)$";

/// The form of a time where every value is a text, as a regular expression. The numbers of digits are those of
/// `limits::LONGEST_TIMEOUT`, so that hardly a text of this form is too long a time.
pub const TEXT_TIME_PATTERN: &str = "^([0-9]{1,5}([.][0-9]{1,9})?|[0-9]{1,8}(ms|s|m|h|d))$";

/// Reads a time with its unit: `500ms`. `None`: the text is no such time, or a longer one than can be counted.
pub fn time_with_unit(text: &str) -> Option<Duration> {
    with_unit(text, &TIME_UNITS).map(Duration::from_millis)
}

/// Reads a time where every value is a text (a command line, a query): with its unit, or a number of seconds.
pub fn time(text: &str) -> Option<Duration> {
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if text.bytes().all(is_number) {
        return seconds(text.parse().ok()?);
    }
    time_with_unit(text)
}

/// Reads a time within this range where every value is a text. Errors: what would be right.
pub fn time_within(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = time(text).filter(|time| range.contains(time));
    time.ok_or_else(|| right_time(range))
}

/// The time of a number of seconds. `None`: the number is negative or too large.
pub fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// Reads a size with its unit: `64KiB`. `None`: the text is no such size, or a larger one than can be counted.
pub fn size_with_unit(text: &str) -> Option<u64> {
    with_unit(text, &SIZE_UNITS)
}

/// Reads a size where every value is a text: with its unit, or a number of bytes.
pub fn size(text: &str) -> Option<u64> {
    if is_digits(text) {
        return text.parse().ok();
    }
    size_with_unit(text)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The shortest text that [`time`] reads as this time: with the largest unit of which it is a whole number, else a
/// number of seconds.
pub fn show_time(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if Duration::from_millis(millis) != time {
        return time.as_secs_f64().to_string();
    }
    let divides = |(_, factor): &&(&str, u64)| millis.is_multiple_of(*factor);
    match TIME_UNITS.iter().find(divides) {
        Some((unit, factor)) if millis > 0 => format!("{}{unit}", millis / factor),
        _ => "0s".to_owned(),
    }
}

/// The text that [`size`] reads as this number of bytes: with the largest unit of which it is a whole number, a power
/// of 1,024 before a power of 1,000.
pub fn show_size(bytes: u64) -> String {
    let divides = |(_, factor): &&(&str, u64)| bytes.is_multiple_of(*factor);
    match SIZE_UNITS.iter().find(divides) {
        Some((unit, factor)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => "0B".to_owned(),
    }
}

/// The end of a message about a value that is no time within this range.
pub fn right_time(range: &RangeInclusive<Duration>) -> String {
    format!(
        "must be a number of seconds from {} to {}, or a text such as \"500ms\", \"10s\" or \"1h\"",
        range.start().as_secs_f64(),
        range.end().as_secs_f64()
    )
}

/// The end of a message about a value that is no size within this range.
pub fn right_size(range: &RangeInclusive<u64>) -> String {
    format!(
        "must be a whole number of bytes from {} to {}, or a text such as \"64KiB\" or \"10MB\"",
        range.start(),
        range.end()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_table() {
        let rows = [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1m", Some(60_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("010s", Some(10_000)),
            ("", None),
            ("s", None),
            ("10", None),
            ("1.5s", None),
            ("-1s", None),
            ("+1s", None),
            ("10 s", None),
            (" 10s", None),
            ("10S", None),
            ("10sec", None),
            ("1h30m", None),
            ("\u{661}s", None),
            ("18446744073709551615d", None),
            ("99999999999999999999s", None),
        ];
        for (text, millis) in rows {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(time_with_unit(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bare_number_is_a_number_of_seconds_or_bytes() {
        let rows = [
            ("10", Some(10_000)),
            ("0.25", Some(250)),
            ("2m", Some(120_000)),
            ("0", Some(0)),
            ("", None),
            (".", None),
            ("1e3", None),
            ("inf", None),
            ("nan", None),
            ("-1", None),
            ("99999999999999999999999", None),
        ];
        for (text, millis) in rows {
            assert_eq!(time(text), millis.map(Duration::from_millis), "{text:?}");
        }
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("4KiB"), Some(4096));
        assert_eq!(size(""), None);
        assert_eq!(size("4.5"), None);
    }

    #[test]
    fn sizes_table() {
        let rows = [
            ("512B", Some(512)),
            ("64KiB", Some(65_536)),
            ("2MiB", Some(2 << 20)),
            ("1GiB", Some(1 << 30)),
            ("1kB", Some(1_000)),
            ("1KB", Some(1_000)),
            ("10MB", Some(10_000_000)),
            ("3GB", Some(3_000_000_000)),
            ("0B", Some(0)),
            ("64kib", None),
            ("64K", None),
            ("1.5MB", None),
            ("64 KiB", None),
            ("64", None),
            ("KiB", None),
            ("18446744073709551615KiB", None),
        ];
        for (text, bytes) in rows {
            assert_eq!(size_with_unit(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn shown_with_the_largest_unit() {
        let times = [(0, "0s"), (1, "1ms"), (1500, "1500ms"), (90_000, "90s")];
        for (millis, text) in times {
            assert_eq!(show_time(Duration::from_millis(millis)), text);
        }
        assert_eq!(show_time(Duration::from_secs(7_200)), "2h");
        assert_eq!(show_time(Duration::from_secs(86_400)), "1d");
        assert_eq!(show_time(Duration::from_micros(1_500)), "0.0015");
        let sizes = [(0, "0B"), (500, "500B"), (32_768, "32KiB"), (5_000, "5kB")];
        for (bytes, text) in sizes {
            assert_eq!(show_size(bytes), text);
        }
    }

    #[test]
    fn what_is_right_names_the_bounds() {
        let times = Duration::from_millis(1)..=Duration::from_secs(86_400);
        assert_eq!(
            right_time(&times),
            "must be a number of seconds from 0.001 to 86400, or a text such as \"500ms\", \"10s\" or \"1h\""
        );
        assert_eq!(
            right_size(&(256..=262_144)),
            "must be a whole number of bytes from 256 to 262144, or a text such as \"64KiB\" or \"10MB\""
        );
    }

    proptest! {
        #[test]
        fn a_shown_time_is_read_as_the_same(nanos in 0..=86_400_000_000_000u64) {
            let exact = Duration::from_nanos(nanos);
            prop_assert_eq!(time(&show_time(exact)), Some(exact));
            let millis = Duration::from_millis(nanos / 1_000_000);
            prop_assert_eq!(time_with_unit(&show_time(millis)), Some(millis));
        }

        #[test]
        fn a_shown_size_is_read_as_the_same(bytes in any::<u64>(), shift in 0..64u32) {
            for bytes in [bytes, bytes >> shift << shift, bytes % 1_000_000_000 * 1_000] {
                prop_assert_eq!(size_with_unit(&show_size(bytes)), Some(bytes));
                prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Some(known) = time(&text) {
                prop_assert_eq!(time(&show_time(known)), Some(known));
            }
            if let Some(known) = size(&text) {
                prop_assert_eq!(size(&show_size(known)), Some(known));
            }
        }
    }
}
