//! A certificate for this test process's addresses that real programs can be told to trust, and listeners that have it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use rcgen::{CertificateParams, KeyPair};

use super::h2::H2;
use super::place::{Directory, free_addr, listen};
use super::proxy::{Proxy, command, end_with_this_thread};

/// A certificate signed by itself, and its key, as files.
pub struct Trusted {
    _directory: Directory,
    cert: PathBuf,
    key: PathBuf,
}

impl Trusted {
    pub fn new() -> Trusted {
        let directory = Directory::new();
        // All addresses that a test process takes have the same IP.
        let names = ["localhost".to_owned(), free_addr().ip().to_string()];
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names).unwrap();
        let cert = cert.self_signed(&key).unwrap();
        Trusted {
            cert: directory.write("cert.pem", &cert.pem()),
            key: directory.write("key.pem", &key.serialize_pem()),
            _directory: directory,
        }
    }

    /// The path of the certificate, which is also the authority to believe.
    pub fn cert(&self) -> &str {
        self.cert.to_str().unwrap()
    }

    pub fn key(&self) -> &str {
        self.key.to_str().unwrap()
    }

    /// A proxy whose clients come with TLS; `routes` is the rest of its configuration.
    #[track_caller]
    pub fn proxy(&self, routes: &str) -> Proxy {
        let addr = free_addr();
        let (cert, key) = (self.cert(), self.key());
        let config = format!(
            "[[listeners]]\naddr = \"{addr}\"\n\
             tls = {{ certificates = [{{ cert = {cert:?}, key = {key:?} }}] }}\n{routes}"
        );
        let proxy = Proxy::launch(command(), addr, &config);
        proxy.wait_until_it_accepts();
        proxy
    }

    /// An HTTP/2 connection to such a proxy, through OpenSSL.
    #[track_caller]
    pub fn h2(&self, proxy: &Proxy) -> H2 {
        let listener = listen(free_addr());
        let between = listener.local_addr().unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-nocommands", "-alpn", "h2"]);
        openssl.args(["-verify_return_error", "-CAfile", self.cert()]);
        openssl.args(["-connect", &proxy.addr.to_string()]);
        openssl.stderr(Stdio::null());
        let client = thread::spawn(move || H2::start(between, &[]));
        let (link, _) = listener.accept().unwrap();
        end_with_this_thread(&mut openssl);
        let output = link.try_clone().unwrap();
        openssl.stdin(Stdio::from(std::os::fd::OwnedFd::from(link)));
        openssl.stdout(Stdio::from(std::os::fd::OwnedFd::from(output)));
        // The process of openssl ends with its connection.
        let mut running = openssl.spawn().expect("start openssl");
        thread::spawn(move || running.wait());
        client.join().expect("HTTP/2 over TLS")
    }
}
