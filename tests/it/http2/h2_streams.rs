//! Many streams on one HTTP/2 connection: they share it fairly, stop each other nowhere, and end one by one.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::h2::H2;
use crate::support::h2::frame::{self, PREFACE, code, get, post, setting};
use crate::support::origin::{echoing, ok};
use crate::support::proxy::route;
use crate::support::{Origin, PATIENCE, Proxy, eventually, when_still};

const MIB: usize = 1 << 20;

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains("/warm") {
                link.send(ok(""));
                continue;
            }
            let length = 256 * MIB;
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ));
            while link.try_send([b'x'; 64 << 10]) {}
            return;
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    proxy.h2().ask(&get("/warm", &[]));
    let before = proxy.peak_memory();
    let mut client = proxy.h2();
    client.gives_credit = false;
    let stream = client.begin(&get("/", &[]), true);
    client.head(stream);
    let held = when_still(|| origin.sent()) as usize;
    assert!(held < 16 * MIB, "the backend could send {held} bytes");
    let grown = proxy.peak_memory().saturating_sub(before);
    assert!(grown < 8 * MIB as u64, "memory grew by {grown} bytes");
    client.pump_until("the window is used up", |client| {
        client.answers[&stream].body.len() == 65_535
    });
    // Other streams have a window of their own, but the connection's is used up: it is what must be refilled.
    client.gives_credit = true;
    client.credit(0, 1 << 20);
    client.credit(stream, 1 << 20);
    client.pump_until("it goes on", |client| {
        client.answers[&stream].body.len() > MIB
    });
}

#[test]
fn a_backend_that_does_not_read_stops_the_client() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        let Some(head) = link.head() else { return };
        let _ = wait.lock().unwrap().recv();
        let request = link.body_of(head);
        link.send(ok(&request.map_or(0, |it| it.body.len()).to_string()));
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let total = 24 * MIB;
    let stream = client.begin(&post("/", &[]), false);
    // As long as the windows allow, one piece after the other; the proxy's answers are read on the way.
    let mut sent = 0;
    let piece = vec![b'x'; 16_384];
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    while sent < total {
        if client.room(stream) < piece.len() {
            let mut byte = [0];
            // Nothing more comes for two seconds: the windows stay shut.
            if client.stream.peek(&mut byte).is_err() {
                break;
            }
            client.pump();
            continue;
        }
        client.use_window(stream, piece.len());
        client.send(frame::data(0, stream, &piece));
        sent += piece.len();
    }
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(sent < 16 * MIB, "{sent} bytes were taken");
    let_go.send(()).unwrap();
    client.body(stream, b"end", true);
    assert_eq!(client.answer(stream).text(), (sent + 3).to_string());
}

#[test]
fn a_hundred_streams_at_once() {
    let origin = Origin::start(echoing);
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let streams: Vec<u32> = (0..100)
        .map(|_| client.begin(&post("/", &[]), false))
        .collect();
    let body_of = |stream: u32| vec![b'a' + (stream % 26) as u8; 1000 + stream as usize];
    for &stream in streams.iter().rev() {
        client.body(stream, &body_of(stream), true);
    }
    for &stream in &streams {
        let answer = client.answer(stream);
        assert_eq!(answer.status(), 200);
        assert!(
            answer.body == body_of(stream),
            "stream {stream} got {answer:?}"
        );
    }
    assert_eq!(origin.count(), 100);
}

#[test]
fn one_slow_stream_holds_no_other_up() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains("/slow") {
                let _ = wait.lock().unwrap().recv();
            }
            link.send(ok("done"));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let slow = client.begin(&get("/slow", &[]), true);
    for _ in 0..20 {
        assert_eq!(client.ask(&get("/fast", &[])).text(), "done");
    }
    assert!(!client.answers.contains_key(&slow));
    let_go.send(()).unwrap();
    assert_eq!(client.answer(slow).text(), "done");
}

#[test]
fn at_shutdown_streams_finish_and_new_ones_are_not_served() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains("/wait") {
                let _ = wait.lock().unwrap().recv();
            }
            link.send(ok("finished"));
        }
    });
    let mut proxy =
        Proxy::start(&("shutdown_timeout = 600\n".to_owned() + &route("/", &[origin.addr])));
    let mut idle = proxy.h2();
    assert_eq!(idle.ask(&get("/", &[])).status(), 200);
    let mut client = proxy.h2();
    let stream = client.begin(&get("/wait", &[]), true);
    origin.wait_for_requests(2);
    proxy.signal(libc::SIGTERM);
    assert_eq!(idle.end(), Some(code::NO_ERROR));
    client.pump_until("the end is announced in two steps", |client| {
        client.goaways.len() == 2
    });
    assert_eq!(
        client.goaways,
        [(0x7fff_ffff, code::NO_ERROR), (stream, code::NO_ERROR)]
    );
    let_go.send(()).unwrap();
    assert_eq!(client.answer(stream).text(), "finished");
    assert_eq!(client.end(), Some(code::NO_ERROR));
    assert_eq!(proxy.wait_for_exit(), 0);
}

#[test]
fn a_reset_by_the_client_cancels_the_backends_request() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains("/endless") {
                link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let silent = client.begin(&get("/silent", &[]), true);
    let endless = client.begin(&get("/endless", &[]), true);
    let posting = client.begin(&post("/", &[]), false);
    client.body(posting, b"more to come", false);
    client.head(endless);
    eventually("the backend has three connections", || {
        origin.accepted() == 3
    });
    for stream in [silent, endless, posting] {
        client.send(frame::reset(stream, code::CANCEL));
    }
    origin.wait_for_ended(3);
    client.is_alive();
}

#[test]
fn when_the_client_vanishes_all_its_requests_are_cancelled() {
    let origin = Origin::start(|link| while link.request().is_some() {});
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    for _ in 0..10 {
        client.begin(&get("/", &[]), true);
    }
    origin.wait_for_requests(10);
    drop(client);
    origin.wait_for_ended(10);
}

#[test]
fn urgent_streams_come_first() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send(ok(&"x".repeat(100_000)));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    // Streams have room enough, the connection has not.
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    client.gives_credit = false;
    let filler = client.begin(&get("/", &[("priority", "u=0")]), true);
    client.pump_until("the connection's window is used up", |client| {
        let answer = client.answers.get(&filler);
        answer.is_some_and(|answer| answer.body.len() == 65_535)
    });
    let urgencies = ["u=7", "u=5", "u=3", "u=1", "u=0"];
    let streams = urgencies.map(|urgency| client.begin(&get("/", &[("priority", urgency)]), true));
    for stream in streams {
        client.head(stream);
    }
    // One that changes its mind.
    let late = client.begin(&get("/", &[("priority", "u=7")]), true);
    client.head(late);
    let update = [&late.to_be_bytes()[..], b"u=2"].concat();
    client.send(frame::frame(frame::kind::PRIORITY_UPDATE, 0, 0, update));
    origin.wait_for_requests(7);
    client.is_alive();
    // The last of their bytes arrive at the proxy before it can send any.
    when_still(|| origin.sent());
    client.credit(0, 700_000);
    client.answer(streams[0]);
    let ended = client.ended.clone();
    let expected = [
        filler, streams[4], streams[3], late, streams[2], streams[1], streams[0],
    ];
    assert_eq!(ended, expected);
}

#[test]
fn streams_of_one_urgency_share_the_connection() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            link.send(ok(&"x".repeat(200_000)));
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
    client.gives_credit = false;
    let field = [("priority", "u=3, i")];
    let streams = [(); 4].map(|()| client.begin(&get("/", &field), true));
    for stream in streams {
        client.head(stream);
    }
    when_still(|| origin.sent());
    client.credit(0, 400_000);
    let taken = |client: &H2| -> usize {
        let bodies = client.answers.values().map(|answer| answer.body.len());
        bodies.sum()
    };
    client.pump_until("all was sent", |client| taken(client) == 465_535);
    let shares = streams.map(|stream| client.answers[&stream].body.len());
    assert!(shares.iter().all(|share| *share > 50_000), "{shares:?}");
}

#[test]
fn an_idle_connection_is_ended_with_a_farewell() {
    let origin = Origin::saying("");
    let proxy = Proxy::start(
        &("[timeouts]\nclient_idle = 6\nclient_header = 6\n".to_owned()
            + &route("/", &[origin.addr])),
    );
    // The time of all of them passes at once.
    let mut fresh = proxy.h2();
    let mut used = proxy.h2();
    used.ask(&get("/", &[]));
    // One that never gets through its preface, and one that never ends its head.
    let mut slow = H2::connect(proxy.addr);
    slow.send(&PREFACE[..20]);
    let mut stuck = proxy.h2();
    stuck.send(frame::headers(0, 1, frame::section(&get("/", &[]))));
    assert_eq!(fresh.end(), Some(code::NO_ERROR));
    assert_eq!(used.end(), Some(code::NO_ERROR));
    slow.end();
    assert!(stuck.end().is_some(), "ended without a GOAWAY");
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    let origin = Origin::start(|link| {
        link.request();
        link.rest();
    });
    let proxy =
        Proxy::start(&("[timeouts]\nclient_body = 4\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.h2();
    let stream = client.begin(&post("/", &[]), false);
    client.body(stream, b"some", false);
    let answer = client.answer(stream);
    match answer.reset {
        Some(_) if answer.fields.is_empty() => {}
        _ => assert_eq!(answer.status(), 408, "{answer:?}"),
    }
    origin.wait_for_ended(1);
    client.is_alive();
}

#[test]
fn backends_share_the_streams_of_one_connection() {
    let origins: Vec<Origin> = (0..3)
        .map(|number| Origin::saying(&number.to_string()))
        .collect();
    let addrs: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    let proxy = Proxy::to(&addrs);
    let mut client = proxy.h2();
    let answers: BTreeSet<String> = (0..30).map(|_| client.ask(&get("/", &[])).text()).collect();
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[test]
fn windows_are_kept() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                line if line.contains("/hold") => drop(link.rest()),
                _ => link.send(ok(&"x".repeat(100))),
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    // 6.9.1, 6.9.2: one byte at a time, then by a setting that holds for open streams too.
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 1)]);
    client.gives_credit = false;
    let stream = client.begin(&get("/long", &[]), true);
    client.head(stream);
    let taken = |client: &H2| client.answers[&stream].body.len();
    client.pump_until("one byte came", |client| taken(client) == 1);
    client.is_alive();
    assert_eq!(taken(&client), 1);
    // 6.5.3: of several values the last holds. The window is then 3 less the byte used.
    client.announce(&[
        (setting::INITIAL_WINDOW_SIZE, 100),
        (setting::INITIAL_WINDOW_SIZE, 3),
    ]);
    client.pump_until("two more came", |client| taken(client) == 3);
    // 6.9.2: a window can become negative, and must first be made good.
    client.announce(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    client.pump_until("it is acknowledged", |client| client.acknowledged == 3);
    client.credit(stream, 3);
    client.is_alive();
    assert_eq!(taken(&client), 3);
    client.credit(stream, 1);
    client.pump_until("one more came", |client| taken(client) == 4);
    client.credit(stream, 96);
    assert_eq!(client.answer(stream).body.len(), 100);
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                line if line.contains("/hold") => drop(link.rest()),
                _ => link.send(ok(&"x".repeat(100))),
            }
        }
    });
    // A stream that found no backend in time would be over, and make room.
    let proxy =
        Proxy::start(&("[timeouts]\nconnect = 60\n".to_owned() + &route("/", &[origin.addr])));
    let mut client = proxy.h2();
    let most = client.settings[&setting::MAX_CONCURRENT_STREAMS];
    assert!((100..=1000).contains(&most), "{most} streams");
    for _ in 0..most {
        client.begin(&get("/hold", &[]), true);
    }
    let refused = client.begin(&get("/", &[]), true);
    assert_eq!(client.answer(refused).reset, Some(code::REFUSED_STREAM));
    client.send(frame::reset(1, code::CANCEL));
    assert_eq!(client.ask(&get("/", &[])).status(), 200);
}

#[test]
fn more_than_the_window_ends_the_stream_or_the_connection() {
    let (_let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        link.head();
        // Until the test is over.
        let _ = wait.lock().unwrap().recv();
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.h2();
    let stream = client.begin(&post("/", &[]), false);
    for _ in 0..4096 {
        if !client.try_send(frame::data(0, stream, [0; 16_384])) {
            break;
        }
    }
    client.pump_until("it is over", |client| {
        let answer = client.answers.get(&stream);
        !client.goaways.is_empty() || answer.is_some_and(|answer| answer.reset.is_some())
    });
    let reset = client
        .answers
        .get(&stream)
        .and_then(|answer| answer.reset)
        .or(client.goaways.last().map(|(_, code)| *code));
    assert_eq!(reset, Some(code::FLOW_CONTROL_ERROR));
}
