//! The layout guards itself: reads `src/` and fails, with the rule and its reason, on what the map in `src/lib.rs`
//! does not allow. It looks at tokens, not at meaning, which is enough for rules that are meant to be kept in sight.

#[path = "tidy/graph.rs"]
mod graph;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/rfc_rules.rs"]
mod rfc_rules;
#[path = "tidy/rules_at_work.rs"]
mod rules_at_work;
#[path = "tidy/sentences.rs"]
mod sentences;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use std::fs;
use std::path::Path;

use source::{STEPS, Source, is_name, sources_below};

/// A rule, why it is there, and what finds its breaches.
struct Rule {
    name: &'static str,
    why: &'static str,
    breaches: fn(&Source, &[String]) -> Vec<Breach>,
}

/// Where a rule is broken: the line, counted from 1, and what stands there.
type Breach = (usize, String);

const RULES: [Rule; 13] = [
    Rule {
        name: "modules import only those before them",
        why: "the order in src/lib.rs is the reading order; an import against it is a cycle in the making",
        breaches: imports_against_the_order,
    },
    Rule {
        name: "the steps stand alone",
        why: "guard, route, cache and balance are read, tested and replaced one by one; worker/ joins them",
        breaches: imports_between_steps,
    },
    Rule {
        name: "worker/ and net/ share nothing",
        why: "a core owns what it works on; what two threads touch belongs to shared/",
        breaches: sharing_on_a_core,
    },
    Rule {
        name: "decisions do not wait and read no clock",
        why: "guard, route, cache, balance and http/ are plain functions; time is an argument, so that tables test them",
        breaches: waiting_decisions,
    },
    Rule {
        name: "only net/ knows the engine",
        why: "io_uring, monoio and socket options can be replaced as long as one folder names them",
        breaches: engine_outside_net,
    },
    Rule {
        name: "a file has at most 500 lines",
        why: "a file is read in one sitting; aim at 100 to 250 lines",
        breaches: long_file,
    },
    Rule {
        name: "a function has at most 70 lines",
        why: "a function is understood at one look; aim at 25 lines",
        breaches: long_functions,
    },
    Rule {
        name: "a file begins with what it is for",
        why: "a newcomer finds the room by its `//!` header",
        breaches: missing_header,
    },
    Rule {
        name: "names say what a thing is",
        why: "manager, handler, helper and the like fit everything and so tell nothing",
        breaches: empty_names,
    },
    Rule {
        name: "nothing is left open",
        why: "what is not finished is not merged; an ignored test tests nothing",
        breaches: left_open,
    },
    Rule {
        name: "unsafe code says why it is sound",
        why: "a `// SAFETY:` comment is what a reviewer checks",
        breaches: unexplained_unsafe,
    },
    Rule {
        name: "nothing is printed by a macro",
        why: "println! and its like panic where nobody reads: use tracing, base::log::say or cli::output",
        breaches: printing_macros,
    },
    Rule {
        name: "a function has at most 5 parameters",
        why: "a call with many arguments hides which is which: arguments that belong together are a type",
        breaches: many_parameters,
    },
];

#[test]
fn src_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = Source::new("lib.rs", &fs::read_to_string(root.join("lib.rs")).unwrap());
    let order = reading_order(&map);
    let sources = sources_below(&root, &root);
    assert!(
        order.len() > 5 && sources.len() > 30,
        "the rules looked at too little"
    );
    let mut report = String::new();
    for rule in &RULES {
        for source in &sources {
            for (line, what) in (rule.breaches)(source, &order) {
                let path = &source.path;
                report += &format!(
                    "src/{path}:{line}: {what}\n    {}: {}\n",
                    rule.name, rule.why
                );
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn files_import_each_other_in_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = sources_below(&root, &root);
    let circles = graph::cycles(&sources);
    assert!(
        circles.is_empty(),
        "files that import each other are read, tested and changed only together: {circles:#?}"
    );
}

#[test]
fn the_map_is_of_this_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = fs::read_to_string(root.join("lib.rs")).unwrap();
    let modules = reading_order(&Source::new("lib.rs", &text));
    let sources = sources_below(&root, &root);
    let differences = map::differences(&text, &modules, &sources, map::exists);
    assert!(
        differences.is_empty(),
        "a newcomer finds every file by the map in src/lib.rs: {differences:#?}"
    );
}

#[test]
fn tests_leave_nothing_open() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["tests", "benches", "fuzz/src", "fuzz/fuzz_targets"] {
        for source in sources_below(&root.join(folder), &root.join(folder)) {
            let rules = [left_open, missing_header, long_file];
            let breaches = rules.map(|breaches| breaches(&source, &[])).concat();
            assert!(
                breaches.is_empty(),
                "{folder}/{}: {breaches:?}",
                source.path
            );
        }
    }
}

#[test]
fn sentences_stand_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut report = String::new();
    for folder in ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"] {
        for source in sources_below(&root.join(folder), &root.join(folder)) {
            let path = format!("{folder}/{}", source.path);
            for (line, what) in sentences::breaches(&path, &source.text) {
                report += &format!("{path}:{line}: {what}\n");
            }
        }
    }
    assert!(
        report.is_empty(),
        "a sentence begins with its subject, not with a word that points at a neighbour, and a line has at most 120 \
         characters:\n{report}"
    );
}

/// The modules in the order in which `src/lib.rs` declares them.
fn reading_order(map: &Source) -> Vec<String> {
    let declares = |at: &usize| map.token(*at) == "mod" && map.token(at + 2) == ";";
    let places = (0..map.tokens.len()).filter(declares);
    places.map(|at| map.token(at + 1).to_owned()).collect()
}

fn imports_against_the_order(source: &Source, order: &[String]) -> Vec<Breach> {
    let module = source.module();
    let rank = |name: &str| order.iter().position(|known| known == name);
    let Some(own) = rank(module[0]) else {
        return Vec::new();
    };
    let imports = source.imports().into_iter();
    imports
        .filter(|(_, path)| rank(&path[0]).is_some_and(|imported| imported > own))
        .map(|(line, path)| (line, path.join("::")))
        .collect()
}

fn imports_between_steps(source: &Source, _: &[String]) -> Vec<Breach> {
    let own = source.module()[0];
    let is_step = STEPS.contains(&own);
    let imports = source.imports().into_iter().filter(|_| is_step);
    imports
        .filter(|(_, path)| path[0] != own && STEPS.contains(&path[0].as_str()))
        .map(|(line, path)| (line, path.join("::")))
        .collect()
}

/// Every place where one of these names stands.
fn named(source: &Source, is_unwanted: impl Fn(&str) -> bool) -> Vec<Breach> {
    let tokens = source.tokens.iter();
    tokens
        .filter(|(_, token)| is_unwanted(token))
        .cloned()
        .collect()
}

fn sharing_on_a_core(source: &Source, _: &[String]) -> Vec<Breach> {
    const SHARING: [&str; 9] = [
        "Arc",
        "Mutex",
        "RwLock",
        "Condvar",
        "OnceLock",
        "LazyLock",
        "mpsc",
        "crossbeam_channel",
        "crossbeam_utils",
    ];
    if !source.is_below(&["worker", "net"]) {
        return Vec::new();
    }
    let configured = source.is_below(&["net/tls"]);
    named(source, |name| match name {
        "Arc" => !configured, // rustls takes its configuration so, which is a part of the snapshot.
        _ => SHARING.contains(&name) || name.starts_with("Atomic"),
    })
}

fn waiting_decisions(source: &Source, _: &[String]) -> Vec<Breach> {
    if !source.is_decision() {
        return Vec::new();
    }
    let waits = (0..source.tokens.len()).filter(|at| match source.token(*at) {
        "await" | "async" => true,
        "Instant" | "SystemTime" | "Micros" => {
            source.token(at + 1) == "::" && source.token(at + 2) == "now"
        }
        _ => false,
    });
    waits.map(|at| source.tokens[at].clone()).collect()
}

fn engine_outside_net(source: &Source, _: &[String]) -> Vec<Breach> {
    if source.is_below(&["net"]) {
        return Vec::new();
    }
    named(source, |name| match name {
        "monoio" | "monoio_http" | "monoio_rustls" | "io_uring" | "setsockopt" | "SockRef" => true,
        _ => name.starts_with("SO_") || name.starts_with("TCP_"),
    })
}

fn long_file(source: &Source, _: &[String]) -> Vec<Breach> {
    let lines = source.text.lines().count();
    let breach = (lines > 500).then(|| (lines, format!("{lines} lines")));
    breach.into_iter().collect()
}

fn long_functions(source: &Source, _: &[String]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for at in 0..source.tokens.len() {
        if source.token(at) != "fn" || !is_name(source.token(at + 1)) {
            continue;
        }
        let (first, last) = (source.tokens[at].0, last_line_of_function(source, at));
        let lines = last + 1 - first;
        if lines > 70 {
            breaches.push((first, format!("{} has {lines} lines", source.token(at + 1))));
        }
    }
    breaches
}

fn many_parameters(source: &Source, _: &[String]) -> Vec<Breach> {
    let is_function = |at: &usize| source.token(*at) == "fn" && is_name(source.token(at + 1));
    let functions = (0..source.tokens.len()).filter(is_function);
    let breaches = functions.filter_map(|at| {
        let (line, name, count) = (
            source.tokens[at].0,
            source.token(at + 1),
            parameters(source, at),
        );
        (count > 5).then(|| (line, format!("{name} has {count} parameters")))
    });
    breaches.collect()
}

/// The number of parameters of the function whose `fn` stands at `at`, without `self`.
fn parameters(source: &Source, at: usize) -> usize {
    let (mut generics, mut nested, mut count) = (0, 0, 0);
    for next in at + 2..source.tokens.len() {
        match source.token(next) {
            "<" if nested == 0 => generics += 1,
            ">" if nested == 0 && source.token(next - 1) != "-" => generics -= 1,
            _ if generics > 0 => {}
            "(" | "[" | "{" => nested += 1,
            ")" | "]" | "}" if nested == 1 => return count,
            ")" | "]" | "}" => nested -= 1,
            ":" if nested == 1 && source.token(next - 1) != "self" => count += 1,
            _ => {}
        }
    }
    count
}

/// The line of the brace that closes the function whose `fn` stands at `at`, or of the semicolon instead of a body.
fn last_line_of_function(source: &Source, at: usize) -> usize {
    let (mut nested, mut braces) = (0, 0);
    for (line, token) in &source.tokens[at..] {
        match token.as_str() {
            "(" | "[" => nested += 1,
            ")" | "]" => nested -= 1,
            ";" if nested == 0 && braces == 0 => return *line,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 {
                    return *line;
                }
            }
            _ => {}
        }
    }
    panic!("src/{}: a function without an end", source.path)
}

fn missing_header(source: &Source, _: &[String]) -> Vec<Breach> {
    let breach = (!source.text.starts_with("//! ")).then(|| (1, "no header".to_owned()));
    breach.into_iter().collect()
}

fn empty_names(source: &Source, _: &[String]) -> Vec<Breach> {
    const EMPTY: [&str; 15] = [
        "manager", "handler", "handlers", "helper", "helpers", "util", "utils", "common",
        "context", "data", "info", "inner", "misc", "service", "session",
    ];
    let defines = |token: &str| {
        matches!(
            token,
            "fn" | "struct" | "enum" | "trait" | "type" | "mod" | "union"
        )
    };
    // A party outside has this name: the program that starts others, such as systemd.
    const PARTY: [&str; 2] = ["service", "manager"];
    let is_empty = |name: &str| {
        let words = words_of(name);
        let party = words.windows(2).position(|pair| pair == PARTY);
        let of_party = party.map_or(0..0, |at| at..at + 2);
        let mut words = words.iter().enumerate();
        words.any(|(at, word)| EMPTY.contains(&word.as_str()) && !of_party.contains(&at))
    };
    let places = (1..source.tokens.len()).filter(|at| defines(source.token(at - 1)));
    places
        .filter(|at| is_empty(source.token(*at)))
        .map(|at| source.tokens[at].clone())
        .collect()
}

/// `RouteTable` and `route_table` as words in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for char in name.chars() {
        if char == '_' || char.is_ascii_uppercase() {
            words.push(String::new());
        }
        if char != '_' {
            words.last_mut().unwrap().push(char.to_ascii_lowercase());
        }
    }
    words
}

fn left_open(source: &Source, _: &[String]) -> Vec<Breach> {
    // Put together here, so that this file does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["todo", "!"],
        ["unimplemented", "!"],
        ["dbg", "!"],
        ["#[ig", "nore"],
    ];
    let marks = marks.map(|parts| parts.concat());
    let lines = source.text.lines().enumerate();
    let open = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark.as_str())));
    open.map(|(index, line)| (index + 1, line.trim().to_owned()))
        .collect()
}

fn unexplained_unsafe(source: &Source, _: &[String]) -> Vec<Breach> {
    let lines: Vec<&str> = source.text.lines().collect();
    let explained = |line: usize| {
        let above = lines[..line - 1].iter().rev();
        let above = above.take_while(|line| !line.trim().is_empty()).take(8);
        above
            .chain([&lines[line - 1]])
            .any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
    };
    named(source, |name| name == "unsafe")
        .into_iter()
        .filter(|(line, _)| !explained(*line))
        .collect()
}

fn printing_macros(source: &Source, _: &[String]) -> Vec<Breach> {
    const MACROS: [&str; 4] = ["print", "println", "eprint", "eprintln"];
    let is_call = |at: &usize| source.token(at + 1) == "!" && MACROS.contains(&source.token(*at));
    let calls = (0..source.tokens.len()).filter(is_call);
    calls.map(|at| source.tokens[at].clone()).collect()
}
