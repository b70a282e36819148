//! The map in `src/lib.rs` against the files: a path on the map exists, and the map has every file of a worker and
//! every module of the program.

use std::path::Path;

use crate::source::Source;

/// The ways in which the map and the files differ, one line each. `exists` says whether there is a file or a folder of
/// this path in the repository.
pub fn differences(
    map: &str,
    modules: &[String],
    sources: &[Source],
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let (named, unknown) = named_paths(map, exists);
    let mut differences: Vec<String> = unknown
        .iter()
        .map(|path| format!("{path} is on the map, and does not exist"))
        .collect();
    let missing = sources.iter().filter(|source| is_to_be_named(source));
    let missing = missing.map(|source| source.path.trim_end_matches("mod.rs"));
    let missing = missing.filter(|path| !named.iter().any(|named| named == path));
    differences.extend(missing.map(|path| format!("{path} is not on the map")));
    let absent = modules
        .iter()
        .filter(|module| !map.contains(&format!("[`{module}`]")));
    differences.extend(absent.map(|module| format!("the module [`{module}`] is not on the map")));
    differences
}

/// Whether the map must have a file: every file of a worker that is no test.
fn is_to_be_named(source: &Source) -> bool {
    let is_test = ["tests.rs", "sample.rs"]
        .iter()
        .any(|name| source.path.ends_with(name));
    source.is_below(&["worker"]) && source.path != "worker/mod.rs" && !is_test
}

/// The paths that the map has, from `src/`, and those of them that do not exist. A line that begins with a path says
/// where the paths behind it begin.
fn named_paths(map: &str, exists: impl Fn(&str) -> bool) -> (Vec<String>, Vec<String>) {
    let (mut named, mut unknown) = (Vec::new(), Vec::new());
    let mut folder = String::new();
    for line in map.lines().filter_map(|line| line.strip_prefix("//! ")) {
        for (index, word) in line.split_whitespace().enumerate() {
            let word = word.trim_matches(|sign: char| "`()[],:;.".contains(sign));
            if !(word.ends_with(".rs") || word.ends_with('/')) {
                continue;
            }
            let within = format!("{folder}{word}");
            if exists(word) {
                if index == 0 && !line.starts_with(' ') {
                    folder = word[..=word.rfind('/').unwrap_or(0)].to_owned();
                }
                named.push(word.to_owned());
            } else if exists(&within) {
                named.push(within);
            } else {
                unknown.push(word.to_owned());
            }
        }
    }
    (named, unknown)
}

/// Whether the repository has a file or folder: below `src/`, else below its root.
pub fn exists(path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("src").join(path).exists() || root.join(path).exists()
}

#[test]
fn differences_are_found() {
    let map = "//! The map: [`base`], [`worker`]; `tests/tidy.rs` enforces it.\n\
        //! worker/accept.rs     new clients; accept_pause.rs: errors\n\
        //! worker/decide/       route.rs, gone.rs\n\
        //!                      access.rs\n";
    let known = [
        "tests/tidy.rs",
        "worker/accept.rs",
        "worker/accept_pause.rs",
        "worker/decide/",
        "worker/decide/route.rs",
        "worker/decide/access.rs",
    ];
    let paths = [
        "base/ids.rs",
        "worker/mod.rs",
        "worker/accept.rs",
        "worker/accept_pause.rs",
        "worker/decide/mod.rs",
        "worker/decide/route.rs",
        "worker/decide/access.rs",
        "worker/decide/tests.rs",
        "worker/relay.rs",
        "worker/upstream/mod.rs",
    ];
    let sources = paths.map(|path| Source::new(path, "//! A file.\n"));
    let modules = ["base", "worker", "net"].map(str::to_owned);
    let found = differences(map, &modules, &sources, |path| known.contains(&path));
    assert_eq!(
        found,
        [
            "gone.rs is on the map, and does not exist",
            "worker/relay.rs is not on the map",
            "worker/upstream/ is not on the map",
            "the module [`net`] is not on the map",
        ]
    );
}
