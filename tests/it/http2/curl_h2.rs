//! HTTP/2 with programs of others: curl, nghttp and h2load.

use std::process::{Command, Output};

use crate::support::origin::{echoing, ok};
use crate::support::place::Directory;
use crate::support::{Origin, Proxy};

/// Runs a program to its good end and gives what it said.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let done = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}, which tests/all.sh installs: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    done
}

#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let always = ["-s", "-S", "--http2-prior-knowledge", "--max-time", "60"];
    let done = run("curl", &[&always[..], arguments].concat());
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn curl_gets_posts_and_asks_for_heads() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let url = format!("http://{}/a?b", proxy.addr);
    let said = curl(&[&url, "-w", "%{http_code} %{http_version}"]);
    assert_eq!(said, "200 2");
    assert_eq!(curl(&[&url, "--data", "hello"]), "hello");
    let chunked = ["--data", "hello", "-H", "Content-Length:"];
    assert_eq!(curl(&[&[url.as_str()], &chunked[..]].concat()), "hello");
    let head = curl(&[&url, "--head"]);
    assert!(head.starts_with("HTTP/2 200"), "{head}");
}

#[test]
fn curl_uploads_and_downloads_much() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let directory = Directory::new();
    let text: String = (0..400_000).map(|number| format!("{number}\n")).collect();
    let sent = directory.write("sent", &text);
    let url = format!("http://{}/", proxy.addr);
    let file = format!("@{}", sent.display());
    assert!(
        curl(&[&url, "--data-binary", &file]) == text,
        "the body changed"
    );
    // Of a size that is not known before.
    let from = sent.to_str().unwrap();
    let expecting = ["-H", "Expect: 100-continue", "-T", from, "-X", "POST"];
    assert!(
        curl(&[&[url.as_str()], &expecting[..]].concat()) == text,
        "the body changed"
    );
}

/// curl 7.88 cannot use a connection twice that began by prior knowledge.
#[test]
fn nghttp_asks_for_many_things_at_once() {
    let origin = Origin::saying("hello\n");
    let proxy = Proxy::to(&[origin.addr]);
    let url = format!("http://{}/", proxy.addr);
    let said = run("nghttp", &["-t", "60", "-m", "100", &url]).stdout;
    assert_eq!(String::from_utf8_lossy(&said), "hello\n".repeat(100));
    assert_eq!(origin.count(), 100);
}

#[test]
fn curl_that_offers_an_upgrade_stays_with_http_1_1() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::to(&[origin.addr]);
    let url = format!("http://{}/", proxy.addr);
    let done = run(
        "curl",
        &[
            "-s",
            "--http2",
            &url,
            "-w",
            " %{http_version}",
            "--max-time",
            "60",
        ],
    );
    assert_eq!(done.stdout, b"hello 1.1");
}

#[test]
fn nghttp_sees_trailers_and_hints() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let proxy = Proxy::to(&[origin.addr]);
    let url = format!("http://{}/", proxy.addr);
    let arguments = [
        "-v",
        "-n",
        "-t",
        "60",
        "--trailer=x-sent: 1",
        "-H",
        "te: trailers",
        &url,
    ];
    let said = run("nghttp", &arguments).stdout;
    let said = String::from_utf8_lossy(&said);
    for expected in [":status: 103", ":status: 200", "x-sum: 7"] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[test]
fn h2load_is_served_to_the_last_request() {
    let origin =
        Origin::start(|link| while link.request().is_some() && link.try_send(ok("hello")) {});
    let proxy = Proxy::to(&[origin.addr]);
    let url = format!("http://{}/", proxy.addr);
    let said = run("h2load", &["-n", "5000", "-c", "8", "-m", "50", &url]).stdout;
    let said = String::from_utf8_lossy(&said);
    let all = "5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(said.contains(all), "{said}");
    assert_eq!(origin.count(), 5000);
}
