//! Paths that servers read differently: none of them leads past the route that it is meant for.

use serde_json::Value;

use crate::support::h2::frame::get;
use crate::support::proxy::{command, route};
use crate::support::{Origin, Proxy};

/// Targets that some server takes for `/admin/users`, or for another path below `/admin`.
const PASSING_BY: [&str; 24] = [
    "/./%2fadmin/users",
    "/admin%2fusers",
    "/admin%2Fusers",
    "/admin%2f",
    "/%2fadmin/users",
    "/admin;v=1/users",
    "/admin;x",
    "/admin;",
    "/admin%3bv=1/users",
    "/admin%3B",
    "/;/admin/users",
    "/;v=1//admin",
    "/admin\\users",
    "/admin\\",
    "/\\admin",
    "/admin%5cusers",
    "/admin%5Cusers",
    "/%5cadmin",
    "/admin;x%2fy/users",
    "/admin%2fusers?q=1",
    "//%61dmin;a\\users",
    "/;%2fadmin",
    "/a;x%2fy/admin",
    "http://test/x/..//%2fadmin",
];

/// A proxy whose `/admin` and `/a/admin` are another pool than the rest, and the backends' own words for it.
fn guarded(more: &str) -> (Proxy, [Origin; 2]) {
    let origins = [Origin::saying("everybody"), Origin::saying("admin")];
    let [everybody, admin] = &origins;
    let config = "workers = 1\n[access_log]\npath = \"{dir}/access.log\"\nformat = \"json\"\n"
        .to_owned()
        + &route("/", &[everybody.addr])
        + more
        + &route("/admin", &[admin.addr])
        + more
        + &route("/a/admin", &[admin.addr])
        + more;
    (Proxy::start(&config), origins)
}

fn request(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Fails unless this is the refusal of a target that servers may read in several ways.
#[track_caller]
fn refused(status: u16, proxy_status: Option<&str>, target: &str) {
    let is_named = proxy_status.is_some_and(|said| said.contains("ambiguous_route"));
    assert!(
        status == 400 && is_named,
        "{target}: {status} {proxy_status:?}"
    );
}

#[test]
fn what_passes_by_a_route_is_refused() {
    for more in [
        "",
        "strip_prefix = true\n",
        "host = \"test\"\n",
        "host = \"*.test\"\n",
    ] {
        let (proxy, origins) = guarded(more);
        let host = if more.contains('*') { "a.test" } else { "test" };
        for target in PASSING_BY {
            let target = target.replace("http://test", &format!("http://{host}"));
            let answer = proxy.ask(request(host, &target));
            refused(answer.status(), answer.field("proxy-status"), &target);
        }
        assert!(origins.iter().all(|origin| origin.count() == 0));
        let line: Value = serde_json::from_str(&proxy.access_lines(PASSING_BY.len())[0]).unwrap();
        assert_eq!(line["failure"], "ambiguous_route", "{line}");
    }
}

#[test]
fn what_passes_by_a_route_is_refused_over_http2() {
    let (proxy, origins) = guarded("");
    let mut client = proxy.h2();
    for target in PASSING_BY.iter().filter(|target| target.starts_with('/')) {
        let answer = client.ask(&get(target, &[]));
        refused(answer.status(), answer.field("proxy-status"), target);
    }
    assert!(origins.iter().all(|origin| origin.count() == 0));
    assert_eq!(client.ask(&get("/admin", &[])).text(), "admin");
}

/// If all readings of a path lead to one route, the path is not refused. Its normal form is forwarded.
#[test]
fn other_odd_paths_are_forwarded_in_their_normal_form() {
    let (proxy, [everybody, admin]) = guarded("");
    let rows = [
        ("/", "/", &everybody),
        ("//", "/", &everybody),
        ("/x//y", "/x/y", &everybody),
        ("/x%2fy;v=1\\z", "/x%2Fy;v=1\\z", &everybody),
        ("/x;admin", "/x;admin", &everybody),
        ("/x%2fadmin", "/x%2Fadmin", &everybody),
        ("/%252fadmin", "/%252fadmin", &everybody),
        ("/%2561dmin", "/%2561dmin", &everybody),
        ("/admin%20", "/admin%20", &everybody),
        ("/admin%252fusers", "/admin%252fusers", &everybody),
        ("/administrator;v=1", "/administrator;v=1", &everybody),
        (
            "/caf%c3%a9/jane%40example.com",
            "/caf%C3%A9/jane%40example.com",
            &everybody,
        ),
        ("/x?//admin;v=1%2f\\", "/x?//admin;v=1%2f\\", &everybody),
        ("/admin//users", "/admin/users", &admin),
        (
            "/admin/users;v=1/x%2fy\\z",
            "/admin/users;v=1/x%2Fy\\z",
            &admin,
        ),
        ("/admin/;", "/admin/;", &admin),
        ("/admin/%61", "/admin/a", &admin),
        ("/admin/a;b%2fc", "/admin/a;b%2Fc", &admin),
    ];
    let mut clients = (proxy.client(), proxy.h2());
    for (target, forwarded, origin) in rows {
        assert_eq!(
            clients.0.ask(request("test", target)).status(),
            200,
            "{target}"
        );
        assert_eq!(clients.1.ask(&get(target, &[])).status(), 200, "{target}");
        let received = origin.requests();
        for request in &received[received.len() - 2..] {
            let expected = format!("GET {forwarded} HTTP/1.1");
            assert_eq!(request.head.first_line(), expected, "{target}");
        }
    }
    assert_eq!(everybody.count() + admin.count(), 2 * rows.len());
}

/// A host has its own routes, and passing by one to the routes of any host is no better.
#[test]
fn the_routes_of_any_host_are_no_way_round() {
    let (any, own) = (Origin::saying("any"), Origin::saying("own"));
    let config = route("/", &[any.addr]) + &route("/admin", &[own.addr]) + "host = \"own.test\"\n";
    let proxy = Proxy::start(&config);
    let mut rows = PASSING_BY.to_vec();
    rows.retain(|target| target.starts_with('/') && !target.starts_with("/a;"));
    for target in rows {
        assert_eq!(
            proxy.ask(request("own.test", target)).status(),
            400,
            "{target}"
        );
        assert_eq!(
            proxy.ask(request("other.test", target)).text(),
            "any",
            "{target}"
        );
    }
}

/// The other direction: out of a prefix that the request seems to be below.
#[test]
fn leaving_a_prefix_is_refused() {
    let (proxy, origins) = guarded("");
    for target in [
        "/admin/..%2fpublic",
        "/admin/..;/public",
        "/admin/..\\public",
        "/admin/%2e%2e%5cpublic",
        "/admin/.;/x",
        "/admin/x%2f..%2f..%2fpublic",
        "/admin/..%3b/public",
    ] {
        let answer = proxy.ask(request("test", target));
        assert_eq!(answer.status(), 400, "{target}");
        let status = answer.field("proxy-status").unwrap();
        assert!(status.contains("ambiguous_path"), "{target}");
    }
    assert!(origins.iter().all(|origin| origin.count() == 0));
}

/// A backend that redirects to such a path sends its client to another host.
#[test]
fn a_path_without_its_prefix_begins_with_one_slash() {
    let origin = Origin::saying("");
    let config = route("/api", &[origin.addr]) + "strip_prefix = true\n";
    let proxy = Proxy::start(&config);
    let rows = [
        ("/api//evil.example/x", "/evil.example/x"),
        ("/api/\\evil.example", "/evil.example"),
        ("/api///\\/evil.example//y", "/evil.example/y"),
        ("/api//", "/"),
        ("/api//?x=//y", "/?x=//y"),
        ("/api/x//y", "/x/y"),
        ("/api", "/"),
    ];
    let mut clients = (proxy.client(), proxy.h2());
    for (target, expected) in rows {
        clients.0.ask(request("test", target));
        clients.1.ask(&get(target, &[]));
        let received = origin.requests();
        for request in &received[received.len() - 2..] {
            let expected = format!("GET {expected} HTTP/1.1");
            assert_eq!(request.head.first_line(), expected, "{target}");
        }
    }
}

/// Any path stands behind the host that the client itself named.
#[test]
fn a_redirect_to_https_stays_on_its_host() {
    let addr = crate::support::place::free_addr();
    let origin = Origin::saying("");
    let _proxy = crate::support::Proxy::start(&format!(
        "[[listeners]]\naddr = \"{addr}\"\nredirect_to_https = true\n{}",
        route("/", &[origin.addr])
    ));
    let mut client = crate::support::Client::connect(addr);
    for (target, normal) in [
        ("//evil.example/x", "/evil.example/x"),
        ("/\\evil.example", "/\\evil.example"),
        ("/%2f%2fevil.example", "/%2F%2Fevil.example"),
        ("/%61/../b?c=%61//", "/b?c=%61//"),
    ] {
        let answer = client.ask(request("test", target));
        assert_eq!(answer.status(), 308);
        let expected = format!("https://test{normal}");
        assert_eq!(answer.field("location"), Some(&expected[..]));
    }
}

#[test]
fn explain_says_the_same() {
    let (proxy, _origins) = guarded("");
    for target in PASSING_BY.iter().filter(|target| target.starts_with('/')) {
        let config = proxy.directory.path().join("config.toml");
        let mut explain = command();
        explain.args([
            "explain",
            "GET",
            &format!("http://test{target}"),
            "--config",
        ]);
        let told = explain.arg(config).output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains("400: ambiguous_route"), "{target}: {told}");
    }
}
