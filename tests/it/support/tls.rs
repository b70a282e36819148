//! TLS for tests: an authority that issues certificates, clients and backends that trust it (rustls), and OpenSSL.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256,
    PublicKeyData, SanType, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use super::h2::H2;
use super::origin::Origin;
use super::place::{Directory, free_addr};
use super::proxy::route;
use super::{Client, Link, PATIENCE, Proxy, eventually, metrics};

/// A client's end of a TLS connection.
pub type Secure = StreamOwned<ClientConnection, TcpStream>;
/// A backend's end.
pub type Served = StreamOwned<ServerConnection, TcpStream>;

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own, or one's certificates would seem forged to another, not foreign.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", NEXT.fetch_add(1, Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate for these names or addresses (ECDSA), whose subject is the first.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, KeyPair::generate().unwrap())
    }

    /// Issues a certificate with an RSA key.
    pub fn issue_rsa(&self, names: &[&str]) -> Pair {
        self.issue_with(names, KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
    }

    /// Issues a certificate that holds until this instant, in whole seconds.
    pub fn issue_until(&self, names: &[&str], end: SystemTime) -> Pair {
        let end = end.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let end = date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
        let key = KeyPair::generate().unwrap();
        self.issue_changed(names, key, |params| params.not_after = end)
    }

    fn issue_with(&self, names: &[&str], key: KeyPair) -> Pair {
        self.issue_changed(names, key, |_| {})
    }

    fn issue_changed(
        &self,
        names: &[&str],
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = Default::default();
        params
            .distinguished_name
            .push(DnType::CommonName, &names[0]);
        change(&mut params);
        let cert = params.signed_by(&key, &self.0).unwrap();
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate with this common name, if any, and these other names: what clients have.
    pub fn issue_client(&self, subject: Option<&str>, names: Vec<SanType>) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name = Default::default();
        if let Some(subject) = subject {
            params.distinguished_name.push(DnType::CommonName, subject);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Signs a certificate for another party's key, as PEM.
    pub fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> String {
        params.signed_by(key, &self.0).unwrap().pem()
    }

    /// The authority's own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

impl Pair {
    /// Writes both files and gives them as TOML: `{ cert = …, key = … }`.
    pub fn write(&self, directory: &Directory, name: &str) -> String {
        let cert = directory.write(&format!("{name}.crt"), &self.cert);
        let key = directory.write(&format!("{name}.key"), &self.key);
        format!("{{ cert = {cert:?}, key = {key:?} }}")
    }

    fn read(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (vec![cert], key)
    }

    /// The certificate as it goes over the wire.
    pub fn der(&self) -> CertificateDer<'static> {
        self.read().0.remove(0)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// How a client speaks TLS. What one of them has resumable, it keeps.
#[derive(Clone)]
pub struct Dialer(pub ClientConfig);

impl Dialer {
    /// Trusts `authority` and speaks these versions.
    pub fn new(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Dialer {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        Dialer(config)
    }

    /// A dialer with a certificate of its own.
    pub fn with_identity(authority: &Authority, pair: &Pair) -> Dialer {
        Dialer::with_identity_over(authority, pair, BOTH)
    }

    /// A dialer with a certificate of its own, over these versions of TLS.
    pub fn with_identity_over(
        authority: &Authority,
        pair: &Pair,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Dialer {
        let (chain, key) = pair.read();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_client_auth_cert(chain, key)
            .unwrap();
        Dialer(config)
    }

    /// A copy of the dialer that offers these protocols.
    pub fn offering(&self, alpn: &[&str]) -> Dialer {
        let mut config = self.0.clone();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Dialer(config)
    }

    /// Makes a handshake with the server of this name. Errors: why there is none; over TLS 1.3 what the server thinks
    /// of the client's certificate only shows when something is received.
    pub fn connect(&self, addr: SocketAddr, name: &str) -> io::Result<Secure> {
        self.connect_behind(b"", addr, name)
    }

    /// Connects with some bytes before the first message, sent in one piece with it.
    pub fn connect_behind(
        &self,
        before: &[u8],
        addr: SocketAddr,
        name: &str,
    ) -> io::Result<Secure> {
        let mut stream = Client::try_connect(addr)?.stream;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.0.clone()), name).unwrap();
        let mut first = before.to_vec();
        connection.write_tls(&mut first)?;
        stream.write_all(&first)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// A client of HTTP/1.1.
    #[track_caller]
    pub fn client(&self, addr: SocketAddr, name: &str) -> Client<Secure> {
        Client::over(self.connect(addr, name).expect("a handshake"))
    }

    /// A client of HTTP/2.
    #[track_caller]
    pub fn h2(&self, addr: SocketAddr, name: &str) -> H2<Secure> {
        let dialer = self.offering(&["h2"]);
        let mut client = H2::over(dialer.connect(addr, name).expect("a handshake"));
        client.greet(&[]);
        client
    }

    /// Why there is no connection: the handshake fails, or the first request on it. `None`: there is one.
    #[track_caller]
    pub fn refusal(&self, addr: SocketAddr, name: &str) -> Option<String> {
        let refused = self.connect(addr, name).and_then(|mut stream| {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")?;
            stream.read(&mut [0; 1])
        });
        refused.err().map(|error| error.to_string())
    }
}

/// Whether the proxy said that it has sent everything.
pub fn ended_orderly(stream: &mut Secure) -> bool {
    let state = stream.conn.process_new_packets();
    state.is_ok_and(|state| state.peer_has_closed())
}

/// Says that nothing more will be sent.
pub fn finish_sending(stream: &mut Served) {
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// How a backend speaks TLS.
#[derive(Clone)]
pub struct Server(pub ServerConfig);

impl Server {
    /// Shows this certificate.
    pub fn new(pair: &Pair) -> Server {
        let (chain, key) = pair.read();
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(BOTH)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Server(config)
    }

    /// A server whose clients must have a certificate of this authority.
    pub fn for_clients_of(authority: &Authority, pair: &Pair) -> Server {
        Server::verifying(pair, verifier(authority))
    }

    /// A server whose clients may have a certificate of this authority.
    pub fn asking_for_clients_of(authority: &Authority, pair: &Pair) -> Server {
        Server::verifying(pair, verifier(authority).allow_unauthenticated())
    }

    fn verifying(pair: &Pair, verifier: ClientCertVerifierBuilder) -> Server {
        let (chain, key) = pair.read();
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(BOTH)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        Server(config)
    }

    /// A copy of the server that chooses among these protocols.
    pub fn choosing(mut self, alpn: &[&str]) -> Server {
        self.0.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Answers the handshake on a connection; `None`: there is none.
    pub fn accept(&self, link: &Link) -> Option<Link<Served>> {
        let mut stream = link.stream.try_clone().unwrap();
        let mut connection = ServerConnection::new(Arc::new(self.0.clone())).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).ok()?;
        }
        Some(link.layered(StreamOwned::new(connection, stream)))
    }

    /// A backend that speaks TLS.
    pub fn start(self, serve: impl Fn(&mut Link<Served>) + Send + Sync + 'static) -> Origin {
        Origin::start(move |link| {
            if let Some(mut link) = self.accept(link) {
                serve(&mut link);
                finish_sending(&mut link.stream);
            }
        })
    }
}

/// Runs `openssl s_client` for a server, with nothing to say, and gives what it tells of the handshake.
pub fn s_client(addr: SocketAddr, arguments: &[&str]) -> Output {
    let patience = PATIENCE.as_secs().to_string();
    Command::new("timeout")
        .args([
            &patience,
            "openssl",
            "s_client",
            "-connect",
            &addr.to_string(),
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl, which tests/all.sh installs")
}

fn verifier(authority: &Authority) -> ClientCertVerifierBuilder {
    WebPkiClientVerifier::builder_with_provider(authority.roots(), provider())
}

/// A proxy with a listener that speaks TLS, beside the one in cleartext.
pub struct Front {
    pub proxy: Proxy,
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub authority: Authority,
    /// Where the certificates are.
    pub directory: Directory,
}

/// The names that the certificate of a [`Front`] is for.
pub const NAMES: [&str; 3] = ["a.example", "b.example", "test"];

impl Front {
    /// One worker and one backend. `tls`: further keys of the listener's `tls`.
    #[track_caller]
    pub fn to(origin: &Origin, tls: &str) -> Front {
        Front::start(
            tls,
            &("workers = 1\n".to_owned() + &route("/", &[origin.addr])),
        )
    }

    /// Starts the proxy likewise with any configuration. `{certs}` in it stands for the directory of the certificates,
    /// where `ca.crt` is the authority's and `a.crt` the listener's.
    #[track_caller]
    pub fn start(tls: &str, config: &str) -> Front {
        let (directory, authority) = (Directory::new(), Authority::new());
        directory.write("ca.crt", &authority.pem());
        let pair = authority.issue(&NAMES).write(&directory, "a");
        let (addr, admin) = (free_addr(), free_addr());
        let certificates = if tls.contains("certificates =") {
            String::new()
        } else {
            format!("certificates = [{pair}]\n")
        };
        let (first, rest) = config.split_at(config.find('[').unwrap());
        let config = format!(
            "{first}[admin]\nlisten_addr = \"{admin}\"\n\
             [[listeners]]\naddr = \"{addr}\"\n[listeners.tls]\n{certificates}{tls}\n{rest}"
        );
        let config = config.replace("{certs}", directory.path().to_str().unwrap());
        let proxy = Proxy::start(&config);
        Front {
            proxy,
            addr,
            admin,
            authority,
            directory,
        }
    }

    /// A client that trusts it.
    pub fn dialer(&self) -> Dialer {
        Dialer::new(&self.authority, BOTH)
    }

    /// A connection of HTTP/1.1 for `a.example`.
    #[track_caller]
    pub fn client(&self) -> Client<Secure> {
        self.dialer().client(self.addr, "a.example")
    }

    /// A connection of HTTP/2 for `test`.
    #[track_caller]
    pub fn h2(&self) -> H2<Secure> {
        self.dialer().h2(self.addr, "test")
    }

    /// How many connections ended for this reason.
    #[track_caller]
    pub fn failures(&self, reason: &str) -> u64 {
        connection_failures(self.admin, reason)
    }

    /// Waits until as many did.
    #[track_caller]
    pub fn wait_for_failures(&self, reason: &str, count: u64) {
        eventually(&format!("{count} of {reason} are counted"), || {
            self.failures(reason) == count
        });
    }
}

/// How many clients' connections ended for this reason, as `/metrics` tells.
#[track_caller]
pub fn connection_failures(admin: SocketAddr, reason: &str) -> u64 {
    let text = metrics(admin);
    let begin = format!("palantir_connection_failures_total{{reason=\"{reason}\"}} ");
    let count = text.lines().find_map(|line| line.strip_prefix(&begin));
    let count = count.unwrap_or_else(|| panic!("no reason {reason} in {text}"));
    count.parse().unwrap()
}
