//! Bodies that the cache does not keep, and that go to many clients at once all the same.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::proxy::route;
use crate::support::{Client, Origin, Proxy, eventually, get};

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 320;
const BODY: usize = CHUNK * CHUNKS;

fn chunk(at: usize) -> Vec<u8> {
    (0..CHUNK).map(|n| (at * 7 + n % 251) as u8).collect()
}

/// A backend that sends the body in chunks, the first of them when all clients wait for it.
fn origin() -> Origin {
    Origin::start(|link| {
        if link.request().is_none() {
            return;
        }
        thread::sleep(Duration::from_secs(2));
        let head =
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
        if !link.try_send(head) {
            return;
        }
        for at in 0..CHUNKS {
            let size = format!("{CHUNK:x}\r\n").into_bytes();
            if !link.try_send([size, chunk(at), b"\r\n".to_vec()].concat()) {
                return;
            }
        }
        link.try_send("0\r\n\r\n");
        link.rest();
    })
}

fn proxy(origin: &Origin) -> Proxy {
    let cache = "cache = { max_object = \"1MiB\", collapse_timeout = \"60s\" }\n";
    let config = [
        "workers = 2\n[cache]\nmax_bytes = \"64MiB\"\n".to_owned(),
        route("/", &[origin.addr]) + cache,
    ];
    Proxy::start(&config.concat())
}

/// Whether the client has got the whole body; all that it has got is right. The client calls `before` before it reads.
fn is_whole(addr: SocketAddr, before: impl FnOnce()) -> bool {
    let mut client = Client::connect(addr);
    client.send(get("/large"));
    before();
    let answer = client.answer();
    let right = answer.body.chunks(CHUNK).enumerate();
    let mut right = right.map(|(at, part)| part == &chunk(at)[..part.len()]);
    assert!(right.all(|right| right), "other bytes");
    assert_eq!(answer.complete, answer.body.len() == BODY);
    answer.complete
}

/// Lets so many clients ask at once, the last of which waits before it reads: for a while, or until all others have
/// ended. Returns how many of the others have got the whole body, and whether the last one has.
fn ask(proxy: &Proxy, clients: usize, pause: Option<Duration>) -> (usize, bool) {
    let addr = proxy.addr;
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        let others: Vec<_> = (1..clients)
            .map(|_| {
                // One after the other, so that the last one is not the one that fetches.
                thread::sleep(Duration::from_millis(2));
                scope.spawn(|| {
                    let is_whole = is_whole(addr, || {});
                    ended.fetch_add(1, SeqCst);
                    is_whole
                })
            })
            .collect();
        let last = is_whole(addr, || match pause {
            Some(pause) => thread::sleep(pause),
            None => eventually("the others end", || ended.load(SeqCst) == clients - 1),
        });
        let whole = others.into_iter().filter_map(|other| other.join().ok());
        (whole.filter(|whole| *whole).count(), last)
    })
}

/// Whether the tests are left out. They show a known fault: a request that is woken late finds the fetch that it has
/// waited for closed to further followers, and makes a second one.
fn is_left_out() -> bool {
    let is_left_out = std::env::var_os("PALANTIR_RING_TESTS").is_none();
    if is_left_out {
        eprintln!("left out because of a known fault; PALANTIR_RING_TESTS=1 runs this test");
    }
    is_left_out
}

#[test]
fn a_hundred_clients_get_a_body_that_is_not_stored_by_one_fetch() {
    if is_left_out() {
        return;
    }
    let origin = origin();
    let proxy = proxy(&origin);
    let whole = ask(&proxy, 100, Some(Duration::from_secs(4)));
    assert_eq!(whole, (99, true));
    assert_eq!(origin.count(), 1);
    assert!(proxy.peak_memory() < 200 << 20, "{}", proxy.peak_memory());
}

#[test]
fn a_client_that_stands_still_is_cut_and_the_others_are_not() {
    if is_left_out() {
        return;
    }
    let origin = origin();
    let proxy = proxy(&origin);
    assert_eq!(ask(&proxy, 10, None), (9, false));
    assert_eq!(origin.count(), 1);
}
