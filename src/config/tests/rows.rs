//! Every declared setting against the reader: its bounds, what lies beyond them, both of its keys, and its default.

mod texts;

use texts::{CACHE_PLACES, LISTENER, PLACES, POOL, SOCKET, WORK_PLACES};

use super::declared::settings;
use super::parsed;
use crate::base::limits;
use crate::base::quantity::{show_size, show_time};
use crate::base::setting::{Absent, Kind, Section, Setting};

/// Right values that this test cannot make, and values that are right in another place only.
const ELSEWHERE: [(&str, &str); 3] = [("owner", "'x'"), ("group", "'x'"), ("tcp", "true")];

/// The file in which the setting is written as `line`.
fn file(section: &Section, setting: &Setting, line: &str) -> String {
    let mut places = PLACES.iter().chain(CACHE_PLACES).chain(WORK_PLACES);
    let place = places
        .find(|(name, key, ..)| *name == section.name && (*key == setting.name || key.is_empty()));
    let place = place.unwrap_or_else(|| panic!("{} has no row here", section.name));
    format!("{}{line}\n{}", place.2, place.3)
}

/// Values at the bounds of a kind, and values beyond these bounds or of another kind.
fn values(kind: Kind) -> (Vec<String>, Vec<String>) {
    let texts = |values: &[&dyn ToString]| -> Vec<String> {
        values.iter().map(|value| value.to_string()).collect()
    };
    match kind {
        Kind::Flag => (texts(&[&true, &false]), texts(&[&1, &"'true'"])),
        Kind::True => (texts(&[&true]), texts(&[&false, &1])),
        Kind::Whole { least, most } => (
            texts(&[&least, &most]),
            texts(&[&(least as i64 - 1), &(most + 1), &"'1'", &1.5]),
        ),
        Kind::Time { least } => {
            let most = limits::LONGEST_TIMEOUT;
            let shorter = least.as_secs_f64() / 2.0 - 0.0001;
            let text = format!("'{}'", show_time(most));
            (
                texts(&[&least.as_secs_f64(), &most.as_secs(), &text]),
                texts(&[&shorter, &(most.as_secs() + 1), &"'1'", &true]),
            )
        }
        Kind::Lifetime => {
            let most = limits::LONGEST_LIFETIME;
            let text = format!("'{}'", show_time(most));
            (
                texts(&[&0, &most.as_secs(), &"1.0", &text]),
                texts(&[&-1, &(most.as_secs() + 1), &0.5, &"'1'", &"'1500ms'"]),
            )
        }
        Kind::Size { least, most } => {
            let text = format!("'{}'", show_size(most));
            (
                texts(&[&least, &most, &text]),
                texts(&[&(least as i64 - 1), &(most + 1), &"'1'", &1.5]),
            )
        }
        Kind::Word(words) => {
            let words = words().into_iter().map(|word| format!("'{word}'"));
            (words.collect(), texts(&[&"'no such word'", &1]))
        }
        Kind::Text { example, .. } => {
            let right = if example.is_empty() { "x" } else { example };
            (vec![format!("'{right}'")], texts(&[&1, &true]))
        }
        Kind::List { of, least, most } => values_of_list(*of, least, most),
        Kind::Map { most, example } => {
            let entries = (0..=most).map(|number| format!("a{number} = 'b'"));
            let too_many = entries.collect::<Vec<_>>().join(", ");
            (
                vec![format!("{{ {} }}", example.replace('…', "x"))],
                vec![format!("{{ {too_many} }}"), "'a'".to_owned()],
            )
        }
        Kind::Table(section) => (
            vec![smallest_table(section)],
            texts(&[&"'a'", &"2026-01-01"]),
        ),
        Kind::ByStatus { example, .. } => (
            texts(&[&"{}", &format!("{{ {example} }}")]),
            texts(&[
                &"'a'",
                &"{ 199 = 1 }",
                &"{ 600 = 1 }",
                &"{ 0200 = 1 }",
                &"{ 200 = 0.5 }",
            ]),
        ),
        Kind::Any(kinds) => {
            let right = kinds.iter().flat_map(|kind| values(*kind).0);
            (right.collect(), vec!["2026-01-01".to_owned()])
        }
    }
}

fn values_of_list(of: Kind, least: usize, most: usize) -> (Vec<String>, Vec<String>) {
    let entry = values(of).0.swap_remove(0);
    let too_many = vec![entry.clone(); most + 1].join(", ");
    let mut right = vec![format!("[{entry}]")];
    let mut wrong = vec![format!("[{too_many}]"), "2026-01-01".to_owned()];
    let none = if least == 0 { &mut right } else { &mut wrong };
    none.push("[]".to_owned());
    (right, wrong)
}

/// A table of the section with no more settings than it needs.
fn smallest_table(section: &Section) -> String {
    let required = (section.settings)().into_iter();
    let required = required.filter(|setting| matches!(setting.absent, Absent::Required));
    let entries = required.map(|setting| {
        let value = values(setting.kind).0.swap_remove(0);
        format!("{} = {value}", setting.name)
    });
    let mut entries: Vec<String> = entries.collect();
    // One of several settings is needed.
    entries.extend(match section.name {
        "HealthCheckSettings" => Some("path = '/'".to_owned()),
        "ListenerTlsSettings" => Some("certificates = [{ cert = '/c', key = '/k' }]".to_owned()),
        "RouteSettings" => Some("backend_addrs = ['a:1']".to_owned()),
        _ => None,
    });
    format!("{{ {} }}", entries.join(", "))
}

/// Whether a value of the setting is noted as a mistake.
fn is_noted(text: &str, key: &str) -> bool {
    let notes = parsed(text).err().map(|mistakes| mistakes.notes);
    notes.into_iter().flatten().any(|note| {
        let way = note.key.rsplit('.').find(|part| part.starts_with(key));
        let index = way.and_then(|part| part.strip_prefix(key));
        index.is_some_and(|index| index.is_empty() || index.starts_with('['))
    })
}

#[test]
fn the_reader_takes_what_is_declared_and_refuses_what_lies_beyond() {
    let mut breaches = Vec::new();
    for (section, setting) in settings() {
        let (right, wrong) = values(setting.kind);
        for key in [Some(setting.name), setting.alias].into_iter().flatten() {
            let file = |value: &str| file(section, setting, &format!("{key} = {value}"));
            let known = right
                .iter()
                .filter(|value| !ELSEWHERE.contains(&(setting.name, value)));
            for value in known {
                let mistakes = parsed(&file(value)).err();
                let mistakes = mistakes.map(|found| format!("{} {key}: {found}", section.name));
                breaches.extend(mistakes);
            }
            for value in &wrong {
                if !is_noted(&file(value), key) {
                    let value = &value[..value.len().min(100)];
                    breaches.push(format!("{} {key} = {value} is taken", section.name));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// The settings of a file without the places of their values.
fn read(text: &str) -> String {
    let shown = match parsed(text) {
        Ok(config) => format!("{:?}", config.settings),
        Err(mistakes) => mistakes.to_string(),
    };
    let mut parts = shown.split("Position {");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut is_quoted = false;
        let mut is_escaped = false;
        let end = part.find(|char: char| {
            let is_end = char == '}' && !is_quoted;
            is_quoted ^= char == '"' && !is_escaped;
            is_escaped = char == '\\' && !is_escaped;
            is_end
        });
        bare += &part[end.unwrap() + 1..];
    }
    bare
}

#[test]
fn the_reader_applies_the_declared_default() {
    let mut count = 0;
    let mut breaches = Vec::new();
    for (section, setting) in settings() {
        let name = format!("{} {}", section.name, setting.name);
        let without = file(section, setting, "");
        match setting.absent {
            Absent::Required if parsed(&without).is_ok() => breaches.push(name),
            Absent::Is(default) => {
                let with = file(section, setting, &format!("{} = {default}", setting.name));
                if read(&with) != read(&without) {
                    breaches.push(name);
                }
                count += 1;
            }
            Absent::Required | Absent::Means(_) => {}
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
    assert!(count > 60, "{count} defaults");
}

/// A place without its values is all that the test of defaults compares.
#[test]
fn settings_that_differ_are_told_apart() {
    assert_eq!(read(LISTENER), read(&format!("\n{LISTENER}")));
    assert_ne!(read(LISTENER), read(SOCKET));
    assert_ne!(read(POOL), read(&POOL.replace("a:1", "b:1")));
}
