//! Large bodies: the proxy holds little of them, and a slow side stops the fast one.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::head::Head;
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Client, Link, Origin, PATIENCE, Proxy, eventually, get, when_still};

const MIB: u64 = 1 << 20;

/// The byte that stands at this place of every test body.
fn pattern(place: u64) -> u8 {
    (place % 251) as u8
}

/// A block whose repetition is the pattern.
fn pattern_block() -> Vec<u8> {
    (0..251 * 1024).map(pattern).collect()
}

/// Sends this many bytes of the pattern.
fn pour(mut sink: impl Write, total: u64) -> std::io::Result<()> {
    let block = pattern_block();
    let mut left = total as usize;
    while left > 0 {
        let part = block.len().min(left);
        sink.write_all(&block[..part])?;
        left -= part;
    }
    Ok(())
}

/// Reads this many bytes and checks each.
#[track_caller]
fn drain(mut source: impl Read, total: u64) {
    let expected = pattern_block();
    let mut block = vec![0; 64 << 10];
    let mut place = 0;
    while place < total {
        let most = block.len().min((total - place) as usize);
        let count = source.read(&mut block[..most]).expect("the body goes on");
        assert_ne!(count, 0, "the body ended after {place} bytes");
        let from = (place % expected.len() as u64) as usize;
        let first = count.min(expected.len() - from);
        assert!(
            block[..first] == expected[from..][..first],
            "wrong bytes near {place}"
        );
        assert!(
            block[first..count] == expected[..count - first],
            "wrong bytes near {place}"
        );
        place += count as u64;
    }
}

/// An origin that sends this many bytes to whoever asks.
fn pouring(total: u64) -> Origin {
    Origin::start(move |link| {
        let block = pattern_block();
        while let Some(request) = link.request() {
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"
            ));
            if request.head.first_line().starts_with("HEAD") {
                continue;
            }
            let mut left = total as usize;
            while left > 0 {
                let part = block.len().min(left);
                if !link.try_send(&block[..part]) {
                    return;
                }
                left -= part;
            }
        }
    })
}

/// Reads a body of this many bytes from the proxy; false if it ends early.
fn took_pattern(link: &mut Link, total: u64) -> bool {
    let block = pattern_block();
    let mut left = total as usize;
    while left > 0 {
        let part = block.len().min(left);
        let Some(bytes) = link.bytes(part) else {
            return false;
        };
        assert!(bytes == block[..part], "wrong bytes with {left} to come");
        left -= part;
    }
    true
}

/// The proxy's peak memory after its workers have served something: what follows is the transfer's own.
#[track_caller]
fn memory_before(proxy: &Proxy) -> u64 {
    let mut clients: Vec<_> = (0..16).map(|_| proxy.client()).collect();
    for client in &mut clients {
        let answer = client.ask("HEAD /warm HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.status(), 200);
    }
    proxy.peak_memory()
}

/// Fails if the proxy has taken more memory than a few blocks for its transfer.
#[track_caller]
fn assert_little_memory(proxy: &Proxy, before: u64) {
    let grown = proxy.peak_memory() - before;
    assert!(grown < 16 * MIB, "memory grew by {grown} bytes");
}

/// Answers a request of [`memory_before`].
fn warmed(link: &mut Link, head: &Head) -> bool {
    let is_warming = head.first_line().starts_with("HEAD /warm ");
    if is_warming {
        link.send(ok(""));
    }
    is_warming
}

/// Reads up to the end of the head, and no further.
fn skip_head(client: &mut Client) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 200 "),
        "{:?}",
        String::from_utf8_lossy(&head)
    );
}

#[test]
fn a_gibibyte_passes_through_little_memory() {
    let total = 1024 * MIB;
    let origin = pouring(total);
    let proxy = Proxy::to(&[origin.addr]);
    let before = memory_before(&proxy);
    let mut client = proxy.client();
    client.send(get("/"));
    skip_head(&mut client);
    drain(&client.stream, total);
    assert_little_memory(&proxy, before);
}

#[test]
fn an_upload_passes_through_little_memory() {
    let total = 256 * MIB;
    let origin = Origin::start(move |link| {
        let Some(head) = link.head() else { return };
        if !warmed(link, &head) && took_pattern(link, total) {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let before = memory_before(&proxy);
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {total}\r\n\r\n"
    ));
    pour(&client.stream, total).unwrap();
    assert_eq!(client.answer().text(), "done");
    assert_little_memory(&proxy, before);
}

#[test]
fn a_slow_reader_stops_a_fast_backend() {
    let total = 200 * MIB;
    let origin = pouring(total);
    let proxy = Proxy::to(&[origin.addr]);
    let before = memory_before(&proxy);
    let mut client = proxy.client();
    client.send(get("/"));
    skip_head(&mut client);
    // Bytes that the kernel buffers on both connections may be on their way, the rest may not.
    let sent = when_still(|| origin.sent());
    assert!(
        sent < 64 * MIB,
        "the backend could send {sent} bytes to a client that reads nothing"
    );
    assert_little_memory(&proxy, before);
    drain(&client.stream, total);
    assert_eq!(
        client.ask(get("/next").replace("GET", "HEAD")).status(),
        200
    );
}

#[test]
fn a_slow_backend_stops_a_fast_client() {
    let total = 200 * MIB;
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |link| {
        let Some(head) = link.head() else { return };
        if !warmed(link, &head) {
            let _ = wait.lock().unwrap().recv();
            assert!(took_pattern(link, total), "the body ended early");
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let before = memory_before(&proxy);
    let mut client = proxy.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {total}\r\n\r\n"
    ));
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = sent.clone();
    let mut sink = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let block = pattern_block();
        let mut left = total as usize;
        while left > 0 {
            let part = block.len().min(left);
            sink.write_all(&block[..part]).unwrap();
            counter.fetch_add(part as u64, std::sync::atomic::Ordering::SeqCst);
            left -= part;
        }
    });
    let accepted = when_still(|| sent.load(std::sync::atomic::Ordering::SeqCst));
    assert!(
        accepted < 64 * MIB,
        "the client could send {accepted} bytes to a backend that reads nothing"
    );
    assert_little_memory(&proxy, before);
    go_on.send(()).unwrap();
    sending.join().unwrap();
    assert_eq!(client.answer().text(), "done");
}

#[test]
fn many_transfers_at_once_arrive_unmixed() {
    let total = 4 * MIB;
    let origin = pouring(total);
    let proxy = Proxy::to(&[origin.addr]);
    let clients: Vec<_> = (0..24)
        .map(|_| {
            let mut client = proxy.client();
            client.send(get("/"));
            client
        })
        .collect();
    let reading: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                skip_head(&mut client);
                drain(&client.stream, total);
            })
        })
        .collect();
    for reader in reading {
        reader.join().unwrap();
    }
}

/// A client may send bytes behind its last request, such as a line end: closing the connection with these bytes unread
/// would reset it, and take from the client what it has not received yet.
#[test]
fn bytes_behind_the_last_request_cost_nothing_of_its_answer() {
    const BYTES: usize = 3_000_000;
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
            ));
            link.send(vec![b'x'; BYTES]);
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    for behind in ["", "\r\n", "GET / HTTP/1.1\r\nHost: test\r\n\r\n"] {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        // The relay waits for the client by now, and receives nothing from it.
        when_still(|| origin.sent());
        client.send(behind);
        let received = client.rest();
        assert_eq!(received.len(), BYTES, "{behind:?}");
    }
}

/// The end of a connection that is kept, because the client asks for nothing more, costs no byte of an answer either.
#[test]
fn the_end_of_an_idle_connection_costs_nothing_of_its_last_answer() {
    // The proxy's kernel takes as many however little memory it has, and the client's, which is to take few, does not.
    const BYTES: usize = 200_000;
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
            ));
            link.send(vec![b'x'; BYTES]);
        }
    });
    let timeouts = "[timeouts]\nclient_idle = 1\n";
    let proxy = Proxy::start(&(timeouts.to_owned() + &route("/", &[origin.addr])));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&proxy.addr.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client::over(TcpStream::from(socket));
    client.send(get("/"));
    assert_eq!(client.head().status(), 200);
    // Bytes that come too late are not awaited for long, so the client's bytes have to come soon after the end.
    let own = client.stream.local_addr().unwrap();
    eventually("the proxy has closed the connection", || {
        is_closed(proxy.addr, own)
    });
    client.try_send(get("/"));
    assert_eq!(client.bytes(BYTES).len(), BYTES);
}

/// Whether one end of a connection has said that nothing more will come: the other end learns that behind all bytes.
fn is_closed(end: SocketAddr, other: SocketAddr) -> bool {
    let hex = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(ip.octets()),
            addr.port()
        ),
        IpAddr::V6(_) => panic!("IPv4"),
    };
    const ESTABLISHED: &str = "01";
    let prefix = format!("{} {} ", hex(end), hex(other));
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let states = sockets
        .lines()
        .filter_map(|line| line.split_once(": ")?.1.strip_prefix(&prefix));
    !states
        .into_iter()
        .any(|state| state.starts_with(ESTABLISHED))
}
