//! Our end of TLS against a blocking peer of rustls' own, over real sockets: one thread each.

mod handshake;
mod memory;
mod properties;
mod traffic;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData, SupportedProtocolVersion,
};

use crate::net::{
    Block, Blocks, Engine, Socket, Ticker, Timer, Timers, TlsFailure, Turn, Unasked, run, spawn,
};
use crate::shared::sockets::{CountedSocket, SocketSide};

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const BOTH: [&[&SupportedProtocolVersion]; 2] = [TLS12, TLS13];

/// A connection of a client as the runtime of this thread has it.
fn accepted_socket(accepted: TcpStream) -> Socket {
    let accepted = monoio::net::TcpStream::from_std(accepted).unwrap();
    Socket::new(accepted, CountedSocket::new(SocketSide::Accepted))
}

/// An authority, and what it has signed.
struct Pki {
    roots: Arc<RootCertStore>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Pki {
    fn new() -> Pki {
        Pki::of("an authority")
    }

    fn of(authority: &str) -> Pki {
        let mut params = CertificateParams::new([]).unwrap();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, authority);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            let key = PrivatePkcs8KeyDer::from(key.serialize_der());
            (certificate.der().clone(), PrivateKeyDer::from(key))
        };
        Pki {
            roots: Arc::new(roots),
            server: signed("server.test"),
            client: signed("client.test"),
        }
    }

    fn server_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let (certificate, key) = &self.server;
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .unwrap()
    }

    /// A server that lets in only whoever shows a certificate of the authority.
    fn strict_server_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let (certificate, key) = &self.server;
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider());
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .unwrap()
    }

    fn client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }

    fn known_client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let (certificate, key) = &self.client;
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
            .unwrap()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn server_name() -> ServerName<'static> {
    ServerName::try_from("server.test").unwrap()
}

/// The parts of a core that a test of our end works with.
struct Core {
    blocks: Blocks,
    timer: Timer,
}

/// Runs `ours` on a runtime of its own, with a connected socket; `peer` has the other end of it, in a thread.
fn meet<P: Send + 'static, O>(
    peer: impl FnOnce(TcpStream) -> P + Send + 'static,
    ours: impl AsyncFnOnce(Socket, &Core) -> O,
) -> (P, O) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nodelay(true).unwrap();
    let peer = thread::spawn(move || peer(stream));
    let ours = run(Engine::choose().unwrap().engine, async {
        let timers = Rc::new(Timers::default());
        let core = Core {
            blocks: Blocks::default(),
            timer: Timer::new(&timers),
        };
        core.timer.set(Duration::from_secs(20));
        spawn(async move {
            let ticker = Ticker::new().unwrap();
            while ticker.tick().await.is_ok() {
                timers.advance();
            }
        });
        let socket = accepted_socket(accepted);
        let came_to = ours(socket, &core).await;
        let turn = Turn::new().unwrap();
        for _ in 0..3 {
            turn.pass().await; // io_uring gives up waits and closes what was dropped in its next turns.
        }
        came_to
    });
    (peer.join().unwrap(), ours.unwrap())
}

impl Core {
    async fn accept(
        &self,
        socket: Socket,
        config: &Arc<ServerConfig>,
    ) -> Result<Socket, TlsFailure> {
        let received = Block::default();
        socket
            .accept_tls(config.clone(), received, &self.blocks, &self.timer)
            .await
    }

    async fn connect(
        &self,
        socket: Socket,
        config: &Arc<ClientConfig>,
    ) -> Result<Socket, TlsFailure> {
        socket
            .connect_tls(config.clone(), server_name(), &self.blocks, &self.timer)
            .await
    }

    /// Waits until something can be received, and receives at most `most` bytes of it.
    async fn receive(&self, socket: &Socket, most: usize) -> io::Result<Vec<u8>> {
        let mut block = Block::with_capacity(most);
        loop {
            socket.watch();
            let waited = self.timer.bound(|cx| socket.poll_readable(cx)).await;
            waited.map_err(|_| io::ErrorKind::TimedOut)?;
            match socket.receive(&mut block, most) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome.map(|_| block.filled().to_vec()),
            }
        }
    }

    /// Receives until `length` bytes or the end have come.
    async fn receive_exactly(&self, socket: &Socket, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            let piece = self.receive(socket, length - all.len()).await.unwrap();
            if piece.is_empty() {
                break;
            }
            all.extend(piece);
        }
        all
    }

    async fn send(&self, socket: &Socket, bytes: &[u8]) {
        let mut block = Block::with_capacity(bytes.len());
        block.extend(bytes);
        let sent = socket.send_all(&mut block, &self.timer).await;
        sent.unwrap().unwrap();
        assert!(block.is_empty());
        block.rewind();
        assert_eq!(block.filled(), bytes, "what was sent can be sent again");
    }
}

/// The peer's side of a connection, as a stream of plaintext.
struct Peer<C, S = TcpStream> {
    tls: C,
    stream: S,
}

type PeerClient = Peer<ClientConnection>;
type PeerServer = Peer<ServerConnection>;

fn peer_client(config: &Arc<ClientConfig>, stream: TcpStream) -> PeerClient {
    let tls = ClientConnection::new(config.clone(), server_name()).unwrap();
    Peer { tls, stream }
}

fn peer_server(config: &Arc<ServerConfig>, stream: TcpStream) -> PeerServer {
    let tls = ServerConnection::new(config.clone()).unwrap();
    Peer { tls, stream }
}

impl<C, D, S> Peer<C, S>
where
    C: std::ops::DerefMut<Target = ConnectionCommon<D>>,
    D: SideData,
    S: Read + Write,
{
    fn plain(&mut self) -> rustls::Stream<'_, C, S> {
        rustls::Stream::new(&mut self.tls, &mut self.stream)
    }

    fn handshake(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() || self.tls.wants_write() {
            self.tls.complete_io(&mut self.stream)?;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) {
        self.plain().write_all(bytes).unwrap();
        self.plain().flush().unwrap();
    }

    fn receive_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.plain().read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The bytes that come until the end, and whether the end was an orderly one.
    fn receive_all(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let outcome = self.plain().read_to_end(&mut bytes);
        (bytes, outcome.is_ok())
    }

    fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = self.tls.complete_io(&mut self.stream);
    }
}

/// Bytes that do not repeat soon.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9) >> 13) as u8)
        .collect()
}
