//! Names that get no answer delay neither the look-ups of other names, nor a start, nor an upgrade.

use std::net::SocketAddr;

use crate::support::place::{free_addr, listen};
use crate::support::proxy::command;
use crate::support::shim::Names;
use crate::support::{Client, Lineage, Origin, Proxy, eventually, get, metrics};

/// A route from `prefix` to a name on the port of this origin.
fn route(prefix: &str, name: &str, origin: &Origin) -> String {
    let port = origin.addr.port();
    format!("[[routes]]\nprefix = \"{prefix}\"\nbackend_addrs = [\"{name}:{port}\"]\n")
}

/// A pool of this many names that get no answer, and the lines for [`Names`] that make them so.
fn dead(count: usize) -> (String, String) {
    let names: Vec<String> = (0..count)
        .map(|number| format!("dead{number}.test"))
        .collect();
    let backends = names.iter().map(|name| format!("\"{name}:1\""));
    let backends: Vec<String> = backends.collect();
    let lines = names.iter().map(|name| format!("{name} hang\n"));
    let route = format!(
        "[[routes]]\nprefix = \"/dead\"\nbackend_addrs = [{}]\n",
        backends.join(", ")
    );
    (route, lines.collect())
}

fn line(name: &str, origin: &Origin) -> String {
    format!("{name} {}\n", origin.addr.ip())
}

#[track_caller]
fn post(admin: SocketAddr, path: &str, body: &str) -> u16 {
    let length = body.len();
    let answer = Client::connect(admin).ask(format!(
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    answer.status()
}

#[test]
fn a_new_name_is_found_at_once_beside_dead_ones() {
    let origin = Origin::saying("found");
    let (route_to_dead, dead_lines) = dead(70);
    let names = Names::new(&(dead_lines + &line("good.test", &origin)));
    let admin = free_addr();
    let mut command = command();
    names.apply(&mut command);
    let base = format!("[admin]\nlisten_addr = \"{admin}\"\n{route_to_dead}");
    let proxy = Proxy::start_as(command, &base);
    // Look-ups that take too long are given up after a while, and so are those that wait behind them.
    proxy.wait_for_log(&[
        "dead",
        "no answer within 5s",
        "the backends of the name are down",
    ]);
    proxy.wait_for_log(&[
        "dead",
        "not looked up within 5s",
        "that get no answer come before it",
    ]);
    let found = |number: usize| {
        let prefix = format!("/{number}");
        let good = route(&prefix, "good.test", &origin);
        proxy.reload_everywhere(admin, &(base.clone() + &good));
        assert_eq!(proxy.ask(get(&prefix)).text(), "found");
    };
    found(1);
    proxy.reload_everywhere(admin, &base);
    found(2);
}

#[test]
fn a_name_is_looked_up_again_however_often_others_come_and_go() {
    let first = Origin::saying("first");
    let names = Names::new(&line("moves.test", &first));
    let admin = free_addr();
    let mut command = command();
    names.apply(&mut command);
    let base = format!(
        "resolve_secs = 5\n[admin]\nlisten_addr = \"{admin}\"\n{}",
        route("/", "moves.test", &first)
    );
    let proxy = Proxy::start_as(command, &base);
    assert_eq!(proxy.ask(get("/")).text(), "first");
    // No server listens at this address, so that the answer shows the change.
    let elsewhere = "127.0.0.99";
    names.set(&format!("moves.test {elsewhere}\n"));
    let mut number = 0;
    eventually("the name is looked up again", || {
        number += 1;
        let other =
            format!("[[routes]]\nprefix = \"/x\"\nbackend_addrs = [\"other{number}.test:1\"]\n");
        names.set(&format!(
            "moves.test {elsewhere}\nother{number}.test 127.0.0.1\n"
        ));
        proxy.reload_everywhere(admin, &(base.clone() + &other));
        proxy.ask(get("/")).status() == 502
    });
}

#[test]
fn an_upgrade_needs_no_name_server() {
    let origin = Origin::saying("found");
    let (mut config, mut lines) = dead(200);
    let mut hanging = lines.clone();
    lines = lines.replace("hang", "fail");
    for number in 0..3 {
        let name = format!("known{number}.test");
        config += &route(&format!("/{number}"), &name, &origin);
        lines += &line(&name, &origin);
        hanging += &format!("{name} hang\n");
    }
    let names = Names::new(&lines);
    let mut command = command();
    names.apply(&mut command);
    let mut lineage = Lineage::start_as(command, &format!("resolve_secs = 3600\n{config}"));
    for number in 0..3 {
        let path = format!("/{number}");
        eventually("it is served", || {
            lineage.proxy.ask(get(&path)).text() == "found"
        });
    }
    names.set(&hanging);
    for _ in 0..2 {
        lineage.upgrade();
        for number in 0..3 {
            assert_eq!(
                lineage.proxy.ask(get(&format!("/{number}"))).text(),
                "found"
            );
        }
    }
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_rollback_needs_no_name_server() {
    let origin = Origin::saying("found");
    let names = Names::new(&line("known.test", &origin));
    let admin = free_addr();
    let mut command = command();
    names.apply(&mut command);
    let base = format!("[admin]\nlisten_addr = \"{admin}\"\n");
    let before = base.clone() + &route("/", "known.test", &origin);
    let proxy = Proxy::start_as(command, &before);
    assert_eq!(proxy.ask(get("/")).text(), "found");
    let after = format!("{base}[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n");
    proxy.reload_everywhere(admin, &after);
    assert_eq!(proxy.ask(get("/")).status(), 502);
    names.set("known.test hang\n");
    assert_eq!(post(admin, "/config/rollback", "{\"revision\": 1}"), 200);
    assert_eq!(proxy.ask(get("/")).text(), "found");
}

#[test]
fn a_change_that_was_refused_after_its_names_hung_can_be_asked_for_again() {
    let (route_to_dead, dead_lines) = dead(60);
    let names = Names::new(&dead_lines);
    let (admin, taken) = (free_addr(), free_addr());
    let mut command = command();
    names.apply(&mut command);
    let origin = Origin::saying("served");
    let port = origin.addr;
    let base =
        format!("[admin]\nlisten_addr = \"{admin}\"\n[[routes]]\nbackend_addrs = [\"{port}\"]\n");
    let proxy = Proxy::start_as(command, &base);
    let other = listen(taken);
    let listeners = format!(
        "[[listeners]]\naddr = \"{}\"\n[[listeners]]\naddr = \"{taken}\"\n",
        proxy.addr
    );
    let whole = format!("{listeners}{base}{route_to_dead}");
    let directory = proxy.directory.path();
    std::fs::write(directory.join("config.toml"), &whole).unwrap();
    // A machine that lets the reload wait for too long answers 503, so that it is asked for again.
    let reload = || {
        let mut status = 503;
        eventually("the reload is decided", || {
            status = post(admin, "/reload", "{}");
            status != 503
        });
        status
    };
    assert_eq!(reload(), 500, "the port is taken");
    assert_eq!(reload(), 500, "the port is still taken");
    drop(other);
    assert_eq!(reload(), 200);
    assert_eq!(Client::connect(taken).ask(get("/")).text(), "served");
    eventually("the look-ups that hang are counted", || {
        let text = metrics(admin);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("palantir_look_ups_hanging "));
        // More than there are threads without the replaced ones.
        line.is_some_and(|count| count.parse::<u64>().unwrap() > 32)
    });
}
