//! Clients that send or read a few bytes per second for long are cut. A client that waits for somebody else is not.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::h2::H2;
use crate::support::h2::frame::{self, code, flag, get, kind, post, setting};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, list, route};
use crate::support::tls::{Authority, BOTH, Dialer};
use crate::support::{Client, Link, Origin, Proxy, eventually, metrics};

const PAUSE: Duration = Duration::from_millis(100);
/// Half a second more than the grace of the listener below.
const LONG: Duration = Duration::from_millis(1_500);
const PATIENT: &str =
    "[timeouts]\nclient_body = 600\nclient_idle = 600\nclient_stream_stall = 600\n";

/// A proxy whose one listener grants a second of grace. `listener` are further keys of that listener.
pub(super) fn proxy(listener: &str, routes: &str) -> (Proxy, SocketAddr) {
    let (addr, admin) = (free_addr(), free_addr());
    let config = format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{addr}\"\n\
         min_rate_grace = 1\n{listener}\n{PATIENT}{routes}"
    );
    let proxy = Proxy::launch(command(), addr, &config);
    proxy.wait_until_it_accepts();
    (proxy, admin)
}

fn counting(link: &mut Link) {
    while let Some(request) = link.request() {
        link.send(ok(&request.body.len().to_string()));
    }
}

#[track_caller]
pub(super) fn is_counted(admin: SocketAddr, reason: &str) {
    let reason = format!("reason=\"{reason}\"");
    eventually("the reason is counted", || {
        let metrics = metrics(admin);
        let mut lines = metrics.lines().filter(|line| line.contains(&reason));
        lines.any(|line| !line.ends_with(" 0"))
    });
}

/// Sends a piece every tenth of a second until the connection is closed, which must not happen at once. Returns the
/// status of the answer.
#[track_caller]
fn trickle<S: Read + Write>(mut client: Client<S>, head: &str, piece: &str) -> u16 {
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{head}\r\n\r\n"));
    let begun = Instant::now();
    while client.try_send(piece) {
        sleep(PAUSE);
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    client.answer().status()
}

#[test]
fn a_body_that_trickles_in_is_refused() {
    let origin = Origin::start(counting);
    let (proxy, admin) = proxy("", &route("/", &[origin.addr]));
    let cases = [
        ("Content-Length: 100000", "x"),
        ("Transfer-Encoding: chunked", "1\r\nx\r\n"),
    ];
    let clients = cases.map(|(head, piece)| {
        let client = proxy.client();
        std::thread::spawn(move || trickle(client, head, piece))
    });
    for client in clients {
        assert_eq!(client.join().unwrap(), 408);
    }
    is_counted(admin, "body_too_slow");
}

#[test]
fn a_stream_whose_body_trickles_in_is_refused_alone() {
    let origin = Origin::start(counting);
    let (proxy, _) = proxy("", &route("/", &[origin.addr]));
    let mut client = proxy.h2();
    let [slow, living] = [(); 2].map(|()| client.begin(&post("/", &[]), false));
    let begun = Instant::now();
    while !client.answers.contains_key(&slow) {
        client.body(slow, b"x", false);
        client.body(living, &[b'x'; 5_000], false);
        client.is_alive();
        sleep(PAUSE);
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    client.body(living, b"", true);
    assert_eq!(client.answer(living).status(), 200);
    assert_eq!(client.answer(slow).status(), 408);
    assert_eq!(client.goaways, []);
}

#[test]
fn a_body_that_trickles_in_over_tls_is_refused() {
    let origin = Origin::start(counting);
    let (directory, authority) = (Directory::new(), Authority::new());
    let pair = authority.issue(&["test"]).write(&directory, "a");
    let tls = format!("tls = {{ certificates = [{pair}] }}");
    let (proxy, admin) = proxy(&tls, &route("/", &[origin.addr]));
    let mut client = Dialer::new(&authority, BOTH).client(proxy.addr, "test");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
    while client.try_send("x") {
        sleep(PAUSE);
    }
    is_counted(admin, "body_too_slow");
}

/// A client on a slow line sends many bodies at once. Each of them is slow, but the client is not: it is eight times as
/// fast as it must be, so that it meets the rate on a busy machine, too.
#[test]
fn streams_that_share_a_thin_line_are_not_too_slow() {
    const STREAMS: usize = 100;
    let origin = Origin::start(counting);
    let (proxy, _) = proxy("", &route("/", &[origin.addr]));
    let mut client = proxy.h2();
    let streams: Vec<u32> = (0..STREAMS)
        .map(|_| client.begin(&post("/", &[]), false))
        .collect();
    for _ in 0..40 {
        for stream in &streams {
            client.body(*stream, &[b'x'; 20], false);
        }
        client.is_alive();
        sleep(PAUSE);
    }
    for stream in streams {
        client.body(stream, b"", true);
        assert_eq!(client.answer(stream).text(), "800");
    }
}

/// A client is not cut if it is fast enough on average, if its backend is slow, or if the listener allows it to be
/// slow.
#[test]
fn who_is_not_too_slow_is_left_alone() {
    let origin = Origin::start(counting);
    let late = Origin::start(|link| {
        if let Some(head) = link.head() {
            sleep(LONG);
            let length = link.body_of(head).map_or(0, |request| request.body.len());
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
            assert!(length > 0);
            for _ in 0..20 {
                sleep(PAUSE);
                link.send("x");
            }
        }
    });
    let routes = route("/", &[origin.addr]) + &route("/late", &[late.addr]);
    let (proxy, _) = proxy("", &routes);
    let fast = "x".repeat(5_000);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 150000\r\n\r\n");
    let mut waiting = proxy.client();
    waiting.send("POST /late HTTP/1.1\r\nHost: test\r\nContent-Length: 20000000\r\n\r\n");
    waiting.send("x".repeat(100));
    for _ in 0..30 {
        client.send(&fast);
        sleep(PAUSE);
    }
    assert_eq!(client.answer().text(), "150000");
    waiting.send("x".repeat(20_000_000 - 100));
    assert_eq!(waiting.answer().text().len(), 20);
}

#[test]
fn slowness_that_is_allowed_is_not_measured() {
    let origin = Origin::start(counting);
    let (proxy, _) = proxy("min_rate_bytes = 0", &route("/", &[origin.addr]));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 25\r\n\r\n");
    for _ in 0..25 {
        client.send("x");
        sleep(PAUSE);
    }
    assert_eq!(client.answer().text(), "25");
}

/// A streaming call may send little, and so may a source of server-sent events.
#[test]
fn streams_of_messages_have_no_least_rate() {
    let calls = Origin::start(|link| {
        let mut backend = crate::support::h2::answering::Answering::over(&mut link.stream);
        while let Some((stream, _)) = backend.request() {
            let begun = Instant::now();
            while begun.elapsed() < LONG && backend.pump() {}
            backend.answer(stream, "called");
        }
    });
    let events = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n");
            for _ in 0..25 {
                link.send("data: x\n\n");
                sleep(PAUSE);
            }
        }
    });
    let routes = format!(
        "[[pools]]\nname = \"calls\"\nprotocol = \"h2\"\nbackends = {}\n[[routes]]\nprefix = \"/call\"\n\
         pool = \"calls\"\n{}",
        list(&[calls.addr]),
        route("/events", &[events.addr])
    );
    let (proxy, _) = proxy("", &routes);
    let mut client = proxy.h2();
    let call = client.begin(
        &post("/call", &[("content-type", "application/grpc")]),
        false,
    );
    let windows = client.begin(&get("/events", &[]), true);
    for _ in 0..25 {
        client.body(call, b"x", false);
        sleep(PAUSE);
    }
    let answer = client.answer(windows);
    assert!(answer.complete && answer.body.len() == 25 * 9);
    client.body(call, b"", true);
    let answer = client.answer(call);
    assert_eq!((answer.status(), answer.reset), (200, None));
}

/// Makes the kernel buffer as little as possible for a client that does not read.
pub(super) fn narrow(socket: &impl AsRawFd) {
    let bytes: libc::c_int = 2048;
    // SAFETY: the call sets an option on a live descriptor from a live integer.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    assert_eq!(done, 0, "SO_RCVBUF");
}

pub(super) fn connections(admin: SocketAddr) -> bool {
    let metrics = metrics(admin);
    let mut lines = metrics.lines();
    lines.any(|line| line.starts_with("palantir_client_connections{") && !line.ends_with(" 0"))
}

/// The kernel of a client acknowledges bytes in large steps, between which much time passes.
#[test]
fn an_answer_that_is_read_too_slowly_is_cut() {
    let large = Origin::saying(&"x".repeat(20 << 20));
    let small = Origin::saying(&"x".repeat(400_000));
    let routes = route("/large", &[large.addr]) + &route("/small", &[small.addr]);
    let (proxy, admin) = proxy("min_rate_bytes = 100000000", &routes);
    let begun = Instant::now();
    let mut clients = ["/large", "/small"].map(|path| {
        let mut client = proxy.client();
        client
            .stream
            .set_nonblocking(true)
            .expect("the socket is live");
        narrow(&client.stream);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        ));
        client
    });
    eventually("both are cut", || {
        for client in &mut clients {
            let _ = client.stream.read(&mut [0; 1000]);
        }
        sleep(PAUSE);
        !connections(admin)
    });
    assert!(begun.elapsed() >= Duration::from_secs(1));
    is_counted(admin, "reader_too_slow");
}

/// A player pauses, or reads in steps and is fast enough on average. Nothing moves for longer than the grace and the
/// largest credit.
#[test]
fn who_pauses_while_reading_is_not_too_slow() {
    const BYTES: usize = 20 << 20;
    let origin = Origin::saying(&"x".repeat(BYTES));
    let (directory, authority) = (Directory::new(), Authority::new());
    let pair = authority.issue(&["test"]).write(&directory, "a");
    let tls = format!("tls = {{ certificates = [{pair}] }}");
    let (plain, _) = proxy("", &route("/", &[origin.addr]));
    let (secure, _) = proxy(&tls, &route("/", &[origin.addr]));
    let mut reader = plain.client();
    let mut client = Dialer::new(&authority, BOTH).client(secure.addr, "test");
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    reader.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    sleep(Duration::from_secs(6));
    assert_eq!(reader.answer().body.len(), BYTES);
    assert_eq!(client.answer().body.len(), BYTES);
}

/// Over HTTP/2 the windows tell how much a client reads of a stream. A stream that is read too slowly ends alone, and a
/// stream whose client has paused does not end.
#[test]
fn a_stream_that_is_read_byte_by_byte_is_reset() {
    let large = Origin::saying(&"x".repeat(1 << 20));
    let small = Origin::saying("small");
    let routes = route("/", &[large.addr]) + &route("/small", &[small.addr]);
    let (proxy, admin) = proxy("", &routes);
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 100)]);
    client.gives_credit = false;
    client.credit(0, 1 << 24);
    let [slow, paused] = [(); 2].map(|()| client.begin(&get("/", &[]), true));
    let begun = Instant::now();
    while client
        .answers
        .get(&slow)
        .is_none_or(|it| it.reset.is_none())
    {
        client.credit(slow, 1);
        assert_eq!(client.ask(&get("/small", &[])).text(), "small");
        sleep(PAUSE);
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    is_counted(admin, "reader_too_slow");
    assert_eq!(client.answers[&paused].reset, None);
    client.gives_credit = true;
    client.credit(paused, 1 << 21);
    assert_eq!(client.answer(paused).body.len(), 1 << 20);
    assert_eq!(client.goaways, []);
}

/// A client whose windows are wide open, and that takes little from its socket, holds up all its streams.
#[test]
fn a_connection_of_many_streams_that_is_read_too_slowly_is_cut() {
    let large = Origin::saying(&"x".repeat(20 << 20));
    let (proxy, admin) = proxy("min_rate_bytes = 100000000", &route("/", &[large.addr]));
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]);
    narrow(&client.stream);
    client.gives_credit = false;
    client.credit(0, 1 << 30);
    let begun = Instant::now();
    for _ in 0..3 {
        client.begin(&get("/", &[]), true);
    }
    client
        .stream
        .set_nonblocking(true)
        .expect("the socket is live");
    eventually("the connection is cut", || {
        let _ = client.stream.read(&mut [0; 1000]);
        sleep(PAUSE);
        !connections(admin)
    });
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

/// A head, or another frame that must come whole, has the same time as a head over HTTP/1.1.
#[test]
fn a_head_that_never_ends_is_due_like_all_heads() {
    let origin = Origin::saying("answered");
    let config = format!(
        "[timeouts]\nclient_header = 1\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::start(&config);
    let head = frame::section(&get("/", &[]));
    let pieces = frame::headers(flag::END_STREAM, 3, &head[..5]);
    let incomplete = frame::headers(flag::WHOLE, 3, &head)[..12].to_vec();
    let ping = frame::frame(kind::PING, 0, 0, [0; 8])[..10].to_vec();
    for begun in [pieces, incomplete, ping] {
        let mut client = proxy.h2();
        assert_eq!(client.ask(&get("/", &[])).text(), "answered");
        let since = Instant::now();
        client.send(&begun);
        assert_eq!(client.end(), Some(code::ENHANCE_YOUR_CALM));
        assert!(since.elapsed() >= Duration::from_secs(1));
    }
    // Further pieces do not extend the time.
    let mut client = proxy.h2();
    client.send(frame::headers(flag::END_STREAM, 1, &head[..5]));
    for _ in 0..12 {
        client.try_send(frame::continuation(0, 1, "x"));
        sleep(PAUSE);
    }
    assert_eq!(client.end(), Some(code::ENHANCE_YOUR_CALM));
}
