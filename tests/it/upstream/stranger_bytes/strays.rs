//! Stray bytes: on an idle connection, and beyond a large answer.

use super::*;

/// Bytes that come while the connection is idle.
const STRAYS: [&str; 6] = [
    "x",
    "\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
    "HTTP/1.1 200 OK\r\nX-St",
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 5\r\n\r\nstray",
];

/// The backend and the test take turns, so that the bytes are there before the next request is sent.
#[test]
fn what_comes_on_an_idle_connection_answers_nobody() {
    for stray in STRAYS {
        for closes in [false, true] {
            let (origin, say, said) = stray_after_the_first(stray, closes);
            let proxy = Proxy::start(&format!("workers = 1\n{}", route("/", &[origin.addr])));
            assert_eq!(proxy.ask(get("/")).text(), "first");
            say.send(()).unwrap();
            said.recv().unwrap();
            let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx";
            for request in [get("/"), post.to_owned(), get("/")] {
                let answer = proxy.ask(request);
                assert_eq!(
                    (answer.status(), answer.text().as_str()),
                    (200, "later"),
                    "after {stray:?}"
                );
                assert!(answer.interim.is_empty(), "after {stray:?}");
            }
            assert_eq!(origin.count(), 4, "after {stray:?}");
            // The test ends before the first connection does.
            drop(say);
        }
    }
}

/// An origin whose first connection answers one request, and sends stray bytes when it is told to.
fn stray_after_the_first(stray: &'static str, closes: bool) -> (Origin, Sender<()>, Receiver<()>) {
    let ((say, told), (tell, said)) = (channel(), channel());
    let first = Arc::new(Mutex::new(Some((told, tell))));
    let origin = Origin::start(move |link| {
        let first = first.lock().unwrap().take();
        let Some((told, tell)) = first else {
            while link.request().is_some() && link.try_send(ok("later")) {}
            return;
        };
        link.request();
        link.send(ok("first"));
        if told.recv().is_err() {
            return;
        }
        link.send(stray);
        if closes {
            link.finish_sending();
        }
        link.wait_until_come();
        tell.send(()).unwrap();
        link.rest();
    });
    (origin, say, said)
}

/// A large answer is received piece by piece, and what is beyond it may wait in the socket.
#[test]
fn what_is_beyond_a_large_answer_answers_nobody() {
    for length in [4_000, 5_000, 17_000, 70_000, 300_000] {
        let body = "x".repeat(length);
        let origin = Origin::start(move |link| {
            while link.request().is_some() {
                let stray = ok("stray");
                if !link.try_send(format!("{}{stray}", ok(&body))) {
                    return;
                }
            }
        });
        let proxy = Proxy::start(&format!("workers = 1\n{}", route("/", &[origin.addr])));
        let mut first: Client = proxy.client();
        let mut second = proxy.h2();
        for round in 0..5 {
            let answer = first.ask(get("/"));
            assert_eq!(
                (answer.status(), answer.body.len()),
                (200, length),
                "{round}"
            );
            let answer = second.ask(&request("GET", "/", &[]));
            assert_eq!(
                (answer.status(), answer.body.len()),
                (200, length),
                "{round}"
            );
        }
        assert_eq!(
            origin.accepted(),
            10,
            "each answer of {length} bytes closes its connection"
        );
    }
}
