//! Final answers that come while the request's body is still on its way.

use crate::support::{Origin, Proxy};

/// Answers as soon as the head is there, and reads no body.
fn hasty() -> Origin {
    Origin::start(|link| {
        if link.head().is_some() {
            link.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            link.finish_sending();
            // Taking nothing more, but not resetting either, until the proxy has had enough.
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    })
}

#[test]
fn the_answer_is_delivered_while_the_body_is_waited_for() {
    let origin = hasty();
    let proxy = Proxy::to(&[origin.addr]);
    let lengths = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nonly this much";
    let chunks =
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for request in [lengths, chunks] {
        let mut client = proxy.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
        assert_eq!(answer.field("connection"), Some("close"));
    }
}

#[test]
fn the_answer_is_delivered_to_a_client_that_goes_on_sending() {
    let origin = hasty();
    let proxy = Proxy::to(&[origin.addr]);
    for _ in 0..10 {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 500000\r\n\r\n");
        client.try_send(vec![b'x'; 500_000]);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    }
}

#[test]
fn a_backend_that_answers_and_resets_is_still_heard() {
    let origin = Origin::start(|link| {
        // Closing with the body unread makes the kernel send a reset behind the answer.
        if link.head().is_some() && link.bytes(1000).is_some() {
            link.send(
                "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
    client.send(vec![b'x'; 2000]);
    assert_eq!(client.answer().status(), 413);
}

#[test]
fn after_an_early_answer_the_body_may_still_be_finished() {
    // The backend answers at once, then takes the whole body: both connections may go on.
    let origin = Origin::start(|link| {
        while let Some(head) = link.head() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
            if link.body_of(head).is_none() {
                return;
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhello");
    let answer = client.answer();
    assert_eq!(answer.text(), "early");
    if answer.field("connection") != Some("close") {
        client.send("x".repeat(99_995));
        assert_eq!(client.ask(crate::support::get("/next")).text(), "early");
    }
}
