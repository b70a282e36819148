//! The time of day as access logs write it, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Appends RFC 3339 with microseconds: `2024-02-29T23:59:59.000001Z`. Digit by digit, as it is written for every line.
pub fn rfc3339(at: SystemTime, out: &mut Vec<u8>) {
    let (date, micros) = utc(at);
    let [year, month, day] = [date.tm_year + 1900, date.tm_mon + 1, date.tm_mday];
    digits::<4>(year as u32, b'-', out);
    digits::<2>(month as u32, b'-', out);
    digits::<2>(day as u32, b'T', out);
    time_of_day(&date, b'.', out);
    digits::<6>(micros, b'Z', out);
}

/// Appends the time as Apache's `%t` has it, without brackets: `29/Feb/2024:23:59:59 +0000`.
pub fn clf(at: SystemTime, out: &mut Vec<u8>) {
    let (date, _) = utc(at);
    digits::<2>(date.tm_mday as u32, b'/', out);
    out.extend_from_slice(MONTHS[date.tm_mon as usize].as_bytes());
    out.push(b'/');
    digits::<4>((date.tm_year + 1900) as u32, b':', out);
    time_of_day(&date, b' ', out);
    out.extend_from_slice(b"+0000");
}

fn time_of_day(date: &libc::tm, end: u8, out: &mut Vec<u8>) {
    digits::<2>(date.tm_hour as u32, b':', out);
    digits::<2>(date.tm_min as u32, b':', out);
    digits::<2>(date.tm_sec as u32, end, out);
}

/// The last `COUNT` decimal digits of a number, then `end`.
fn digits<const COUNT: usize>(mut number: u32, end: u8, out: &mut Vec<u8>) {
    let mut text = [b'0'; COUNT];
    for digit in text.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    debug_assert_eq!(number, 0, "a number has as many digits at most");
    out.extend_from_slice(&text);
    out.push(end);
}

/// Calendar date and microseconds. A clock before 1970 counts as 1970.
#[expect(
    unsafe_code,
    reason = "the calendar of the C library has no safe interface"
)]
fn utc(at: SystemTime) -> (libc::tm, u32) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() as libc::time_t;
    // SAFETY: all-zero is a valid `tm`; the call reads one live value and writes the other. It fails only for years
    // that an `int` cannot hold, and leaves the zeros then.
    let date = unsafe {
        let mut date: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&seconds, &mut date);
        date
    };
    (date, since.subsec_micros())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(write: fn(SystemTime, &mut Vec<u8>), at: SystemTime) -> String {
        let mut out = Vec::new();
        write(at, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_table() {
        let rows = [
            (
                0,
                0,
                "1970-01-01T00:00:00.000000Z",
                "01/Jan/1970:00:00:00 +0000",
            ),
            (
                784_111_777,
                5,
                "1994-11-06T08:49:37.000005Z",
                "06/Nov/1994:08:49:37 +0000",
            ),
            (
                1_709_251_199,
                999_999,
                "2024-02-29T23:59:59.999999Z",
                "29/Feb/2024:23:59:59 +0000",
            ),
            (
                4_107_542_400,
                0,
                "2100-03-01T00:00:00.000000Z",
                "01/Mar/2100:00:00:00 +0000",
            ),
        ];
        for (seconds, micros, json, combined) in rows {
            let at = UNIX_EPOCH + Duration::new(seconds, micros * 1000);
            assert_eq!(
                (written(rfc3339, at), written(clf, at)),
                (json.to_owned(), combined.to_owned())
            );
        }
        assert_eq!(
            written(rfc3339, UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00.000000Z"
        );
    }
}
