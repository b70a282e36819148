//! Streams that share a connection: none keeps another one's bytes back, neither towards a backend, where they are
//! different clients', nor towards a client whose streams know nothing of each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::support::h2::H2;
use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{self, flag, get, kind, setting};
use crate::support::origin::ok;
use crate::support::{Client, Link, Origin, Proxy, eventually, when_still};

const SMALL: &str = "POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n0123456789";

/// Answers each request when its body has ended, and gives windows back in parts of a quarter, as servers do.
fn take_all(backend: &mut Backend) {
    let mut taken = BTreeMap::<u32, u32>::new();
    while let Some(frame) = backend.frame() {
        if frame.kind != kind::DATA {
            continue;
        }
        let is_end = frame.has(flag::END_STREAM);
        for window in [0, frame.stream] {
            let bytes = taken.entry(window).or_default();
            *bytes += frame.payload.len() as u32;
            if *bytes >= 16 << 10 && !(is_end && window > 0) {
                backend.send(frame::window_update(window, std::mem::take(bytes)));
            }
        }
        if is_end {
            taken.remove(&frame.stream);
            backend.answer(frame.stream, "taken");
        }
    }
}

fn proxy(origin: &Origin, backend: &str) -> Proxy {
    Proxy::start(&format!(
        "workers = 1\n[[pools]]\nname = \"h2\"\nprotocol = \"h2\"\n\
         backends = [{{ addr = \"{}\"{backend} }}]\n[[routes]]\npool = \"h2\"\n",
        origin.addr
    ))
}

/// Uploads for as long as the proxy takes anything.
fn upload_without_end(proxy: &Proxy) -> thread::JoinHandle<()> {
    let mut client = proxy.client();
    client.send("POST /endless HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    thread::spawn(move || while client.try_send(&chunk) {})
}

/// The backend has one connection, on which the endless upload always has more to send than it takes.
#[test]
fn an_upload_without_end_keeps_no_other_upload_from_the_backend() {
    let origin = Origin::start(|link| {
        if let Some(mut backend) = Backend::greet(link, &[]) {
            take_all(&mut backend);
        }
    });
    let proxy = proxy(&origin, ", max_connections = 1");
    let uploading = upload_without_end(&proxy);
    eventually("windows were used up", || origin.sent() > 1 << 10);
    let mut client = proxy.client();
    for _ in 0..20 {
        let answer = client.ask(SMALL);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "taken"));
    }
    assert_eq!(origin.accepted(), 1);
    drop(proxy);
    uploading.join().unwrap();
}

/// A backend that takes no more of an upload, and whose connection is full of it, is asked on another connection.
#[test]
fn a_connection_that_an_upload_has_filled_is_nobody_elses() {
    let connections = AtomicUsize::new(0);
    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    let origin = Origin::start(move |link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        if connections.fetch_add(1, SeqCst) > 0 {
            return take_all(&mut backend);
        }
        while let Some(frame) = backend.frame() {
            if frame.kind == kind::DATA {
                count.fetch_add(frame.payload.len(), SeqCst);
            }
        }
    });
    let proxy = proxy(&origin, "");
    let uploading = upload_without_end(&proxy);
    eventually("the window is used up", || received.load(SeqCst) == 65_535);
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.ask(SMALL).text(), "taken");
    }
    drop(proxy);
    uploading.join().unwrap();
}

/// A backend whose answer to `/endless` has no end.
fn endless(link: &mut Link) {
    while let Some(request) = link.request() {
        if !request.head.first_line().contains(" /endless ") {
            link.send(ok("small"));
            continue;
        }
        link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
        while link.try_send(&chunk) {}
        return;
    }
}

/// As gRPC, Go and curl ask: no stream has a priority.
#[test]
fn a_download_without_end_keeps_no_other_answer_from_the_client() {
    let origin = Origin::start(endless);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = H2::start(proxy.addr, &[]);
    let download = client.begin(&get("/endless", &[]), true);
    client.head(download);
    for _ in 0..20 {
        let stream = client.begin(&get("/small", &[]), true);
        assert_eq!(client.answer(stream).text(), "small");
    }
    let received = client.answers[&download].body.len();
    client.pump_until("the download goes on", |client| {
        client.answers[&download].body.len() > received + 100_000
    });
}

/// Clients over HTTP/1.1 that read nothing of their answers leave the connection to the backend to others.
#[test]
fn an_answer_that_nobody_reads_keeps_no_other_from_its_client() {
    let origin = Origin::start(|link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        while let Some(stream) = backend.request() {
            backend.head(stream, 0);
            let bytes = if stream == 1 { 60_000 } else { 5 };
            for piece in vec![b'x'; bytes].chunks(15_000) {
                backend.send(frame::data(0, stream, piece));
            }
            backend.send(frame::data(flag::END_STREAM, stream, b""));
        }
    });
    let proxy = proxy(&origin, ", max_connections = 1");
    let mut idle = Client::connect(proxy.addr);
    idle.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the large answer is on its way", || origin.sent() > 60_000);
    for _ in 0..5 {
        assert_eq!(proxy.ask(crate::support::get("/small")).text(), "xxxxx");
    }
}

/// The part of unread answers that a backend may send is small, however many there are. A client that reads lets it
/// send more at a time.
#[test]
fn an_answer_that_nobody_reads_is_held_in_part() {
    const BYTES: usize = 1 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let origin = Origin::start(move |link| {
        if let Some(mut backend) = Backend::greet(link, &[]) {
            send_all(&mut backend, BYTES, &count);
        }
    });
    let proxy = proxy(&origin, "");
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let streams: Vec<u32> = (0..50)
        .map(|_| client.begin(&get("/", &[]), true))
        .collect();
    for stream in &streams {
        assert_eq!(client.head(*stream).status(), 200);
    }
    let held = when_still(|| sent.load(SeqCst) as u64) as usize;
    assert!(
        held <= (50 * 16) << 10,
        "{} bytes of each answer",
        held / 50
    );
    for stream in streams {
        client.credit(stream, BYTES as u32);
        assert_eq!(client.answer(stream).body.len(), BYTES);
    }
}

/// Answers each request with so many bytes, as the windows allow.
fn send_all(backend: &mut Backend, bytes: usize, sent: &AtomicUsize) {
    let mut windows = BTreeMap::from([(0, 65_535)]);
    let mut first = 65_535;
    let mut left: BTreeMap<u32, usize> = BTreeMap::new();
    while let Some(frame) = backend.frame() {
        match frame.kind {
            kind::SETTINGS => {
                for value in frame.payload.chunks_exact(6) {
                    if value[..2] == setting::INITIAL_WINDOW_SIZE.to_be_bytes() {
                        first = frame::number(&value[2..]) as usize;
                    }
                }
            }
            kind::WINDOW_UPDATE => {
                *windows.entry(frame.stream).or_insert(first) +=
                    frame::number(&frame.payload) as usize;
            }
            kind::HEADERS => {
                backend.head(frame.stream, 0);
                windows.entry(frame.stream).or_insert(first);
                left.insert(frame.stream, bytes);
            }
            _ => {}
        }
        for (stream, left) in &mut left {
            let room = (*left).min(windows[&0]).min(windows[stream]);
            for piece in vec![b'x'; room].chunks(16_384) {
                *left -= piece.len();
                let end = if *left == 0 { flag::END_STREAM } else { 0 };
                backend.send(frame::data(end, *stream, piece));
            }
            sent.fetch_add(room, SeqCst);
            windows.insert(0, windows[&0] - room);
            windows.insert(*stream, windows[stream] - room);
        }
        left.retain(|_, left| *left > 0);
    }
}

/// As many uploads as are enough to fill a connection, if their windows grow: the others of the connection go on.
#[test]
fn uploads_that_nobody_takes_leave_the_other_streams_of_a_client_their_windows() {
    let (_until, over) = mpsc::channel::<()>();
    let over = Mutex::new(over);
    let stuck = Origin::start(move |link| {
        link.head();
        let _ = over.lock().unwrap().recv(); // Until the test ends.
    });
    let well = Origin::saying("taken");
    let proxy = Proxy::start(&format!(
        "workers = 1\n[timeouts]\nclient_body = 5\nupstream_response = 600\n{}{}",
        crate::support::proxy::route("/stuck", &[stuck.addr]),
        crate::support::proxy::route("/", &[well.addr])
    ));
    let mut client = H2::start(proxy.addr, &[]);
    let stuck: Vec<u32> = (0..100)
        .map(|_| client.begin(&frame::post("/stuck", &[]), false))
        .collect();
    // Each sends until it may send no more.
    when_still(|| {
        let mut sent = 0;
        client.is_alive();
        for &stream in &stuck {
            let most = client.room(stream).min(16_384);
            if most > 0 {
                client.use_window(stream, most);
                client.send(frame::data(0, stream, vec![b'x'; most]));
                sent += most as u64;
            }
        }
        sent
    });
    let answer = client.ask_with(&frame::post("/", &[]), b"0123456789");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "taken"));
}
