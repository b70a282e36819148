//! One bound on the bytes of the whole process, `limits.memory`: whoever floods it takes nothing from others.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::h2::backend::Backend;
use crate::support::h2::frame::{
    PREFACE, code, data, flag, get, headers, post, section, setting, settings,
};
use crate::support::h2::{Answer, H2};
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{route, run};
use crate::support::{Client, Link, Origin, PATIENCE, Proxy, eventually, metrics};

/// The smallest that can be set.
const BUDGET: u64 = 64 << 20;

/// A proxy whose route for `/flood` leads to one backend, and for all else to another one.
struct Flooded {
    proxy: Proxy,
    admin: SocketAddr,
    _calm: Origin,
    _flood: Origin,
}

impl Flooded {
    #[track_caller]
    fn start(protocol: &str, flood: Origin) -> Flooded {
        let calm = Origin::saying("served");
        let admin = free_addr();
        let proxy = Proxy::start(&format!(
            "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n[limits]\nmemory_bytes = {BUDGET}\n\
             {}{}protocol = \"{protocol}\"\n",
            route("/", &[calm.addr]),
            route("/flood", &[flood.addr]),
        ));
        Flooded {
            proxy,
            admin,
            _calm: calm,
            _flood: flood,
        }
    }

    /// Checks the rule for every attack: while `attack` runs, and its result is kept, clients that come anew are served
    /// and memory stays below the bound; and it comes back afterwards.
    #[track_caller]
    fn endures<T>(&self, attack: impl FnOnce(SocketAddr) -> T) {
        self.serve_http1();
        self.serve_http2();
        let before = self.proxy.resident_memory();
        let (served, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let serving = scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    self.serve_http1();
                    self.serve_http2();
                    served.fetch_add(1, SeqCst);
                }
            });
            let kept = attack(self.proxy.addr);
            let begun = served.load(SeqCst);
            eventually("clients are served beside the flood", || {
                served.load(SeqCst) >= begun + 20 || serving.is_finished()
            });
            is_over.store(true, SeqCst);
            serving.join().expect("clients are served");
            drop(kept);
        });
        // While the machine lets the proxy stand still, bytes arrive that the proxy counts only afterwards.
        let peak = self.proxy.peak_memory();
        assert!(peak <= BUDGET * 5 / 4, "{} KiB were in use", peak >> 10);
        eventually("memory comes back", || {
            self.proxy.resident_memory() * 10 <= before * 13
        });
    }

    #[track_caller]
    fn serve_http1(&self) {
        let said = told_at_once(self.proxy.addr);
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        assert!(said.ends_with("\r\n\r\nserved"), "{said}");
    }

    /// A stream may be refused when memory is short, and is then asked for again, as clients do.
    #[track_caller]
    fn serve_http2(&self) {
        eventually("a stream is served", || {
            let began = Instant::now();
            let mut client = H2::connect(self.proxy.addr);
            let stream = client.next_stream();
            let head = headers(flag::WHOLE, stream, section(&get("/", &[])));
            let is_sent = client.try_send([PREFACE, &settings(&[]), &head].concat());
            let is_at_once = began.elapsed() < AT_ONCE;
            let has_ended =
                |client: &H2| client.answers.get(&stream).is_some_and(Answer::has_ended);
            while is_sent && !has_ended(&client) && client.pump() {}
            if !has_ended(&client) {
                assert!(
                    !is_at_once,
                    "closed without an answer: {:?}",
                    client.answers
                );
                return false;
            }
            let answer = &client.answers[&stream];
            if answer.reset == Some(code::REFUSED_STREAM) {
                return false;
            }
            assert_eq!((answer.status(), answer.text().as_str()), (200, "served"));
            true
        });
    }

    #[track_caller]
    fn count(&self, name: &str) -> u64 {
        let text = metrics(self.admin);
        let line = text.lines().find(|line| line.starts_with(name));
        let (_, value) = line.expect(name).rsplit_once(' ').unwrap();
        value.parse().unwrap()
    }
}

/// While memory is short, a connection may be closed without an answer whose request takes longer than three times
/// this: it counts as idle.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The answer to a client that asks as soon as it is connected. Where the machine was too slow for that, another client
/// asks.
#[track_caller]
fn told_at_once(addr: SocketAddr) -> String {
    let mut said = String::new();
    eventually("a client asks at once", || {
        let began = Instant::now();
        let mut client = Client::connect(addr);
        let is_sent = client.try_send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let is_at_once = began.elapsed() < AT_ONCE;
        said = String::from_utf8_lossy(&client.rest()).into_owned();
        let is_answered = is_sent && !said.is_empty();
        assert!(is_answered || !is_at_once, "closed without an answer");
        is_answered
    });
    said
}

/// A client whose settings are acknowledged. (The proxy may close one that takes long for that.)
#[track_caller]
fn greeted(connect: impl Fn() -> TcpStream, announced: &[(u16, u32)]) -> H2 {
    let mut greeted = None;
    eventually("a client is greeted", || {
        let mut client = H2::over(connect());
        let mut is_open = client.try_send([PREFACE, &settings(announced)].concat());
        while is_open && client.acknowledged == 0 {
            is_open = client.pump();
        }
        greeted = Some(client).filter(|_| is_open);
        greeted.is_some()
    });
    greeted.unwrap()
}

/// Answers each request with so many bytes.
fn answering_with(bytes: usize) -> Origin {
    let body = vec![b'x'; bytes];
    Origin::start(move |link| {
        while link.request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
            if !link.try_send(head) || !link.try_send(&body) {
                return;
            }
        }
    })
}

/// An origin that answers over HTTP/2, as far as a stream's first window allows, without an end.
fn answering_over_http2() -> Origin {
    Origin::start(|link| {
        let Some(mut backend) = Backend::greet(link, &[]) else {
            return;
        };
        while let Some(stream) = backend.request() {
            backend.head(stream, 0);
            backend.send(data(0, stream, [b'x'; 15_000]));
        }
    })
}

/// Takes connections and reads nothing from them until the proxy ends them.
fn deaf() -> Origin {
    Origin::start(|link: &mut Link| {
        let mut asked = libc::pollfd {
            fd: link.stream.as_raw_fd(),
            events: libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: the kernel writes to the one live argument, during the call.
        unsafe { libc::poll(&raw mut asked, 1, -1) };
    })
}

/// A client that does not let the proxy's kernel take much for it.
fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An ordinary client.
fn wide(addr: SocketAddr) -> TcpStream {
    Client::connect(addr).stream
}

const CONNECTIONS: u32 = 100;
const STREAMS: u32 = 40;

/// The requests of one connection.
fn requests() -> Vec<u8> {
    let head = section(&get("/flood", &[]));
    let heads = (0..STREAMS).flat_map(|number| headers(flag::WHOLE, 2 * number + 1, &head));
    heads.collect()
}

/// Connections with streams whose answers nobody reads: every stream's window is shut.
fn open_streams(addr: SocketAddr) -> Vec<H2> {
    let heads = requests();
    let open = |_| {
        let mut client = greeted(|| wide(addr), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
        client.try_send(&heads);
        client
    };
    (0..CONNECTIONS).map(open).collect()
}

#[test]
fn streams_that_nobody_reads_from_an_http1_backend() {
    let flooded = Flooded::start("h1", answering_with(64 << 10));
    flooded.endures(open_streams);
    assert!(flooded.count("palantir_memory_refused_streams_total") > 0);
    assert_eq!(flooded.count("palantir_memory_budget_bytes"), BUDGET);
    let used = flooded.count("palantir_memory_bytes");
    assert!((1 << 20..BUDGET * 3 / 4).contains(&used), "{used}");
}

#[test]
fn streams_that_nobody_reads_from_an_http2_backend() {
    let flooded = Flooded::start("h2", answering_over_http2());
    flooded.endures(open_streams);
    assert!(flooded.count("palantir_memory_refused_streams_total") > 0);
}

/// Windows are open, but the sockets take nothing.
#[test]
fn connections_that_nobody_reads() {
    let flooded = Flooded::start("h1", answering_with(64 << 10));
    flooded.endures(|addr| {
        let heads = requests();
        let open = |_| {
            let mut client = greeted(|| narrow(addr), &[]);
            client.try_send(&heads);
            client
        };
        (0..2 * CONNECTIONS).map(open).collect::<Vec<_>>()
    });
}

#[test]
fn large_answers_that_nobody_reads() {
    let flooded = Flooded::start("h1", answering_with(4 << 20));
    flooded.endures(|addr| {
        let ask = |_| {
            let mut client = Client::over(narrow(addr));
            client.try_send(crate::support::get("/flood"));
            client
        };
        let clients: Vec<_> = (0..1000).map(ask).collect();
        eventually("stalled exchanges are ended", || {
            flooded.count("palantir_memory_ended_exchanges_total") > 0
        });
        clients
    });
    flooded
        .proxy
        .wait_for_log(&["WARN", "memory is short", "limits.memory"]);
}

#[test]
fn uploads_to_a_backend_that_does_not_read() {
    let flooded = Flooded::start("h1", deaf());
    flooded.endures(|addr| {
        let pieces: Vec<u8> = (0..STREAMS)
            .flat_map(|number| {
                let stream = 2 * number + 1;
                let head = section(&post("/flood", &[]));
                let head = headers(flag::END_HEADERS, stream, head);
                [head, data(0, stream, [b'x'; 16_000])].concat()
            })
            .collect();
        let open = |_| {
            let mut client = greeted(|| wide(addr), &[]);
            client.try_send(&pieces);
            client
        };
        (0..CONNECTIONS).map(open).collect::<Vec<_>>()
    });
    let text = metrics(flooded.admin);
    let blames =
        |line: &&str| line.contains("backend_failures") && line.contains("response_timeout");
    let blamed: Vec<_> = text.lines().filter(blames).collect();
    assert!(blamed.is_empty(), "{blamed:?}");
}

/// Another bound holds as soon as it is in force.
#[test]
fn the_bound_can_be_changed() {
    let origin = Origin::saying("served");
    let admin = free_addr();
    let config = |bytes: u64| {
        format!(
            "[admin]\nlisten_addr = \"{admin}\"\n[limits]\nmemory_bytes = {bytes}\n{}",
            route("/", &[origin.addr])
        )
    };
    let proxy = Proxy::start(&config(BUDGET));
    let tells = |bytes: u64| metrics(admin).contains(&format!("memory_budget_bytes {bytes}\n"));
    assert!(tells(BUDGET));
    proxy.reload_everywhere(admin, &config(2 * BUDGET));
    // All clients of one second get the same text.
    eventually("the bound is told", || tells(2 * BUDGET));
    // Nobody has asked for less than what the machine has.
    proxy.reload_everywhere(admin, &config(0));
    eventually("another bound is told", || !tells(0) && !tells(2 * BUDGET));
}

/// Requests that wait for a backend are not ended, whatever they take; further ones are refused in words until they
/// have gone.
#[test]
fn requests_beyond_the_bound_are_refused() {
    let (calm, over) = (Origin::saying("served"), Arc::new(AtomicBool::new(false)));
    let is_over = over.clone();
    let told = Arc::new(AtomicUsize::new(0));
    let events = told.clone();
    let held = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.text.contains("/events") {
                link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for number in 1.. {
                    eventually("there is another event", || events.load(SeqCst) >= number);
                    if !link.try_send("5\r\nevent\r\n") {
                        return;
                    }
                }
            }
            eventually("the test goes on", || is_over.load(SeqCst));
            link.try_send(ok("late"));
        }
    });
    let admin = free_addr();
    let config = |bytes: u64| {
        format!(
            "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n\
             [timeouts]\nclient_header = 600\nupstream_response = 600\nupstream_idle = 600\n\
             [limits]\nmemory_bytes = {bytes}\n{}{}",
            route("/", &[calm.addr]),
            route("/held", &[held.addr])
        )
    };
    let proxy = Proxy::start(&config(1 << 30));
    // A connection with an open request is not idle; idle connections are closed.
    let mut http2 = proxy.h2();
    let late = http2.begin(&get("/held", &[]), true);
    let begin = |_| {
        let mut client = proxy.client();
        client.send(crate::support::get("/held"));
        client
    };
    let mut listening: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut listening {
        client.send(crate::support::get("/held/events"));
        client.head();
    }
    let mut waiting: Vec<_> = (0..1500).map(begin).collect();
    held.wait_for_requests(waiting.len() + listening.len() + 1);
    proxy.reload_everywhere(admin, &config(BUDGET));
    let said = told_at_once(proxy.addr);
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    assert!(said.contains("exhausted"), "{said}");
    assert!(said.to_lowercase().contains("\r\nretry-after: "), "{said}");
    let stream = http2.begin(&get("/", &[]), true);
    assert_eq!(http2.answer(stream).reset, Some(code::REFUSED_STREAM));
    // A connection that is quiet, or brings little, frees nothing by its end.
    for number in 1..=10 {
        told.store(number, SeqCst);
        for client in &mut listening {
            assert_eq!(client.bytes(10), b"5\r\nevent\r\n");
        }
    }
    over.store(true, SeqCst);
    for client in &mut waiting {
        assert_eq!(client.answer().text(), "late");
    }
    assert_eq!(http2.answer(late).text(), "late");
    eventually("there is room again", || {
        told_at_once(proxy.addr).starts_with("HTTP/1.1 200 ")
    });
    let mut http2 = proxy.h2();
    assert_eq!(http2.ask(&get("/", &[])).text(), "served");
}

/// Memory that the program itself needs counts for half of the bound at most.
#[test]
fn a_bound_that_the_program_fills_itself_keeps_nobody_out() {
    let origin = Origin::saying("served");
    let proxy = Proxy::start(&format!(
        "workers = 16\n[limits]\nmemory_bytes = {BUDGET}\n{}",
        route("/", &[origin.addr])
    ));
    for _ in 0..20 {
        assert_eq!(proxy.ask(crate::support::get("/")).text(), "served");
    }
}

#[test]
fn a_bound_that_is_too_small_is_a_mistake() {
    let directory = Directory::new();
    let path = directory.write("config.toml", "[limits]\nmemory_bytes = 1000000\n");
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    let words = "limits.memory_bytes = 1000000: must be 0, or a whole number of bytes from 67108864 to 1125899906842624, or a text such as \"64KiB\" or \"10MB\"";
    assert!(said.contains(words), "{said}");
}
