//! Clients that are busy with writing: they may be slow to read meanwhile, and what is thrown away of what they write
//! keeps nobody else waiting.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::slow_clients::narrow;
use crate::support::origin::ok;
use crate::support::proxy::route;
use crate::support::{Client, Link, Origin, Proxy, eventually, get};

const PAUSE: Duration = Duration::from_millis(50);
const BYTES: usize = 20 << 20;

/// Answers at once with much, and reads the request slowly.
fn answering_while_reading(link: &mut Link) {
    narrow(&link.stream);
    if link.head().is_none() {
        return;
    }
    let mut answer = link.layered(link.stream.try_clone().unwrap());
    std::thread::spawn(move || {
        answer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
        ));
        answer.try_send("x".repeat(BYTES));
    });
    while link.bytes(16_000).is_some() {
        sleep(2 * PAUSE);
    }
}

/// Reads at most a few bytes; false if the connection has ended.
fn sips(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 500]) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// A client that reads little before it has written everything is not slow as long as its backend takes what it writes.
#[test]
fn who_writes_before_it_reads_is_not_too_slow() {
    let origin = Origin::start(answering_while_reading);
    let listener = "min_rate_bytes = 100000000\nmin_rate_grace = 1";
    let proxy = Proxy::with_listener(listener, &route("/", &[origin.addr]));
    let mut client = proxy.client();
    narrow(&client.stream);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    ));
    let mut reader = client.stream.try_clone().unwrap();
    std::thread::spawn(move || while client.try_send([b'x'; 100_000]) {});
    reader.set_read_timeout(Some(PAUSE)).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert!(sips(&mut reader), "cut after {:?}", begun.elapsed());
        sleep(PAUSE);
    }
}

/// Writes without end, for as long as the connection takes it, and counts the bytes.
fn floods(mut client: Client, written: &'static AtomicU64) {
    std::thread::spawn(move || {
        let bytes = vec![b'x'; 1 << 20];
        while client.try_send(&bytes) {
            written.fetch_add(bytes.len() as u64, Relaxed);
        }
    });
}

/// A small request does not wait until the writers of refused uploads pause: they may never.
#[test]
fn what_is_thrown_away_takes_turns() {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let refusing = Origin::start(|link| {
        if link.head().is_some() {
            let answer = ok(&"y".repeat(BYTES)).replace("200 OK", "413 Content Too Large");
            link.try_send(answer);
            sleep(Duration::from_secs(60));
        }
    });
    let origin = Origin::saying("small");
    let routes = route("/", &[origin.addr]) + &route("/refused", &[refusing.addr]);
    let proxy = Proxy::start(&("workers = 1\n".to_owned() + &routes));
    for _ in 0..4 {
        let mut client = proxy.client();
        client
            .send("POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000000\r\n\r\n");
        floods(client, &WRITTEN);
    }
    eventually("the floods flow", || WRITTEN.load(Relaxed) > 256 << 20);
    let thrown_away_meanwhile = || {
        let before = WRITTEN.load(Relaxed);
        assert_eq!(proxy.ask(get("/")).text(), "small");
        WRITTEN.load(Relaxed) - before
    };
    let least = (0..20).map(|_| thrown_away_meanwhile()).min();
    assert!(least < Some(64 << 20), "{least:?}");
}
