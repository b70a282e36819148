//! What the access log says of the cache.

use super::*;

/// The two fields of a line in JSON.
fn of_line(line: &str) -> (String, String) {
    let line: serde_json::Value = serde_json::from_str(line).expect(line);
    let text = |name: &str| line[name].as_str().unwrap_or("null").to_owned();
    (text("cache"), text("cache_reason"))
}

#[test]
fn lines_say_what_part_the_cache_had() {
    let origin = obedient();
    let log = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";
    let config = settings(
        "bypass = { headers = ['x-preview'] }, stale_if_error = '10m', client_directives = 'honour'",
        &[origin.addr],
    );
    let proxy = Proxy::start(&(config + log));
    let hour = ("x-want", "Cache-Control: max-age=3600");
    let stale = (
        "x-want",
        "Cache-Control: max-age=3600|Age: 3700|ETag: \"a\"",
    );
    let window = (
        "x-want",
        "Cache-Control: max-age=3600, stale-while-revalidate=600|Age: 3700",
    );
    let private = ("x-want", "Cache-Control: private");
    let vary = ("x-want", "Cache-Control: max-age=3600|Vary: x-a");
    let steps: Vec<(&str, &str, Vec<(&str, &str)>, &str, &str)> = vec![
        ("GET", "/a", vec![hour], "miss", "no_entry"),
        ("GET", "/a", vec![], "hit", "max_age"),
        ("HEAD", "/a", vec![], "hit", "max_age"),
        (
            "GET",
            "/a",
            vec![("cache-control", "no-cache"), hour],
            "miss",
            "client_no_cache",
        ),
        ("GET", "/b", vec![stale], "miss", "no_entry"),
        ("GET", "/b", vec![stale], "validated", "stale"),
        ("GET", "/b", vec![("x-status", "503")], "stale", "error"),
        ("GET", "/c", vec![window], "miss", "no_entry"),
        ("GET", "/c", vec![window], "stale", "refreshing"),
        (
            "GET",
            "/d",
            vec![("x-preview", "1")],
            "bypass",
            "bypass_header",
        ),
        ("GET", "/e", vec![vary, ("x-a", "1")], "miss", "no_entry"),
        ("GET", "/e", vec![vary, ("x-a", "2")], "miss", "vary"),
        ("GET", "/f", vec![private], "miss", "no_entry"),
    ];
    for version in VERSIONS {
        let mut client = Asker::new(&proxy, version);
        for (method, path, fields, ..) in &steps {
            client.ask(method, &format!("{path}/{version:?}"), fields);
        }
    }
    let lines = proxy.access_lines(2 * steps.len());
    let mut found: Vec<_> = lines.iter().map(|line| of_line(line)).collect();
    let expected = steps.iter().chain(&steps);
    let mut expected: Vec<_> = expected
        .map(|step| (step.3.to_owned(), step.4.to_owned()))
        .collect();
    // The workers write one by one, so that lines of two connections may change places.
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{lines:#?}");
}

#[test]
fn a_route_without_a_cache_says_nothing() {
    let origin = obedient();
    let log = "[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n";
    let proxy = Proxy::start(&(crate::support::proxy::route("/", &[origin.addr]) + log));
    Asker::new(&proxy, Version::One).get("/", &[]);
    assert_eq!(
        of_line(&proxy.access_lines(1)[0]),
        ("null".into(), "null".into())
    );
}
