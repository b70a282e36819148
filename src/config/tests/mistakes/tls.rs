//! Mistakes in the settings of TLS and of certificates, each with its line and its words.

use super::*;

#[test]
fn of_tls_with_clients() {
    expect(
        r#"
[tls]
ticket_key_file = ""
[[listeners]]
addr = "127.0.0.1:1"
redirect_to_https = true
http2 = false
[listeners.tls]
certificates = [{ cert = "/a" }, { cert = "", key = 1, names = ["*.*", "10.0.0.1", "[::1]", "A.example"] }]
min_version = "1.1"
alpn = ["h2", "h3"]
client_cert = "required"
client_subject_header = "x-client"
client_san_header = "x-san"
unknown_sni = "ignore"
ca = "/b"
[[listeners]]
addr = "127.0.0.1:2"
tls = { certificates = [], alpn = [], client_ca = "/ca", client_cert = "maybe", client_subject_header = "Content-Length", client_san_header = "X-Forwarded_For", client_issuer_header = "x_who", client_fingerprint_header = "X-Who" }
[[listeners]]
addr = "127.0.0.1:3"
tls = { certificates = [{ cert = "/a", key = "/b", ocsp = "/c" }], ocsp = "/d", session_tickets = 1 }
[[listeners]]
addr = "127.0.0.1:4"
tls = true
[[listeners]]
addr = "127.0.0.1:5"
tls = {}
"#,
        &[
            "2:19: tls.ticket_key_file = \"\": must name a file",
            "5:21: listeners[0].redirect_to_https = true: the listener speaks TLS itself; leave this out",
            "8:17: listeners[0].tls.certificates[0] = { cert = \"/a\" }: \"key\" is missing",
            "8:43: listeners[0].tls.certificates[1].cert = \"\": must name a file",
            "8:53: listeners[0].tls.certificates[1].key = 1: must be a text in quotes",
            "8:65: listeners[0].tls.certificates[1].names[0] = \"*.*\": must be a host name such as \"example.com\" or \"*.example.com\"",
            "8:72: listeners[0].tls.certificates[1].names[1] = \"10.0.0.1\": must be a host name such as \"example.com\" or \"*.example.com\"",
            "8:84: listeners[0].tls.certificates[1].names[2] = \"[::1]\": must be a host name such as \"example.com\" or \"*.example.com\"",
            "9:15: listeners[0].tls.min_version = \"1.1\": unknown; did you mean \"1.2\"?",
            "10:9: listeners[0].tls.alpn[0] = \"h2\": the listener has http2 = false",
            "10:15: listeners[0].tls.alpn[1] = \"h3\": unknown; did you mean \"h2\"?",
            "11:15: listeners[0].tls.client_cert = \"required\": means nothing without client_ca",
            "12:25: listeners[0].tls.client_subject_header = \"x-client\": means nothing without client_ca",
            "13:21: listeners[0].tls.client_san_header = \"x-san\": means nothing without client_ca",
            "14:15: listeners[0].tls.unknown_sni = \"ignore\": unknown; known: default, refuse",
            "15:1: listeners[0].tls.ca = \"/b\": unknown key; known: min_version, alpn, client_ca, client_cert, unknown_sni, session_tickets, client_subject_header, client_san_header, client_issuer_header, client_fingerprint_header, automatic, certificates, ocsp",
            "18:24: listeners[1].tls.certificates: must name at least one certificate",
            "18:35: listeners[1].tls.alpn: must name at least one",
            "18:72: listeners[1].tls.client_cert = \"maybe\": unknown; known: required, optional",
            "18:105: listeners[1].tls.client_subject_header = \"Content-Length\": \"content-length\" belongs to the connection and cannot be changed",
            "18:143: listeners[1].tls.client_san_header = \"X-Forwarded_For\": \"x-forwarded_for\" belongs to the connection and cannot be changed",
            "18:222: listeners[1].tls.client_fingerprint_header = \"X-Who\": is the name of another such field",
            "21:75: listeners[2].tls.ocsp = \"/d\": the first certificate has one of its own",
            "21:99: listeners[2].tls.session_tickets = 1: must be true or false",
            "24:7: listeners[3].tls = true: must be a table",
            "27:7: listeners[4].tls = {}: \"certificates\" is missing",
        ],
    );
}

#[test]
fn of_certificates_that_nobody_is_asked_for() {
    expect(
        r#"
[[routes]]
backend_addrs = ["a:1"]
client_cert = "optional"
[[routes]]
prefix = "/a"
backend_addrs = ["a:1"]
client_cert = "required"
[[routes]]
prefix = "/b"
backend_addrs = ["a:1"]
client_cert = true
"#,
        &[
            "7:15: routes[1].client_cert = \"required\": no listener asks clients for a certificate, so every request would be refused: a listener needs tls with a client_ca",
            "11:15: routes[2].client_cert = true: must be a text in quotes",
        ],
    );
}

#[test]
fn names_of_identity_have_no_other_meaning() {
    expect(
        r#"
[[listeners]]
addr = "127.0.0.1:1"
tls = { certificates = [{ cert = "/a", key = "/b" }], client_ca = "/ca", client_subject_header = "X-Forwarded-For", client_san_header = "Via" }
"#,
        &[
            "3:98: listeners[0].tls.client_subject_header = \"X-Forwarded-For\": \"x-forwarded-for\" has another meaning already",
            "3:137: listeners[0].tls.client_san_header = \"Via\": \"via\" has another meaning already",
        ],
    );
}

#[test]
fn of_certificates_that_are_ordered() {
    expect(
        r#"
[acme]
directory = "http://ca.example/directory"
contacts = ["ops@example.com", "mailto:@", "mailto:ops@example.com"]
terms_of_service_agreed = false
challenge = "dns-01"
eab = { key_id = "" }
renew = 1
[[listeners]]
addr = "127.0.0.1:1"
tls = { automatic = ["*.a.example", "a.example", "A.example", "10.0.0.1", "a b"] }
[[listeners]]
addr = "127.0.0.1:2"
tls = { automatic = [], certificates = [] }
[[listeners]]
addr = "127.0.0.1:3"
tls = { automatic = "a.example" }
"#,
        &[
            "1:1: acme: \"state_dir\" is missing",
            "2:13: acme.directory = \"http://ca.example/directory\": must be a URL that begins with https://",
            "3:13: acme.contacts[0] = \"ops@example.com\": must be an address such as \"mailto:ops@example.com\"",
            "3:32: acme.contacts[1] = \"mailto:@\": must be an address such as \"mailto:ops@example.com\"",
            "4:27: acme.terms_of_service_agreed = false: must be true: the authority gives nothing to whoever does not agree",
            "5:13: acme.challenge = \"dns-01\": unknown; known: tls-alpn-01, http-01",
            "6:7: acme.eab: \"hmac_key_file\" is missing",
            "6:18: acme.eab.key_id = \"\": must not be empty",
            "7:1: acme.renew = 1: unknown key; known: terms_of_service_agreed, state_dir, directory, contacts, ca, challenge, eab",
            "10:22: listeners[0].tls.automatic[0] = \"*.a.example\": a wildcard is given for the challenge dns-01 alone, which palantir does not know: name each host, or give a certificate",
            "10:50: listeners[0].tls.automatic[2] = \"A.example\": is named already",
            "10:63: listeners[0].tls.automatic[3] = \"10.0.0.1\": must be a host name such as \"example.com\"",
            "10:75: listeners[0].tls.automatic[4] = \"a b\": must be a host name such as \"example.com\"",
            "13:21: listeners[1].tls.automatic: must name at least one host",
            "13:40: listeners[1].tls.certificates: must name at least one certificate",
            "16:21: listeners[2].tls.automatic = \"a.example\": must be a list in brackets",
        ],
    );
}

#[test]
fn of_certificates_that_cannot_be_ordered() {
    const ACME: &str = "[acme]\nstate_dir = '/a'\nterms_of_service_agreed = true\n";
    const TLS: &str = "[[listeners]]\naddr = '127.0.0.1:1'\n[listeners.tls]\nautomatic = ['a.b']\n";
    expect(
        TLS,
        &["4:13: listeners[0].tls.automatic: needs an [acme] section"],
    );
    expect(
        &format!("{ACME}challenge = 'http-01'\n{TLS}"),
        &[
            "4:13: acme.challenge = 'http-01': is answered in cleartext, but every listener speaks TLS",
        ],
    );
    expect(
        &format!("{ACME}{TLS}client_ca = '/b'\n"),
        &[
            "7:13: listeners[0].tls.automatic: the authority has no certificate to show when it asks: set challenge = \"http-01\" in [acme], or client_cert = \"optional\"",
        ],
    );
    for fine in [
        format!("{ACME}{TLS}"),
        format!(
            "listen_addr = '127.0.0.1:2'\n{ACME}challenge = 'http-01'\n{TLS}client_ca = '/b'\n"
        ),
        format!("{ACME}{TLS}client_ca = '/b'\nclient_cert = 'optional'\n"),
    ] {
        expect(&fine, &[]);
    }
}

#[test]
fn of_tls_with_backends() {
    expect(
        r#"
[[pools]]
name = "api"
backends = ["https://a:1"]
tls = "yes"
[[routes]]
backend_addrs = ["a:1"]
tls = { verify = false, ca = "/a", cert = "/b", server_name = "a b", alpn = "h2" }
"#,
        &[
            "3:13: pools[0].backends[0] = \"https://a:1\": write \"name:port\", and tls = true for the pool",
            "4:7: pools[0].tls = \"yes\": must be true or false",
            "7:7: routes[0].tls = { verify = false, ca = \"/a\", cert = \"/b\", server_name = \"a b…: has \"cert\", so it needs \"key\"",
            "7:30: routes[0].tls.ca = \"/a\": with verify = false nobody is verified by it",
            "7:63: routes[0].tls.server_name = \"a b\": must be a host name or an address, without a port",
            "7:70: routes[0].tls.alpn = \"h2\": unknown key; known: verify, ca, cert, key, server_name",
        ],
    );
}
