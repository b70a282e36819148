//! Any lines as a dictionary and as a list of strings: two lines are read as one with a comma between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palantir_fuzz::http::structured::{dictionary, strings};

fuzz_target!(|lines: (&[u8], &[u8])| {
    let (one, other) = lines;
    let joined = [one, b", ", other].concat();
    assert_eq!(members(&[one, other]), members(&[&joined]));
    assert_eq!(texts(&[one, other]), texts(&[&joined]));
});

/// The members of a dictionary in words.
fn members(lines: &[&[u8]]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let count = dictionary(lines.iter().copied(), |key, value| {
        found.push(format!("{key} {value:?}"))
    });
    let count = count.ok()?;
    assert_eq!(count, found.len());
    Some(found)
}

/// The strings of a list.
fn texts(lines: &[&[u8]]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    strings(lines.iter().copied(), |text| found.push(text.to_owned())).ok()?;
    Some(found)
}
