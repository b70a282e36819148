//! Changes of the configuration while requests run: none of them notices.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::{command, descriptors, list, route};
use crate::support::{Answer, Client, Link, Origin, PATIENCE, Proxy, eventually, get, metrics};

/// A whole configuration file.
fn listening(addrs: &[SocketAddr], rest: &str) -> String {
    format!("listen_addr = {}\n{rest}", list(addrs))
}

/// Starts a proxy on these addresses.
fn start(addrs: &[SocketAddr], rest: &str) -> Proxy {
    let proxy = Proxy::launch(command(), addrs[0], &listening(addrs, rest));
    for addr in addrs {
        proxy.wait_for_log(&["listening on", &addr.to_string()]);
    }
    proxy
}

/// Has the proxy reload a configuration for the address that it has.
#[track_caller]
fn reload(proxy: &Proxy, rest: &str) {
    proxy.reload(&listening(&[proxy.addr], rest));
}

/// A route that nothing asks for: a change that concerns nobody.
fn unrelated(number: usize) -> String {
    route(&format!("/unrelated/{number}"), &[free_addr()])
}

/// Waits until answers to a request are as they should be.
#[track_caller]
fn eventually_answered(proxy: &Proxy, target: &str, fits: impl Fn(&Answer) -> bool) {
    eventually(&format!("{target} is answered as configured"), || {
        fits(&proxy.ask(get(target)))
    });
}

/// A backend that answers a request only when it is let go.
fn waiting() -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while link.request().is_some() {
            let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            link.send(ok("finished"));
        }
    });
    (origin, let_go)
}

#[test]
fn a_hang_up_brings_the_file_into_force() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let proxy = Proxy::to(&[first.addr]);
    let mut client = proxy.client();
    assert_eq!(client.ask(get("/")).text(), "first");
    reload(&proxy, &route("/", &[second.addr]));
    eventually("the second backend answers", || {
        client.ask(get("/")).text() == "second"
    });
    first.wait_for_ended(1); // The idle connection to the first backend is of no use any more.
    assert_eq!(client.ask(get("/")).text(), "second");
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_all_mistakes_are_logged() {
    let origin = Origin::saying("as before");
    let proxy = Proxy::to(&[origin.addr]);
    let rest = route("/", &[origin.addr]);
    reload(&proxy, &format!("nonsense = 1\n{rest}retries = 1000\n"));
    proxy.wait_for_log(&["refused", "SIGHUP", "nonsense"]);
    proxy.wait_for_log(&["refused", "SIGHUP", "retries"]);
    assert_eq!(proxy.ask(get("/")).text(), "as before");
    reload(&proxy, "[[routes]\n");
    assert_eq!(proxy.ask(get("/")).text(), "as before");
    let taken = Origin::saying("");
    proxy.reload(&listening(&[proxy.addr, taken.addr], &rest));
    proxy.wait_for_log(&["refused", &taken.addr.to_string()]);
    assert_eq!(proxy.ask(get("/")).text(), "as before");
}

#[test]
fn routes_come_and_go() {
    let origin = Origin::saying("there");
    let proxy = Proxy::start(&route("/old", &[origin.addr]));
    let status = |target| proxy.ask(get(target)).status();
    assert_eq!((status("/old"), status("/new")), (200, 404));
    reload(&proxy, &route("/new", &[origin.addr]));
    eventually_answered(&proxy, "/new", |answer| answer.status() == 200);
    eventually_answered(&proxy, "/old", |answer| answer.status() == 404);
}

#[test]
fn a_removed_listener_lets_its_connections_finish_and_the_other_one_notices_nothing() {
    let (origin, let_go) = waiting();
    let addrs = [free_addr(), free_addr()];
    let rest = route("/", &[origin.addr]);
    let proxy = start(&addrs, &rest);
    let mut staying = Client::connect(addrs[0]);
    let mut idle = Client::connect(addrs[1]);
    for client in [&mut staying, &mut idle] {
        let_go.send(()).unwrap();
        assert_eq!(client.ask(get("/")).text(), "finished");
    }
    let mut running = Client::connect(addrs[1]);
    running.send(get("/"));
    origin.wait_for_requests(3);
    let mut silent = Client::connect(addrs[1]);
    reload(&proxy, &rest);
    proxy.wait_for_log(&["no longer listening", &addrs[1].to_string()]);
    idle.ends();
    eventually("nobody listens there any more", || {
        TcpStream::connect(addrs[1]).is_err()
    });
    silent.send(get("/"));
    for client in [&mut running, &mut silent] {
        let_go.send(()).unwrap();
        let answer = client.answer();
        assert_eq!(answer.text(), "finished");
        assert_eq!(answer.field("connection"), Some("close"));
        client.ends();
    }
    let_go.send(()).unwrap();
    let answer = staying.ask(get("/"));
    assert_eq!(answer.text(), "finished");
    assert_eq!(answer.field("connection"), None);
}

#[test]
fn what_waits_in_the_queue_of_a_removed_listener_is_served() {
    let origin = Origin::saying("served");
    let addrs = [free_addr(), free_addr()];
    let route = route("/", &[origin.addr]);
    let rest = format!("workers = 1\n[limits]\nconnections = 1\n{route}");
    let proxy = start(&addrs, &rest);
    // The accept loops of both addresses may each have taken one by the time that the bound is reached.
    let mut first = Client::connect(addrs[1]);
    assert_eq!(first.ask(get("/")).text(), "served");
    let mut queued: Vec<_> = (0..5).map(|_| Client::connect(addrs[1])).collect();
    queued.iter_mut().for_each(|client| client.send(get("/")));
    reload(&proxy, &rest);
    first.ends();
    for client in &mut queued {
        served_or_told(client);
    }
}

/// Fails unless the client is served, or told that what it came for is gone: a machine that is slow to serve has a
/// bounded time for those who wait at a listener that was removed.
#[track_caller]
fn served_or_told(client: &mut Client) {
    let answer = client.answer();
    let is_told = answer.status() == 503 && answer.text().contains("gone");
    assert!(is_told || answer.text() == "served", "{answer:?}");
    client.ends();
}

/// All the room that the listener has for connections is taken: that keeps no socket open.
#[test]
fn a_removed_listener_ends_although_there_is_no_room_for_its_clients() {
    let (let_go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.text.contains("/held") {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            }
            link.send(ok("served"));
        }
    });
    let addrs = [free_addr(), free_addr()];
    let route = route("/", &[origin.addr]);
    let rest = format!("workers = 1\n[limits]\nconnections = 1\n{route}");
    let proxy = start(&addrs, &rest);
    proxy.wait_for_log(&["workers on"]);
    let mut holding = Client::connect(addrs[1]);
    holding.send(get("/held"));
    origin.wait_for_requests(1);
    let mut queued: Vec<_> = (0..5).map(|_| Client::connect(addrs[1])).collect();
    queued.iter_mut().for_each(|client| client.send(get("/")));
    reload(&proxy, &rest);
    eventually("nobody listens there any more", || {
        TcpStream::connect(addrs[1]).is_err()
    });
    for client in &mut queued {
        served_or_told(client);
    }
    proxy.reload(&listening(&addrs, &rest));
    assert!(!proxy.log().contains("cannot listen"), "{}", proxy.log());
    drop(queued);
    let_go.send(()).unwrap();
    assert_eq!(holding.answer().text(), "served");
}

#[test]
fn a_listener_is_added_and_comes_back_after_it_was_removed() {
    let origin = Origin::saying("served");
    let addrs = [free_addr(), free_addr()];
    let rest = route("/", &[origin.addr]);
    let proxy = start(&addrs[..1], &rest);
    for _ in 0..3 {
        proxy.reload(&listening(&addrs, &rest));
        for addr in addrs {
            assert_eq!(Client::connect(addr).ask(get("/")).text(), "served");
        }
        reload(&proxy, &rest);
        eventually("nobody listens there any more", || {
            TcpStream::connect(addrs[1]).is_err()
        });
    }
}

/// Switches protocols, and sends back every byte that comes.
fn echoing(link: &mut Link) {
    if link.request().is_some() {
        link.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        while let Some(byte) = link.bytes(1) {
            link.send(byte);
        }
    }
}

#[test]
fn a_hundred_websockets_live_through_a_hundred_reloads() {
    let origin = Origin::start(echoing);
    let chat = route("/chat", &[origin.addr]);
    let proxy = Proxy::start(&chat);
    // Each asks as soon as it is there: the time for that is bounded.
    let mut sockets: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = proxy.client();
            socket.send(
                "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            );
            assert_eq!(socket.head().status(), 101);
            socket
        })
        .collect();
    for number in 0..100u8 {
        // The last ones no longer name the route and backend that the sockets go to.
        let chat = if number < 90 { chat.as_str() } else { "" };
        reload(&proxy, &format!("{chat}{}", unrelated(number.into())));
        for socket in &mut sockets {
            socket.send([number]);
        }
        for socket in &mut sockets {
            assert_eq!(socket.bytes(1), [number]);
        }
    }
    eventually_answered(&proxy, "/chat", |answer| answer.status() == 404);
    assert_eq!(origin.accepted(), 100);
}

#[test]
fn a_stream_of_events_goes_on_through_reloads() {
    let (say, said) = mpsc::channel::<String>();
    let said = Mutex::new(said);
    let origin = Origin::start(move |link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            while let Ok(event) = said.lock().unwrap().recv_timeout(2 * PATIENCE) {
                link.send(event);
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for number in 0..20 {
        reload(&proxy, &unrelated(number));
        let event = format!("data: {number:04}\n\n");
        say.send(event.clone()).unwrap();
        assert_eq!(client.bytes(event.len()), event.as_bytes());
    }
    drop(say);
    client.ends();
}

#[test]
fn a_large_download_arrives_whole_through_reloads() {
    const BYTES: usize = 64 << 20;
    let origin = Origin::start(|link| {
        if link.request().is_some() {
            link.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
            ));
            let block: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
            for _ in 0..BYTES >> 20 {
                link.send(&block);
            }
        }
    });
    let proxy = Proxy::to(&[origin.addr]);
    let mut client = proxy.client();
    client.send(get("/"));
    assert_eq!(client.head().status(), 200);
    for part in 0..8 {
        let bytes = client.bytes(BYTES / 8);
        let as_sent = |(at, byte): (usize, &u8)| *byte == (at % (1 << 20) % 251) as u8;
        assert!(bytes.iter().enumerate().all(as_sent), "part {part}");
        reload(&proxy, &unrelated(part));
    }
}

#[test]
fn the_order_of_backends_goes_on_where_it_was() {
    let origins: Vec<_> = (0..5)
        .map(|number| Origin::saying(&number.to_string()))
        .collect();
    let addrs: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    let proxy = Proxy::start(&format!("workers = 1\n{}", route("/", &addrs)));
    let mut client = proxy.client();
    let mut answered = Vec::new();
    for number in 0..7 {
        for _ in 0..2 {
            answered.push(client.ask(get("/")).text());
        }
        let rest = route("/", &addrs);
        reload(&proxy, &format!("workers = 1\n{rest}{}", unrelated(number)));
    }
    let first: usize = answered[0].parse().unwrap();
    let expected: Vec<_> = (0..14).map(|at| ((first + at) % 5).to_string()).collect();
    assert_eq!(answered, expected);
}

#[test]
fn a_backend_that_is_down_stays_down() {
    let origin = Origin::saying("up");
    let rest = format!(
        "{}retries = 0\nhealth_check = {{ tcp = true, interval_secs = 600, unhealthy_after = 1 }}\n",
        route("/", &[origin.addr, free_addr()])
    );
    let proxy = Proxy::start(&rest);
    proxy.wait_for_log(&["unhealthy"]);
    // Each worker learns that a little later.
    eventually("no worker uses it", || {
        (0..20).all(|_| proxy.ask(get("/")).status() == 200)
    });
    for number in 0..5 {
        reload(&proxy, &format!("{rest}{}", unrelated(number)));
        for _ in 0..10 {
            assert_eq!(proxy.ask(get("/")).text(), "up");
        }
    }
}

#[test]
fn a_request_that_waits_for_a_connection_gets_it_after_a_reload() {
    let (origin, let_go) = waiting();
    let config = |weight: u32| {
        format!(
            "workers = 1\n[timeouts]\nconnect = 20\n[[pools]]\nname = \"api\"\n\
             backends = [{{ addr = \"{}\", max_connections = 1, weight = {weight} }}]\n\
             [[routes]]\nprefix = \"/\"\npool = \"api\"\n",
            origin.addr
        )
    };
    let proxy = Proxy::start(&config(1));
    let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    origin.wait_for_requests(1);
    reload(&proxy, &config(2));
    clients.extend((0..5).map(|_| proxy.client()));
    clients[5..]
        .iter_mut()
        .for_each(|client| client.send(get("/")));
    for _ in 0..10 {
        let_go.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().text(), "finished");
    }
}

#[test]
fn what_only_a_start_can_change_is_named_and_stays() {
    let origin = Origin::saying("as before");
    let rest = route("/", &[origin.addr]);
    let proxy = Proxy::start(&format!("workers = 1\n{rest}"));
    reload(&proxy, &format!("workers = 2\n{rest}"));
    proxy.wait_for_log(&["workers", "at the next start"]);
    assert_eq!(proxy.ask(get("/")).text(), "as before");
}

#[test]
fn the_access_log_is_switched_on_and_moved_by_a_reload() {
    let origin = Origin::saying("");
    let rest = route("/", &[origin.addr]);
    let proxy = Proxy::start(&rest);
    let logged = |name: &str| format!("[access_log]\npath = \"{{dir}}/{name}\"\n{rest}");
    let lines = |name: &str| {
        let text = std::fs::read_to_string(proxy.directory.path().join(name));
        text.unwrap_or_default().lines().count()
    };
    assert_eq!(proxy.ask(get("/")).status(), 200);
    for name in ["first.log", "second.log"] {
        reload(&proxy, &logged(name));
        eventually(&format!("{name} has lines"), || {
            proxy.ask(get("/"));
            lines(name) > 0
        });
    }
    reload(&proxy, &rest);
    eventually("nothing is logged any more", || {
        let before = lines("second.log");
        (0..20).for_each(|_| drop(proxy.ask(get("/"))));
        thread::sleep(std::time::Duration::from_millis(100));
        lines("second.log") == before
    });
}

#[test]
fn clients_under_load_see_no_failure_through_twenty_reloads() {
    let origins: Vec<_> = (0..4).map(|_| Origin::saying("served")).collect();
    let addrs: Vec<_> = origins.iter().map(|origin| origin.addr).collect();
    // Every other time with one backend less, another order and another weight.
    let config = |number: usize| {
        let backends = match number % 2 {
            0 => route("/", &addrs),
            _ => route("/", &[addrs[2], addrs[0], addrs[1]]),
        };
        format!("{backends}{}", unrelated(number))
    };
    let proxy = Proxy::start(&config(0));
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, over, served) = (proxy.client(), over.clone(), served.clone());
            thread::spawn(move || {
                while !over.load(SeqCst) {
                    let answer = client.ask(get("/"));
                    assert_eq!((answer.status(), answer.text().as_str()), (200, "served"));
                    assert_eq!(answer.field("connection"), None);
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for number in 1..=20 {
        let before = served.load(SeqCst);
        reload(&proxy, &config(number));
        eventually("requests go on", || served.load(SeqCst) >= before + 50);
    }
    over.store(true, SeqCst);
    for client in clients {
        client.join().expect("a client failed");
    }
}

#[test]
fn a_refused_reload_makes_no_access_log() {
    let origin = Origin::saying("as before");
    let proxy = Proxy::to(&[origin.addr]);
    let taken = Origin::saying("");
    let rest = route("/", &[origin.addr]);
    let rest = format!("[access_log]\npath = \"{{dir}}/access.log\"\n{rest}");
    proxy.reload(&listening(&[proxy.addr, taken.addr], &rest));
    proxy.wait_for_log(&["refused", &taken.addr.to_string()]);
    assert!(!proxy.access_log_path().exists());
}

#[test]
fn settings_for_the_next_start_leave_the_shares_of_descriptors_as_they_are() {
    let admin = free_addr();
    let config = |workers: usize, more: &str| {
        let route = route("/", &[free_addr()]);
        format!("workers = {workers}\n[admin]\nlisten_addr = \"{admin}\"\n{more}{route}")
    };
    let mut command = command();
    descriptors(&mut command, 2_048);
    let proxy = Proxy::start_as(command, &config(2, ""));
    let limit = || {
        let text = metrics(admin);
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("palantir_client_connections_limit"));
        line.unwrap().to_owned()
    };
    let before = limit();
    proxy.reload_everywhere(admin, &config(200, ""));
    assert_eq!(limit(), before);
    let more = format!("[test_server]\nlisten_addrs = [\"{}\"]\n", free_addr());
    proxy.reload_everywhere(admin, &config(1, &more));
    assert_eq!(limit(), before);
}
