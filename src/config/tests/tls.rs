//! TLS as the configuration says it: what it compiles to, and what is said of its files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};

use super::parsed;
use super::snapshots::{AMPLE, MACHINE, snapshot};
use crate::config::{CannotCompile, Resolved, Stores, check, compile};
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::snapshot::ClientCertificate;
use crate::tls::{Fact, TlsStore};

/// A folder with `a.crt`, `a.key`, `b.crt` and `b.key`, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("palantir-ctls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let folder = Folder(path);
        for name in ["a", "b"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
            let cert = params.self_signed(&key).unwrap();
            folder.write(&format!("{name}.crt"), &cert.pem());
            folder.write(&format!("{name}.key"), &key.serialize_pem());
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The text with `@` standing for the folder.
    fn config(&self, text: &str) -> String {
        text.replace('@', self.0.to_str().unwrap())
    }

    /// The mistakes of the text, without the path of the file and with `@` for the folder.
    fn mistakes(&self, text: &str) -> Vec<String> {
        let said = match check(Path::new("c.toml"), self.config(text)) {
            Ok(_) => String::new(),
            Err(mistakes) => mistakes.to_string(),
        };
        let said = said.replace(self.0.to_str().unwrap(), "@");
        let lines = said.lines();
        lines
            .map(|line| line.trim_start_matches("c.toml:").to_owned())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BOTH_SIDES: &str = r#"
tls = { ticket_key_file = "@/tickets" }
[[listeners]]
addr = "127.0.0.1:1"
tls = { certificates = [{ cert = "@/a.crt", key = "@/a.key" }, { cert = "@/b.crt", key = "@/b.key", names = ["*.B.example"] }] }
[[listeners]]
addr = "127.0.0.1:2"
tls = { certificates = [{ cert = "@/a.crt", key = "@/a.key" }], min_version = "1.3", alpn = ["http/1.1"], client_ca = "@/b.crt", client_cert = "optional", client_subject_header = "X-Client", client_fingerprint_header = "X-Fingerprint", session_tickets = false, unknown_sni = "refuse" }
[[pools]]
name = "own"
backends = ["a.example:1"]
tls = { ca = "@/a.crt", cert = "@/b.crt", key = "@/b.key" }
[[pools]]
name = "named"
backends = ["127.0.0.1:3", "unix:/a"]
protocol = "h2"
tls = { verify = false, server_name = "B.example" }
[[pools]]
name = "plain"
backends = ["127.0.0.1:4"]
tls = false
"#;

#[test]
fn both_sides_take_effect() {
    let folder = Folder::new("effect");
    let text = folder.config(BOTH_SIDES);
    assert_eq!(folder.mistakes(BOTH_SIDES), [""; 0]);
    let snapshot = snapshot(&text);
    let listeners: Vec<_> = snapshot
        .listeners
        .iter()
        .map(|one| one.to_string())
        .collect();
    assert_eq!(
        listeners,
        ["127.0.0.1:1 (TLS, HTTP/2)", "127.0.0.1:2 (TLS)"]
    );
    let tls = |index: usize| snapshot.listeners[index].tls.as_ref().unwrap();
    assert_eq!(tls(0).config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    assert_eq!(tls(1).config.alpn_protocols, [b"http/1.1"]);
    assert_eq!(tls(0).client_certificate, ClientCertificate::NotAsked);
    assert_eq!(tls(1).client_certificate, ClientCertificate::Optional);
    let identity = [
        ("x-client".to_owned(), Fact::Subject),
        ("x-fingerprint".to_owned(), Fact::Fingerprint),
    ];
    assert_eq!(tls(1).identity, identity);
    for names in [&tls(1).identity_names, &snapshot.identity_names] {
        assert!(names.contains(b"X_Client") && names.contains(b"X-Fingerprint"));
    }
    assert!(tls(0).identity_names.is_empty());
    let names: Vec<_> = tls(0).certificates.iter().map(|pair| pair.name()).collect();
    assert_eq!(names, ["a.example", "*.b.example"]);
    let tickets = |index: usize| tls(index).config.send_tls13_tickets;
    assert_eq!((tickets(0), tickets(1)), (2, 0));
    let client = |index: usize| snapshot.pools[index].tls.as_ref().unwrap();
    assert_eq!(client(0).config.alpn_protocols, [b"http/1.1"]);
    assert_eq!(client(1).config.alpn_protocols, [b"h2"]);
    assert!(client(0).config.client_auth_cert_resolver.has_certs());
    assert!(snapshot.pools[2].tls.is_none());
    let names = |index: usize| -> Vec<_> {
        let backends = snapshot.pools[index].backends.iter();
        backends
            .map(|backend| backend.server_name.to_str().into_owned())
            .collect()
    };
    assert_eq!(names(0), ["a.example"]);
    assert_eq!(names(1), ["b.example", "b.example"]);
    let config = parsed(&text).unwrap();
    assert_eq!(
        config.settings.ticket_key_file,
        Some(folder.0.join("tickets"))
    );
    let warnings: Vec<_> = config
        .warnings(&MACHINE)
        .iter()
        .map(|note| note.to_string())
        .collect();
    let lax = warnings.iter().filter(|text| text.contains("not verified"));
    assert_eq!(lax.count(), 1, "{warnings:?}");
}

const AUTOMATIC: &str = r#"
[acme]
state_dir = "@/state"
directory = "https://ca.example:14000/some/dir?a=../b"
terms_of_service_agreed = true
eab = { key_id = "me", hmac_key_file = "@/hmac" }
ca = "@/a.crt"
[[listeners]]
addr = "127.0.0.1:1"
tls = { automatic = ["B.example", "c.example"], certificates = [{ cert = "@/a.crt", key = "@/a.key" }] }
[[listeners]]
addr = "127.0.0.1:2"
tls = { automatic = ["c.example"] }
"#;

#[test]
fn certificates_on_order_are_used_once_they_are_there() {
    let folder = Folder::new("automatic");
    let text = AUTOMATIC;
    folder.write("hmac", " c2VjcmV0LW9mLTI0LWJ5dGVzIQ==\n");
    assert_eq!(folder.mistakes(text), [""; 0]);
    let names = || -> Vec<Vec<String>> {
        let snapshot = snapshot(&folder.config(text));
        let tls = snapshot
            .listeners
            .iter()
            .map(|one| one.tls.clone().unwrap());
        tls.map(|tls| {
            assert!(tls.config.alpn_protocols.contains(&b"acme-tls/1".to_vec()));
            let pairs = tls.certificates.iter();
            pairs.map(|pair| pair.name().to_owned()).collect()
        })
        .collect()
    };
    assert_eq!(names(), [vec!["a.example"], vec![]]);
    let kept = "state/ca.example-14000-some-dir-a-..-b";
    fs::create_dir_all(folder.0.join(kept)).unwrap();
    let read = |name: &str| fs::read_to_string(folder.0.join(name)).unwrap();
    let pair = format!("{}{}", read("b.key"), read("b.crt"));
    folder.write(&format!("{kept}/b.example.pem"), &pair);
    // One that cannot be used is as good as none.
    folder.write(&format!("{kept}/c.example.pem"), &pair[..pair.len() / 2]);
    assert_eq!(names(), [vec!["a.example", "b.example"], vec![]]);
    let watched = snapshot(&folder.config(text)).files;
    for name in ["b.example.pem", "c.example.pem"] {
        assert!(
            watched.contains(&folder.0.join(kept).join(name)),
            "{watched:?}"
        );
    }
    let plain = text.replace("terms_", "challenge = \"http-01\"\nterms_");
    let plain = format!("listen_addr = \"127.0.0.1:3\"\n{plain}");
    let snapshot = snapshot(&folder.config(&plain));
    let tls = snapshot.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
}

#[test]
fn files_that_an_order_needs_are_looked_at() {
    let folder = Folder::new("ordering");
    folder.write("hmac", "no key");
    folder.write("state", "");
    let text = AUTOMATIC.replace("a.crt\"\n", "c.crt\"\n");
    let mistakes = folder.mistakes(&text);
    assert_eq!(
        mistakes,
        [
            "3:13: acme.state_dir = \"@/state\": is no folder",
            "6:40: acme.eab.hmac_key_file = \"@/hmac\": holds no key in base64url",
            "7:6: acme.ca = \"@/c.crt\": cannot be read: No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn an_authority_without_orders_is_warned_of() {
    let text = "[acme]\nstate_dir = '/a'\nterms_of_service_agreed = true\n[[routes]]\nbackend_addrs = ['a:1']\n";
    let warnings = parsed(text).unwrap().warnings(&AMPLE);
    let warnings: Vec<_> = warnings.iter().map(|note| note.to_string()).collect();
    let expected = "1:1: acme: nothing is ordered: no listener has tls = { automatic = [\"…\"] }";
    assert_eq!(warnings, [expected]);
}

/// `key = 'value': text` with the line and column where the value stands.
fn at_its_place(folder: &Folder, text: &str, expected: &str) -> String {
    let (key, rest) = expected.split_once(" = ").unwrap();
    let value = rest.split(": ").next().unwrap();
    let entry = format!("{} = {value}", key.rsplit('.').next().unwrap());
    let (entry, value) = (folder.config(&entry), folder.config(value));
    let text = folder.config(text);
    let end = text.find(&entry).unwrap() + entry.len();
    let before = &text[..end - value.len()];
    let line = before.lines().count();
    let column = before.lines().last().unwrap().len() + 1;
    format!("{line}:{column}: {expected}")
}

#[test]
fn files_that_cannot_be_used_are_named_where_they_stand() {
    let folder = Folder::new("files");
    folder.write("empty", "");
    let rows: [(&str, &[&str]); 5] = [
        (
            "[[listeners]]\naddr = '127.0.0.1:1'\n[listeners.tls]\ncertificates = [{ cert = '@/a.crt', key = '@/b.key' }, { cert = '@/c.crt', key = '@/c.key' }]\nclient_ca = '@/empty'",
            &[
                "listeners[0].tls.certificates[0].key = '@/b.key': is not the key of the certificate",
                "listeners[0].tls.certificates[1].cert = '@/c.crt': cannot be read: No such file or directory (os error 2)",
                "listeners[0].tls.client_ca = '@/empty': holds no certificate (PEM, \"-----BEGIN CERTIFICATE-----\")",
            ],
        ),
        (
            "[[listeners]]\naddr = '127.0.0.1:1'\ntls = { certificates = [{ cert = '@/a.crt', key = '@/a.crt' }], ocsp = '@/empty' }",
            &[
                "listeners[0].tls.certificates[0].key = '@/a.crt': holds no private key (PEM: PKCS#8, PKCS#1 or SEC1)",
            ],
        ),
        (
            "[[listeners]]\naddr = '127.0.0.1:1'\ntls = { certificates = [{ cert = '@/a.crt', key = '@/a.key' }], ocsp = '@/empty' }",
            &["listeners[0].tls.ocsp = '@/empty': is no OCSP response (DER)"],
        ),
        (
            "[[routes]]\nbackend_addrs = ['a:1']\ntls = { ca = '@/a.key' }",
            &[
                "routes[0].tls.ca = '@/a.key': holds no certificate (PEM, \"-----BEGIN CERTIFICATE-----\")",
            ],
        ),
        (
            "[[routes]]\nbackend_addrs = ['a:1']\ntls = { ca = '@/a.crt', cert = '@/b.crt', key = '@/a.key' }",
            &["routes[0].tls.key = '@/a.key': is not the key of the certificate"],
        ),
    ];
    for (text, expected) in rows {
        let found = folder.mistakes(text);
        let positioned = expected
            .iter()
            .map(|text_of| at_its_place(&folder, text, text_of));
        assert_eq!(found, positioned.collect::<Vec<_>>());
    }
    // By itself the text is right: only the files are not.
    assert!(parsed("[[routes]]\nbackend_addrs = ['a:1']\ntls = { ca = '/nowhere' }").is_ok());
}

#[test]
fn what_cannot_be_loaded_cannot_be_compiled() {
    let config = parsed("[[routes]]\nbackend_addrs = ['a:1']\ntls = { ca = '/nowhere' }").unwrap();
    let mut slots = Slots::new(BackendTables::new(1));
    let mut tls_store = TlsStore::default();
    let found = compile(
        &config,
        &MACHINE,
        &Resolved::new(),
        Stores {
            slots: &mut slots,
            tls_store: &mut tls_store,
        },
        1,
    );
    let expected = CannotCompile::Tls {
        key: "routes[0].tls".to_owned(),
        text: "/nowhere cannot be read: No such file or directory (os error 2)".to_owned(),
        may_pass: false,
    };
    assert_eq!(found.unwrap_err(), expected);
}
