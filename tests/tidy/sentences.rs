//! Sentences that stand alone: a comment or a message begins with its subject, not with a word that points at a
//! neighbour which the reader of an editor's hint, a search or a log does not see.

use crate::Breach;
use crate::source::{without_comments_and_literals, without_tests};

/// The longest line, in characters.
const LINE: usize = 120;

/// Words that lean on a neighbour at the beginning of a sentence.
const LEANING: [&str; 18] = [
    "It", "Its", "They", "Their", "Those", "These", "That", "This", "What", "Who", "Whoever",
    "Whatever", "Which", "Whose", "The same", "As above", "Such", "Like it",
];

/// Every breach in one file; `path` begins at the root of the repository.
pub fn breaches(path: &str, text: &str) -> Vec<Breach> {
    let code = without_comments_and_literals(text);
    let mut found = long_lines(text, &code);
    found.extend(leaning_comments(text, &code));
    if path.starts_with("src/") && !path.contains("tests") {
        found.extend(leaning_messages(text, &code));
    }
    found.sort();
    found
}

/// Whether a text begins with one of the words, as they stand or, in a message, in lower case.
fn leans(text: &str) -> bool {
    LEANING.iter().any(|word| {
        let begins = text.strip_prefix(word);
        begins.is_some_and(|rest| !rest.starts_with(|char: char| char.is_alphanumeric()))
    })
}

/// The beginnings of paragraphs, entries of lists and comments behind code that lean on a neighbour.
fn leaning_comments(text: &str, code: &str) -> Vec<Breach> {
    let mut found = Vec::new();
    let mut before: Option<(&str, &str)> = None;
    for (index, (line, code)) in text.lines().zip(code.lines()).enumerate() {
        let comment = comment_of(line, code);
        if let Some((mark, words)) = comment {
            let continues = before.is_some_and(|(above, words)| above == mark && !words.is_empty());
            let (entry, is_entry) = without_bullet(words);
            if (!continues || is_entry || !code.trim().is_empty()) && leans(entry) {
                found.push((index + 1, line.trim().to_owned()));
            }
        }
        before = comment.filter(|_| code.trim().is_empty());
    }
    found
}

/// The mark and the words of a comment at the end of a line, if there is one. `code` is the line without comments and
/// literals, which has as many bytes.
fn comment_of<'l>(line: &'l str, code: &str) -> Option<(&'l str, &'l str)> {
    let start = code.trim_end().len();
    let comment = line.get(start..)?;
    let at = match comment.trim_start() {
        trimmed if trimmed.starts_with("//") => comment.len() - trimmed.len(),
        _ => comment.find(" // ")? + 1,
    };
    let comment = &comment[at..];
    let marks = ["///", "//!", "//"];
    let mark = marks.into_iter().find(|mark| comment.starts_with(mark))?;
    Some((&comment[..mark.len()], comment[mark.len()..].trim()))
}

/// The words of an entry of a list without its sign, and whether there is one.
fn without_bullet(words: &str) -> (&str, bool) {
    let numbered = words.trim_start_matches(|char: char| char.is_ascii_digit());
    let rest = match numbered.strip_prefix(". ") {
        Some(rest) if numbered.len() < words.len() => Some(rest),
        _ => words
            .strip_prefix("* ")
            .or_else(|| words.strip_prefix("- ")),
    };
    (rest.unwrap_or(words), rest.is_some())
}

/// Literals outside of tests that begin with one of the words: texts of logs, errors, descriptions and metrics.
fn leaning_messages(text: &str, code: &str) -> Vec<Breach> {
    let kept = without_tests(code);
    let lines = text.lines().zip(code.lines()).zip(kept.lines());
    let mut found = Vec::new();
    let mut is_of_test = false;
    for (index, ((line, code), kept)) in lines.enumerate() {
        let comment = comment_of(line, code).map_or(0, |(mark, words)| mark.len() + words.len());
        if !code.trim().is_empty() {
            is_of_test = kept.trim().is_empty();
        }
        let literals = line[..line.len() - comment].split('"').skip(1).step_by(2);
        for literal in literals.filter(|_| !is_of_test) {
            let mut chars = literal.chars();
            let first = chars.next().map(|first| first.to_ascii_uppercase());
            let capital: String = first.into_iter().chain(chars).collect();
            if literal.contains(' ') && leans(&capital) {
                found.push((index + 1, line.trim().to_owned()));
            }
        }
    }
    found
}

/// Lines that are too long and could be broken: comments, and code that is too long even without its literals.
fn long_lines(text: &str, code: &str) -> Vec<Breach> {
    let lines = text.lines().zip(code.lines()).enumerate();
    let long = lines.filter(|(_, (line, code))| {
        let is_comment = line.trim_start().starts_with("//");
        let code: usize = code.split_whitespace().map(|word| word.len() + 1).sum();
        line.chars().count() > LINE && (is_comment || code > LINE)
    });
    long.map(|(index, (line, _))| (index + 1, line.trim().to_owned()))
        .collect()
}

#[test]
fn leaning_sentences_and_long_lines_are_found() {
    let long = format!("// A line{}.\n", " that goes on".repeat(10));
    let breaches_of = |text: &str| breaches("src/base/a.rs", text).len();
    let bad = [
        "//! What a file is for.\n",
        "/// It is a port.\npub port: u16,\n",
        "/// The same in lower case.\nfn f() {}\n",
        "// Such a head is refused.\n",
        "// A head.\n//\n// This is refused.\n",
        "//! A list:\n//!\n//! * A head.\n//! * Its fields.\n",
        "//! 1. Whose turn it is.\n",
        "let a = 1; // That is enough.\n",
        "/// A port.\n// Whoever waits is served.\nfn f() {}\n",
        "warn!(%error, \"it cannot be opened\");\n",
        "const HELP: &str = \"Which of the backends are down\";\n",
        &long,
    ];
    for text in bad {
        assert_eq!(breaches_of(text), 1, "{text}");
    }
}

#[test]
fn sentences_that_stand_alone_are_no_breach() {
    let long = format!("let a = \"{}\";\n", "word ".repeat(30));
    let good = [
        "//! A file about hosts. It may say more.\n",
        "/// A port that the backend\n/// It listens on.\n",
        "// Itself a head.\n// Whether it is one.\n",
        "let url = \"http://a // It\"; let its = \"its\";\n",
        "warn!(%error, \"a file cannot be opened: it is {a}\");\n",
        "#[cfg(test)]\nmod tests {\n    fn f() {\n        assert!(a, \"it holds\");\n    }\n}\n",
        &long,
    ];
    for text in good {
        let found = breaches("src/base/a.rs", text);
        assert!(found.is_empty(), "{found:?}");
    }
}
