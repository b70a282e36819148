//! Names on the pages exist: files of the source, metrics, commands and their options.

use std::fs;
use std::path::Path;

use super::commands::help_of_palantir;
use super::pages::{all, root};

/// The text of every file of the source.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn files_exist() {
    let places = ["", "src", "tests/it", "docs", "bench-scripts"];
    let mut count = 0;
    for page in all() {
        for (number, word) in page.code() {
            let is_path = word.contains('/') && !word.starts_with(['/', '.', '$', '-']);
            let ends = [".rs", ".sh", ".md", ".yml", ".py", ".service", ".socket"];
            if !is_path || !ends.iter().any(|end| word.ends_with(end)) || word.contains([' ', '*'])
            {
                continue;
            }
            count += 1;
            let exists = places
                .iter()
                .any(|place| root().join(place).join(word).exists());
            // The worked example names a file that a contributor would add.
            let is_example = word == "balance/most_idle.rs";
            assert!(exists || is_example, "{}: {word}", page.at(number));
        }
    }
    assert!(count > 20, "the files are found: {count}");
}

#[test]
fn metrics_exist() {
    let mut source = String::new();
    sources(&root().join("src"), &mut source);
    let mut count = 0;
    for page in all() {
        for (number, word) in page.code() {
            let Some(rest) = word.strip_prefix("palantir_") else {
                continue;
            };
            count += 1;
            let name = rest.split('{').next().unwrap();
            // The library adds the ending of counters itself.
            let name = name.strip_suffix("_total").unwrap_or(name);
            assert!(source.contains(name), "{}: {word}", page.at(number));
        }
    }
    assert!(count > 15, "the metrics are found: {count}");
}

#[test]
fn commands_exist() {
    let mut count = 0;
    for page in all() {
        for (number, word) in page.code() {
            let mut words = word.split_whitespace();
            if words.next() != Some("palantir") {
                continue;
            }
            let Some(command) = words.next() else {
                continue;
            };
            count += 1;
            let help = help_of_palantir(command);
            for option in words.filter(|word| word.trim_start_matches('[').starts_with("--")) {
                let option = option.trim_matches(['[', ']']);
                assert!(help.contains(option), "{}: {word}", page.at(number));
            }
        }
    }
    assert!(count > 15, "the commands are found: {count}");
}
