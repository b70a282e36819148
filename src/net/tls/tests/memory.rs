//! The memory that an idle connection costs. The bound is the product's, so the cost is measured in its tests: every
//! allocation, those of the cryptography in C included, which only the allocator of the process knows. Hence a process
//! of its own.

use std::process::Command;
use std::sync::Arc;

use super::*;

const CONNECTIONS: usize = 40;
const MOST_BYTES: usize = 12 << 10;
const ALONE: &str = "PALANTIR_TEST_ALONE";

#[test]
fn an_idle_connection_is_small() {
    if std::env::var_os(ALONE).is_some() {
        for versions in BOTH {
            let bytes = idle_bytes(versions);
            println!(
                "an idle connection of {:?} costs {bytes} bytes",
                versions[0].version
            );
            assert!((1_000..=MOST_BYTES).contains(&bytes), "{bytes}");
        }
        return;
    }
    let name = "net::tls::tests::memory::an_idle_connection_is_small";
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&alone.stdout).into_owned();
    assert!(alone.status.success() && told.contains("costs"), "{told}");
}

/// Bytes of a connection whose client has shown its certificate, asked, got its answer, and left without our noticing.
fn idle_bytes(versions: &[&'static SupportedProtocolVersion]) -> usize {
    let pki = Pki::new();
    let mut server = pki.strict_server_config(versions);
    server.alpn_protocols = vec![b"h2".to_vec()];
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let mut client = pki.known_client_config(versions);
    client.alpn_protocols = vec![b"h2".to_vec()];
    let (server, client) = (Arc::new(server), Arc::new(client));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    run(Engine::choose().unwrap().engine, async {
        let core = Core {
            blocks: Blocks::default(),
            timer: Timer::new(&Rc::default()),
        };
        let mut idle = Vec::with_capacity(CONNECTIONS + 1);
        idle.push(one_more(&listener, &server, &client, &core).await);
        let before = allocated();
        for _ in 0..CONNECTIONS {
            idle.push(one_more(&listener, &server, &client, &core).await);
        }
        (allocated() - before) / CONNECTIONS
    })
    .unwrap()
}

async fn one_more(
    listener: &TcpListener,
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    core: &Core,
) -> Socket {
    let (address, client) = (listener.local_addr().unwrap(), client.clone());
    let peer = thread::spawn(move || {
        let mut peer = peer_client(&client, TcpStream::connect(address).unwrap());
        peer.send(b"ping");
        peer.receive_exactly(4);
        peer
    });
    let accepted = listener.accept().unwrap().0;
    let socket = core
        .accept(accepted_socket(accepted), server)
        .await
        .unwrap();
    assert_eq!(core.receive_exactly(&socket, 4).await, b"ping");
    core.send(&socket, b"pong").await;
    socket.watch();
    drop(peer.join().unwrap());
    socket
}

/// Bytes that the process has allocated.
#[expect(
    unsafe_code,
    reason = "the figures of the allocator have no safe interface"
)]
fn allocated() -> usize {
    // SAFETY: plain call that reads the allocator's own figures.
    let figures = unsafe { libc::mallinfo2() };
    figures.uordblks + figures.hblkhd
}
