//! How requests are spread over backends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::{Origin, Proxy, get, metrics};

const ALGORITHMS: [&str; 5] = [
    "round_robin",
    "least_connections",
    "random_two",
    "peak_ewma",
    "consistent_hash",
];

/// Backends that say their number.
fn numbered(count: usize) -> Vec<Origin> {
    (0..count)
        .map(|number| Origin::saying(&number.to_string()))
        .collect()
}

fn config(workers: usize, algorithm: &str, backends: &[(SocketAddr, u32)]) -> String {
    let backends: Vec<_> = backends
        .iter()
        .map(|(addr, weight)| format!("{{ addr = \"{addr}\", weight = {weight} }}"))
        .collect();
    format!(
        "workers = {workers}\n[[routes]]\nprefix = \"/\"\npool = \"p\"\n\
         [[pools]]\nname = \"p\"\nbackends = [{}]\nbalancing_algorithm = \"{algorithm}\"\n",
        backends.join(", ")
    )
}

fn start(workers: usize, algorithm: &str, origins: &[Origin], weights: &[u32]) -> Proxy {
    let backends: Vec<_> = origins
        .iter()
        .map(|origin| origin.addr)
        .zip(weights.iter().copied())
        .collect();
    Proxy::start(&config(workers, algorithm, &backends))
}

/// How often each backend answered.
fn shares(proxy: &Proxy, requests: usize, count: usize) -> Vec<usize> {
    let mut shares = vec![0; count];
    let mut client = proxy.client();
    for _ in 0..requests {
        let answer = client.ask(get("/"));
        shares[answer.text().parse::<usize>().unwrap()] += 1;
    }
    shares
}

#[test]
fn round_robin_goes_round_by_weight() {
    let origins = numbered(3);
    let proxy = start(1, "round_robin", &origins, &[1, 2, 3]);
    assert_eq!(shares(&proxy, 60, 3), [10, 20, 30]);
    // Smooth: no backend of half the weight is asked more than twice in a row.
    let mut client = proxy.client();
    let order: Vec<_> = (0..60).map(|_| client.ask(get("/")).text()).collect();
    assert!(
        order
            .windows(3)
            .all(|three| three.iter().any(|one| one != &three[0])),
        "{order:?}"
    );
}

#[test]
fn every_algorithm_uses_every_backend_and_respects_weights() {
    // An algorithm that hashes the client's address has but one client here.
    for algorithm in ALGORITHMS
        .into_iter()
        .filter(|name| *name != "consistent_hash")
    {
        let origins = numbered(3);
        let proxy = start(2, algorithm, &origins, &[1, 1, 1]);
        let shares = shares(&proxy, 300, 3);
        // A backend whose first answers happened to be slow may rightly be used little.
        let least = if algorithm == "peak_ewma" { 1 } else { 30 };
        assert!(
            shares.iter().all(|share| *share >= least),
            "{algorithm}: {shares:?}"
        );
    }
    for algorithm in ["round_robin", "least_connections"] {
        let origins = numbered(2);
        let proxy = start(1, algorithm, &origins, &[1, 3]);
        // Ten requests at a time, so that there is something in flight to compare.
        let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
        let mut shares = [0; 2];
        for _ in 0..30 {
            clients.iter_mut().for_each(|client| client.send(get("/")));
            for client in &mut clients {
                shares[client.answer().text().parse::<usize>().unwrap()] += 1;
            }
        }
        assert!(shares[1] > shares[0] * 3 / 2, "{algorithm}: {shares:?}");
    }
}

/// A backend that holds every request of `/hold` until it is let go.
fn holding() -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().starts_with("GET /hold ") {
                let _ = wait.lock().unwrap().recv();
            }
            link.send(ok("holding"));
        }
    });
    (origin, let_go)
}

#[test]
fn least_connections_counts_requests_on_all_cores() {
    let (first, let_first_go) = holding();
    let (second, let_second_go) = holding();
    let admin = free_addr();
    let config = config(4, "least_connections", &[(first.addr, 1), (second.addr, 1)]);
    let proxy = Proxy::start(&config.replacen(
        "[[routes]]",
        &format!("[admin]\nlisten_addr = \"{admin}\"\n[[routes]]"),
        1,
    ));
    let mut held = Vec::new();
    for number in 1..=12 {
        // One after the other, each on a connection that some worker has accepted.
        let mut client = proxy.client();
        client.send(get("/hold"));
        held.push(client);
        crate::support::eventually("the request is under way", || {
            first.count() + second.count() == number
        });
    }
    assert_eq!((first.count(), second.count()), (6, 6));
    for _ in 0..6 {
        let_first_go.send(()).unwrap();
    }
    // The counts of answered requests are given back: the next ones go where nothing is under way.
    let answered = |held: &mut Vec<crate::support::Client>| {
        held.iter_mut()
            .filter_map(|client| {
                client.stream.set_nonblocking(true).unwrap();
                let came = client.stream.peek(&mut [0]).is_ok();
                client.stream.set_nonblocking(false).unwrap();
                came.then_some(())
            })
            .count()
    };
    crate::support::eventually("six are answered", || answered(&mut held) == 6);
    // A client that has its answer does not show yet that another core knows.
    crate::support::eventually("six are under way", || {
        let text = metrics(admin);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("palantir_backend_requests_in_flight{"));
        let counts = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
        counts.sum::<usize>() == 6
    });
    for number in 13..=18 {
        let mut client = proxy.client();
        client.send(get("/hold"));
        held.push(client);
        crate::support::eventually("the request is under way", || {
            first.count() + second.count() == number
        });
    }
    assert_eq!((first.count(), second.count()), (12, 6));
    for _ in 0..6 {
        let_first_go.send(()).unwrap();
        let_second_go.send(()).unwrap();
    }
    held.iter_mut()
        .for_each(|client| assert_eq!(client.answer().status(), 200));
}

#[test]
fn counts_are_given_back_however_a_request_ends() {
    // One backend hangs up on some requests and is left early by others; afterwards it must count as idle.
    let troubled = Origin::start(|link| {
        while let Some(request) = link.request() {
            match request.head.first_line() {
                "POST /hang-up HTTP/1.1" => return,
                "POST /hold HTTP/1.1" => {
                    link.rest();
                    return;
                }
                _ => link.send(ok("troubled")),
            }
        }
    });
    let proxy = Proxy::start(&config(1, "least_connections", &[(troubled.addr, 1)]));
    let post =
        |target: &str| format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..5 {
        assert_eq!(proxy.ask(post("/hang-up")).status(), 502);
    }
    for number in 1..=5 {
        let ended = troubled.ended();
        let mut client = proxy.client();
        client.send(post("/hold"));
        troubled.wait_for_requests(5 + number);
        client.leave();
        troubled.wait_for_ended(ended + 1);
    }
    drop(proxy);

    // Beside a healthy backend, sequential requests are spread evenly, as between two idle backends.
    let healthy = Origin::saying("healthy");
    let proxy = Proxy::start(&config(
        1,
        "least_connections",
        &[(troubled.addr, 1), (healthy.addr, 1)],
    ));
    for _ in 0..10 {
        proxy.ask(post("/hang-up"));
    }
    let mut client = proxy.client();
    let names: Vec<_> = (0..40).map(|_| client.ask(get("/")).text()).collect();
    let troubled_share = names.iter().filter(|name| *name == "troubled").count();
    assert!(
        (10..=30).contains(&troubled_share),
        "{troubled_share} of 40"
    );
}

#[test]
fn two_choices_avoid_the_busy_backend() {
    for algorithm in ["random_two", "least_connections"] {
        let (busy, let_go) = holding();
        let free = Origin::saying("free");
        let proxy = Proxy::start(&config(1, algorithm, &[(busy.addr, 1), (free.addr, 1)]));
        let mut held = proxy.client();
        held.send(get("/hold"));
        crate::support::eventually("it is under way", || busy.count() + free.count() > 0);
        while busy.count() == 0 {
            // The free one had it and is done with it.
            assert_eq!(held.answer().text(), "free");
            let before = free.count();
            held.send(get("/hold"));
            crate::support::eventually("it is under way", || busy.count() + free.count() > before);
        }
        let mut client = proxy.client();
        for _ in 0..20 {
            // Counts that were read a moment ago may still be used.
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert_eq!(client.ask(get("/")).text(), "free", "{algorithm}");
        }
        let_go.send(()).unwrap();
        assert_eq!(held.answer().text(), "holding");
    }
}

#[test]
fn peak_ewma_prefers_the_quick_backend() {
    // So slow that the other one stays quicker whatever the machine does.
    let slow = Origin::start(|link| {
        while link.request().is_some() {
            std::thread::sleep(std::time::Duration::from_secs(4));
            link.send(ok("slow"));
        }
    });
    let quick = Origin::saying("quick");
    let proxy = Proxy::start(&config(1, "peak_ewma", &[(slow.addr, 1), (quick.addr, 1)]));
    let mut client = proxy.client();
    let names: Vec<_> = (0..100).map(|_| client.ask(get("/")).text()).collect();
    let slow_share = names.iter().filter(|name| *name == "slow").count();
    assert!(
        slow_share < 25,
        "{slow_share} of 100 went to the slow backend"
    );
}

#[test]
fn consistent_hash_sends_a_key_to_one_backend() {
    let origins = numbered(5);
    let rows = [
        ("path", "GET /KEY?q=1 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (
            "header:X-User",
            "GET / HTTP/1.1\r\nHost: test\r\nx-user: KEY\r\n\r\n",
        ),
        (
            "cookie:sid",
            "GET / HTTP/1.1\r\nHost: test\r\nCookie: a=b; sid=KEY; c=d\r\n\r\n",
        ),
    ];
    for (key, request) in rows {
        let backends: Vec<_> = origins.iter().map(|origin| (origin.addr, 1)).collect();
        let proxy = Proxy::start(
            &(config(2, "consistent_hash", &backends) + &format!("hash_on = \"{key}\"\n")),
        );
        let mut homes = HashMap::new();
        for _ in 0..3 {
            // Each round on another connection, so on any worker.
            let mut client = proxy.client();
            for number in 0..60 {
                let home = client
                    .ask(request.replace("KEY", &format!("user-{number}")))
                    .text();
                let known = homes.entry(number).or_insert_with(|| home.clone());
                assert_eq!(*known, home, "{key}: user-{number} moved");
            }
        }
        for backend in 0..5 {
            let keys = homes
                .values()
                .filter(|home| **home == backend.to_string())
                .count();
            assert!(keys >= 2, "{key}: backend {backend} has {keys} of 60 keys");
        }
    }
}

#[test]
fn consistent_hash_on_the_clients_address_keeps_a_client_together() {
    let origins = numbered(5);
    let backends: Vec<_> = origins.iter().map(|origin| (origin.addr, 1)).collect();
    let top = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let proxy = Proxy::start(&(top.to_owned() + &config(2, "consistent_hash", &backends)));
    let home_of = |client: &str| {
        proxy
            .ask(format!(
                "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {client}\r\n\r\n"
            ))
            .text()
    };
    let mut homes = std::collections::HashSet::new();
    for number in 0..40 {
        let client = format!("192.0.2.{number}");
        let home = home_of(&client);
        assert_eq!(home_of(&client), home);
        homes.insert(home);
    }
    assert!(homes.len() >= 3, "40 clients share {homes:?}");
}

#[test]
fn most_keys_stay_when_a_backend_goes() {
    let mut origins = numbered(4);
    let backends: Vec<_> = origins.iter().map(|origin| (origin.addr, 1)).collect();
    let check = "hash_on = \"path\"\n\
                 health_check = { tcp = true, interval_secs = 0.2, timeout_secs = 50, unhealthy_after = 1 }\n";
    let proxy = Proxy::start(&(config(1, "consistent_hash", &backends) + check));
    let homes = || {
        (0..100)
            .map(|number| proxy.ask(get(&format!("/{number}"))).text())
            .collect::<Vec<_>>()
    };
    let before = homes();
    let gone = origins.pop().unwrap().addr.to_string();
    drop(origins.split_off(3));
    proxy.wait_for_log(&[&gone, "unhealthy"]);
    let mut after = Vec::new();
    crate::support::eventually("its keys have new homes", || {
        after = homes();
        !after.contains(&"3".to_owned()) && after.iter().all(|home| home.len() == 1)
    });
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| *before != "3" && before != after)
        .count();
    assert!(moved <= 15, "{moved} keys of living backends moved");
}
