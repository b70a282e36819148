//! Fields in which proxies name their clients: those of a stranger are not believed, and settings make palantir write
//! its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::h2::frame::get as h2_get;
use crate::support::head::Head;
use crate::support::proxy::route;
use crate::support::{Client, Origin, PATIENCE, Proxy, eventually};

const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

/// Fields that never reach a backend if a stranger sends them.
const OF_PROXIES: [&str; 94] = [
    "Forwarded",
    "Forwarded-For",
    "X-Forwarded",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-User",
    "X-Original-Forwarded-For",
    "X-Real-IP",
    "X-Real-Port",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Client-Cert",
    "X-Scheme",
    "X-Url-Scheme",
    "Front-End-Https",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-True-Client-IP",
    "X-Real-Client-IP",
    "X-True-IP",
    "X-Vercel-Forwarded-For",
    "X-Nf-Client-Connection-Ip",
    "CloudFront-Viewer-Address",
    "Incap-Client-IP",
    "X-Sucuri-ClientIP",
    "Ali-CDN-Real-IP",
    "CDN-Src-IP",
    "X-Cdn-Src-Ip",
    "CDN-Real-IP",
    "Akamai-Client-IP",
    "X-Source-IP",
    "X-Client-Address",
    "X-Original-Remote-Addr",
    "X-Appengine-Remote-Addr",
    "HTTP-Client-IP",
    "Real-IP",
    "CF-Pseudo-IPv4",
    "X-Forward-For",
    "X-Host",
    "X-Real-Host",
    "X-Envoy-Original-Path",
    "X-Envoy-Original-Host",
    "CloudFront-Forwarded-Proto",
    "X-Arr-SSL",
    "CF-Visitor",
    "X-SSL-Client-DN",
    "SSL-Client-Cert",
    "X-Client-Cert",
    "X-Client-Verify",
    "X-Arr-ClientCert",
    "Proxy",
    "Other-Client-IP",
    "Other-Forwarded-For",
    "SSL-Client-Subject-Dn",
    "SSL-Client-Issuer-Dn",
    "X-SSL-Client",
    "X-SSL-Issuer",
    "X-SSL",
    "X-Client-DN",
    "X-Client-Subject",
    "WL-Proxy-Client-Cert",
    "WL-Proxy-SSL",
    "WL-Proxy-Client-IP",
    "Proxy-Client-Cert",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Subject",
    "X-TLS-Client-Cert",
    "X-HTTP-Host-Override",
    "X-Original-Scheme",
    "X-Original-Proto",
    "X-Forward-Proto",
    "Fastly-SSL",
    "Remote-Addr",
    "X-Envoy-Internal",
    "X-Remote-Host",
    "X-Client-Cert-Subject",
    "Cf-Client-Cert-Sha256",
    "X-Amzn-Oidc-Identity",
    "X-Goog-Authenticated-User-Email",
    "X-MS-Client-Principal",
    "Tailscale-User-Login",
];

/// The head that the backend gets for a request with these lines.
#[track_caller]
fn seen(proxy: &Proxy, origin: &Origin, lines: &str) -> Head {
    let answer = proxy.ask(format!("GET / HTTP/1.1\r\nHost: test:81\r\n{lines}\r\n"));
    assert_eq!(answer.status(), 200, "{lines}");
    origin.requests().pop().unwrap().head
}

#[test]
fn strangers_are_not_believed() {
    let origin = Origin::saying("");
    let stranger = Proxy::to(&[origin.addr]);
    let trusting = Proxy::start(&(TRUSTING.to_owned() + &route("/", &[origin.addr])));
    let line = |name: &str| format!("{name}: 192.0.2.7\r\n");
    let plain: String = OF_PROXIES.map(line).concat();
    let other_case: String = OF_PROXIES.map(|name| line(&name.to_uppercase())).concat();
    let disguised: String = OF_PROXIES
        .map(|name| line(&name.replace('-', "_")))
        .concat();
    for lines in [&plain, &other_case, &disguised] {
        let head = seen(&stranger, &origin, lines);
        assert!(!head.text.contains("192.0.2.7"), "{}", head.text);
    }
    let fields: Vec<_> = OF_PROXIES
        .iter()
        .map(|name| (name.to_lowercase(), "192.0.2.7"))
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (&name[..], *value))
        .collect();
    assert_eq!(stranger.h2().ask(&h2_get("/", &fields)).status(), 200);
    let head = origin.requests().pop().unwrap().head;
    assert!(!head.text.contains("192.0.2.7"), "{}", head.text);
    // A trusted proxy writes these fields in their usual form.
    let head = seen(&trusting, &origin, &plain);
    for name in OF_PROXIES {
        assert_eq!(head.field(name), Some("192.0.2.7"), "{name}");
    }
    let head = seen(&trusting, &origin, "True_Client_IP: 192.0.2.7\r\n");
    assert!(!head.text.contains("192.0.2.7"), "{}", head.text);
}

/// A web server in front of WebSphere tells in these names whatever the application takes for true of its client.
#[test]
fn private_fields_of_websphere_are_believed_of_proxies_alone() {
    let origin = Origin::saying("");
    let names = ["$WSRA", "$WSIS", "$WSCC", "$WSSN"];
    let lines = names.map(|name| format!("{name}: 192.0.2.7\r\n")).concat();
    let stranger = Proxy::to(&[origin.addr]);
    let head = seen(&stranger, &origin, &lines);
    assert!(!head.text.contains("192.0.2.7"), "{}", head.text);
    let asked = h2_get("/", &[("$wsra", "192.0.2.7")]);
    assert_eq!(stranger.h2().ask(&asked).status(), 200);
    let head = origin.requests().pop().unwrap().head;
    assert!(!head.text.contains("192.0.2.7"), "{}", head.text);
    let trusting = Proxy::start(&(TRUSTING.to_owned() + &route("/", &[origin.addr])));
    let head = seen(&trusting, &origin, &lines);
    for name in names {
        assert_eq!(head.field(name), Some("192.0.2.7"), "{name}");
    }
    // An operator may let them pass.
    let config = "pass_fields = [\"$WSRA\"]\n".to_owned() + &route("/", &[origin.addr]);
    let head = seen(&Proxy::start(&config), &origin, &lines);
    assert_eq!(head.field("$wsra"), Some("192.0.2.7"));
    assert_eq!(head.field("$wsis"), None);
}

/// Trailers that name a client are dropped, because a backend may take a trailer for a field of the head.
#[test]
fn trailers_tell_nothing_of_the_client() {
    let origin = Origin::saying("");
    for config in ["", TRUSTING] {
        let proxy = Proxy::start(&(config.to_owned() + &route("/", &[origin.addr])));
        for names in OF_PROXIES.chunks(40) {
            let lines = names.iter().map(|name| format!("{name}: 192.0.2.7\r\n"));
            let trailers: String = lines.collect();
            let answer = proxy.ask(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-kept: 1\r\n{trailers}\r\n"
            ));
            assert_eq!(answer.status(), 200);
            assert_eq!(origin.requests().pop().unwrap().trailers, "x-kept: 1\r\n");
        }
    }
}

#[test]
fn an_operator_may_let_some_pass() {
    let origin = Origin::saying("");
    let config = "pass_fields = [\"CF-Connecting-IP\", \"x-forwarded-port\"]\n";
    let proxy = Proxy::start(&(config.to_owned() + &route("/", &[origin.addr])));
    let lines = "CF-Connecting-IP: 192.0.2.7\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /x\r\nX-Real-IP: 192.0.2.8\r\n";
    let head = seen(&proxy, &origin, lines);
    assert_eq!(head.field("cf-connecting-ip"), Some("192.0.2.7"));
    assert_eq!(head.field("x-forwarded-port"), Some("443"));
    assert_eq!(head.field("x-forwarded-prefix"), None);
    assert_eq!(head.field("x-real-ip"), None);
    let head = seen(&proxy, &origin, "CF_Connecting_IP: 192.0.2.7\r\n");
    assert!(!head.text.contains("192.0.2.7"), "{}", head.text);
}

#[test]
fn forwarded_is_written_by_setting() {
    let origin = Origin::saying("");
    let rest = route("/", &[origin.addr]) + "forwarded = true\n";
    let own = "for=127.0.0.1;host=\"test:81\";proto=http";
    let proxy = Proxy::start(&rest);
    for lines in [
        "",
        "Forwarded: for=192.0.2.7\r\n",
        "forwarded: for=192.0.2.7, for=_a\r\nForwarded: x\r\n",
    ] {
        let head = seen(&proxy, &origin, lines);
        assert_eq!(head.all("forwarded"), [own], "{lines}");
    }
    let proxy = Proxy::start(&(TRUSTING.to_owned() + &rest));
    let received = "Forwarded: for=192.0.2.7;by=_b\r\nForwarded: for=\"[2001:db8::1]:80\"\r\n";
    let head = seen(&proxy, &origin, received);
    let expected = format!("for=192.0.2.7;by=_b, for=\"[2001:db8::1]:80\", {own}");
    assert_eq!(head.all("forwarded"), [expected]);
    // An open quote would enclose the text that is written behind it.
    let head = seen(&proxy, &origin, "Forwarded: for=\"192.0.2.7\r\n");
    assert_eq!(head.all("forwarded"), [own]);
    let head = seen(&proxy, &origin, "Forwarded:\r\n");
    assert_eq!(head.all("forwarded"), [own]);
    // The operator's own value takes precedence.
    let set = rest.clone() + "request_headers = { set = { \"Forwarded\" = \"for=_me\" } }\n";
    let head = seen(&Proxy::start(&set), &origin, "");
    assert_eq!(head.all("forwarded"), ["for=_me"]);
    // The setting also works for all routes, and over HTTP/2.
    let all = "forwarded = true\nx_real_ip = true\n".to_owned() + &route("/", &[origin.addr]);
    assert_eq!(Proxy::start(&all).h2().ask(&h2_get("/", &[])).status(), 200);
    let head = origin.requests().pop().unwrap().head;
    let host = head.field("x-forwarded-host").unwrap();
    let expected = format!("for=127.0.0.1;host=\"{host}\";proto=http");
    assert_eq!(head.all("forwarded"), [expected]);
    assert_eq!(head.field("x-real-ip"), Some("127.0.0.1"));
    let unless = all + "forwarded = false\n";
    assert_eq!(
        seen(&Proxy::start(&unless), &origin, "").field("forwarded"),
        None
    );
}

#[test]
fn the_real_address_is_written_by_setting() {
    let origin = Origin::saying("");
    let rest = route("/", &[origin.addr]) + "x_real_ip = true\n";
    let proxy = Proxy::start(&rest);
    for lines in [
        "",
        "X-Real-IP: 192.0.2.7\r\n",
        "x_real_ip: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\n",
    ] {
        let head = seen(&proxy, &origin, lines);
        assert_eq!(head.all("x-real-ip"), ["127.0.0.1"], "{lines}");
        assert_eq!(head.all("x_real_ip").len(), 0);
    }
    let trusting = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n".to_owned() + &rest;
    let proxy = Proxy::start(&trusting);
    let rows = [
        ("", "127.0.0.1"),
        ("X-Real-IP: 192.0.2.9\r\n", "192.0.2.9"),
        // A proxy that appends to `X-Forwarded-For` may have passed the other field on without looking at it.
        (
            "X-Forwarded-For: 192.0.2.8\r\nX-Real-IP: 192.0.2.9\r\n",
            "192.0.2.8",
        ),
        (
            "X-Forwarded-For: 192.0.2.7, 192.0.2.8, 10.0.0.1\r\n",
            "192.0.2.8",
        ),
        (
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: [2001:db8::1]:99, 10.0.0.1:80\r\n",
            "2001:db8::1",
        ),
        (
            "X-Forwarded-For: 192.0.2.7, unknown, 10.0.0.1\r\n",
            "10.0.0.1",
        ),
        ("X-Forwarded-For: 192.0.2.7, _hidden\r\n", "127.0.0.1"),
        ("X-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n", "10.0.0.2"),
    ];
    for (lines, expected) in rows {
        let head = seen(&proxy, &origin, lines);
        assert_eq!(head.all("x-real-ip"), [expected], "{lines}");
    }
}

/// A connection to the listener on a Unix socket. The listener may be the last one to start.
#[track_caller]
fn socket_of(proxy: &Proxy) -> UnixStream {
    let path = proxy.directory.path().join("proxy.sock");
    let mut stream = None;
    eventually("the socket accepts", || {
        stream = UnixStream::connect(&path).ok();
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The forwarding fields of a client on a Unix socket are believed only if a setting says so.
#[test]
fn clients_on_a_unix_socket_are_trusted_by_setting() {
    let origin = Origin::saying("");
    let ask = |config: &str| {
        let listener = "[[listeners]]\naddr = \"unix:{dir}/proxy.sock\"\n";
        let proxy = Proxy::start(
            &(config.to_owned()
                + listener
                + &route("/", &[origin.addr])
                + "x_real_ip = true\nforwarded = true\n"),
        );
        let answer = Client::over(socket_of(&proxy)).ask(
            "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.7, 192.0.2.8\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Port: 443\r\n\r\n",
        );
        assert_eq!(answer.status(), 200);
        // The setting does not make a client with an address trusted.
        let head = seen(&proxy, &origin, "X-Forwarded-Proto: https\r\n");
        assert_eq!(head.field("x-forwarded-proto"), Some("http"));
        let requests = origin.requests();
        requests[requests.len() - 2].head.clone()
    };
    let head = ask("trusted_proxies = [\"unix:\"]\n");
    assert_eq!(head.field("x-real-ip"), Some("192.0.2.8"));
    assert_eq!(head.field("x-forwarded-proto"), Some("https"));
    assert_eq!(head.field("x-forwarded-port"), Some("443"));
    assert_eq!(
        head.field("forwarded"),
        Some("for=unknown;host=\"test\";proto=http")
    );
    let head = ask("trusted_proxies = [\"10.0.0.0/8\"]\n");
    assert_eq!(head.field("x-real-ip"), None);
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    assert_eq!(head.field("x-forwarded-port"), None);
    assert_eq!(head.field("x-forwarded-for"), None);
}

/// The balancing algorithm and the log use the same address of the client.
#[test]
fn the_log_names_the_client_behind_a_unix_socket() {
    let origin = Origin::saying("");
    let config = "trusted_proxies = [\"unix:\"]\n[access_log]\npath = \"{dir}/access.log\"\n\
                  [[listeners]]\naddr = \"unix:{dir}/proxy.sock\"\n";
    let proxy = Proxy::start(&(config.to_owned() + &route("/", &[origin.addr])));
    let mut stream = socket_of(&proxy);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.8\r\n\r\n")
        .unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let lines = proxy.access_lines(1);
    assert!(lines[0].contains("192.0.2.8"), "{lines:?}");
}
