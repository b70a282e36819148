//! Uploads that go on while their answer comes, or behind it: which clients are too slow then, and for how long the
//! rest of an upload holds the connection of a backend.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::h2::frame::post;
use crate::support::h2::word;
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::tls::Front;
use crate::support::{Client, Link, Origin, Proxy, eventually, get, metrics};

const PAUSE: Duration = Duration::from_millis(100);
const HEAD: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Answers as soon as the head of the request is there, and reads the body.
fn early(link: &mut Link) {
    if let Some(head) = link.head() {
        link.send(ok("early"));
        link.body_of(head);
    }
}

/// Sends the head of its answer alone, and reads the body.
fn flushing(link: &mut Link) {
    if let Some(head) = link.head() {
        link.send(CHUNKED);
        link.body_of(head);
    }
}

/// Sends this number of bytes every tenth of a second for as long as the connection takes them.
fn trickle(client: &mut Client, bytes: usize) {
    while client.try_send("x".repeat(bytes)) {
        sleep(PAUSE);
    }
}

/// A client that sends its body too slowly is cut, although its backend has sent the head of the answer at once.
#[test]
fn a_body_that_trickles_in_behind_the_head_of_its_answer_is_cut() {
    let origin = Origin::start(flushing);
    let (addr, admin) = (free_addr(), free_addr());
    let config = format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{addr}\"\nmin_rate_grace = 1\n{}",
        route("/", &[origin.addr])
    );
    let proxy = Proxy::launch(crate::support::proxy::command(), addr, &config);
    proxy.wait_until_it_accepts();
    let begun = Instant::now();
    let mut client = proxy.client();
    client.send(HEAD);
    trickle(&mut client, 1);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let mut h2 = proxy.h2();
    let stream = h2.begin(&post("/", &[]), false);
    while h2.answers.get(&stream).is_none_or(|it| it.reset.is_none()) {
        h2.body(stream, b"x", false);
        h2.is_alive();
        sleep(PAUSE);
    }
    origin.wait_for_ended(2);
    eventually("both are counted", || {
        let metrics = metrics(admin);
        let mut lines = metrics.lines();
        lines.any(|line| line.contains("reason=\"body_too_slow\"") && line.ends_with(" 2"))
    });
}

/// A client that sends nothing until it has read more of the answer is not too slow.
#[test]
fn who_answers_what_it_reads_is_not_too_slow() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.send(CHUNKED);
            for _ in 0..8 {
                sleep(PAUSE * 4);
                link.send("1\r\nx\r\n");
                link.bytes(1);
            }
            link.send("0\r\n\r\n");
        }
    });
    let addr = free_addr();
    let listener = format!("[[listeners]]\naddr = \"{addr}\"\nmin_rate_grace = 1\n");
    let config = listener + &route("/", &[origin.addr]);
    let proxy = Proxy::launch(crate::support::proxy::command(), addr, &config);
    proxy.wait_until_it_accepts();
    let mut client = proxy.client();
    client.send(HEAD);
    client.head();
    for _ in 0..8 {
        assert_eq!(client.bytes(6), b"1\r\nx\r\n");
        client.send("x");
    }
    assert_eq!(client.bytes(5), b"0\r\n\r\n");
}

/// The rest of an upload whose answer is complete gives the backend's connection up when another request waits for one.
#[test]
fn who_waits_for_a_connection_gets_that_of_an_answered_upload() {
    let origin = Origin::start(early);
    let config = format!(
        "workers = 1\n[[pools]]\nname = \"a\"\nbackends = [{{ addr = \"{}\", max_connections = 1 }}]\n\
         [[routes]]\nprefix = \"/\"\npool = \"a\"\n",
        origin.addr
    );
    let proxy = Proxy::start(&config);
    let mut sending = proxy.client();
    sending.send(HEAD);
    assert_eq!(sending.answer().text(), "early");
    let trickling = std::thread::spawn(move || {
        for _ in 0..20 {
            sending.send("x".repeat(200));
            sleep(PAUSE);
        }
        sending
    });
    assert_eq!(proxy.ask(get("/")).text(), "early");
    let mut sending = trickling.join().unwrap();
    sending.send("x"); // The connection goes on: its bytes are received until it has ended.
}

/// A client that sends too slowly behind a whole answer holds the backend's connection for no longer than the grace.
#[test]
fn a_trickle_behind_an_answer_leaves_the_backend_alone() {
    let origin = Origin::start(early);
    let addr = free_addr();
    let listener = format!("[[listeners]]\naddr = \"{addr}\"\nmin_rate_grace = 1\n");
    let config = listener + &route("/", &[origin.addr]);
    let proxy = Proxy::launch(crate::support::proxy::command(), addr, &config);
    proxy.wait_until_it_accepts();
    let mut client = proxy.client();
    client.send(HEAD);
    assert_eq!(client.answer().text(), "early");
    while origin.ended() == 0 {
        client.send("x");
        sleep(PAUSE);
    }
    // The client's bytes are received for longer, so that the client can read its answer.
    for _ in 0..10 {
        client.send("x");
        sleep(PAUSE);
    }
    let mut h2 = proxy.h2();
    let stream = h2.begin(&post("/", &[]), false);
    h2.pump_until("the answer comes", |client| {
        client.answers.get(&stream).is_some_and(|it| it.complete)
    });
    while h2.answers[&stream].reset.is_none() {
        h2.body(stream, b"x", false);
        h2.is_alive();
        sleep(PAUSE);
    }
    assert_eq!(word(h2.answers[&stream].reset), "NO_ERROR");
}

/// A process that is to end does not wait for the rest of an upload whose client has its answer.
#[test]
fn an_answered_upload_does_not_hold_up_the_end() {
    let origin = Origin::start(early);
    let config = "workers = 1\nshutdown_timeout = 20\n".to_owned() + &route("/", &[origin.addr]);
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send(HEAD);
    assert_eq!(client.answer().text(), "early");
    let mut h2 = proxy.h2();
    let stream = h2.begin(&post("/", &[]), false);
    h2.pump_until("the answer comes", |client| {
        client.answers.get(&stream).is_some_and(|it| it.complete)
    });
    let sending = std::thread::spawn(move || trickle(&mut client, 200));
    let streaming = std::thread::spawn(move || {
        for _ in 0..20 {
            let room = h2.room(stream).min(200);
            h2.body(stream, &vec![b'x'; room], false);
            sleep(PAUSE);
        }
    });
    assert_eq!(proxy.stop(), 0, "nothing was cut");
    sending.join().unwrap();
    let _ = streaming.join(); // The connection has ended meanwhile.
}

/// A backend refuses an upload and reads no more of it, but keeps its connection open. The client reads only after it
/// has sent everything.
#[test]
fn a_refusal_of_a_backend_that_stops_reading_is_read() {
    const BYTES: usize = 12 << 20;
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            let answer = ok(&"y".repeat(BYTES)).replace("200 OK", "413 Content Too Large");
            link.try_send(answer);
            sleep(Duration::from_secs(60));
        }
    });
    let front = Front::to(&origin, "");
    let body = vec![b'x'; BYTES];
    let mut clients = (front.proxy.client(), front.client());
    let head = HEAD.replace("1000000", &BYTES.to_string());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            clients.0.send(&head);
            clients.0.send(&body);
            let answer = clients.0.answer();
            assert_eq!((answer.status(), answer.body.len()), (413, BYTES));
        });
        clients.1.send(&head);
        clients.1.send(&body);
        let answer = clients.1.answer();
        assert_eq!((answer.status(), answer.body.len()), (413, BYTES));
    });
}

/// A client that ends its sending side gives up its upload, but not the answer that is coming. The backend sees that
/// the request is incomplete.
#[test]
fn who_gives_its_upload_up_reads_the_answer_to_its_end() {
    let origin = Origin::start(|link| {
        if link.head().is_some() {
            link.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\n");
            for _ in 0..10 {
                sleep(PAUSE);
                link.send("y");
            }
            link.rest();
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let chunked = HEAD.replace("Content-Length: 1000000", "Transfer-Encoding: chunked");
    for (head, piece) in [(HEAD, "x"), (&chunked, "1\r\nx\r\n")] {
        let mut client = proxy.client();
        client.send(head);
        client.send(piece);
        client.head();
        client.finish_sending();
        assert_eq!(client.bytes(10), b"yyyyyyyyyy");
    }
    origin.wait_for_ended(2);
}
