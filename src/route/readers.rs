//! Servers that read paths in every way and order, against what [`RouteTable::misreading`] promises of them.

use proptest::prelude::*;

use super::*;
use crate::http::path::{merge_slashes, normalise};

/// A step that a server may take to normalise a path before it decides by it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Merge,
    Cut,
    Decode,
    Turn,
    Resolve,
}

/// A path after a server's steps, done plainly.
fn read(path: &str, steps: &[Step]) -> String {
    let mut text = path.to_owned();
    let mut is_decoded = false;
    for step in steps {
        text = match step {
            Step::Merge => {
                let mut merged = text;
                while merged.contains("//") {
                    merged = merged.replace("//", "/");
                }
                merged
            }
            Step::Cut => {
                let segments = text.split('/').map(|part| part.split(';').next().unwrap());
                segments.collect::<Vec<_>>().join("/")
            }
            Step::Decode if is_decoded => text,
            Step::Decode => {
                is_decoded = true;
                decoded(&text)
            }
            Step::Turn => text.replace('\\', "/"),
            Step::Resolve => resolved(&text),
        };
    }
    text
}

fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap().to_owned();
    for piece in pieces {
        out.push(char::from(u8::from_str_radix(&piece[..2], 16).unwrap()));
        out += &piece[2..];
    }
    out
}

/// Without dot segments; the root is above itself.
fn resolved(text: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(vec![
        Step::Merge,
        Step::Cut,
        Step::Decode,
        Step::Turn,
        Step::Resolve,
    ])
}

/// Of pieces that servers read differently.
fn path() -> impl Strategy<Value = String> {
    let pieces = vec![
        "/", "/", "a", "b", "c", "/a", "/b", "//", "%2f", "%2F", "\\", "%5c", ";", "%3b", ";x/",
        ";x%2fb", "%61", "..", ".", "%2e", "%252f", "%20",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..14)
        .prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn rules() -> impl Strategy<Value = Vec<(Option<String>, String)>> {
    let host = prop::sample::select(vec![None, Some("h"), Some("*.h")]);
    let prefix = prop::sample::select(vec!["/", "/a", "/a/b", "/b", "/b/a", "/a/b/c", "/c/a"]);
    let rule = (host, prefix).prop_map(|(host, prefix)| (host.map(str::to_owned), prefix.into()));
    prop::collection::vec(rule, 1..8)
}

/// The route of a request, and the path that is forwarded.
fn forwarded_to(
    table: &RouteTable,
    host: &str,
    path: &str,
    merges: bool,
) -> Option<(RouteId, String)> {
    let (mut scratch, mut merged) = (Vec::new(), Vec::new());
    let mut normal = normalise(path.as_bytes(), &mut scratch).ok()?;
    if merges {
        normal = merge_slashes(normal, &mut merged);
    }
    let route = table.find(host.as_bytes(), normal)?;
    let misreading = table.misreading(host.as_bytes(), normal, route);
    let normal = String::from_utf8(normal.to_vec()).unwrap();
    misreading.is_none().then_some((route, normal))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_server_reads_a_path_of_the_route_that_it_came_by(
        rules in rules(),
        host in prop::sample::select(vec!["h", "x.h", "other"]),
        path in path(),
        merges in any::<bool>(),
        steps in prop::collection::vec(step(), 0..7),
    ) {
        let table = RouteTable::new(&rules);
        if let Some((route, path)) = forwarded_to(&table, host, &path, merges) {
            let read = read(&path, &steps);
            let found = table.find(host.as_bytes(), read.as_bytes());
            prop_assert_eq!(found, Some(route), "{} is read as {}", path, read);
        }
    }

    /// With one route there is nothing to pass by.
    #[test]
    fn a_route_alone_takes_whatever_is_normal(path in path(), merges in any::<bool>()) {
        let table = RouteTable::new(&[(None, "/".to_owned())]);
        let is_normal = normalise(path.as_bytes(), &mut Vec::new()).is_ok();
        prop_assert_eq!(forwarded_to(&table, "h", &path, merges).is_some(), is_normal);
    }
}

/// `None`: refused.
fn check(prefixes: &[&str], rows: &[(&str, Option<u32>)]) {
    let rules: Vec<_> = prefixes
        .iter()
        .map(|prefix| (None, prefix.to_string()))
        .collect();
    let table = RouteTable::new(&rules);
    for (path, expected) in rows {
        let found = forwarded_to(&table, "", path, false).map(|(id, _)| id);
        assert_eq!(found, expected.map(RouteId), "{path}");
    }
}

#[test]
fn what_passes_by_a_route_is_refused() {
    check(
        &["/", "/admin", "/api/admin"],
        &[
            ("/admin/users", Some(1)),
            ("/admin//users", Some(1)),
            ("/admin%2fusers", None),
            ("//admin/users", None),
            ("/x/..//admin/users", None),
            ("/%2fadmin/users", None),
            ("/%61dmin/users", Some(1)),
            ("/.%2Fadmin", None),
            ("/x%2f./admin", Some(0)),
            ("/admin/.%2Fkey", Some(1)),
            ("/api/.%2Fadmin", None),
            ("/admin;v=1/users", None),
            ("/admin%3Bv=1/users", None),
            ("/;x/admin", None),
            ("/admin;", None),
            ("/admin%2f", None),
            ("/admin\\", None),
            ("/\\admin", None),
            ("/admin%5Cusers", None),
            ("/api;x%2fy/admin", None),
            ("/api;x\\y%2fz/admin", None),
            ("/api%2fadmin", None),
            ("/api/admin;x%2fy", None),
            ("/admin;x%2fy", None),
            ("/admin/a;b%2fc//d\\e", Some(1)),
            ("/api//x;y/admin", Some(0)),
            ("/a;b%2fc//d\\e%20%c3%a9", Some(0)),
            ("/%252fadmin", Some(0)),
            ("/admin%20", Some(0)),
            ("/administrator;x", Some(0)),
        ],
    );
}

#[test]
fn prefixes_may_be_escaped_or_have_parameters() {
    check(
        &["/", "/caf%C3%A9", "/a%40b", "/m;v=1/x", "/d//e/"],
        &[
            ("/caf%c3%a9/x", Some(1)),
            ("/caf%C3%A9/x", Some(1)),
            ("/a%40b", Some(2)),
            ("/a@b", None),
            ("/m;v=1/x/y", Some(3)),
            ("/m;v=2/x/y", None),
            ("/m/x/y", None),
            ("/d//e/f", Some(4)),
            ("/d///e/f", None),
            ("/d/e/f", None),
        ],
    );
}
