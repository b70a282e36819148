//! Pebble, a real authority (RFC 8555) that Let's Encrypt tests clients with, and the name server that it asks.

use std::fs::File;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::eventually;
use super::place::{Directory, free_addr};
use super::proxy::end_with_this_thread;

/// The key of a customer, as Pebble and palantir are told it.
pub const CUSTOMER_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// The habits of an authority.
pub struct Habits {
    /// Seconds for which its certificates are good.
    pub lifetime: u32,
    /// Percent of requests that are refused once, for no fault of theirs (`badNonce`).
    pub refused_nonces: u32,
    /// Whether it wants to know its customers.
    pub wants_binding: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Habits {
            lifetime: 90 * 86_400,
            refused_nonces: 0,
            wants_binding: false,
        }
    }
}

/// An authority that runs or is about to; ended when dropped. Every name is this machine's for it.
pub struct Pebble {
    pub directory: Directory,
    /// Where it comes to ask for http-01, and for tls-alpn-01.
    pub http: SocketAddr,
    pub tls: SocketAddr,
    addr: SocketAddr,
    desk: SocketAddr,
    names: SocketAddr,
    refused_nonces: u32,
    children: Vec<Child>,
}

impl Pebble {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub fn start(habits: Habits) -> Pebble {
        let mut pebble = Pebble::prepare(habits);
        pebble.run();
        pebble
    }

    /// Says where it will be.
    #[track_caller]
    pub fn prepare(habits: Habits) -> Pebble {
        let directory = Directory::new();
        let (http, tls, addr, desk, names) = (
            free_addr(),
            free_addr(),
            free_addr(),
            free_addr(),
            free_addr(),
        );
        write_own_certificate(&directory, addr);
        let dir = directory.path().display();
        let config = format!(
            r#"{{"pebble": {{
                "listenAddress": "{addr}", "managementListenAddress": "{desk}",
                "certificate": "{dir}/own.crt", "privateKey": "{dir}/own.key",
                "httpPort": {}, "tlsPort": {}, "ocspResponderURL": "",
                "certificateValidityPeriod": {},
                "externalAccountBindingRequired": {},
                "externalAccountMACKeys": {{"customer": "{CUSTOMER_KEY}"}}
            }}}}"#,
            http.port(),
            tls.port(),
            habits.lifetime,
            habits.wants_binding,
        );
        directory.write("pebble.json", &config);
        Pebble {
            directory,
            http,
            tls,
            addr,
            desk,
            names,
            refused_nonces: habits.refused_nonces,
            children: Vec::new(),
        }
    }

    /// Starts it, with nothing remembered of an earlier run, and waits until it answers.
    #[track_caller]
    pub fn run(&mut self) {
        let names = self.names.to_string();
        let desk = free_addr().to_string();
        let ip = self.http.ip().to_string();
        let mut server = Command::new("pebble-challtestsrv");
        server.args(["-dns01", &names, "-management", &desk, "-defaultIPv4", &ip]);
        server.args([
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ]);
        self.spawn(server, "names.log");
        eventually("the name server listens", || {
            UdpSocket::bind(self.names).is_err()
        });
        let mut pebble = Command::new("pebble");
        pebble
            .arg("-config")
            .arg(self.directory.path().join("pebble.json"));
        pebble.args(["-strict", "-dnsserver", &names]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        pebble.env("PEBBLE_AUTHZREUSE", "0");
        pebble.env("PEBBLE_WFE_NONCEREJECT", self.refused_nonces.to_string());
        self.spawn(pebble, "pebble.log");
        for addr in [self.addr, self.desk] {
            eventually("pebble accepts", || TcpStream::connect(addr).is_ok());
        }
    }

    /// Ends it; it remembers nothing.
    pub fn end(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn spawn(&mut self, mut command: Command, log: &str) {
        let log = File::create(self.directory.path().join(log)).unwrap();
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log);
        end_with_this_thread(&mut command);
        let child = command.spawn();
        self.children
            .push(child.expect("the tests need pebble as an authority; tests/all.sh installs it"));
    }

    /// The section `[acme]` for it, without the folder.
    pub fn section(&self) -> String {
        let (addr, dir) = (self.addr, self.directory.path().display());
        format!(
            "[acme]\ndirectory = \"https://{addr}/dir\"\nca = \"{dir}/ca.crt\"\n\
             contacts = [\"mailto:ops@example.com\"]\nterms_of_service_agreed = true\n"
        )
    }

    /// The roots of a client that believes the authority.
    #[track_caller]
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut curl = Command::new("curl");
        curl.arg("--silent")
            .arg("--cacert")
            .arg(self.directory.path().join("ca.crt"));
        curl.arg(format!("https://{}/roots/0", self.desk));
        let said = curl.output().expect("run curl");
        let root = CertificateDer::from_pem_slice(&said.stdout).expect("pebble gives its root");
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        Arc::new(roots)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.end();
    }
}

/// Writes the certificate that the directory itself shows, by an authority of the test's own.
fn write_own_certificate(directory: &Directory, addr: SocketAddr) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "directory's authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![addr.ip().to_string()]).unwrap();
    let own = params.signed_by(&key, &authority).unwrap();
    directory.write("ca.crt", &authority.pem());
    directory.write("own.crt", &own.pem());
    directory.write("own.key", &key.serialize_pem());
}
