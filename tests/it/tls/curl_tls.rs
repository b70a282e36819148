//! HTTP/2 and HTTP/1.1 over TLS with programs of others: curl, nghttp and h2load.

use crate::http2::curl_h2::run;
use crate::support::Origin;
use crate::support::origin::{echoing, ok};
use crate::support::place::Directory;
use crate::support::proxy::route;
use crate::support::trusted::Trusted;

/// curl, which believes the one certificate.
#[track_caller]
fn curl(trusted: &Trusted, arguments: &[&str]) -> String {
    let always = ["-s", "-S", "--max-time", "60", "--cacert", trusted.cert()];
    let done = run("curl", &[&always[..], arguments].concat());
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn curl_speaks_the_version_that_it_asks_for() {
    let origin = Origin::start(echoing);
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[origin.addr]));
    let url = format!("https://{}/a?b", proxy.addr);
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        for tls in ["1.2", "1.3"] {
            let (least, most) = (format!("--tlsv{tls}"), ["--tls-max", tls]);
            let written = "|%{http_code} %{http_version} %{num_connects}\n";
            // Two transfers on one connection.
            let urls = [&url, url.as_str(), "--data", "hello", "-w", written];
            let arguments = [&[option, &least][..], &most, &urls].concat();
            let said = curl(&trusted, &arguments);
            let expected = [1, 0].map(|connects| format!("hello|200 {version} {connects}\n"));
            assert_eq!(said, expected.concat(), "{option}, TLS {tls}");
        }
        let head = curl(&trusted, &[option, &url, "--head"]);
        assert!(head.starts_with(&format!("HTTP/{version} 200")), "{head}");
    }
}

#[test]
fn curl_uploads_and_downloads_much() {
    let origin = Origin::start(echoing);
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[origin.addr]));
    let directory = Directory::new();
    let text: String = (0..400_000).map(|number| format!("{number}\n")).collect();
    let sent = directory.write("sent", &text);
    let url = format!("https://{}/", proxy.addr);
    let (from, file) = (sent.to_str().unwrap(), format!("@{}", sent.display()));
    for version in ["--http2", "--http1.1"] {
        let of_known_size = [version, &url, "--data-binary", &file];
        assert!(curl(&trusted, &of_known_size) == text, "{version}");
        let asking = [version, &url, "-H", "Expect: 100-continue", "-X", "POST"];
        let chunked = ["-T", from, "-H", "Transfer-Encoding: chunked"];
        let chunked = if version == "--http2" {
            &chunked[..2]
        } else {
            &chunked[..]
        };
        let said = curl(&trusted, &[&asking[..], chunked].concat());
        assert!(said == text, "{version}, asking first");
    }
}

#[test]
fn trailers_and_hints_are_seen() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[origin.addr]));
    let url = format!("https://{}/", proxy.addr);
    let seen = curl(&trusted, &["--http1.1", &url, "--raw", "-i"]);
    assert!(seen.ends_with("\r\n0\r\nX-Sum: 7\r\n\r\n"), "{seen}");
    assert!(curl(&trusted, &["--http2", &url]).ends_with("abc"));
    let said = run(
        "nghttp",
        &["-v", "-n", "-t", "60", "--trailer=x-sent: 1", &url],
    )
    .stdout;
    let said = String::from_utf8_lossy(&said);
    for expected in [":status: 103", ":status: 200", "x-sum: 7"] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert_eq!(origin.count(), 3);
}

#[test]
fn h2load_is_served_to_the_last_request() {
    let origin =
        Origin::start(|link| while link.request().is_some() && link.try_send(ok("hello")) {});
    let trusted = Trusted::new();
    let proxy = trusted.proxy(&route("/", &[origin.addr]));
    let url = format!("https://{}/", proxy.addr);
    let rows: [&[&str]; 2] = [&["-m", "50"], &["--h1"]];
    for version in rows {
        let said = run(
            "h2load",
            &[&["-n", "3000", "-c", "8"], version, &[&url]].concat(),
        )
        .stdout;
        let said = String::from_utf8_lossy(&said);
        let all = "3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(said.contains(all), "{version:?}: {said}");
    }
    assert_eq!(origin.count(), 6000);
}
