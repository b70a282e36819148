//! Clients that end their sending side behind their requests get their answers.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::h2::H2;
use crate::support::h2::frame::{get as h2_get, post as h2_post};
use crate::support::origin::ok;
use crate::support::place::Directory;
use crate::support::proxy::route;
use crate::support::tls::{Authority, Dialer};
use crate::support::{Origin, PATIENCE, Proxy, get};

/// An origin that answers each request when it is told to.
fn held() -> (Origin, mpsc::Sender<()>) {
    Origin::waiting()
}

#[test]
fn a_client_that_has_said_all_is_answered() {
    let (origin, let_go) = held();
    let proxy = Proxy::to(&[origin.addr]);
    let requests = [
        get("/"),
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        get("/") + "\r\n",
    ];
    for (count, request) in requests.iter().enumerate() {
        let mut client = proxy.client();
        client.send(request);
        client.finish_sending();
        origin.wait_for_requests(count + 1);
        // The proxy knows of the end by now, or learns of it soon: the client is answered in both cases.
        std::thread::sleep(Duration::from_millis(300));
        let_go.send(()).unwrap();
        let answer = client.answer();
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "slow"),
            "{request:?}"
        );
        client.ends();
    }
}

#[test]
fn pipelined_requests_are_all_answered() {
    let (origin, let_go) = held();
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(get("/1") + &get("/2") + "\r\n" + &get("/3"));
    client.finish_sending();
    for _ in 0..3 {
        let_go.send(()).unwrap();
        assert_eq!(client.answer().text(), "slow");
    }
    client.ends();
    assert_eq!(origin.count(), 3);
}

/// A large upload to a slow backend is passed on to its end and answered.
#[test]
fn a_large_upload_is_passed_on_to_its_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(head) = link.head() {
            let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
            let Some(request) = link.body_of(head) else {
                return;
            };
            link.send(ok(&request.body.len().to_string()));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n");
    client.send(vec![b'x'; 300_000]);
    client.finish_sending();
    std::thread::sleep(Duration::from_millis(300));
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), "300000");
    client.ends();
}

/// An incomplete request is not answered.
#[test]
fn incomplete_requests_are_not_answered() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::to(&[origin.addr]);
    for bytes in [
        "GET / HTTP/1.1\r\nHost: test\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhell",
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = proxy.client();
        client.send(bytes);
        client.finish_sending();
        client.ends();
    }
    assert_eq!(origin.count(), 0);
}

/// The reset of a client ends its exchange, even if the client has ended its sending side before.
#[test]
fn a_reset_ends_the_exchange_of_a_half_closed_client() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.rest(); // Until the proxy has left.
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    for (count, behind) in ["", "\r\nGET"].into_iter().enumerate() {
        let mut client = proxy.client();
        client.send(get("/") + behind);
        client.finish_sending();
        origin.wait_for_requests(count + 1);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(origin.ended(), count, "the exchange goes on");
        let socket = socket2::SockRef::from(&client.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        origin.wait_for_ended(count + 1);
    }
}

#[test]
fn a_listener_may_count_such_a_client_as_gone() {
    let (origin, _let_go) = held();
    let proxy = Proxy::with_listener("half_close = \"abort\"", &route("/", &[origin.addr]));
    let mut client = proxy.client();
    client.send(get("/"));
    origin.wait_for_requests(1);
    client.finish_sending();
    client.ends();
}

/// In TLS, close_notify ends the sending side.
#[test]
fn over_tls_close_notify_is_half_a_close() {
    let (origin, let_go) = held();
    let (authority, directory) = (Authority::new(), Directory::new());
    let pair = authority.issue(&["a.example"]).write(&directory, "a");
    let listener = format!("tls = {{ certificates = [{pair}] }}");
    let proxy = Proxy::with_listener(&listener, &route("/", &[origin.addr]));
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let dialer = Dialer::new(&authority, versions);
        let mut client = dialer.client(proxy.addr, "a.example");
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.stream.conn.send_close_notify();
        std::io::Write::flush(&mut client.stream).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let_go.send(()).unwrap();
        assert_eq!(client.answer().text(), "slow");
        client.ends();
    }
}

/// close_notify ends the sending side over HTTP/2, too: complete requests are answered, and the other streams end. The
/// socket's sending side may end with it or not.
#[test]
fn over_tls_close_notify_is_half_a_close_of_http2_too() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let pair = authority.issue(&["test"]).write(&directory, "a");
    let listener = format!("tls = {{ certificates = [{pair}] }}");
    for (version, ends_socket) in [
        (&rustls::version::TLS12, false),
        (&rustls::version::TLS13, false),
        (&rustls::version::TLS12, true),
        (&rustls::version::TLS13, true),
    ] {
        let (origin, let_go) = held();
        let proxy = Proxy::with_listener(&listener, &route("/", &[origin.addr]));
        let mut client = Dialer::new(&authority, &[version]).h2(proxy.addr, "test");
        let whole = client.begin(&h2_get("/", &[]), true);
        let with_body = client.begin(&h2_post("/", &[]), false);
        client.body(with_body, b"hello", true);
        let unfinished = client.begin(&h2_post("/", &[]), false);
        client.body(unfinished, b"hell", false);
        origin.wait_for_requests(2);
        // Nothing may follow close_notify (RFC 8446 section 6.1), not even a WINDOW_UPDATE.
        client.gives_credit = false;
        client.stream.conn.send_close_notify();
        std::io::Write::flush(&mut client.stream).unwrap();
        if ends_socket {
            client
                .stream
                .sock
                .shutdown(std::net::Shutdown::Write)
                .unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        (0..2).for_each(|_| let_go.send(()).unwrap());
        for stream in [whole, with_body] {
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.text().as_str()), (200, "slow"));
        }
        assert!(client.answer(unfinished).reset.is_some());
        assert_eq!(client.end(), Some(0), "GOAWAY with NO_ERROR, and the end");
        assert_eq!(origin.count(), 2);
    }
}

/// With `half_close = "abort"` a client that ends its sending side loses its exchanges.
#[test]
fn over_tls_a_listener_may_count_such_a_client_of_http2_as_gone() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.rest(); // Until the proxy has left.
        }
    });
    let (authority, directory) = (Authority::new(), Directory::new());
    let pair = authority.issue(&["test"]).write(&directory, "a");
    let listener = format!("half_close = \"abort\"\ntls = {{ certificates = [{pair}] }}");
    let proxy = Proxy::with_listener(&listener, &route("/", &[origin.addr]));
    let mut client = Dialer::new(&authority, &[&rustls::version::TLS13]).h2(proxy.addr, "test");
    client.begin(&h2_get("/", &[]), true);
    origin.wait_for_requests(1);
    client.stream.conn.send_close_notify();
    std::io::Write::flush(&mut client.stream).unwrap();
    origin.wait_for_ended(1);
}

fn finish_sending(client: &H2) {
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
}

/// Over HTTP/2 the streams with complete requests are answered, and the other streams end.
#[test]
fn whole_requests_of_http2_are_answered() {
    let (origin, let_go) = held();
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let whole = [(); 2].map(|()| client.begin(&h2_get("/", &[]), true));
    let with_body = client.begin(&h2_post("/", &[]), false);
    client.body(with_body, b"hello", true);
    let unfinished = client.begin(&h2_post("/", &[]), false);
    client.body(unfinished, b"hell", false);
    origin.wait_for_requests(3);
    finish_sending(&client);
    std::thread::sleep(Duration::from_millis(300));
    (0..3).for_each(|_| let_go.send(()).unwrap());
    for stream in [whole[0], whole[1], with_body] {
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "slow"));
    }
    assert!(client.answer(unfinished).reset.is_some());
    assert_eq!(client.end(), Some(0), "GOAWAY with NO_ERROR, and the end");
    origin.wait_for_requests(3);
}

/// A client of HTTP/2 that has ended its sending side may be gone altogether. Its reset shows that.
#[test]
fn a_client_of_http2_that_is_gone_is_noticed() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.rest();
        }
    });
    let abort = "half_close = \"abort\"";
    let proxies = [
        Proxy::to(&[origin.addr]),
        Proxy::with_listener(abort, &route("/", &[origin.addr])),
    ];
    for (count, proxy) in proxies.iter().enumerate() {
        let mut client = proxy.h2();
        client.begin(&h2_get("/", &[]), true);
        origin.wait_for_requests(count + 1);
        match count {
            0 => drop(client),
            _ => finish_sending(&client),
        }
        origin.wait_for_ended(count + 1);
    }
}
