//! The rules of HTTP caching: each rule of `docs/rfc-rules.md` that binds palantir stands in comments at the line that
//! keeps it and at a test that shows it, and comments name no rule that the page does not have.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::source::{sources_below, without_comments_and_literals, without_tests};

/// The page with the rules.
const PAGE: &str = "docs/rfc-rules.md";

/// The sections of RFC 9110 whose rules are on the page. Of RFC 9111 every section is.
const SECTIONS_OF_9110: [&str; 3] = ["8.8", "13", "14"];

/// The words that make a sentence of an RFC a rule.
const WORDS: [&str; 7] = [
    "MUST",
    "MUST NOT",
    "SHOULD",
    "SHOULD NOT",
    "SHALL",
    "SHALL NOT",
    "REQUIRED",
];

/// The rule in the form that comments have: `RFC 9111 section 4.2.4 (MUST NOT, a)`.
type Name = String;

/// Where comments name a rule.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    program: Vec<String>,
    tests: Vec<String>,
}

#[test]
fn every_rule_of_http_caching_is_kept_and_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    let mut named = BTreeMap::new();
    for folder in ["src", "tests"] {
        for source in sources_below(&root.join(folder), &root.join(folder)) {
            note(
                &format!("{folder}/{}", source.path),
                &source.text,
                &mut named,
            );
        }
    }
    let report = differences(&page, &named);
    assert!(report.is_empty(), "see {PAGE}:\n{}", report.join("\n"));
}

/// Everything that is wrong with the rules of a page and the places that name rules.
fn differences(page: &str, named: &BTreeMap<Name, Places>) -> Vec<String> {
    let rules = rules_of(page);
    let mut report = Vec::new();
    let nowhere = Places::default();
    for (rule, does_bind) in &rules {
        let places = named.get(rule).unwrap_or(&nowhere);
        if *does_bind && places.program.is_empty() {
            report.push(format!("{rule}: no line of the program keeps it"));
        }
        if *does_bind && places.tests.is_empty() {
            report.push(format!("{rule}: no test shows it"));
        }
    }
    for (rule, places) in named.iter().filter(|(rule, _)| is_on_page(rule)) {
        if !rules.contains_key(rule) {
            let all = [&places.program[..], &places.tests[..]].concat();
            report.push(format!("{rule}: no such rule; see {}", all.join(", ")));
        }
    }
    report
}

/// The rules of the page, each with whether it binds palantir.
fn rules_of(page: &str) -> BTreeMap<Name, bool> {
    let mut rules = BTreeMap::new();
    let mut rfc = "";
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            rfc = heading;
            continue;
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, section, word, rule, reason, _] = cells[..] else {
            continue;
        };
        if !section.starts_with(|char: char| char.is_ascii_digit()) {
            continue;
        }
        let name = format!("{rfc} section {section} ({word})");
        assert!(is_word(word) && !rule.is_empty(), "{PAGE}: {line}");
        let known = rules.insert(name, reason.is_empty());
        assert!(known.is_none(), "{PAGE}: twice: {line}");
    }
    assert!(rules.len() > 100, "{PAGE} has too few rules");
    rules
}

/// Whether a text is one of the words, with a letter behind it or without.
fn is_word(text: &str) -> bool {
    let (word, letter) = text.split_once(", ").unwrap_or((text, "a"));
    WORDS.contains(&word)
        && letter.len() == 1
        && letter.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Whether the page has the rules of the section that a rule is of.
fn is_on_page(rule: &str) -> bool {
    let Some(rest) = rule.strip_prefix("RFC 9110 section ") else {
        return true;
    };
    let section = rest.split(' ').next().unwrap_or_default();
    SECTIONS_OF_9110.iter().any(|known| {
        let behind = section.strip_prefix(known);
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
    })
}

/// Notes the rules that the comments of a file name.
fn note(path: &str, text: &str, named: &mut BTreeMap<Name, Places>) {
    // Samples are neither what runs nor what is tested; those of this file are none of either.
    if path.ends_with("sample.rs") || path.starts_with("tests/tidy/") {
        return;
    }
    let is_test_file =
        path.starts_with("tests/") || path.ends_with("tests.rs") || path.contains("/tests/");
    let code = without_comments_and_literals(text);
    let of_tests = lines_of_tests(&code);
    let mut comment = String::new();
    let mut first = 0;
    let lines = text.lines().chain([""]);
    for (index, line) in lines.enumerate() {
        let words = comment_of(line);
        if let Some(words) = words {
            if comment.is_empty() {
                first = index;
            }
            comment = comment + words + " ";
            continue;
        }
        let is_of_test = is_test_file || of_tests.get(first).copied().unwrap_or(false);
        for name in named_in(&comment) {
            let places = named.entry(name).or_default();
            let place = format!("{path}:{}", first + 1);
            if is_of_test {
                places.tests.push(place);
            } else {
                places.program.push(place);
            }
        }
        comment.clear();
    }
}

/// The words of a line that is a comment as a whole.
fn comment_of(line: &str) -> Option<&str> {
    let words = line.trim_start().strip_prefix("//")?;
    Some(words.trim_start_matches(['/', '!']).trim())
}

/// Whether each line of a code without comments belongs to what is compiled for tests only.
fn lines_of_tests(code: &str) -> Vec<bool> {
    // Blank lines are marked, so that those that are blanked show.
    let marked: Vec<_> = code
        .lines()
        .map(|line| if line.trim().is_empty() { "//" } else { line })
        .collect();
    let kept = without_tests(&marked.join("\n"));
    kept.lines().map(|line| line.trim().is_empty()).collect()
}

/// The rules that a comment names: `RFC 9111 section 3 (MUST NOT, a; MUST)`, or several sections behind `sections`.
fn named_in(comment: &str) -> Vec<Name> {
    let mut names = Vec::new();
    for rfc in ["RFC 9110", "RFC 9111"] {
        for (at, _) in comment.match_indices(rfc) {
            let rest = &comment[at + rfc.len()..];
            let rest = rest
                .strip_prefix(" sections ")
                .or(rest.strip_prefix(" section "));
            let mut rest = rest.unwrap_or_default();
            while let Some((section, behind)) = section_of(rest) {
                rest = behind;
                if let Some((words, behind)) = words_of(rest) {
                    names.extend(
                        words
                            .split("; ")
                            .map(|word| format!("{rfc} section {section} ({word})")),
                    );
                    rest = behind;
                }
                let next = rest.strip_prefix(", ").or(rest.strip_prefix(" and "));
                rest = next.unwrap_or_default();
            }
        }
    }
    names
}

/// The number of a section at the beginning of a text, and the text behind it.
fn section_of(text: &str) -> Option<(&str, &str)> {
    let is_part = |char: char| char.is_ascii_digit() || char == '.';
    let end = text.find(|char| !is_part(char)).unwrap_or(text.len());
    let section = text[..end].trim_end_matches('.');
    (!section.is_empty()).then(|| (section, &text[section.len()..]))
}

/// The words of rules in brackets at the beginning of a text, and the text behind them.
fn words_of(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix(" (")?;
    let (words, behind) = rest.split_once(')')?;
    words.split("; ").all(is_word).then_some((words, behind))
}

#[test]
fn comments_name_rules() {
    let table = [
        (
            "RFC 9111 section 3.1 (MUST): a",
            vec!["RFC 9111 section 3.1 (MUST)"],
        ),
        (
            "A. RFC 9111 section 3 (MUST NOT, b): a",
            vec!["RFC 9111 section 3 (MUST NOT, b)"],
        ),
        (
            "RFC 9111 section 3.2 (MUST, a; SHOULD NOT): a",
            vec![
                "RFC 9111 section 3.2 (MUST, a)",
                "RFC 9111 section 3.2 (SHOULD NOT)",
            ],
        ),
        (
            "RFC 9111 sections 3 (MUST), 4.2 and 4.3.1 (SHOULD, b): a",
            vec![
                "RFC 9111 section 3 (MUST)",
                "RFC 9111 section 4.3.1 (SHOULD, b)",
            ],
        ),
        ("RFC 9111 section 3 (MAY): a (MUST)", vec![]),
        ("RFC 9111 section 3. RFC 9112 section 4 (MUST)", vec![]),
        ("(RFC 9110 section 13.1)", vec![]),
    ];
    for (comment, expected) in table {
        assert_eq!(named_in(comment), expected, "{comment}");
    }
    let file = "//! A file.\n\n// RFC 9111 section 3\n// (MUST, a): a\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n    \
                // RFC 9111 section 3 (MUST, b): b\n    fn g() {}\n}\n";
    let mut named = BTreeMap::new();
    note("src/cache/a.rs", file, &mut named);
    let kept = &named["RFC 9111 section 3 (MUST, a)"];
    assert_eq!(
        (&kept.program[..], kept.tests.len()),
        (&["src/cache/a.rs:3".to_owned()][..], 0)
    );
    let shown = &named["RFC 9111 section 3 (MUST, b)"];
    assert_eq!(
        (&shown.tests[..], shown.program.len()),
        (&["src/cache/a.rs:9".to_owned()][..], 0)
    );
}

#[test]
fn what_is_missing_is_listed() {
    let many: String = (1..=100)
        .map(|number| format!("| 9.{number} | MUST | a rule | binds nobody |\n"))
        .collect();
    let page = format!(
        "## RFC 9111\n\n| section | word | rule | why |\n|---|---|---|---|\n| 3 | MUST, a | a rule | |\n\
         | 3 | MUST, b | a rule | |\n{many}"
    );
    let mut named = BTreeMap::new();
    note(
        "src/a.rs",
        "// RFC 9111 section 3 (MUST, a): a\n",
        &mut named,
    );
    note(
        "tests/a.rs",
        "// RFC 9111 section 3 (MUST, b): a\n",
        &mut named,
    );
    note(
        "src/b.rs",
        "// RFC 9111 section 3 (MUST): a\n// RFC 9110 section 15.1 (MUST): a\n",
        &mut named,
    );
    note(
        "src/sample.rs",
        "// RFC 9111 section 3 (MUST, b): a\n",
        &mut named,
    );
    let expected = [
        "RFC 9111 section 3 (MUST, a): no test shows it",
        "RFC 9111 section 3 (MUST, b): no line of the program keeps it",
        "RFC 9111 section 3 (MUST): no such rule; see src/b.rs:1",
    ];
    assert_eq!(differences(&page, &named), expected);
}
