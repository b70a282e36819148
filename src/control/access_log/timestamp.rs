//! The time of day as access logs write it, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// RFC 3339 with microseconds: `2024-02-29T23:59:59.000001Z`.
pub fn rfc3339(at: SystemTime) -> String {
    let (date, micros) = utc(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}Z",
        date.tm_year + 1900,
        date.tm_mon + 1,
        date.tm_mday,
        date.tm_hour,
        date.tm_min,
        date.tm_sec,
    )
}

/// As Apache's `%t` without its brackets: `29/Feb/2024:23:59:59 +0000`.
pub fn clf(at: SystemTime) -> String {
    let (date, _) = utc(at);
    format!(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02} +0000",
        date.tm_mday,
        MONTHS[date.tm_mon as usize],
        date.tm_year + 1900,
        date.tm_hour,
        date.tm_min,
        date.tm_sec,
    )
}

/// Calendar date and microseconds. A clock before 1970 counts as 1970.
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
            assert_eq!((rfc3339(at).as_str(), clf(at).as_str()), (json, combined));
        }
        assert_eq!(
            rfc3339(UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00.000000Z"
        );
    }
}
