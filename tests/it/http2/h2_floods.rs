//! Attacks in numbers: each ends with GOAWAY (ENHANCE_YOUR_CALM), is counted, costs little memory, and does not keep a
//! polite client beside it from being served.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::h2::H2;
use crate::support::h2::frame::{
    code, continuation, data, flag, frame, get, headers, kind, ping, post, priority, reset,
    section, setting, settings, window_update,
};
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Origin, Proxy, eventually, metrics, when_still};

const MIB: u64 = 1 << 20;
/// Frames after which an attack that was not stopped has failed the test.
const FRAMES: u32 = 200_000;

/// Sends attacks until it is cut off; gives the code of the GOAWAY. The n-th attack's bytes come from `attack(n)`.
#[track_caller]
fn flood(proxy: &Proxy, before: &[u8], attack: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let mut client = proxy.h2();
    client.send(before);
    for number in 0..FRAMES {
        if !client.try_send(attack(number)) {
            break;
        }
        // Now and then the answers are read, so that it is the attack that ends the connection and not their number.
        if number % 16 == 15 && !read_what_is_there(&mut client) {
            break;
        }
        assert!(number + 1 < FRAMES, "nobody stopped it");
    }
    client.end()
}

/// Takes the frames that have come; false when the connection has ended.
fn read_what_is_there(client: &mut H2) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let there = client.stream.peek(&mut [0]);
    client.stream.set_nonblocking(false).unwrap();
    match there {
        Ok(0) => false,
        Ok(_) => client.pump(),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// Serves a polite client with 200 requests, and with more until `is_over`; gives the slowest but one per cent of its
/// waits.
#[track_caller]
fn polite(proxy: &Proxy, is_over: impl Fn() -> bool) -> Duration {
    let mut client = proxy.h2();
    let mut waits = Vec::new();
    while !is_over() || waits.len() < 200 {
        let begin = Instant::now();
        assert_eq!(client.ask(&get("/polite", &[])).status(), 200);
        waits.push(begin.elapsed());
    }
    waits.sort();
    waits[waits.len() * 99 / 100]
}

/// Serves a polite client while `attack` runs; see [`polite`].
#[track_caller]
fn beside(proxy: &Proxy, attack: impl FnOnce()) -> Duration {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let served = scope.spawn(|| polite(proxy, || over.load(SeqCst)));
        attack();
        over.store(true, SeqCst);
        served.join().expect("the polite client is served")
    })
}

/// Whether an attack is counted under its word.
fn is_counted(admin: SocketAddr, word: &str) -> bool {
    let text = metrics(admin);
    let mut lines = text.lines();
    lines.any(|line| {
        let value = line.rsplit(' ').next().unwrap_or_default();
        line.contains(&format!("\"{word}\"")) && value.parse().is_ok_and(|count: f64| count >= 1.0)
    })
}

/// Runs one attack against a proxy of its own, with all that must hold.
#[track_caller]
fn attacked(word: &str, attack: impl FnOnce(&Proxy) -> Option<u32>) {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                line if line.contains(" /hold ") => drop(link.rest()),
                line if line.contains(" /large ") => link.send(ok(&"x".repeat(300_000))),
                _ => link.send(ok("hello")),
            }
        }
    });
    let admin = free_addr();
    let routes = route("/", &[origin.addr]);
    let config = format!("workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n{routes}");
    let proxy = Proxy::start(&config);
    let mut ended = None;
    let slowest = beside(&proxy, || ended = attack(&proxy));
    assert_eq!(ended, Some(code::ENHANCE_YOUR_CALM), "{word}");
    let memory = proxy.peak_memory();
    assert!(memory < 64 * MIB, "{word}: {memory} bytes of memory");
    // The bound is generous because the tests run side by side on few cores.
    assert!(slowest < Duration::from_secs(10), "{word}: {slowest:?}");
    eventually(&format!("{word} is counted"), || is_counted(admin, word));
}

fn open(stream: u32) -> Vec<u8> {
    headers(flag::END_HEADERS, stream, section(&post("/hold", &[])))
}

#[test]
fn rapid_reset() {
    attacked("rapid_reset", |proxy| {
        flood(proxy, b"", |number| {
            let stream = 2 * number + 1;
            let head = headers(flag::WHOLE, stream, section(&get("/hold", &[])));
            [head, reset(stream, code::CANCEL)].concat()
        })
    });
}

/// Streams that the proxy itself must reset are no cheaper for it.
#[test]
fn provoked_resets() {
    attacked("provoked_reset", |proxy| {
        flood(proxy, b"", |number| {
            let stream = 2 * number + 1;
            [open(stream), window_update(stream, 0)].concat()
        })
    });
}

#[test]
fn streams_beyond_the_limit() {
    attacked("rapid_reset", |proxy| {
        flood(proxy, b"", |number| open(2 * number + 1))
    });
}

#[test]
fn settings_flood() {
    attacked("settings_flood", |proxy| {
        flood(proxy, b"", |_| {
            settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)])
        })
    });
}

#[test]
fn ping_flood() {
    attacked("ping_flood", |proxy| {
        flood(proxy, b"", |_| ping(b"floods!!"))
    });
}

#[test]
fn empty_data_flood() {
    attacked("empty_data_flood", |proxy| {
        flood(proxy, &open(1), |_| data(0, 1, b""))
    });
}

/// Frames with nothing but padding are as empty.
#[test]
fn padding_flood() {
    attacked("empty_data_flood", |proxy| {
        flood(proxy, &open(1), |_| data(flag::PADDED, 1, b"\x01\0"))
    });
}

#[test]
fn window_update_flood() {
    attacked("window_update_flood", |proxy| {
        flood(proxy, &open(1), |number| window_update(number % 2, 1))
    });
}

#[test]
fn priority_churn() {
    attacked("priority_churn", |proxy| {
        flood(proxy, b"", |number| {
            priority(2 * number + 1, 0, number as u8)
        })
    });
}

#[test]
fn priority_update_churn() {
    attacked("priority_churn", |proxy| {
        flood(proxy, &open(1), |number| {
            let urgency = format!("u={}", number % 8);
            let payload = [&1u32.to_be_bytes()[..], urgency.as_bytes()].concat();
            frame(kind::PRIORITY_UPDATE, 0, 0, payload)
        })
    });
}

#[test]
fn unknown_frames() {
    attacked("unknown_frame_flood", |proxy| {
        flood(proxy, b"", |_| frame(kind::UNKNOWN, 0, 0, b""))
    });
}

#[test]
fn continuation_flood() {
    attacked("continuation_flood", |proxy| {
        let begin = headers(0, 1, section(&get("/", &[])));
        flood(proxy, &begin, |_| continuation(0, 1, b""))
    });
}

#[test]
fn continuation_flood_of_large_pieces() {
    attacked("continuation_flood", |proxy| {
        let begin = headers(0, 1, section(&get("/", &[])));
        let piece = section(&[("x", &"y".repeat(16_000))]);
        flood(proxy, &begin, |_| continuation(0, 1, &piece))
    });
}

/// A few bytes that stand for a large field, a thousand times.
#[test]
fn header_bomb() {
    attacked("header_bomb", |proxy| {
        let start = section(&get("/", &[]));
        let value = "y".repeat(3900);
        let entering = [&start[..], b"\x40\x01x\x7f\xbd\x1d", value.as_bytes()].concat();
        let begin = headers(flag::WHOLE, 1, entering);
        flood(proxy, &begin, |number| {
            let bomb = [&start[..], &[0xbe; 16_000]].concat();
            headers(flag::WHOLE, 2 * number + 3, bomb)
        })
    });
}

/// Answers whose bytes the client never takes: nothing moves, and palantir waits for nobody but the client.
#[test]
fn zero_window_stall() {
    let origin = Origin::saying(&"x".repeat(300_000));
    let admin = free_addr();
    let routes = route("/", &[origin.addr]);
    let config = format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nclient_idle = 3\n{routes}"
    );
    let proxy = Proxy::start(&config);
    let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    for _ in 0..100 {
        client.begin(&get("/", &[]), true);
    }
    let mut next = 201;
    while client.pump() {
        for _ in client.ended.drain(..).collect::<Vec<_>>() {
            client.try_send(headers(flag::WHOLE, next, section(&get("/", &[]))));
            next += 2;
        }
    }
    assert_eq!(client.end(), Some(code::ENHANCE_YOUR_CALM));
    eventually("it is counted", || is_counted(admin, "window_stall"));
    let memory = proxy.peak_memory();
    assert!(memory < 64 * MIB, "{memory} bytes of memory");
    assert_eq!(proxy.h2().ask(&get("/", &[])).status(), 200);
}

/// PINGs and SETTINGS whose answers nobody reads.
#[test]
fn unread_replies() {
    attacked("ping_flood", |proxy| {
        let mut client = proxy.h2();
        for _ in 0..FRAMES {
            if !client.try_send(ping(b"unread!!").repeat(64)) {
                break;
            }
        }
        client.end()
    });
}

/// Answers asked for on many connections, and not read: the windows hold the backends back, not memory.
#[test]
fn windows_bound_what_is_held() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            let length = 64 * MIB;
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ));
            while link.try_send([b'x'; 64 << 10]) {}
        }
    });
    let timeouts = "[timeouts]\nconnect = 60\n".to_owned();
    let proxy = Proxy::start(&(timeouts + &route("/", &[origin.addr])));
    let clients: Vec<H2> = (0..4)
        .map(|_| {
            let mut client = H2::start(proxy.addr, &[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]);
            client.gives_credit = false;
            for _ in 0..100 {
                client.begin(&get("/", &[]), true);
            }
            client
        })
        .collect();
    origin.wait_for_requests(400);
    when_still(|| origin.sent());
    let memory = proxy.peak_memory();
    assert!(memory < 64 * MIB, "{memory} bytes of memory");
    drop(clients);
}
