//! Clients of `/metrics` that do not read cost the process little memory, and not for long.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::support::place::free_addr;
use crate::support::proxy::command;
use crate::support::{Client, Origin, Proxy, eventually, get, metrics};

fn scrape(admin: SocketAddr) -> String {
    format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n")
}

/// A thousand backends with one origin; each has answered a request.
fn proxy(admin: SocketAddr, origin: &Origin) -> Proxy {
    let port = origin.addr.port();
    let host = |number: usize| format!("\"127.0.{}.{}:{port}\"", number / 250, 1 + number % 250);
    let backends: Vec<String> = (0..1000).map(host).collect();
    let proxy = Proxy::start_as(
        command(),
        &format!(
            "workers = 1\n[[pools]]\nname = \"many\"\nbackends = [{}]\n[[routes]]\npool = \"many\"\n\
             [admin]\nlisten_addr = \"{admin}\"\n",
            backends.join(", ")
        ),
    );
    let mut client = proxy.client();
    for _ in 0..1000 {
        assert_eq!(client.ask(get("/")).text(), "served");
    }
    proxy
}

/// The number of connections to this address that the proxy holds: TCP sockets (proc_pid_net(5)) among its descriptors.
fn served(proxy: &Proxy, admin: SocketAddr) -> usize {
    let process = format!("/proc/{}", proxy.pid());
    let descriptors = std::fs::read_dir(format!("{process}/fd")).unwrap();
    let held = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let held: BTreeSet<PathBuf> = held.collect();
    let SocketAddr::V4(addr) = admin else {
        panic!("an address of IPv4");
    };
    let ip = u32::from_le_bytes(addr.ip().octets());
    let local = format!("{ip:08X}:{:04X}", addr.port());
    let table = std::fs::read_to_string(format!("{process}/net/tcp")).unwrap();
    let sockets = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listens = "0A";
    let here = sockets.filter(|socket| socket[1] == local && socket[3] != listens);
    here.filter(|socket| held.contains(Path::new(&format!("socket:[{}]", socket[9]))))
        .count()
}

#[test]
fn scrapers_that_do_not_read_hold_a_few_mebibytes_and_are_cut() {
    let admin = free_addr();
    let origin = Origin::start_at(([0, 0, 0, 0], free_addr().port()).into(), |link| {
        while link.request().is_some() {
            link.send(crate::support::origin::ok("served"));
        }
    });
    let proxy = proxy(admin, &origin);
    let text = metrics(admin);
    let size = text.len() as u64;
    let before = proxy.resident_memory();
    let mut scrapers = Vec::new();
    for _ in 0..100 {
        let mut scraper = Client::connect(admin);
        scraper.send(scrape(admin));
        scrapers.push(scraper);
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    // Every slow client has received as much as its socket takes; other clients are served meanwhile.
    assert!(metrics(admin).len() as u64 > size / 2);
    let grown = proxy.resident_memory().saturating_sub(before);
    // The bound: three texts, and for each connection a block and its state.
    assert!(
        grown < 3 * size + (16 << 20),
        "{grown} bytes more, a text has {size}"
    );
    for mut scraper in scrapers {
        let answer = scraper.rest();
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
        assert!(end.is_some());
    }
}

#[test]
fn a_scraper_that_does_not_read_is_cut_in_time() {
    let admin = free_addr();
    let origin = Origin::start_at(([0, 0, 0, 0], free_addr().port()).into(), |link| {
        while link.request().is_some() {
            link.send(crate::support::origin::ok("served"));
        }
    });
    let proxy = proxy(admin, &origin);
    let mut scrapers = Vec::new();
    for _ in 0..20 {
        let mut scraper = Client::connect(admin);
        // More bytes than the buffers of the sockets hold.
        for _ in 0..8 {
            scraper.send(scrape(admin));
        }
        scrapers.push(scraper);
    }
    eventually("they are connected", || served(&proxy, admin) >= 20);
    eventually("they are cut", || served(&proxy, admin) == 0);
}
