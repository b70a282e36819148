//! Bodies that the cache does not keep, and that go to many clients at once all the same.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::cache::Watched;
use crate::support::{Client, Link, Origin, PATIENCE, eventually, get, when_still};

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 320;
const BODY: usize = CHUNK * CHUNKS;

fn chunk(at: usize) -> Vec<u8> {
    (0..CHUNK).map(|n| (at * 7 + n % 251) as u8).collect()
}

/// Sends the body in chunks. False: the connection has ended.
fn send_body(link: &mut Link) -> bool {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut chunks = (0..CHUNKS).map(|at| {
        let size = format!("{CHUNK:x}\r\n").into_bytes();
        [size, chunk(at), b"\r\n".to_vec()].concat()
    });
    link.try_send(head) && chunks.all(|chunk| link.try_send(chunk)) && link.try_send("0\r\n\r\n")
}

/// A backend that sends the body, each answer when it is let go.
fn origin() -> (Origin, Sender<()>) {
    let (let_go, wait) = channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            if !send_body(link) {
                return;
            }
        }
    });
    (origin, let_go)
}

fn proxy(origin: &Origin) -> Watched {
    let cache = "max_object = \"1MiB\", collapse_timeout = \"60s\"";
    Watched::start("", cache, "", &[origin.addr])
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

/// The event that the last one of many clients waits for before it reads.
enum Pause {
    /// The backend sends no more, because the proxy takes no more.
    UntilHeldBack,
    /// All other clients have ended.
    UntilOthersEnd,
}

/// Lets so many clients ask at once, the last of which pauses before it reads. Returns how many of the others have got
/// the whole body, and whether the last one has. All of them get the answer to one request.
fn ask(clients: usize, pause: Pause) -> (usize, bool, Watched) {
    let (origin, let_go) = origin();
    let proxy = proxy(&origin);
    let addr = proxy.proxy.addr;
    let ended = AtomicUsize::new(0);
    let (whole, last) = thread::scope(|scope| {
        let begin = |_| {
            scope.spawn(|| {
                let is_whole = is_whole(addr, || {});
                ended.fetch_add(1, SeqCst);
                is_whole
            })
        };
        // The last client is not the one that fetches.
        let first = begin(0);
        origin.wait_for_requests(1);
        let mut others: Vec<_> = (2..clients).map(begin).collect();
        others.push(first);
        let last = is_whole(addr, || {
            proxy.wait_for_requests(clients);
            let_go.send(()).unwrap();
            match pause {
                Pause::UntilHeldBack => {
                    eventually("the body is too large to be stored", || {
                        origin.sent() > 2 << 20
                    });
                    let sent = when_still(|| origin.sent());
                    assert!(sent < BODY as u64, "the backend has sent all");
                }
                Pause::UntilOthersEnd => {
                    eventually("the others end", || ended.load(SeqCst) == clients - 1);
                }
            }
        });
        let whole = others.into_iter().filter_map(|other| other.join().ok());
        (whole.filter(|whole| *whole).count(), last)
    });
    assert_eq!(origin.count(), 1);
    (whole, last, proxy)
}

#[test]
fn a_hundred_clients_get_a_body_that_is_not_stored_by_one_fetch() {
    let (whole, last, proxy) = ask(100, Pause::UntilHeldBack);
    assert_eq!((whole, last), (99, true));
    let peak = proxy.proxy.peak_memory();
    assert!(peak < 200 << 20, "{peak}");
}

#[test]
fn a_client_that_stands_still_is_cut_and_the_others_are_not() {
    let (whole, last, _) = ask(10, Pause::UntilOthersEnd);
    assert_eq!((whole, last), (9, false));
}

/// The cache asks for the whole in the place of a client with a condition, which follows that fetch.
#[test]
fn a_client_with_a_condition_gets_the_whole_of_what_is_not_stored() {
    let (origin, let_go) = origin();
    let proxy = proxy(&origin);
    for field in [
        "If-None-Match: \"x\"",
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    ] {
        let mut client = proxy.proxy.client();
        client.send(get("/large").replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n")));
        let_go.send(()).unwrap();
        let answer = client.answer();
        assert_eq!(
            (answer.complete, answer.body.len()),
            (true, BODY),
            "{field}"
        );
    }
}
