//! Certificates as files: what is said of bad ones, and what becomes of those that change while palantir runs.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};

use crate::support::managed::{ask, json_of};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::run;
use crate::support::tls::s_client;
use crate::support::{Client, Proxy, eventually, metrics};

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate of its own issue for `a.example`, good for so many days from a year ago on, and its key.
fn pair(days: u32) -> (String, String) {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let begin = SystemTime::now() - 365 * DAY;
    params.not_before = begin.into();
    params.not_after = (begin + 365 * DAY + days * DAY).into();
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.pem(), key.serialize_pem())
}

fn write(directory: &Directory, name: &str, text: &str) -> PathBuf {
    let path = directory.write(name, text);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// The output of `palantir check` for a file below a directory that `{dir}` stands for, and its exit code.
#[track_caller]
fn check(directory: &Directory, config: &str) -> (i32, String) {
    let folder = directory.path().to_str().unwrap();
    let path = directory.write("config.toml", &config.replace("{dir}", folder));
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    (output.status.code().unwrap(), said.replace(folder, ""))
}

const LISTENER: &str = r#"
[[listeners]]
addr = "127.0.0.1:8443"
[listeners.tls]
certificates = [
    { cert = "{dir}/a.crt", key = "{dir}/a.key" },
]
[[routes]]
backend_addrs = ["127.0.0.1:9001"]
"#;

#[test]
fn bad_files_are_told_with_their_places() {
    let directory = Directory::new();
    let (cert, key) = pair(90);
    let (_, other) = pair(90);
    let column = |key: &str| {
        let line = "    { cert = \"{dir}/a.crt\", key = \"{dir}/a.key\" },";
        let line = line.replace("{dir}", directory.path().to_str().unwrap());
        let before = line.find(&format!("{key} = ")).unwrap();
        before + key.len() + " = ".len() + 1
    };
    let rows = [
        (
            &cert,
            Some(&other),
            "key",
            "is not the key of the certificate",
        ),
        (
            &cert,
            None,
            "key",
            "cannot be read: No such file or directory (os error 2)",
        ),
        (
            &key,
            Some(&key),
            "cert",
            "holds no certificate (PEM, \"-----BEGIN CERTIFICATE-----\")",
        ),
    ];
    for (cert, key, at, what) in rows {
        write(&directory, "a.crt", cert);
        match key {
            Some(key) => drop(write(&directory, "a.key", key)),
            None => fs::remove_file(directory.path().join("a.key")).unwrap(),
        }
        let (code, said) = check(&directory, LISTENER);
        let column = column(at);
        let file = if at == "cert" { "/a.crt" } else { "/a.key" };
        let expected = format!(
            "/config.toml:6:{column}: listeners[0].tls.certificates[0].{at} = \"{file}\": {what}\n"
        );
        assert_eq!((code, said), (1, expected));
    }
    let unknown = LISTENER.replace(
        "[listeners.tls]",
        "[listeners.tls]\nalpn = [\"h2\", \"spdy\"]",
    );
    write(&directory, "a.crt", &cert);
    write(&directory, "a.key", &key);
    let (code, said) = check(&directory, &unknown);
    let expected =
        "/config.toml:5:15: listeners[0].tls.alpn[1] = \"spdy\": unknown; known: h2, http/1.1\n";
    assert_eq!((code, said.as_str()), (1, expected));
}

#[test]
fn certificates_that_end_soon_are_warned_of() {
    let directory = Directory::new();
    for (days, expected) in [(90, ""), (3, "expires in "), (0, "has expired 0 days ago")] {
        let (cert, key) = pair(days);
        write(&directory, "a.crt", &cert);
        write(&directory, "a.key", &key);
        let (code, said) = check(&directory, LISTENER);
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains("warning: "), days < 14, "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

/// Days until the certificate ends, as `/metrics` tells.
fn days_left(admin: SocketAddr) -> Option<i64> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let text = Client::connect(admin).ask(request).text();
    let name = "palantir_certificate_expiry_seconds{";
    let line = text.lines().find(|line| line.starts_with(name))?;
    assert!(line.contains("name=\"a.example\""), "{line}");
    let secs: i64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
    Some((secs + 43_200).div_euclid(86_400))
}

#[test]
fn a_changed_pair_is_taken_over_and_a_broken_one_is_not() {
    let directory = Directory::new();
    let (admin, tls) = (free_addr(), free_addr());
    let (cert, key) = pair(90);
    let cert_path = write(&directory, "a.crt", &cert);
    let key_path = write(&directory, "a.key", &key);
    let (cert_name, key_name) = (cert_path.display(), key_path.display());
    let config = format!(
        "tls = {{ ticket_key_file = \"{{dir}}/tickets\" }}\n\
         [admin]\nlisten_addr = \"{admin}\"\n\
         [[listeners]]\naddr = \"{tls}\"\n\
         tls = {{ certificates = [{{ cert = \"{cert_name}\", key = \"{key_name}\" }}] }}\n\
         [[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n"
    );
    let proxy = Proxy::start(&config);
    proxy.wait_for_log(&["listening on", &format!("{tls} (TLS, HTTP/2)")]);
    assert_eq!(days_left(admin), Some(90));
    let tickets = proxy.directory.path().join("tickets");
    let mode = fs::metadata(tickets).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Half of a renewal: the old pair stays, and the log says why.
    let (renewed, renewed_key) = pair(60);
    write(&directory, "a.crt", &renewed);
    proxy.wait_for_log(&[
        "a.crt has changed and cannot be used",
        "is not the key of the certificate",
    ]);
    assert_eq!(days_left(admin), Some(90));
    // A reload is told where it stands, and changes nothing.
    proxy.signal(libc::SIGHUP);
    proxy.wait_for_log(&["audit=\"refused\"", "listeners[0].tls.certificates[0].key"]);
    assert_eq!(days_left(admin), Some(90));
    // The other half.
    write(&directory, "a.key", &renewed_key);
    eventually("the new pair is in use", || days_left(admin) == Some(60));

    // A reload takes the files over at once, though the configuration is the same.
    let (cert, key) = pair(30);
    write(&directory, "a.crt", &cert);
    write(&directory, "a.key", &key);
    let request = format!(
        "POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let answer = Client::connect(admin).ask(request);
    assert_eq!(answer.status(), 200, "{answer:?}");
    eventually("the next pair is in use", || days_left(admin) == Some(30));
}

/// An element of DER (X.690).
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    assert!(content.len() < 0x80, "one byte of length");
    [&[tag, content.len() as u8], &content[..]].concat()
}

/// An OCSP response (RFC 6960 section 4.2.1) that is superseded at this time; its other fields are made up.
pub fn ocsp_response(next_update: SystemTime) -> Vec<u8> {
    let secs = next_update.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut date = Command::new("date");
    date.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("@{secs}")]);
    let text = date.output().expect("run date").stdout;
    let text = text.trim_ascii_end();
    let next = element(0x18, &[text]);
    let this = element(0x18, &[b"20200101000000Z"]);
    let digest = element(0x30, &[&element(0x06, &[&[0x2b, 0x0e, 3, 2, 0x1a]])]);
    let id = element(0x30, &[&digest, &[4, 1, 1], &[4, 1, 1], &[2, 1, 1]]);
    let answer = element(0x30, &[&id, &[0x80, 0], &this, &element(0xa0, &[&next])]);
    let responder = element(0xa2, &[&[4, 1, 7]]);
    let answered = element(0x30, &[&responder, &this, &element(0x30, &[&answer])]);
    let sha256 = element(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b]]);
    let basic = [answered, element(0x30, &[&sha256]), vec![3, 1, 0]].concat();
    let long = |tag: u8, content: &[u8]| [&[tag, 0x81, content.len() as u8], content].concat();
    let kind = element(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = [kind, long(4, &long(0x30, &basic))].concat();
    let bytes = long(0xa0, &long(0x30, &bytes));
    long(0x30, &[&[0x0a, 1, 0], &bytes[..]].concat())
}

#[test]
fn an_ocsp_response_is_stapled_until_it_is_superseded() {
    let directory = Directory::new();
    let tls = free_addr();
    let (cert, key) = pair(90);
    write(&directory, "a.crt", &cert);
    write(&directory, "a.key", &key);
    let path = directory.path().join("a.ocsp");
    let folder = directory.path().to_str().unwrap();
    let admin = free_addr();
    let config = format!("[admin]\nlisten_addr = \"{admin}\"\n{LISTENER}")
        .replace("127.0.0.1:8443", &tls.to_string())
        .replace("/a.key\" }", "/a.key\", ocsp = \"{dir}/a.ocsp\" }")
        .replace("{dir}", folder);
    fs::write(
        &path,
        ocsp_response(SystemTime::now() + Duration::from_secs(40)),
    )
    .unwrap();
    let proxy = Proxy::start(&config);
    proxy.wait_for_log(&["listening on", &tls.to_string()]);
    let is_stapled = || {
        let output = s_client(tls, &["-status"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_absent = said.contains("OCSP response: no response sent");
        assert!(is_absent || said.contains("OCSP Response Data"), "{said}");
        !is_absent
    };
    assert!(is_stapled());
    let left = || {
        let text = metrics(admin);
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("palantir_ocsp_next_update_seconds{"));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    assert!(left() <= 40.0, "{}", left());
    eventually("it is no longer stapled", || !is_stapled());
    let (code, said) = check(&directory, &config);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("has been superseded (nextUpdate)"), "{said}");
    // A newer response is loaded like any file that has changed.
    fs::write(&path, ocsp_response(SystemTime::now() + DAY)).unwrap();
    eventually("the newer one is stapled", is_stapled);
    assert!(left() > 80_000.0, "{}", left());
}

/// A proxy over TLS with a pair of files, its management API, and the file that it reads.
struct Moving {
    proxy: Proxy,
    admin: SocketAddr,
    tls: SocketAddr,
    backend: SocketAddr,
}

impl Moving {
    fn start() -> Moving {
        let (admin, tls, backend) = (free_addr(), free_addr(), free_addr());
        let directory = Directory::new();
        let (cert, key) = pair(90);
        write(&directory, "old.crt", &cert);
        write(&directory, "old.key", &key);
        let folder = directory.path().to_str().unwrap();
        let config = config_of(admin, tls, backend, "old", "").replace("{files}", folder);
        let proxy = Proxy::start(&config);
        for (name, text) in [("old.crt", cert), ("old.key", key)] {
            write(&proxy.directory, name, &text);
        }
        let moving = Moving {
            proxy,
            admin,
            tls,
            backend,
        };
        // From now on the files of the proxy's own directory count.
        let (status, text) = moving.reload("old", "", "");
        assert_eq!(status, 200, "{text}");
        moving
    }

    /// Has the file reloaded that names this pair, with more of the file behind it.
    fn reload(&self, pair: &str, more: &str, conditions: &str) -> (u16, String) {
        let config = config_of(self.admin, self.tls, self.backend, pair, more);
        let folder = self.proxy.directory.path().to_str().unwrap();
        let config = config.replace("{files}", folder);
        let config = format!("listen_addr = \"{}\"\n{config}", self.proxy.addr);
        self.proxy.directory.write("config.toml", &config);
        self.ask("POST /reload", conditions)
    }

    fn ask(&self, line: &str, body: &str) -> (u16, String) {
        let answer = ask(self.admin, line, &[], body);
        (answer.status(), answer.text())
    }

    /// Changes the backend by the management API.
    fn change(&self, weight: u8) -> (u16, String) {
        let line = format!("PATCH /pools/api/servers/{}", self.backend);
        self.ask(&line, &format!("{{\"weight\": {weight}}}"))
    }

    /// Gives the pair of files another name.
    fn move_pair(&self) {
        let path = |name: &str| self.proxy.directory.path().join(name);
        for (from, to) in [("old.crt", "new.crt"), ("old.key", "new.key")] {
            fs::rename(path(from), path(to)).unwrap();
        }
    }
}

fn config_of(
    admin: SocketAddr,
    tls: SocketAddr,
    backend: SocketAddr,
    pair: &str,
    more: &str,
) -> String {
    format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n\
         [[listeners]]\naddr = \"{tls}\"\n[listeners.tls]\ncertificates = [\n\
         {{ cert = \"{{files}}/{pair}.crt\", key = \"{{files}}/{pair}.key\" }},\n]\n\
         [[pools]]\nname = \"api\"\nbackends = [\"{backend}\"]\n[[routes]]\npool = \"api\"\n{more}"
    )
}

#[test]
fn a_refused_reload_takes_no_certificate_in_force_away() {
    let moving = Moving::start();
    moving.move_pair();
    let (status, text) = moving.change(2);
    assert_eq!(status, 200, "{text}");
    let more = "[access_log]\npath = \"/nonexistent/access.log\"\n";
    let (status, text) = moving.reload("new", more, "");
    assert_eq!(status, 500, "{text}");
    let (status, text) = moving.change(3);
    assert_eq!(status, 200, "{text}");
}

#[test]
fn a_trial_is_taken_back_although_the_files_before_are_gone() {
    let moving = Moving::start();
    let before = revision(moving.admin);
    moving.move_pair();
    let (status, text) = moving.reload("new", "", "{\"confirm_secs\": 1}");
    assert_eq!(status, 200, "{text}");
    eventually("the trial is taken back", || {
        revision(moving.admin) == before + 2
    });
    let (status, text) = moving.change(2);
    assert_eq!(status, 200, "{text}");
}

fn revision(admin: SocketAddr) -> u64 {
    let version = json_of(&ask(admin, "GET /version", &[], ""));
    version["revision"].as_u64().unwrap()
}
