//! Backends that are names: looked up again and again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::support::h2::backend::Backend;
use crate::support::place::{Directory, black_hole, free_addr};
use crate::support::proxy::{command, end_with_this_thread};
use crate::support::{Origin, Proxy, eventually, get};

/// A command for the proxy that reads this file as `/etc/hosts`; `None` where this user may not have a mount
/// namespace of its own.
pub fn with_hosts(hosts: &std::path::Path) -> Option<Command> {
    let mount = format!(
        "mount --bind {} /etc/hosts && exec \"$0\" \"$@\"",
        hosts.display()
    );
    let in_namespace = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &mount, program]);
        command
    };
    let works = in_namespace("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        return None;
    }
    let mut command = in_namespace(env!("CARGO_BIN_EXE_palantir"));
    end_with_this_thread(&mut command);
    command.process_group(0);
    Some(command)
}

/// An address on the same port as `like`.
pub fn beside(like: SocketAddr, last: u8) -> SocketAddr {
    let IpAddr::V4(ip) = like.ip() else {
        panic!("IPv4")
    };
    let [_, second, third, _] = ip.octets();
    SocketAddr::new(Ipv4Addr::new(127, second, third, last).into(), like.port())
}

fn saying(addr: SocketAddr, body: &'static str) -> Origin {
    let answer = crate::support::origin::ok(body);
    Origin::start_at(addr, move |link| {
        while link.request().is_some() && link.try_send(&answer) {}
    })
}

#[test]
fn a_name_is_followed_to_all_its_addresses() {
    let directory = Directory::new();
    let hosts = directory.write("hosts", "127.0.0.1 localhost\n");
    let Some(command) = with_hosts(&hosts) else {
        eprintln!("not shown here: needs a mount namespace, which takes root");
        return;
    };
    let first = free_addr();
    let (second, third) = (beside(first, 252), beside(first, 253));
    let _origins = [
        saying(first, "first"),
        saying(second, "second"),
        saying(third, "third"),
    ];
    let write = |addrs: &[SocketAddr]| {
        let lines = addrs
            .iter()
            .map(|addr| format!("{} many.test\n", addr.ip()));
        // In place: the proxy sees this file through a mount.
        std::fs::write(&hosts, lines.collect::<String>()).unwrap();
    };
    write(&[first]);
    let config = format!(
        "resolve_secs = 0.2\nworkers = 1\n[[routes]]\nprefix = \"/\"\nhost_header = \"backend\"\n\
         backend_addrs = [\"many.test:{}\"]\n",
        first.port()
    );
    let proxy = Proxy::start_as(command, &config);
    let names = || {
        (0..12)
            .map(|_| proxy.ask(get("/")).text())
            .collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names(), set(&["first"]));
    write(&[first, second, third]);
    eventually("all three are used", || {
        names() == set(&["first", "second", "third"])
    });
    write(&[third]);
    eventually("only the third is used", || names() == set(&["third"]));
    // The name is lost: the last good answer stays.
    write(&[]);
    proxy.wait_for_log(&["WARN", "many.test"]);
    assert_eq!(names(), set(&["third"]));
    write(&[second]);
    eventually("only the second is used", || names() == set(&["second"]));
}

#[test]
fn a_name_that_appears_later_brings_its_backend_up() {
    let directory = Directory::new();
    let hosts = directory.write("hosts", "127.0.0.1 localhost\n");
    let Some(command) = with_hosts(&hosts) else {
        eprintln!("not shown here: needs a mount namespace, which takes root");
        return;
    };
    let addr = free_addr();
    let _origin = saying(addr, "found");
    let config = format!(
        "resolve_secs = 0.2\n[[routes]]\nprefix = \"/\"\nbackend_addrs = [\"late.test:{}\"]\n",
        addr.port()
    );
    let proxy = Proxy::start_as(command, &config);
    proxy.wait_for_log(&["WARN", "late.test"]);
    assert_eq!(proxy.ask(get("/")).status(), 503);
    std::fs::write(&hosts, format!("{} late.test\n", addr.ip())).unwrap();
    eventually("the backend is found", || {
        proxy.ask(get("/")).text() == "found"
    });
}

#[test]
fn localhost_resolves_everywhere() {
    let addr = free_addr();
    let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), addr.port());
    let _origin = saying(local, "local");
    let config = format!(
        "[[routes]]\nprefix = \"/\"\nbackend_addrs = [\"localhost:{}\"]\n",
        local.port()
    );
    let proxy = Proxy::start_as(command(), &config);
    eventually("it is served", || proxy.ask(get("/")).text() == "local");
}

/// One of a name's addresses refuses connections, or lets them wait: the others are tried within the same attempt,
/// even where nothing may be sent again.
#[test]
fn a_dead_address_of_a_name_costs_no_request() {
    let directory = Directory::new();
    let hosts = directory.write("hosts", "127.0.0.1 localhost\n");
    let refusing = free_addr();
    let (alive, silent) = (beside(refusing, 252), beside(refusing, 253));
    let _origin = saying(alive, "alive");
    let _hole = black_hole(silent);
    for dead in [refusing, silent] {
        let Some(command) = with_hosts(&hosts) else {
            eprintln!("not shown here: needs a mount namespace, which takes root");
            return;
        };
        let lines = [dead, alive].map(|addr| format!("{} both.test\n", addr.ip()));
        std::fs::write(&hosts, lines.concat()).unwrap();
        let config = format!(
            "workers = 1\n[timeouts]\nconnect = 60\n[[routes]]\nprefix = \"/\"\nretries = 0\n\
             backend_addrs = [\"both.test:{}\"]\n",
            dead.port()
        );
        let proxy = Proxy::start_as(command, &config);
        for _ in 0..20 {
            let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
            assert_eq!(proxy.ask(post).text(), "alive", "{dead}");
        }
        proxy.wait_for_log(&[&dead.to_string(), "rests"]);
    }
}

/// Over HTTP/2 requests are under way before it is known which address will be connected to.
#[test]
fn answers_are_those_of_the_address_that_gave_them() {
    let directory = Directory::new();
    let hosts = directory.write("hosts", "127.0.0.1 localhost\n");
    let silent = free_addr();
    let alive = beside(silent, 251);
    let _hole = black_hole(silent);
    let _origin = Origin::start_at(alive, |link| {
        if let Some(mut backend) = Backend::greet(link, &[]) {
            backend.serve("alive");
        }
    });
    let Some(command) = with_hosts(&hosts) else {
        eprintln!("not shown here: needs a mount namespace, which takes root");
        return;
    };
    let lines = [silent, alive].map(|addr| format!("{} both.test\n", addr.ip()));
    std::fs::write(&hosts, lines.concat()).unwrap();
    let config = format!(
        "workers = 1\n[timeouts]\nconnect = 60\n[access_log]\npath = \"{{dir}}/access.log\"\n\
         [[pools]]\nname = \"both\"\nprotocol = \"h2\"\nbackends = [\"both.test:{}\"]\n\
         [[routes]]\npool = \"both\"\n",
        silent.port()
    );
    let proxy = Proxy::start_as(command, &config);
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    for client in &mut clients {
        assert_eq!(client.answer().text(), "alive");
    }
    let answered = |line: &&String| line.contains("\"status\":200");
    let lines = proxy.access_lines(4);
    assert_eq!(lines.iter().filter(answered).count(), 4, "{lines:?}");
    for line in lines {
        assert!(line.contains(&alive.to_string()), "{line}");
    }
}
