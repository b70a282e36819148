//! Snapshots of the configuration that stay in use for long: their cost, and their greatest number.

use std::fmt::Write;

use crate::support::place::free_addr;
use crate::support::proxy::command;
use crate::support::{Client, Link, Origin, Proxy, eventually, get, metrics};

/// The value of `limits::GENERATIONS`.
const GENERATIONS: usize = 128;

fn generations(text: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.starts_with("palantir_generations "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// Five thousand routes to one pool. One of the routes has this number of retries.
fn many_routes(origin: &Origin, admin: std::net::SocketAddr, retries: usize) -> String {
    let mut config = format!(
        "workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n[timeouts]\nupstream_idle = 600\n\
         [[pools]]\nname = \"api\"\nbackends = [\"{}\"]\n[[routes]]\npool = \"api\"\nretries = {retries}\n",
        origin.addr
    );
    for number in 1..5_000 {
        let host = number % 100;
        writeln!(
            config,
            "[[routes]]\nhost = \"h{host}.example.com\"\nprefix = \"/p{number}\"\npool = \"api\""
        )
        .unwrap();
    }
    config
}

#[test]
fn a_generation_costs_what_has_changed_and_not_the_whole_configuration() {
    const FIRST: usize = 8; // The first reloads fill the history of revisions.
    const RELOADS: usize = 40;
    let origin = Origin::start(|link: &mut Link| {
        while link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            link.rest(); // Returns when the proxy is gone.
        }
    });
    let admin = free_addr();
    // glibc may use only one arena: memory that it keeps for each thread belongs to no generation.
    let mut command = command();
    command.env("MALLOC_ARENA_MAX", "1");
    let proxy = Proxy::start_as(command, &many_routes(&origin, admin, 0));
    let mut held = Vec::new();
    let mut hold = || {
        let mut client = proxy.client();
        client.send(get("/long"));
        client.begin_answer();
        held.push(client);
    };
    let mut before = 0;
    for number in 1..=RELOADS {
        hold();
        proxy.reload_everywhere(admin, &many_routes(&origin, admin, number % 8));
        if number == FIRST {
            before = proxy.resident_memory();
        }
    }
    assert_eq!(generations(&metrics(admin)), RELOADS as u64 + 1);
    let grown = proxy.resident_memory().saturating_sub(before) / (RELOADS - FIRST) as u64;
    // The routes alone take 3 MiB. A generation takes less than 1 MiB: the text of the file for the
    // history, one route, and the lists that name the routes. The rest is room for the allocator's leftovers.
    assert!(grown < 2 << 20, "{grown} bytes for each reload");
    held.into_iter().for_each(Client::leave);
    eventually("no earlier snapshot is in use", || {
        generations(&metrics(admin)) == 1
    });
}

#[test]
fn the_oldest_requests_end_in_whatever_step_they_wait() {
    let origin = Origin::start(|link: &mut Link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /quiet ") {
                link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
            }
            link.rest(); // Returns when the proxy is gone.
        }
    });
    let admin = free_addr();
    let config = |number: usize| {
        format!(
            "workers = 1\nshutdown_timeout = 1\n[timeouts]\nupstream_response = \"1h\"\nupstream_idle = \"1h\"\n\
             client_body = \"1h\"\n[admin]\nlisten_addr = \"{admin}\"\n\
             [[pools]]\nname = \"api\"\nbackends = [\"{}\"]\n\
             [[routes]]\npool = \"api\"\nretries = {}\n",
            origin.addr,
            number % 2
        )
    };
    let proxy = Proxy::start(&config(0));
    let upload = "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nabc";
    let requests = [get("/wait"), get("/quiet"), upload.to_owned()];
    let mut oldest = requests.map(|request| {
        let mut client = proxy.client();
        client.send(request);
        client
    });
    oldest[1].begin_answer();
    // The body of the upload never comes to its end.
    eventually("the upload has its connection", || origin.accepted() == 3);
    let mut others = Vec::new();
    for number in 1..=GENERATIONS {
        let mut client = proxy.client();
        client.send(get("/wait"));
        origin.wait_for_requests(2 + number);
        others.push(client);
        proxy.reload_everywhere(admin, &config(number));
    }
    proxy.wait_for_log(&["too many configurations are in use"]);
    let [waiting, quiet, uploading] = &mut oldest;
    assert_eq!(waiting.answer().status(), 504);
    assert_eq!(uploading.answer().status(), 504);
    quiet.rest();
    eventually("the oldest snapshot is not in use any more", || {
        generations(&metrics(admin)) <= GENERATIONS as u64
    });
}

#[test]
fn the_oldest_tunnels_end_when_too_many_snapshots_are_in_use() {
    let origin = Origin::start(|link: &mut Link| {
        if link.request().is_some() {
            link.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
            );
            while let Some(byte) = link.bytes(1) {
                link.send(byte);
            }
        }
    });
    let admin = free_addr();
    let config = |number: usize| {
        format!(
            "workers = 1\nshutdown_timeout = 1\n[admin]\nlisten_addr = \"{admin}\"\n\
             [[pools]]\nname = \"api\"\nbackends = [\"{}\"]\n\
             [[routes]]\npool = \"api\"\nretries = {}\n",
            origin.addr,
            number % 2
        )
    };
    let proxy = Proxy::start(&config(0));
    let mut tunnels = Vec::new();
    for number in 1..=GENERATIONS {
        let mut tunnel = proxy.client();
        tunnel.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(tunnel.head().status(), 101);
        tunnels.push(tunnel);
        if number == GENERATIONS {
            assert_eq!(generations(&metrics(admin)), GENERATIONS as u64);
            assert!(!proxy.log().contains("too many configurations"));
        }
        proxy.reload_everywhere(admin, &config(number));
    }
    let mut tunnels = tunnels.into_iter();
    let mut oldest: Client = tunnels.next().unwrap();
    oldest.ends();
    proxy.wait_for_log(&["too many configurations are in use"]);
    for mut tunnel in tunnels {
        tunnel.send("x");
        assert_eq!(tunnel.bytes(1), b"x");
    }
}
