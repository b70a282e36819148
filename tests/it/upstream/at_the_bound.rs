//! Backends with as many connections as they may have: requests wait, nothing stands still, and what becomes free
//! goes to who has waited longest.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use palantir::http::h2::ErrorCode;

use crate::support::h2::answering::Answering;
use crate::support::h2::frame::get as get_h2;
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Client, Link, Origin, Proxy, eventually, get, metrics};

/// A pool with one backend that may have this many connections.
fn bounded(origin: &Origin, workers: usize, most: usize, pool: &str) -> String {
    format!(
        "workers = {workers}\n[timeouts]\nconnect = 20\n[[pools]]\nname = \"few\"\n{pool}\
         backends = [{{ addr = \"{}\", max_connections = {most} }}]\n[[routes]]\npool = \"few\"\n",
        origin.addr
    )
}

/// Answers at once, but for requests that want to be there together.
fn together(count: usize) -> impl Fn(&mut Link) + Send + Sync {
    let barrier = Barrier::new(count);
    move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().starts_with("GET /together") {
                barrier.wait();
            }
            link.send(ok("done"));
        }
    }
}

/// Leaves this many connections to the backend idle.
#[track_caller]
fn leave_idle(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(get("/together"));
    }
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    clients
}

/// An upload wants a connection that was never idle, while all that there may be are idle: one of them makes room.
#[test]
fn an_upload_takes_the_place_of_an_idle_connection() {
    let origin = Origin::start(together(2));
    let mut proxy = Proxy::start(&bounded(&origin, 1, 2, ""));
    let _clients = leave_idle(&proxy, 2);
    let mut uploading = proxy.client();
    uploading.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nbegun");
    assert_eq!(proxy.ask(get("/")).text(), "done", "the worker still turns");
    uploading.send(vec![b'x'; 100_000 - 5]);
    assert_eq!(uploading.answer().text(), "done");
    assert_eq!(origin.accepted(), 3);
    proxy.stop();
}

#[test]
fn uploads_on_every_worker_at_the_bound_are_served() {
    let origin = Origin::start(together(8));
    let mut proxy = Proxy::start(&bounded(&origin, 4, 8, ""));
    let _clients = leave_idle(&proxy, 8);
    let mut uploading: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    for client in &mut uploading {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n");
        client.send([b'x'; 10_000]);
    }
    for client in &mut uploading {
        client.send([b'x'; 10_000]);
    }
    for client in &mut uploading {
        assert_eq!(client.answer().text(), "done");
    }
    proxy.stop();
}

/// A stream that is reset says nothing about its connection, which is the only one that there may be.
#[test]
fn a_reset_stream_leaves_the_only_connection_in_use() {
    let origin = Origin::start(|link| {
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        while let Some((stream, path)) = backend.request() {
            match path.as_str() {
                "/reset" => backend.reset(stream, ErrorCode::INTERNAL_ERROR),
                _ => backend.answer(stream, "done"),
            };
        }
    });
    let mut proxy = Proxy::start(&bounded(&origin, 1, 1, "protocol = \"h2\"\n"));
    assert_eq!(proxy.ask(get("/")).text(), "done");
    for _ in 0..5 {
        assert_eq!(proxy.ask(get("/reset")).status(), 502);
        assert_eq!(proxy.ask(get("/")).text(), "done");
    }
    assert_eq!(origin.accepted(), 1);
    proxy.stop();
}

/// Lets so many clients ask so often at the same time; gives how long each answer took, the longest last.
#[track_caller]
fn ask_at_once(proxy: &Proxy, clients: usize, requests: usize) -> Vec<Duration> {
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = proxy.client();
            thread::spawn(move || {
                let ask = |_| {
                    let begin = Instant::now();
                    assert_eq!(client.ask(get("/")).text(), "done");
                    begin.elapsed()
                };
                (0..requests).map(ask).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut took: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    took.sort();
    took
}

/// A connection that becomes free is the next request's: it is not closed for somebody who could as well use it.
#[test]
fn connections_are_handed_to_those_who_wait() {
    let origin = Origin::start(together(2));
    let proxy = Proxy::start(&bounded(&origin, 1, 2, ""));
    ask_at_once(&proxy, 8, 25);
    assert_eq!(origin.count(), 200);
    let accepted = origin.accepted();
    assert!(accepted <= 4, "{accepted} connections for 200 requests");
}

#[test]
fn waiting_is_fair_over_workers() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            thread::sleep(Duration::from_millis(1));
            link.send(ok("done"));
        }
    });
    let mut proxy = Proxy::start(&bounded(&origin, 4, 2, ""));
    let took = ask_at_once(&proxy, 24, 20);
    assert_eq!(took.len(), 480);
    // All of them take about half a second in all if the bound is used; nobody waits for that as long as for a tick
    // more.
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    assert!(longest < Duration::from_secs(15), "{median:?} {longest:?}");
    proxy.stop();
}

/// Every core has had its turn, and keeps what it had idle: none of that may keep another one waiting.
#[test]
fn idle_connections_of_other_workers_are_given_up() {
    let origin = Origin::start(together(4));
    let proxy = Proxy::start(&bounded(&origin, 4, 4, ""));
    let _idle = leave_idle(&proxy, 4);
    // One after the other, so that nobody frees anything: sooner or later each worker is asked.
    for _ in 0..32 {
        assert_eq!(proxy.client().ask(get("/")).text(), "done");
    }
}

/// A client that gives up waiting takes no connection along.
#[test]
fn who_leaves_the_queue_leaves_its_turn() {
    let origin = Origin::start(|link| {
        while link.request().is_some() {
            thread::sleep(Duration::from_millis(3));
            link.send(ok("done"));
        }
    });
    let proxy = Proxy::start(&bounded(&origin, 2, 1, ""));
    let leaving = Arc::new(AtomicBool::new(true));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (leaving, addr) = (leaving.clone(), proxy.addr);
            thread::spawn(move || {
                while leaving.load(SeqCst) {
                    let mut client = Client::connect(addr);
                    client.send(get("/"));
                    thread::sleep(Duration::from_millis(4));
                    client.leave();
                }
            })
        })
        .collect();
    ask_at_once(&proxy, 4, 25);
    leaving.store(false, SeqCst);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    ask_at_once(&proxy, 2, 5);
}

/// A backend that answers everything after a while, and never so much at once as is noted here.
fn slow(busiest: &Arc<AtomicUsize>) -> Origin {
    let (busiest, busy) = (busiest.clone(), AtomicUsize::new(0));
    Origin::start(move |link| {
        while link.request().is_some() {
            busiest.fetch_max(busy.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::sleep(Duration::from_millis(20));
            busy.fetch_sub(1, SeqCst);
            link.send(ok("done"));
        }
    })
}

fn reload(proxy: &Proxy, admin: SocketAddr, config: &str) {
    let config = format!("listen_addr = \"{}\"\n{config}", proxy.addr);
    proxy.directory.write("config.toml", &config);
    let answer = Client::connect(admin).ask(format!(
        "POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// Requests that began before a backend was added wait on every worker, and none of them can use it: what becomes
/// free of it goes to those that can.
#[test]
fn who_waits_since_before_a_reload_keeps_nobody_from_a_new_backend() {
    let (begun, busiest) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let come = begun.clone();
    let silent = Origin::start(move |link| {
        if link.request().is_some() {
            come.fetch_add(1, SeqCst);
            while link.bytes(1).is_some() {}
        }
    });
    let (new, admin) = (slow(&busiest), free_addr());
    let config = |more: &str| {
        format!(
            "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nconnect = 50\n[[pools]]\nname = \"few\"\n\
             backends = [{{ addr = \"{}\", max_connections = 1 }}{more}]\n[[routes]]\npool = \"few\"\n",
            silent.addr
        )
    };
    let proxy = Proxy::start(&config(""));
    let mut waiting: Vec<Client> = (0..24).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send(get("/"));
    }
    eventually("one of them is with the backend", || {
        begun.load(SeqCst) == 1
    });
    eventually("the others wait", || {
        metrics(admin).contains("palantir_pool_waiting_requests{pool=\"few\"} 23")
    });
    let added = format!(", {{ addr = \"{}\", max_connections = 2 }}", new.addr);
    reload(&proxy, admin, &config(&added));
    let began = Instant::now();
    ask_at_once(&proxy, 8, 5);
    assert!(
        began.elapsed() < Duration::from_secs(45),
        "the requests from before the reload were waited for"
    );
    assert_eq!(busiest.load(SeqCst), 2);
}

/// More connections are open than there may be after a reload: they are used no more, but for as many as there may be.
#[test]
fn a_bound_that_was_lowered_holds_for_connections_from_before() {
    let busiest = Arc::new(AtomicUsize::new(0));
    let (origin, admin) = (slow(&busiest), free_addr());
    let config = |most| {
        let admin = format!("[admin]\nlisten_addr = \"{admin}\"\n");
        let bounded = bounded(&origin, 2, most, "");
        bounded.replace("[timeouts]", &format!("{admin}[timeouts]"))
    };
    let proxy = Proxy::start(&config(20));
    let lowered = AtomicBool::new(false);
    let answered = [const { AtomicUsize::new(0) }; 20];
    let after = thread::scope(|scope| {
        for answered in &answered {
            scope.spawn(|| {
                let mut client = proxy.client();
                let mut left = 10;
                while left > 0 {
                    client.send(get("/"));
                    assert_eq!(client.answer().status(), 200);
                    answered.fetch_add(1, SeqCst);
                    left -= usize::from(lowered.load(SeqCst));
                }
            });
        }
        eventually("many are busy", || busiest.load(SeqCst) > 10);
        reload(&proxy, admin, &config(2));
        // Requests that were on their way with more of the connections have been answered by then.
        let before = answered.each_ref().map(|answered| answered.load(SeqCst));
        eventually("each client was answered since", || {
            let mut all = answered.iter().zip(before);
            all.all(|(answered, before)| answered.load(SeqCst) > before)
        });
        busiest.store(0, SeqCst);
        lowered.store(true, SeqCst);
        &busiest
    });
    assert_eq!(after.load(SeqCst), 2);
}

/// Requests from before a reload wait at a bound that it took away: connections that no bound counts any more would
/// make no room for them, and stay.
#[test]
fn who_waits_at_a_bound_that_is_gone_closes_no_connection() {
    let origin = Origin::start(|link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains("/hold") {
                while link.bytes(1).is_some() {}
            }
            link.send(ok("done"));
        }
    });
    let admin = free_addr();
    let config = |bound: &str| {
        format!(
            "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nconnect = 50\n[[pools]]\nname = \"few\"\n\
             backends = [{{ addr = \"{}\"{bound} }}]\n[[routes]]\npool = \"few\"\n",
            origin.addr
        )
    };
    let proxy = Proxy::start(&config(", max_connections = 1"));
    let mut waiting: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send(get("/hold"));
    }
    eventually("they wait", || {
        metrics(admin).contains("palantir_pool_waiting_requests{pool=\"few\"} 3")
    });
    reload(&proxy, admin, &config(""));
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.ask(get("/")).text(), "done");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(origin.accepted(), 2);
}

/// A backend that refuses the connection, or closes each, frees its place as well.
#[test]
fn places_of_connections_that_failed_are_free() {
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone");
        }
    });
    let proxy = Proxy::start(&bounded(&origin, 2, 1, ""));
    ask_at_once(&proxy, 6, 10);
    drop(origin);
    let mut refused: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for client in &mut refused {
        client.send(get("/"));
    }
    for client in &mut refused {
        assert_eq!(client.answer().status(), 502);
    }
}

/// Another worker has the only connection that there may be, and cannot share it: it is given up as soon as no stream
/// is on it.
#[test]
fn an_idle_http2_connection_makes_room_for_another_worker() {
    let origin = Origin::start(|link| {
        let mut backend = Answering::over(link.stream.try_clone().unwrap());
        while backend.pump() {
            while let Some((stream, _)) = backend.come() {
                backend.answer(stream, "done");
            }
        }
    });
    let proxy = Proxy::start(&bounded(&origin, 2, 1, "protocol = \"h2\"\n"));
    let took = ask_at_once(&proxy, 16, 1);
    let longest = took.last().unwrap();
    assert!(longest < &Duration::from_secs(10), "{longest:?}");
}

/// As many streams as a core may have with a backend are open: what comes then waits until one ends.
#[test]
fn requests_beyond_all_streams_wait() {
    let go = Arc::new(AtomicBool::new(false));
    let gate = go.clone();
    let origin = Origin::start(move |link| {
        let stream = link.stream.try_clone().unwrap();
        let patience = Some(Duration::from_millis(20));
        stream.set_read_timeout(patience).unwrap();
        let mut backend = Answering::over(stream);
        let mut held = Vec::new();
        while backend.pump() {
            while let Some((stream, _)) = backend.come() {
                held.push(stream);
            }
            if gate.load(SeqCst) {
                held.drain(..).for_each(|stream| {
                    backend.answer(stream, "done");
                });
            }
        }
    });
    let admin = crate::support::place::free_addr();
    let proxy = Proxy::start(&format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nconnect = 60\n{}protocol = \"h2\"\n",
        route("/", &[origin.addr])
    ));
    let (connections, streams, beyond) = (64, 100, 40);
    let mut clients: Vec<_> = (0..connections).map(|_| proxy.h2()).collect();
    for client in &mut clients {
        for _ in 0..streams {
            client.begin(&get_h2("/", &[]), true);
        }
    }
    let mut last: Vec<Client> = (0..beyond).map(|_| proxy.client()).collect();
    let waiting = || {
        let text = metrics(admin);
        let line = text
            .lines()
            .find(|line| line.starts_with("palantir_pool_waiting_requests"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    let under_way = || {
        let text = metrics(admin);
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("palantir_backend_requests_in_flight"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    eventually("all streams are open", || {
        under_way() == connections * streams
    });
    for client in &mut last {
        client.send(get("/"));
    }
    eventually("the others wait", || waiting() == beyond);
    go.store(true, SeqCst);
    for client in &mut last {
        assert_eq!(client.answer().text(), "done");
    }
    assert_eq!(origin.accepted(), 64);
}
