//! Clients that are busy with writing: they may be slow to read meanwhile, and what is thrown away of what they write
//! keeps nobody else waiting.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::slow_clients::narrow;
use crate::support::proxy::route;
use crate::support::{Link, Origin, Proxy};

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
