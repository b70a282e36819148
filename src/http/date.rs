//! Dates as HTTP writes them.

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const LONG_DAYS: [&[u8]; 7] = [
    b"Thursday",
    b"Friday",
    b"Saturday",
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The instant `unix_secs` seconds after 1970 as an IMF-fixdate (RFC 9110 section 5.6.7), such as
/// `Sun, 06 Nov 1994 08:49:37 GMT`. Range: until the end of the year 9999.
pub fn imf_fixdate(unix_secs: u64) -> [u8; 29] {
    let days = unix_secs / 86_400;
    let second = unix_secs % 86_400;
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    text[0..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], second / 3_600);
    two_digits(&mut text[20..22], second / 60 % 60);
    two_digits(&mut text[23..25], second % 60);
    text
}

/// Year, month (1–12) and day (1–31) of a day counted from 1970-01-01 in the Gregorian calendar. Years are counted from
/// March, so that the leap day is a year's last and months follow a pattern of 153 days in five.
fn civil(days: u64) -> (u64, u64, u64) {
    const FROM_YEAR_0: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days + FROM_YEAR_0;
    let era = days / DAYS_IN_400_YEARS;
    let day_of_era = days % DAYS_IN_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 {
        months_from_march + 3
    } else {
        months_from_march - 9
    };
    debug_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Reads a date in one of the three forms that a recipient accepts (RFC 9110 section 5.6.7), as seconds after 1970.
/// A two-digit year is read as one until 2076; [`parse_at`] reads it as seen from a given instant.
pub fn parse(value: &[u8]) -> Option<i64> {
    const YEAR_2026: i64 = 1_767_225_600;
    parse_at(value, YEAR_2026)
}

/// Reads a date as [`parse`] does, where a two-digit year lies at most 50 years after `now` (seconds after 1970).
///
/// Names are read in any case, as RFC 9111 section 4.2 asks for; anything else must be exact, and the zone is `GMT`.
/// The name of the day need not agree with the date. Range: the years 1600 to 9999.
pub fn parse_at(value: &[u8], now: i64) -> Option<i64> {
    let comma = value.iter().position(|&byte| byte == b',');
    match comma {
        // Sun, 06 Nov 1994 08:49:37 GMT
        Some(3) if value.len() == 29 && is_name(&value[..3], &DAYS) => {
            let day = two(&value[5..7])?;
            let year = two(&value[12..14])? * 100 + two(&value[14..16])?;
            let rest = [value[4], value[7], value[11], value[16]] == *b"    ";
            // RFC 9111 section 4.2 (SHOULD, b): a date in another zone than GMT is invalid.
            let is_exact = rest && value[25..].eq_ignore_ascii_case(b" GMT");
            is_exact.then_some(())?;
            instant(year, month(&value[8..11])?, day, &value[17..25])
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        Some(at) if is_name(&value[..at], &LONG_DAYS) => {
            let rest: &[u8; 23] = value[at + 1..].try_into().ok()?;
            let signs = [rest[0], rest[3], rest[7], rest[10]];
            let is_exact = signs == *b" -- " && rest[19..].eq_ignore_ascii_case(b" GMT");
            is_exact.then_some(())?;
            let of = |year| instant(year, month(&rest[4..7])?, two(&rest[1..3])?, &rest[11..19]);
            of_two_digits(two(&rest[8..10])?, now, of)
        }
        // Sun Nov  6 08:49:37 1994
        None if value.len() == 24 && is_name(&value[..3], &DAYS) => {
            let day = match value[8] {
                b' ' => two(&[b'0', value[9]])?,
                _ => two(&value[8..10])?,
            };
            let year = two(&value[20..22])? * 100 + two(&value[22..24])?;
            let signs = [value[3], value[7], value[10], value[19]];
            (signs == *b"    ").then_some(())?;
            instant(year, month(&value[4..7])?, day, &value[11..19])
        }
        _ => None,
    }
}

/// The instant of a date whose year has two digits.
fn of_two_digits(year: i64, now: i64, of: impl Fn(i64) -> Option<i64>) -> Option<i64> {
    let (this_year, ..) = civil(now.div_euclid(86_400).max(0) as u64);
    let same_century = this_year as i64 / 100 * 100 + year;
    // The last instant that lies at most 50 years ahead, with the lengths of years as the calendar has them.
    let latest = now.saturating_add(50 * 31_556_952);
    // RFC 9110 section 5.6.7 (MUST): what seems to lie more than 50 years ahead is in the last such year of the past.
    let mut years = [same_century + 100, same_century, same_century - 100].into_iter();
    years.find_map(|year| of(year).filter(|&instant| instant <= latest))
}

/// The instant of a time of day (`08:49:37`) on a date.
fn instant(year: i64, month: i64, day: i64, clock: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (two(&clock[0..2])?, two(&clock[3..5])?, two(&clock[6..8])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_right = clock[2] == b':'
        && clock[5] == b':'
        && (1_600..=9_999).contains(&year)
        && (1..=days_in_month).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    // RFC 9111 section 4.2 (MUST): a leap second is read as the second before it, never as a later one.
    let second = second.min(59);
    // RFC 9111 section 4.2 (MUST NOT): all times are in UTC, whatever the zone of this machine is.
    is_right.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The days from 1970-01-01 to a date: the reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let months_from_march = (month + 9) % 12;
    let day_of_year = (153 * months_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The number of a month, 1–12.
fn month(text: &[u8]) -> Option<i64> {
    // Bit 5 alone tells the case of a letter, and makes no letter of another byte.
    let number = |[a, b, c]: [u8; 3]| u32::from_le_bytes([a, b, c, 0]) | 0x20_20_20;
    let wanted = number(text.try_into().ok()?);
    let at = MONTHS.iter().position(|name| number(**name) == wanted)?;
    Some(at as i64 + 1)
}

// RFC 9111 section 4.2 (SHOULD, a): the names of a date are compared without regard to case.
fn is_name<N: AsRef<[u8]> + ?Sized>(text: &[u8], names: &[&N]) -> bool {
    names
        .iter()
        .any(|name| text.eq_ignore_ascii_case((*name).as_ref()))
}

/// The number that two digits write.
fn two(text: &[u8]) -> Option<i64> {
    let [tens, ones] = <[u8; 2]>::try_from(text).ok()?;
    let are_digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    are_digits.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

fn two_digits(text: &mut [u8], number: u64) {
    text[0] = b'0' + (number / 10 % 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_table() {
        let rows = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(std::str::from_utf8(&imf_fixdate(seconds)), Ok(expected));
        }
    }

    #[test]
    fn forms_table() {
        // RFC 9110 section 5.6.7 (MUST): all three forms are read. RFC 9111 section 4.2 (MUST NOT): the numbers are
        // those of UTC.
        let rows = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun Nov 06 08:49:37 1994", Some(784_111_777)),
            // RFC 9111 section 4.2 (SHOULD, a): names have no case.
            ("SUN, 06 nov 1994 08:49:37 gmt", Some(784_111_777)),
            ("sunday, 06-NOV-94 08:49:37 gMT", Some(784_111_777)),
            ("Mon, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sat, 01 Jan 1600 00:00:00 GMT", Some(-11_676_096_000)),
            ("Fri, 31 Dec 1599 23:59:59 GMT", None),
            // RFC 9111 section 4.2 (MUST): a leap second is the second before it.
            ("Tue, 30 Jun 2015 23:59:60 GMT", Some(1_435_708_799)),
            ("Thu, 18 Aug 2050 02:01:18 GMT", Some(2_544_400_878)),
            ("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878)),
            ("Thu Aug 18 02:01:18 2050", Some(2_544_400_878)),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_is_no_date() {
        let rows = [
            "",
            "0",
            "-1",
            "1994-11-06T08:49:37Z",
            // RFC 9111 section 4.2 (SHOULD, b): other zones than GMT.
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18-Aug-50 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thx, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Agu 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Wed, 29 Feb 2023 02:01:18 GMT",
            "Mon, 29 Feb 2100 02:01:18 GMT",
            "Thu, 31 Jun 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            " Thu, 18 Aug 2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Thu Aug 8 02:01:18 2050",
        ];
        for text in rows {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn two_digits_mean_the_nearest_past_beyond_fifty_years() {
        let rows = [
            ("Thu, 01 Jan 2026 00:00:00 GMT", "26", 2026),
            ("Thu, 01 Jan 2026 00:00:00 GMT", "75", 2075),
            ("Thu, 01 Jan 2026 00:00:00 GMT", "77", 1977),
            ("Thu, 01 Jan 2026 00:00:00 GMT", "99", 1999),
            ("Thu, 01 Jan 1998 00:00:00 GMT", "01", 2001),
            ("Thu, 01 Jan 1998 00:00:00 GMT", "49", 1949),
            ("Thu, 01 Jan 2080 00:00:00 GMT", "05", 2105),
            ("Thu, 01 Jan 2080 00:00:00 GMT", "75", 2075),
        ];
        for (now, two, expected) in rows {
            let now = parse(now.as_bytes()).expect(now);
            let text = format!("Sunday, 01-Jan-{two} 00:00:00 GMT");
            let full = format!("Sun, 01 Jan {expected} 00:00:00 GMT");
            let read = parse_at(text.as_bytes(), now);
            assert_eq!(read, parse(full.as_bytes()), "{now} {two}");
        }
    }

    proptest! {
        #[test]
        fn written_dates_are_read_again(seconds in 0u64..253_402_300_800) {
            prop_assert_eq!(parse(&imf_fixdate(seconds)), Some(seconds as i64));
        }

        #[test]
        fn any_bytes_are_read(
            text in prop::collection::vec(any::<u8>(), 0..40),
            now in any::<i64>(),
        ) {
            parse_at(&text, now);
        }

        #[test]
        fn a_changed_date_is_read_without_harm(at in 0usize..29, byte in any::<u8>()) {
            for form in [
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "Sunday, 06-Nov-94 08:49:37 GMT",
                "Sun Nov  6 08:49:37 1994",
            ] {
                let mut text = form.as_bytes().to_vec();
                if let Some(changed) = text.get_mut(at) {
                    *changed = byte;
                }
                parse(&text);
            }
        }
    }
}
