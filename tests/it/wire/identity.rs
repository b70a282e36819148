//! The identity of a client, and fields that an operator sets: never for the client to say, by any name, in any place.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rcgen::SanType;

use crate::support::h2::frame::{get, post};
use crate::support::origin::{Received, ok};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{route, run};
use crate::support::tls::{Authority, BOTH, Dialer, NAMES, Pair};
use crate::support::{Origin, Proxy};

const EDITS: &str =
    "request_headers = { set = { \"x-role\" = \"public\" }, remove = [\"x-internal\"] }\n";
const IDENTITY: &str = "client_subject_header = \"X-Client-Subject\", client_san_header = \"X-Client-San\", \
    client_issuer_header = \"X-Client-Issuer\", client_fingerprint_header = \"X-Client-Fingerprint\"";

/// A proxy with a listener of every kind.
struct House {
    proxy: Proxy,
    authority: Authority,
    /// Asks nobody for a certificate.
    open: SocketAddr,
    /// Asks for one, and passes on what it says.
    asking: SocketAddr,
    /// Holds the certificates.
    _directory: Directory,
}

impl House {
    /// `wanted`: keys of the `tls` of the listener that asks for a certificate.
    fn new(wanted: &str, routes: &str) -> House {
        let (directory, authority) = (Directory::new(), Authority::new());
        let pair = authority.issue(&NAMES).write(&directory, "a");
        let ca = directory.write("ca.crt", &authority.pem());
        let (open, asking) = (free_addr(), free_addr());
        let proxy = Proxy::start(&format!(
            "workers = 1\n[[listeners]]\naddr = \"{open}\"\ntls = {{ certificates = [{pair}] }}\n\
             [[listeners]]\naddr = \"{asking}\"\n\
             tls = {{ certificates = [{pair}], client_ca = {ca:?}, {wanted} }}\n{routes}"
        ));
        House {
            proxy,
            authority,
            open,
            asking,
            _directory: directory,
        }
    }

    fn nobody(&self) -> Dialer {
        Dialer::new(&self.authority, BOTH)
    }

    fn client(&self, pair: &Pair) -> Dialer {
        Dialer::with_identity(&self.authority, pair)
    }
}

/// A request's fields and trailers as a gateway hands them to a program (RFC 3875 section 4.1.18): all of one name in
/// one variable.
fn variables(request: &Received) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let trailers = request
        .trailers
        .split("\r\n")
        .filter_map(|line| line.split_once(':'));
    let trailers = trailers.map(|(name, value)| (name, value.trim()));
    for (name, value) in request.head.fields().into_iter().chain(trailers) {
        let variable = name.to_ascii_uppercase();
        let variable = variable.replace(|char: char| !char.is_ascii_alphanumeric(), "_");
        let known = variables.entry(variable).or_default();
        if !known.is_empty() {
            known.push(',');
        }
        known.push_str(value);
    }
    variables
}

/// Names that a gateway takes for this one: each dash a dash or `_`, in both cases, and with another sign.
fn forms(name: &str) -> Vec<String> {
    let dashes = name.matches('-').count();
    let mut forms: Vec<String> = vec![name.replace('-', ".")];
    for chosen in 0..1_u32 << dashes {
        let mut at = 0;
        let form: String = name
            .chars()
            .map(|char| match char {
                '-' => {
                    at += 1;
                    if chosen >> (at - 1) & 1 == 1 {
                        '_'
                    } else {
                        '-'
                    }
                }
                char => char,
            })
            .collect();
        forms.push(form.to_ascii_uppercase());
        forms.push(form);
    }
    forms
}

/// Fields that a client could wish to forge.
const FORGED: [&str; 6] = [
    "x-client-subject",
    "x-client-san",
    "x-client-issuer",
    "x-client-fingerprint",
    "x-role",
    "x-internal",
];

/// Checks the fields that the backend gets with a request by a client with this subject, or without a certificate.
#[track_caller]
fn check(request: &Received, subject: Option<&str>) {
    let variables = variables(request);
    let value = |name: &str| variables.get(name).map(String::as_str);
    assert_eq!(value("X_CLIENT_SUBJECT"), subject, "{request:#?}");
    assert_eq!(value("X_ROLE"), Some("public"), "{request:#?}");
    assert_eq!(value("X_INTERNAL"), None, "{request:#?}");
    for name in ["X_CLIENT_SAN", "X_CLIENT_ISSUER", "X_CLIENT_FINGERPRINT"] {
        assert_eq!(
            value(name).is_some(),
            subject.is_some(),
            "{name}: {request:#?}"
        );
    }
    let text = format!("{variables:?}").to_ascii_lowercase();
    assert!(!text.contains("forged"), "{request:#?}");
    let announced = value("TRAILER").unwrap_or_default();
    assert!(announced.is_empty() || announced == "X-Kept", "{announced}");
}

#[test]
fn no_client_says_who_it_is() {
    let origin = Origin::saying("");
    let house = House::new(
        &format!("client_cert = \"optional\", {IDENTITY}"),
        &(route("/", &[origin.addr]) + EDITS),
    );
    let known = house.client(&house.authority.issue(&["client.example"]));
    let rows = [
        (house.nobody(), Some(house.open), None),
        (house.nobody(), Some(house.asking), None),
        (known.clone(), Some(house.asking), Some("CN=client.example")),
        (house.nobody(), None, None),
    ];
    let names: Vec<String> = FORGED.iter().flat_map(|name| forms(name)).collect();
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("{name}: forged\r\n"))
        .collect();
    let as_field = |line: &String| {
        format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, X-Client-Subject\r\n{line}\r\n"
        )
    };
    let as_trailer = |line: &String| {
        format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: {}, X-Kept\r\n\r\n\
             1\r\na\r\n0\r\nX-Kept: 1\r\n{line}\r\n",
            line.split(':').next().unwrap()
        )
    };
    for (dialer, addr, subject) in rows {
        let requests = lines
            .iter()
            .map(as_field)
            .chain(lines.iter().map(as_trailer));
        let mut secure = addr.map(|addr| dialer.client(addr, "a.example"));
        let mut plain = house.proxy.client();
        for request in requests {
            let answer = match &mut secure {
                Some(client) => client.ask(&request),
                None => plain.ask(&request),
            };
            assert_eq!(answer.status(), 200, "{request}");
            check(&origin.requests().pop().unwrap(), subject);
        }
        let mut secure = addr.map(|addr| dialer.h2(addr, "test"));
        let mut plain = house.proxy.h2();
        for name in names
            .iter()
            .filter(|name| **name == name.to_ascii_lowercase())
        {
            let field = [(&name[..], "forged")];
            let kept = [("x-kept", "1"), field[0]];
            let announced = [("trailer", &name[..])];
            macro_rules! ask {
                ($client:expr) => {{
                    let client = $client;
                    assert_eq!(client.ask(&get("/", &field)).status(), 200, "{name}");
                    check(&origin.requests().pop().unwrap(), subject);
                    let stream = client.begin(&post("/", &announced), false);
                    client.body(stream, b"a", false);
                    client.trailers(stream, &kept);
                    assert_eq!(client.answer(stream).status(), 200, "{name}");
                    check(&origin.requests().pop().unwrap(), subject);
                }};
            }
            match &mut secure {
                Some(client) => ask!(client),
                None => ask!(&mut plain),
            }
        }
    }
    let trailers: Vec<_> = origin
        .requests()
        .into_iter()
        .map(|request| request.trailers)
        .collect();
    let kept = trailers
        .iter()
        .filter(|trailers| trailers.to_ascii_lowercase().contains("x-kept: 1"));
    assert!(kept.count() > 100, "what is nobody's own passes");
}

/// A field that the operator takes out of answers, or sets in them, does not come back behind their bodies.
#[test]
fn backends_say_nothing_behind_what_the_operator_says() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Frame, X-Kept\r\nX_Debug: 1\r\n\r\n\
         1\r\na\r\n0\r\nX-Frame: forged\r\nX-Kept: 1\r\nx_debug: forged\r\nSet_Cookie: forged\r\n\r\n",
    );
    let edits = "response_headers = { set = { \"x-frame\" = \"deny\" }, remove = [\"x-debug\"] }\n";
    let proxy = Proxy::start(&(route("/", &[origin.addr]) + edits));
    let answer = proxy.ask(crate::support::get("/"));
    assert_eq!(answer.field("x-frame"), Some("deny"));
    assert_eq!(answer.field("x_debug"), None);
    assert_eq!(answer.field("trailer"), Some("X-Kept"));
    assert_eq!(answer.trailers, "X-Kept: 1\r\n");
    let answer = proxy.h2().ask(&get("/", &[]));
    assert_eq!(answer.field("x-frame"), Some("deny"));
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers, [("x-kept".to_owned(), "1".to_owned())]);
}

/// Only whom palantir trusts says where a request comes from.
#[test]
fn proxies_alone_say_whom_a_request_comes_from() {
    let origin = Origin::saying("");
    let names = [
        "Forwarded",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
        "X-Forwarded-Scheme",
        "X-Forwarded-Server",
        "X-Forwarded-User",
        "X-Forwarded-Client-Cert",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
    ];
    for (trusted, passes) in [("", false), ("trusted_proxies = [\"127.0.0.0/8\"]\n", true)] {
        let proxy = Proxy::start(&(trusted.to_owned() + &route("/", &[origin.addr])));
        let mut multiplexed = proxy.h2();
        for name in names.iter().flat_map(|name| forms(name)) {
            let is_plain = !name.contains(['_', '.']);
            let lower = name.to_ascii_lowercase();
            let written = proxy.ask(format!(
                "GET / HTTP/1.1\r\nHost: test\r\n{name}: mine\r\n\r\n"
            ));
            let written = (written.status(), origin.requests().pop().unwrap());
            let raised = multiplexed.ask(&get("/", &[(&lower, "mine")]));
            let raised = (raised.status(), origin.requests().pop().unwrap());
            for (status, request) in [written, raised] {
                assert_eq!(status, 200, "{name}");
                let has = request.head.text.contains("mine");
                assert_eq!(has, passes && is_plain, "{name}: {request:#?}");
            }
        }
    }
}

#[test]
fn a_certificate_says_all_that_is_asked_of_it() {
    let origin = Origin::saying("");
    let house = House::new(IDENTITY, &route("/", &[origin.addr]));
    let names = vec![
        SanType::URI("spiffe://example/a,b".try_into().unwrap()),
        SanType::DnsName("client.example".try_into().unwrap()),
        SanType::IpAddress([192, 0, 2, 7].into()),
        SanType::Rfc822Name("a@example".try_into().unwrap()),
    ];
    let pair = house.authority.issue_client(Some("alice"), names);
    let der = pair.der();
    let digest = sha256(&der);
    let dialer = house.client(&pair);
    let status = dialer
        .client(house.asking, "a.example")
        .ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status.status(), 200);
    assert_eq!(
        dialer.h2(house.asking, "test").ask(&get("/", &[])).status(),
        200
    );
    for request in origin.requests() {
        let head = request.head;
        assert_eq!(head.field("x-client-subject"), Some("CN=alice"));
        let names =
            "URI:spiffe://example/a\\2cb, DNS:client.example, IP:192.0.2.7, email:a@example";
        assert_eq!(head.field("x-client-san"), Some(names));
        assert!(
            head.field("x-client-issuer")
                .unwrap()
                .starts_with("CN=authority ")
        );
        assert_eq!(head.field("x-client-fingerprint"), Some(&digest[..]));
    }
}

/// SHA-256 in hexadecimal digits, by another program.
fn sha256(bytes: &[u8]) -> String {
    let directory = Directory::new();
    let path = directory.path().join("cert.der");
    std::fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new("sha256sum")
        .arg(&path)
        .output()
        .expect("sha256sum");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// Without a subject all clients would be one and the same.
#[test]
fn who_has_no_subject_is_nobody() {
    let origin = Origin::saying("");
    let all = House::new(IDENTITY, &route("/", &[origin.addr]));
    let others = House::new("client_san_header = \"x-san\"", &route("/", &[origin.addr]));
    for (house, status) in [(&all, 403), (&others, 200)] {
        let uri = SanType::URI("spiffe://example/a".try_into().unwrap());
        let dialer = house.client(&house.authority.issue_client(None, vec![uri]));
        let mut client = dialer.client(house.asking, "a.example");
        for _ in 0..2 {
            let answer = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            assert_eq!(answer.status(), status);
            let raised = dialer.h2(house.asking, "test").ask(&get("/", &[]));
            assert_eq!(raised.status(), status);
            if status == 403 {
                assert!(
                    answer.text().contains("client_subject_missing"),
                    "{}",
                    answer.text()
                );
                assert!(
                    raised.text().contains("client_subject_missing"),
                    "{}",
                    raised.text()
                );
            }
        }
    }
    let sans = origin
        .requests()
        .into_iter()
        .map(|request| request.head.field("x-san").map(str::to_owned));
    assert!(sans.clone().count() == 4 && sans.flatten().all(|san| san == "URI:spiffe://example/a"));
}

/// A listener's authority guards a port; a route is reached by all ports.
#[test]
fn a_route_may_want_a_certificate() {
    let origin = Origin::saying("");
    let routes = route("/", &[origin.addr])
        + &route("/internal", &[origin.addr])
        + "client_cert = \"required\"\nresponse_headers = { set = { \"x-frame\" = \"deny\" } }\n";
    let house = House::new("client_cert = \"optional\"", &routes);
    let known = house.client(&house.authority.issue(&["client.example"]));
    let rows = [
        (house.nobody(), Some(house.open), 403),
        (house.nobody(), Some(house.asking), 403),
        (known.clone(), Some(house.open), 403),
        (house.nobody(), None, 403),
        (known, Some(house.asking), 200),
    ];
    for (dialer, addr, status) in rows {
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let (open, guarded, raised) = match addr {
            Some(addr) => {
                let mut client = dialer.client(addr, "a.example");
                let raised = dialer.h2(addr, "test").ask(&get("/internal/x", &[]));
                (
                    client.ask(request("/")),
                    client.ask(request("/internal/x")),
                    raised,
                )
            }
            None => {
                let mut client = house.proxy.client();
                let raised = house.proxy.h2().ask(&get("/internal/x", &[]));
                (
                    client.ask(request("/")),
                    client.ask(request("/internal/x")),
                    raised,
                )
            }
        };
        assert_eq!(
            (open.status(), guarded.status(), raised.status()),
            (200, status, status)
        );
        assert_eq!(guarded.field("x-frame"), Some("deny"));
        assert_eq!(raised.field("x-frame"), Some("deny"));
        if addr == Some(house.asking) {
            let mut client = dialer.client(house.asking, "a.example");
            let elsewhere = client.ask("GET /internal HTTP/1.1\r\nHost: b.example\r\n\r\n");
            assert_eq!(elsewhere.status(), 421);
            assert_eq!(elsewhere.field("x-frame"), Some("deny"));
        }
        if status == 403 {
            for text in [guarded.text(), raised.text()] {
                assert!(text.contains("client_certificate_missing"), "{text}");
            }
        }
    }
}

#[test]
fn what_a_route_wants_is_explained() {
    let origin = Origin::saying("");
    let routes = route("/", &[origin.addr]) + "client_cert = \"required\"\n";
    let house = House::new("client_cert = \"optional\"", &routes);
    let config = house.proxy.directory.path().join("config.toml");
    let arguments = [
        "explain",
        "--config",
        config.to_str().unwrap(),
        "GET",
        "http://a.example/",
    ];
    let said = String::from_utf8(run(&arguments).stdout).unwrap();
    assert!(
        said.contains("required: 403 for a client without a certificate"),
        "{said}"
    );
}

/// A connection that began when backends were told by another name ends, and brings no request by the old name.
#[test]
fn a_reload_opens_nothing_on_old_connections() {
    let origin = Origin::start(|link| while link.request().is_some() && link.try_send(ok("")) {});
    let (directory, authority) = (Directory::new(), Authority::new());
    let pair = authority.issue(&NAMES).write(&directory, "a");
    let ca = directory.write("ca.crt", &authority.pem());
    let (plain, asking) = (free_addr(), free_addr());
    let config = |name: &str| {
        format!(
            "workers = 1\n[[listeners]]\naddr = \"{asking}\"\n\
             tls = {{ certificates = [{pair}], client_ca = {ca:?}, client_subject_header = {name:?} }}\n{}",
            route("/", &[origin.addr])
        )
    };
    let proxy = Proxy::start(&config("x-old"));
    let dialer = Dialer::with_identity(&authority, &authority.issue(&["client.example"]));
    let mut client = dialer.client(asking, "a.example");
    let mut silent = dialer.client(asking, "a.example");
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nX_Old: forged\r\nX_New: forged\r\n\r\n";
    assert_eq!(
        client.ask(request.replace("X_New", "X-Other")).status(),
        200
    );
    proxy.reload(&format!("listen_addr = \"{plain}\"\n{}", config("x-new")));
    client.ends();
    assert_eq!(silent.ask(request).status(), 421);
    for request in origin.requests() {
        let variables = variables(&request);
        let told: Vec<_> = ["X_OLD", "X_NEW"]
            .iter()
            .filter_map(|name| variables.get(*name))
            .collect();
        assert_eq!(told, ["CN=client.example"], "{request:#?}");
    }
}
