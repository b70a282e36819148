//! The management API over TLS: who gets in, what the log says of them, and the commands that speak to it.

use std::net::SocketAddr;
use std::process::{Command, Output};

use crate::support::eventually;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, run};
use crate::support::tls::{Authority, Dialer};
use crate::support::{Client, Proxy};

/// An authority, and the files of a certificate for the API and of two clients: one that it knows, and a stranger.
struct Place {
    directory: Directory,
    authority: Authority,
    addr: SocketAddr,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            directory: Directory::new(),
            authority: Authority::new(),
            addr: free_addr(),
        };
        let (directory, authority) = (&place.directory, &place.authority);
        directory.write("ca.crt", &authority.pem());
        authority
            .issue(&["admin.example"])
            .write(directory, "admin");
        authority.issue(&["alice"]).write(directory, "alice");
        Authority::new()
            .issue(&["mallory"])
            .write(directory, "mallory");
        place
    }

    /// `[admin]` with an address.
    fn section(&self, addr: SocketAddr, tls: &str) -> String {
        let pair = "certificates = [{ cert = \"{certs}/admin.crt\", key = \"{certs}/admin.key\" }]";
        format!("[admin]\nlisten_addr = \"{addr}\"\ntls = {{ {pair}{tls} }}\n")
            .replace("{certs}", &self.dir())
    }

    fn dir(&self) -> String {
        self.directory.path().to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn start(&self) -> Proxy {
        let admin = self.section(self.addr, ", client_ca = \"{certs}/ca.crt\"");
        let proxy = Proxy::start(&format!(
            "{admin}[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n"
        ));
        proxy.wait_for_log(&["management API on", "(TLS)"]);
        proxy
    }

    /// Asks with curl for a path, as `who`.
    fn curl(&self, who: Option<&str>, path: &str, more: &[&str]) -> Output {
        let (dir, port) = (self.dir(), self.addr.port());
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "60",
            "--fail",
            "--cacert",
            &format!("{dir}/ca.crt"),
        ]);
        curl.args([
            "--resolve",
            &format!("admin.example:{port}:{}", self.addr.ip()),
        ]);
        if let Some(who) = who {
            curl.args([
                "--cert",
                &format!("{dir}/{who}.crt"),
                "--key",
                &format!("{dir}/{who}.key"),
            ]);
        }
        curl.args(more)
            .arg(format!("https://admin.example:{port}{path}"));
        curl.output().expect("curl, which tests/all.sh installs")
    }
}

#[test]
fn a_certificate_opens_it_and_is_named_in_the_log() {
    let place = Place::new();
    let proxy = place.start();
    assert!(place.curl(Some("alice"), "/pools", &[]).status.success());
    for who in [None, Some("mallory")] {
        // Nothing at all is served, not even what needs no token.
        for path in ["/pools", "/health"] {
            let output = place.curl(who, path, &[]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && said.contains("alert"),
                "{who:?}: {said}"
            );
        }
    }
    let cleartext = Client::connect(place.addr).stream;
    let mut cleartext = Client::over(cleartext);
    cleartext.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!cleartext.rest().starts_with(b"HTTP"));

    let json = ["-X", "POST", "-H", "Content-Type: application/json"];
    let output = place.curl(Some("alice"), "/reload", &json);
    assert!(output.status.success(), "{output:?}");
    proxy.wait_for_log(&["audit=", "api 127.0.0.1:", ", CN=alice"]);
    // A page of this API may change things, one of cleartext may not.
    for (scheme, is_own) in [("https", true), ("http", false)] {
        let origin = format!("Origin: {scheme}://admin.example:{}", place.addr.port());
        let output = place.curl(
            Some("alice"),
            "/reload",
            &[&json[..], &["-H", &origin]].concat(),
        );
        assert_eq!(output.status.success(), is_own, "{output:?}");
    }
}

#[test]
fn a_changed_certificate_is_shown() {
    let place = Place::new();
    let _proxy = place.start();
    let alice = place.authority.issue(&["alice"]);
    let dialer = Dialer::with_identity(&place.authority, &alice);
    let renewed = place.authority.issue(&["admin.example"]);
    renewed.write(&place.directory, "admin");
    eventually("the new certificate is shown", || {
        let stream = dialer.connect(place.addr, "admin.example").unwrap();
        stream.conn.peer_certificates().unwrap()[0] == renewed.der()
    });
}

/// Where others may come from, a certificate will do in the place of a token, if nobody gets in without one.
#[test]
fn open_addresses_need_certificates_or_a_token() {
    let place = Place::new();
    let open: SocketAddr = ([0, 0, 0, 0], 8687).into();
    let rows = [
        ("", false),
        (
            ", client_ca = \"{certs}/ca.crt\", client_cert = \"optional\"",
            false,
        ),
        (", client_ca = \"{certs}/ca.crt\"", true),
    ];
    for (tls, is_right) in rows {
        let config = place.section(open, tls) + "[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n";
        let path = place.directory.write("config.toml", &config);
        let output = run(&["check", "--config", path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.success(), is_right, "{said}");
        let reason = "so it needs a token_file, or tls with a client_ca";
        assert_eq!(said.contains(reason), !is_right, "{said}");
    }
}

#[test]
fn the_command_line_shows_a_certificate() {
    let place = Place::new();
    let proxy = place.start();
    let config = proxy.directory.path().join("config.toml");
    let dir = place.dir();
    let ask = |files: &[(&str, String)], by_file: bool| {
        let mut command = command();
        command.envs(files.iter().map(|(name, value)| (name, value)));
        if by_file {
            command.arg("--config").arg(&config)
        } else {
            command.env("PALANTIR_ADMIN", place.addr.to_string())
        };
        let output = command.arg("diff").output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let ca = ("PALANTIR_CA", format!("{dir}/ca.crt"));
    let name = ("PALANTIR_NAME", "admin.example".to_owned());
    let cert = ("PALANTIR_CERT", format!("{dir}/alice.crt"));
    let key = ("PALANTIR_KEY", format!("{dir}/alice.key"));
    let whole = [ca.clone(), name.clone(), cert.clone(), key];
    for by_file in [true, false] {
        assert_eq!(ask(&whole, by_file), (Some(0), String::new()));
        assert_eq!(
            ask(&[ca.clone(), name.clone()], by_file).0,
            Some(3),
            "no certificate"
        );
        let (code, said) = ask(&[ca.clone(), name.clone(), cert.clone()], by_file);
        assert_eq!(code, Some(3));
        assert!(
            said.contains("$PALANTIR_CERT and $PALANTIR_KEY need each other"),
            "{said}"
        );
    }
    let (code, said) = ask(&whole[1..], true);
    assert_eq!(code, Some(3), "{said}");
    let unnamed = [whole[0].clone(), whole[2].clone(), whole[3].clone()];
    assert_eq!(
        ask(&unnamed, true).0,
        Some(3),
        "a certificate for another name"
    );
    // The authority of somebody else.
    let mut foreign = whole;
    foreign[0].1 = place
        .directory
        .write("other.crt", &Authority::new().pem())
        .display()
        .to_string();
    assert_eq!(ask(&foreign, true).0, Some(3));
}
