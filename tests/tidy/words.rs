//! The words of the source: refuses names that only their author understands, and one public name for two types.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::source::{Source, is_name, sources_below};
use super::{Breach, words_of};

/// Words that are no part of the name of a function, a type, a constant or a module, each with the word in its stead.
const REFUSED: [(&str, &str); 28] = [
    ("board", "live stats"),
    ("boards", "live stats"),
    ("crew", "workers"),
    ("departure", "removal"),
    ("departures", "removals"),
    ("desk", "config store"),
    ("door", "worker listener"),
    ("doors", "sockets"),
    ("farewell", "end"),
    ("gate", "accept switch or access policy"),
    ("gates", "accept switches"),
    ("judge", "backend health"),
    ("laid", "merged"),
    ("learnt", "estimate"),
    ("leaving", "removed or due removal"),
    ("letter", "what the rule demands"),
    ("letters", "inbox"),
    ("manners", "reuse key"),
    ("news", "health events"),
    ("overlay", "overrides"),
    ("pace", "rate or turns"),
    ("pen", "head writer"),
    ("spot", "the name of what is there"),
    ("succession", "upgrade run"),
    ("survey", "head facts"),
    ("vault", "TLS store"),
    ("wish", "operation or permutation"),
    ("wishes", "operations or permutations"),
];

/// Words that are plain English in the name of a function, but say nothing in the name of a type or a module.
const REFUSED_AS_THINGS: [(&str, &str); 14] = [
    ("ask", "change request"),
    ("asker", "requester"),
    ("asks", "change requests"),
    ("counts", "counters"),
    ("foreign", "from h2"),
    ("gauges", "counters"),
    ("lower", "to h1"),
    ("place", "position, target, entry or cursor"),
    ("placed", "positioned"),
    ("places", "positions"),
    ("plan", "live config or settings"),
    ("raise", "to h2"),
    ("said", "the name of what was said"),
    ("setback", "failed attempt"),
];

#[test]
fn names_are_the_words_of_the_field() {
    let mut report = String::new();
    for source in sources() {
        let breaches = [path_breaches(&source), named_breaches(&source)].concat();
        for (line, what) in breaches {
            report += &format!("src/{}:{line}: {what}\n", source.path);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn a_public_type_name_occurs_once() {
    let report = repeated(&sources());
    assert!(
        report.is_empty(),
        "\nEach concept has a name of its own; another form of the same concept says its form: PoolSettings, \
         PoolView.\n{}",
        report.join("\n")
    );
}

/// All files but those of the simulated world, which is compiled for tests only and has the names of what it plays.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert!(fs::exists(root.join("lib.rs")).unwrap());
    let mut sources = sources_below(&root, &root);
    sources.retain(|source| !source.module().contains(&"simulated"));
    sources
}

/// Refused words in the path of the file.
fn path_breaches(source: &Source) -> Vec<Breach> {
    let module = source.module();
    let names = module.iter().filter_map(|name| refusal(name, true));
    names.map(|why| (1, why)).collect()
}

/// Refused words in the names that the file defines.
fn named_breaches(source: &Source) -> Vec<Breach> {
    let definitions = (1..source.tokens.len()).filter_map(|at| {
        let is_thing = match source.token(at - 1) {
            "struct" | "enum" | "trait" | "type" | "union" | "mod" => true,
            "fn" | "const" | "static" => false,
            _ => return None,
        };
        let (line, name) = &source.tokens[at];
        refusal(name, is_thing).map(|why| (*line, why))
    });
    definitions.collect()
}

/// Why a name is refused, and which word should stand there.
fn refusal(name: &str, is_thing: bool) -> Option<String> {
    let is_constant = !name.contains(char::is_lowercase);
    let words = if is_constant {
        words_of(&name.to_lowercase())
    } else {
        words_of(name)
    };
    let further = REFUSED_AS_THINGS.iter().filter(|_| is_thing);
    let mut refused = REFUSED.iter().chain(further);
    let (word, better) = refused.find(|(refused, _)| words.iter().any(|word| word == refused))?;
    Some(format!("{name:?}: not {word:?} but {better}"))
}

/// Public types of the same name, with where they are.
fn repeated(sources: &[Source]) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources {
        for at in public_types(source) {
            let (line, name) = &source.tokens[at];
            let place = format!("src/{}:{line}", source.path);
            found.entry(name).or_default().push(place);
        }
    }
    let repeated = found.into_iter().filter(|(_, places)| places.len() > 1);
    repeated
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect()
}

/// The tokens that name a public type: `pub struct X`, `pub(super) enum X`.
fn public_types(source: &Source) -> Vec<usize> {
    let names = (0..source.tokens.len()).filter(|at| source.token(*at) == "pub");
    names
        .filter_map(|at| {
            let mut at = at + 1;
            if source.token(at) == "(" {
                while !matches!(source.token(at), ")" | "") {
                    at += 1;
                }
                at += 1;
            }
            if source.token(at) == "unsafe" {
                at += 1;
            }
            let kinds = ["struct", "enum", "trait", "type", "union"];
            let is_type = kinds.contains(&source.token(at)) && is_name(source.token(at + 1));
            is_type.then_some(at + 1)
        })
        .collect()
}

#[test]
fn refused_words_are_found() {
    let refused = [
        ("base/a.rs", "struct Vault;"),
        ("base/a.rs", "pub enum BackendPlace { A }"),
        ("base/a.rs", "type AlgorithmPlan = u8;"),
        ("base/a.rs", "fn take_news() {}"),
        ("base/a.rs", "mod gauges;"),
        ("base/a.rs", "impl X { pub fn open_gate(&self) {} }"),
        ("base/a.rs", "const LEARNT_MILLIS: u8 = 1;"),
        ("control/desk/mod.rs", "fn f() {}"),
        ("shared/counts.rs", "fn f() {}"),
    ];
    for (path, text) in refused {
        let source = Source::new(path, text);
        let found = path_breaches(&source).len() + named_breaches(&source).len();
        assert_eq!(found, 1, "{path}: {text}");
    }
    let allowed = [
        ("base/a.rs", "fn place(at: u8) -> u8 { at }"),
        ("base/a.rs", "fn raise_descriptor_limit() {}"),
        (
            "base/a.rs",
            "/// The vault of a bank.\nstruct Store { plan: u8 }",
        ),
        ("base/a.rs", "fn f() { let desk = \"struct Vault\"; }"),
        (
            "base/a.rs",
            "#[cfg(test)]\nmod tests {\n    struct Vault;\n}\n",
        ),
        (
            "shared/client_count.rs",
            "struct ClientCount; struct Navigate;",
        ),
    ];
    for (path, text) in allowed {
        let source = Source::new(path, text);
        let found = [path_breaches(&source), named_breaches(&source)].concat();
        assert_eq!(found, [], "{path}: {text}");
    }
}

#[test]
fn repeated_type_names_are_found() {
    let named = |texts: [&str; 2]| {
        let [one, other] = texts;
        repeated(&[
            Source::new("base/a.rs", one),
            Source::new("http/b.rs", other),
        ])
    };
    let expected = ["Pool: src/base/a.rs:1, src/http/b.rs:1"];
    assert_eq!(
        named(["pub struct Pool;", "pub(super) enum Pool { A }"]),
        expected
    );
    assert_eq!(
        named([
            "pub(in crate::base) type Pool = u8;",
            "pub unsafe trait Pool {}"
        ]),
        expected
    );
    assert_eq!(named(["pub struct Pool;", "pub struct PoolView;"]), [""; 0]);
    assert_eq!(
        named(["pub struct Pool;", "struct Pool;\npub fn Pool() {}"]),
        [""; 0]
    );
}
