//! Equivalent paths take the same route, and the normal form of a path is forwarded.

use serde_json::Value;

use crate::support::h2::frame::get as h2_get;
use crate::support::place::free_addr;
use crate::support::proxy::{command, route};
use crate::support::{Client, Origin, Proxy};

/// A proxy whose `/admin` belongs to another pool than all other paths, with a listener of these settings.
fn guarded(listener: &str, more: &str) -> (Proxy, std::net::SocketAddr, [Origin; 2]) {
    let origins = [Origin::saying("everybody"), Origin::saying("admin")];
    let addr = free_addr();
    let [everybody, admin] = &origins;
    let config = format!(
        "workers = 1\n[access_log]\npath = \"{{dir}}/access.log\"\nformat = \"json\"\n\
         [[listeners]]\naddr = \"{addr}\"\n{listener}\n{}{}{more}",
        route("/", &[everybody.addr]),
        route("/admin", &[admin.addr]),
    );
    (Proxy::start(&config), addr, origins)
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// The target, the origin that gets the request (0: for all paths, 1: for `/admin`), and the target that arrives there.
type Row = (&'static str, usize, &'static str);

/// Sends each request over both versions. The same target must arrive.
fn check(addr: std::net::SocketAddr, origins: &[Origin; 2], rows: &[Row]) {
    let mut clients = (
        Client::connect(addr),
        crate::support::h2::H2::start(addr, &[]),
    );
    for (target, origin, arrives) in rows {
        let answer = clients.0.ask(request(target));
        assert_eq!(answer.status(), 200, "{target}");
        let mut asked = 1;
        if target.starts_with('/') {
            assert_eq!(
                clients.1.ask(&h2_get(target, &[])).status(),
                200,
                "{target}"
            );
            asked = 2;
        }
        let received = origins[*origin].requests();
        assert!(received.len() >= asked, "{target} went elsewhere");
        for request in &received[received.len() - asked..] {
            assert_eq!(
                request.head.first_line(),
                format!("GET {arrives} HTTP/1.1"),
                "{target}"
            );
        }
    }
}

#[test]
fn the_normal_form_is_matched_and_forwarded() {
    let (proxy, addr, origins) = guarded("", "");
    let rows: [Row; 19] = [
        ("/%61dmin", 1, "/admin"),
        ("/%61%64%6D%69%6e/users", 1, "/admin/users"),
        ("/%61dmin?a=%61//b", 1, "/admin?a=%61//b"),
        ("http://test/%61dmin", 1, "/admin"),
        ("/x/../admin", 1, "/admin"),
        ("/x/%2e%2E/admin", 1, "/admin"),
        ("/%2e/admin/.", 1, "/admin/"),
        ("/x/%2e./%61dmin", 1, "/admin"),
        ("//admin", 1, "/admin"),
        ("///admin//users///", 1, "/admin/users/"),
        ("/x/..//admin", 1, "/admin"),
        ("http://test//admin", 1, "/admin"),
        ("/%7euser/a%2db%5f%2e", 0, "/~user/a-b_."),
        ("/a%3ab%c3%a9%2fc", 0, "/a%3Ab%C3%A9%2Fc"),
        ("/a%20b%25c", 0, "/a%20b%25c"),
        ("/%2561dmin", 0, "/%2561dmin"),
        ("//", 0, "/"),
        ("/a//b?c//d", 0, "/a/b?c//d"),
        ("/bucket/.%2Fkey", 0, "/bucket/.%2Fkey"),
    ];
    check(addr, &origins, &rows);
    let lines = proxy.access_lines(2);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["target"], "/admin", "{line}");
}

#[test]
fn slashes_count_where_the_listener_says_so() {
    let (_proxy, addr, origins) = guarded("merge_slashes = \"off\"", "");
    check(
        addr,
        &origins,
        &[
            ("/admin//users", 1, "/admin//users"),
            ("/a//b", 0, "/a//b"),
            ("/%61dmin", 1, "/admin"),
        ],
    );
    let answer = Client::connect(addr).ask(request("//admin"));
    assert_eq!(answer.status(), 400);
    assert!(
        answer
            .field("proxy-status")
            .unwrap()
            .contains("ambiguous_route")
    );
}

#[test]
fn slashes_may_be_merged_for_the_route_alone() {
    let more = "strip_prefix = true\n";
    let (_proxy, addr, origins) = guarded("merge_slashes = \"match_only\"", more);
    let rows: [Row; 6] = [
        ("//admin//users", 1, "/users"),
        ("//admin//users//x", 1, "/users//x"),
        ("/%61dmin//users", 1, "/users"),
        ("/admin", 1, "/"),
        ("/a//b", 0, "/a//b"),
        ("//", 0, "//"),
    ];
    check(addr, &origins, &rows);
}

/// A path that another reader would give to another route stays refused, even if only that reader sees the single dot
/// in it.
#[test]
fn what_remains_ambiguous_is_refused() {
    let (_proxy, addr, origins) = guarded("", "");
    let rows = [
        ("/%2fadmin", "ambiguous_route"),
        ("/.%2fadmin", "ambiguous_route"),
        ("/x/../.%2Fadmin", "ambiguous_route"),
        ("/admin;x", "ambiguous_route"),
        ("/admin%5cx", "ambiguous_route"),
        ("/admin/..%2fx", "ambiguous_path"),
        ("/admin/.%2f..%2fx", "ambiguous_path"),
        ("/x/..;/admin", "ambiguous_path"),
        ("/../admin", "path_above_root"),
        ("/%2e%2e/admin", "path_above_root"),
        ("/%61%zz", "bad_escape"),
        ("/%00", "bad_escape"),
    ];
    for (target, word) in rows {
        let answer = Client::connect(addr).ask(request(target));
        assert_eq!(answer.status(), 400, "{target}");
        assert!(
            answer.field("proxy-status").unwrap().contains(word),
            "{target}: {}",
            answer.head.text
        );
    }
    assert!(origins.iter().all(|origin| origin.count() == 0));
}

/// Requests for one path go to the same backend, in whatever form the path is written. A prefix may have any form, too.
#[test]
fn keys_and_prefixes_have_the_normal_form() {
    let origins: Vec<Origin> = ["one", "two", "three", "four"].map(Origin::saying).into();
    let addrs: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    let config = route("/caf%c3%a9/%61", &addrs)
        + "balancing_algorithm = \"consistent_hash\"\nhash_on = \"path\"\n";
    let proxy = Proxy::start(&config);
    let forms = [
        "/caf%C3%A9/a/x",
        "/caf%c3%a9/%61/x",
        "//caf%c3%A9/b/..//a/%78",
        "/caf%C3%A9/a/x?y",
    ];
    let answers = forms.map(|target| proxy.ask(request(target)));
    for (target, answer) in forms.iter().zip(&answers) {
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(answer.text(), answers[0].text(), "{target}");
    }
}

#[test]
fn explain_uses_the_same_form() {
    let (proxy, _addr, _origins) = guarded("", "");
    let config = proxy.directory.path().join("config.toml");
    let mut explain = command();
    explain.args(["explain", "GET", "http://test//x/..//%61dmin", "--config"]);
    let told = explain.arg(config).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.contains("GET /admin of host test") && told.contains("forwarded       GET /admin"),
        "{told}"
    );
}
