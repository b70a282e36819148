//! The cost of TLS per byte and per handshake, without a socket: records sealed and opened in memory, by AES-128-GCM.
//! Bound: the cipher itself takes three quarters of the time; most of the rest is two copies of a record, that rustls
//! makes.

use std::cell::RefCell;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::BytesCount;
use palantir::base::limits;
use palantir::net::tls::TlsRecords;
use palantir::net::{Block, Blocks};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

fn main() {
    // Enough for the vector units to wake up.
    divan::Divan::default()
        .sample_count(2_000)
        .config_with_args()
        .main();
}

const SIZES: [usize; 3] = [128, 16 << 10, 1 << 20];

#[divan::bench(args = SIZES)]
fn seal(bencher: Bencher, size: usize) {
    let (mut server, _) = connected(&configs());
    let (blocks, plain) = (Blocks::default(), vec![7; size]);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        for piece in plain.chunks(limits::TLS_PIECE_BYTES) {
            blocks.give(sealed(&mut server, piece, &blocks));
        }
    });
}

#[divan::bench(args = SIZES)]
fn open(bencher: Bencher, size: usize) {
    let (mut server, client) = connected(&configs());
    let client = RefCell::new(client);
    let (blocks, plain) = (Blocks::default(), vec![7; size]);
    let seal_all = || {
        let pieces = plain.chunks(limits::TLS_PIECE_BYTES);
        let seal = |piece| sealed(&mut client.borrow_mut(), piece, &blocks);
        pieces.map(seal).collect::<Vec<Block>>()
    };
    let mut into = Block::with_capacity(limits::RELAY_BLOCK_BYTES);
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(seal_all)
        .bench_local_refs(|pieces| {
            for mut raw in pieces.drain(..) {
                into.clear();
                server
                    .open(&mut raw, &mut into, limits::RELAY_BLOCK_BYTES)
                    .unwrap();
                blocks.give(raw);
            }
        });
}

/// Both sides together.
#[divan::bench]
fn handshake(bencher: Bencher) {
    let configs = configs();
    bencher.bench_local(|| connected(&configs));
}

fn sealed(records: &mut TlsRecords, plain: &[u8], blocks: &Blocks) -> Block {
    let mut block = match records.sealed_bytes(plain.len()) {
        ..=limits::BLOCK_BYTES => blocks.take(),
        _ => blocks.take_relay(),
    };
    records.seal(plain, &mut block).unwrap();
    block
}

type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

fn configs() -> Configs {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider: Arc<CryptoProvider> = Arc::new(provider);
    let made = rcgen::generate_simple_self_signed(["server.test".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// A server and a client that have shaken hands.
fn connected((server, client): &Configs) -> (TlsRecords, TlsRecords) {
    let name = ServerName::try_from("server.test").unwrap();
    let mut server = TlsRecords::server(server.clone()).unwrap();
    let mut client = TlsRecords::client(client.clone(), name).unwrap();
    advance(&mut client, &[]);
    while server.is_handshaking() || client.is_handshaking() {
        advance(&mut server, &client.replies());
        advance(&mut client, &server.replies());
    }
    (server, client)
}

fn advance(records: &mut TlsRecords, received: &[u8]) {
    let mut raw = Block::default();
    records.load(&mut raw);
    raw.extend(received);
    records.open(&mut raw, &mut Block::default(), 0).unwrap();
    records.keep(&raw);
}
