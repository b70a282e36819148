//! A new process goes on with the cache of the old one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::proxy::route;
use crate::support::{Client, Lineage, Origin, eventually, get};

const URLS: usize = 1_000;

/// A backend whose answers tell the URL and a version, which each POST raises.
fn origin(versions: Arc<Mutex<Vec<usize>>>) -> Origin {
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            let line = request.head.first_line().to_owned();
            let target = line.split(' ').nth(1).unwrap().to_owned();
            let number: usize = target[1..].parse().unwrap();
            let mut versions = versions.lock().unwrap();
            if line.starts_with("POST ") {
                versions[number] += 1;
            }
            let body = format!("{target} {}", versions[number]);
            drop(versions);
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            if !link.try_send(answer) {
                return;
            }
        }
    })
}

fn start() -> (Lineage, Origin, Arc<Mutex<Vec<usize>>>) {
    let versions = Arc::new(Mutex::new(vec![0; URLS]));
    let origin = origin(versions.clone());
    let config = [
        "workers = 2\n[cache]\nmax_bytes = \"64MiB\"\n".to_owned(),
        route("/", &[origin.addr]) + "cache = {}\n",
    ];
    let lineage = Lineage::start(&config.concat());
    let mut client = Client::connect(lineage.proxy.addr);
    for n in 0..URLS {
        assert_eq!(client.ask(get(&format!("/{n}"))).text(), format!("/{n} 0"));
    }
    assert_eq!(origin.count(), URLS);
    (lineage, origin, versions)
}

#[test]
fn an_upgrade_loses_no_hit() {
    let (mut lineage, origin, _) = start();
    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let addr = lineage.proxy.addr;
    thread::scope(|scope| {
        for seed in 0..2 {
            let (ended, asked) = (&ended, &asked);
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                for n in (seed..).step_by(7) {
                    if ended.load(SeqCst) {
                        break;
                    }
                    let url = format!("/{}", n % URLS);
                    let answer = client.ask(get(&url));
                    assert_eq!(answer.text(), format!("{url} 0"));
                    if answer.field("connection") == Some("close") {
                        client = Client::connect(addr);
                    }
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        let more = |count: usize| {
            let before = asked.load(SeqCst);
            eventually("clients ask", || asked.load(SeqCst) > before + count);
        };
        more(2_000);
        for _ in 0..2 {
            lineage.upgrade();
            more(5_000);
        }
        ended.store(true, SeqCst);
    });
    assert_eq!(origin.count(), URLS, "every answer was stored");
    lineage
        .proxy
        .wait_for_log(&["1000 entries were taken over"]);
    let mut client = Client::connect(addr);
    for n in 0..URLS {
        assert_eq!(client.ask(get(&format!("/{n}"))).text(), format!("/{n} 0"));
    }
    assert_eq!(origin.count(), URLS);
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn what_a_post_has_changed_is_never_old_again_during_an_upgrade() {
    let (mut lineage, _origin, versions) = start();
    let ended = AtomicBool::new(false);
    let addr = lineage.proxy.addr;
    thread::scope(|scope| {
        // Each asks on connections that stay in one process, and on new ones.
        for seed in 0..2 {
            let (ended, versions) = (&ended, &versions);
            scope.spawn(move || {
                let (mut poster, mut reader) = (Client::connect(addr), Client::connect(addr));
                for n in 0.. {
                    if ended.load(SeqCst) {
                        break;
                    }
                    let number = (n * 2 + seed) % URLS;
                    let post = format!(
                        "POST /{number} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx"
                    );
                    let posted = poster.ask(post);
                    let version = versions.lock().unwrap()[number];
                    let read = reader.ask(get(&format!("/{number}")));
                    assert_eq!(read.text(), format!("/{number} {version}"));
                    if posted.field("connection") == Some("close") {
                        poster = Client::connect(addr);
                    }
                    if read.field("connection") == Some("close") || n % 5 == 0 {
                        reader = Client::connect(addr);
                    }
                }
            });
        }
        for _ in 0..2 {
            lineage.upgrade();
        }
        ended.store(true, SeqCst);
    });
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_failed_upgrade_leaves_the_cache_as_it_was() {
    let (mut lineage, origin, _) = start();
    let config = lineage.config();
    lineage.write_config("nonsense");
    lineage.fail_to_upgrade(&[]);
    lineage.write_config(&config);
    let mut client = Client::connect(lineage.proxy.addr);
    for n in 0..URLS {
        assert_eq!(client.ask(get(&format!("/{n}"))).text(), format!("/{n} 0"));
    }
    assert_eq!(origin.count(), URLS);
    // An entry that is stored after the failure is handed over by the next upgrade.
    client.ask("POST /7 HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(client.ask(get("/7")).text(), "/7 1");
    drop(client);
    lineage.upgrade();
    let mut client = Client::connect(lineage.proxy.addr);
    assert_eq!(client.ask(get("/7")).text(), "/7 1");
    assert_eq!(client.ask(get("/8")).text(), "/8 0");
    assert_eq!(origin.count(), URLS + 2);
    assert_eq!(lineage.stop(), 0);
}
