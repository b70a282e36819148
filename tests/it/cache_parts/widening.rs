//! A request for a range whose whole is fetched, and those whose is not.

use super::{Object, asked, caching, get_range, origin_of, pattern};

fn asked_ranges(ranges: &[&str]) -> Vec<Option<String>> {
    let shown = |range: &&str| (!range.is_empty()).then(|| format!("bytes={range}"));
    ranges.iter().map(shown).collect()
}

#[test]
fn ranges_are_widened_within_bounds() {
    // The length of the whole, the ranges that the client wants, and what the backend is asked for.
    let rows: [(usize, &[&str], &[&str]); 5] = [
        // At most eight times what is asked for, once the length is known.
        (1_000, &["0-99", "300-424", "900-999"], &["0-99", ""]),
        (1_001, &["0-99", "300-423"], &["0-99", "300-423"]),
        // The third request within a minute.
        (
            100_000,
            &["0-9", "100-109", "200-209", "300-309"],
            &["0-9", "100-109", ""],
        ),
        // A range that lies so far behind the beginning is not waited for.
        (
            1_200_000,
            &["0-9", "100-109", "1100000-1100009", "50-59"],
            &["0-9", "100-109", "1100000-1100009", ""],
        ),
        // The whole would be too large to be stored.
        (
            2_000_000,
            &["0-999999", "1500000-1999999", "3-4", "5-6"],
            &["0-999999", "1500000-1999999", "3-4", "5-6"],
        ),
    ];
    for (length, wanted, expected) in rows {
        let (origin, _) = origin_of(Object::of(length));
        let proxy = caching(&origin, "max_object = \"1500KiB\"");
        for range in wanted {
            let answer = proxy.ask(get_range(range));
            let (first, last) = range.split_once('-').unwrap();
            let (first, last) = (
                first.parse::<usize>().unwrap(),
                last.parse::<usize>().unwrap(),
            );
            assert_eq!(answer.status(), 206, "{length} {range}");
            assert!(
                answer.body == pattern(length)[first..=last],
                "{length} {range}"
            );
        }
        let found = asked(&origin, "range");
        assert_eq!(found, asked_ranges(expected), "{length} {wanted:?}");
    }
}

#[test]
fn the_range_is_asked_for_where_the_whole_is_not_stored() {
    let (origin, object) = origin_of(Object::of(1_000));
    let proxy = caching(&origin, "");
    proxy.ask(get_range("0-99"));
    object.lock().unwrap().fields = "Cache-Control: no-store\r\n".to_owned();
    for _ in 0..2 {
        let answer = proxy.ask(get_range("300-600"));
        assert_eq!(answer.status(), 206);
        assert!(answer.body == pattern(1_000)[300..=600]);
    }
    let expected = asked_ranges(&["0-99", "", "300-600", "300-600"]);
    assert_eq!(asked(&origin, "range"), expected);
}
