//! Durations by the monotonic clock: probes, look-ups of names, drains, trials, connections and requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, mpsc};

use palantir::http::date::imf_fixdate;
use serde_json::json;

use super::{STEPS, is_well, step, unix_secs};
use crate::support::managed::{ask, json_of};
use crate::support::origin::ok;
use crate::support::place::free_addr;
use crate::support::proxy::{command, list};
use crate::support::shim::{Clock, Names};
use crate::support::{Answer, Origin, PATIENCE, Proxy, eventually, get};

/// A backend that answers probes at once, and the first other request when the sender says so.
fn waiting() -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if !request.head.first_line().contains(" /probe ") {
                let _ = wait.lock().unwrap().recv_timeout(10 * PATIENCE);
            }
            if !link.try_send(ok("slow")) {
                return;
            }
        }
    });
    (origin, let_go)
}

/// Two backends at one port of two addresses; a name leads to one of them.
fn moving() -> [Origin; 2] {
    let first = Origin::saying("0");
    let IpAddr::V4(ip) = first.addr.ip() else {
        unreachable!("tests are on 127.0.0.0/8")
    };
    let [_, _, third, fourth] = ip.octets();
    let other = SocketAddr::from(([127, 251, third, fourth], first.addr.port()));
    let answer = ok("1");
    let second = Origin::start_at(other, move |link| {
        while link.request().is_some() && link.try_send(&answer) {}
    });
    [first, second]
}

/// A proxy whose clock and names a test sets.
struct Walked {
    proxy: Proxy,
    admin: SocketAddr,
    clock: Clock,
    names: Names,
    quick: Origin,
    moving: [Origin; 2],
    /// The number of changes of the name's address.
    moves: usize,
}

impl Walked {
    #[track_caller]
    fn start(slow: &Origin) -> Walked {
        let (quick, moving) = (Origin::saying("quick"), moving());
        let names = Names::new(&line(&moving[0]));
        let clock = Clock::ahead(0);
        let mut command = command();
        names.apply(&mut command);
        clock.apply(&mut command);
        let admin = free_addr();
        let config = config(admin, &[quick.addr, slow.addr], &moving[0], 1);
        Walked {
            proxy: Proxy::start_as(command, &config),
            admin,
            clock,
            names,
            quick,
            moving,
            moves: 0,
        }
    }

    #[track_caller]
    fn ask(&self, line: &str, body: &str) -> Answer {
        ask(self.admin, line, &[], body)
    }

    #[track_caller]
    fn write_config(&self, slow: &Origin, number: u32) {
        let backends = [self.quick.addr, slow.addr];
        let config = config(self.admin, &backends, &self.moving[0], number);
        let config = format!("listen_addr = \"{}\"\n{config}", self.proxy.addr);
        let folder = self.proxy.directory.path().to_str().unwrap();
        let config = config.replace("{dir}", folder);
        self.proxy.directory.write("config.toml", &config);
    }

    #[track_caller]
    fn number(&self) -> f64 {
        let pool = json_of(&self.ask("GET /pools/api", ""));
        pool["outlier"]["eject_secs"].as_f64().unwrap()
    }

    #[track_caller]
    fn has(&self, origin: &Origin) -> bool {
        let servers = self.ask("GET /servers?pool=api", "");
        servers.text().contains(&origin.addr.to_string())
    }

    /// Everything goes on: probes, look-ups, requests, and log lines with the time of the clock.
    #[track_caller]
    fn goes_on(&mut self, ahead: i64) {
        let probed = self.quick.count();
        eventually("probes go on", || self.quick.count() > probed + 2);
        self.moves += 1;
        let to = self.moves % 2;
        self.names.set(&line(&self.moving[to]));
        eventually("names are looked up", || {
            self.proxy.ask(get("/moving")).text() == to.to_string()
        });
        self.proxy.ask(get("/moving?last"));
        let year =
            |secs: f64| String::from_utf8_lossy(&imf_fixdate(secs as u64)[12..16]).into_owned();
        let now = unix_secs() + ahead as f64;
        let years = [year(now - 60.0), year(now + 60.0)];
        eventually("the line has the clock's year", || {
            let lines = self.proxy.access_lines(1);
            years
                .iter()
                .any(|year| lines[lines.len() - 1].contains(&format!("/{year}:")))
        });
        is_well(&self.proxy, self.admin);
        let log = self.proxy.log();
        assert!(!log.contains("unhealthy"), "{log}");
    }
}

fn line(origin: &Origin) -> String {
    format!("moving.test {}\n", origin.addr.ip())
}

/// Operations that must not end by their timeouts have long ones.
fn config(admin: SocketAddr, backends: &[SocketAddr], moving: &Origin, number: u32) -> String {
    let port = moving.addr.port();
    let backends = list(backends);
    format!(
        "workers = 1\nresolve_secs = 0.2\n\
         [admin]\nlisten_addr = \"{admin}\"\n\
         [access_log]\npath = \"{{dir}}/access.log\"\nformat = \"combined\"\n\
         [timeouts]\nclient_idle = 3000\nclient_header = 3000\nupstream_response = 3000\n\
         [[routes]]\npool = \"api\"\n\
         [[routes]]\nprefix = \"/moving\"\nbackend_addrs = [\"moving.test:{port}\"]\n\
         [[pools]]\nname = \"api\"\nbackends = {backends}\noutlier = {{ eject_secs = {number} }}\n\
         health_check = {{ path = \"/probe\", interval_secs = 0.1, timeout_secs = 100 }}\n"
    )
}

#[test]
fn what_is_long_does_not_end_when_the_clock_steps() {
    let (slow, let_go) = waiting();
    let mut walked = Walked::start(&slow);
    // One of two requests goes to the backend that holds its answer back.
    let mut clients = [walked.proxy.client(), walked.proxy.client()];
    clients
        .iter_mut()
        .for_each(|client| client.send(get("/held")));
    eventually("it has a request", || {
        let mut requests = slow.requests().into_iter();
        requests.any(|request| request.head.first_line().contains(" /held "))
    });
    let mut kept = walked.proxy.client();
    let (ip, port) = (slow.addr.ip(), slow.addr.port());
    let drain = walked.ask(&format!("DELETE /servers/{ip}/{port}?drain=3000s"), "");
    assert_eq!(drain.status(), 202, "{}", drain.text());
    assert_eq!(kept.ask(get("/")).text(), "quick");
    walked.write_config(&slow, 2);
    let trial = walked.ask("POST /reload", "{\"confirm_secs\": 3000}");
    assert_eq!(trial.status(), 200, "{}", trial.text());
    for ahead in STEPS {
        step(&walked.clock, walked.admin, ahead);
        assert_eq!(kept.ask(get("/")).text(), "quick", "{ahead}");
        walked.goes_on(ahead);
        assert!(walked.has(&slow), "{ahead}: the drain ended");
        assert_eq!(walked.number(), 2.0, "{ahead}: the trial ended");
    }
    assert_eq!(walked.ask("POST /reload/confirm", "").status(), 200);
    let _ = let_go.send(());
    let mut texts = clients.each_mut().map(|client| client.answer().text());
    texts.sort();
    assert_eq!(texts, ["quick", "slow"]);
    eventually("the drain has ended", || !walked.has(&slow));
}

#[test]
fn what_is_short_ends_in_time_whatever_the_clock_is() {
    let (slow, let_go) = waiting();
    drop(let_go);
    let mut walked = Walked::start(&slow);
    let other = Origin::saying("other");
    for ahead in STEPS {
        step(&walked.clock, walked.admin, ahead);
        let url = json!({ "url": format!("http://{}", other.addr) }).to_string();
        assert_eq!(walked.ask("POST /servers", &url).status(), 201);
        let (ip, port) = (other.addr.ip(), other.addr.port());
        let drain = walked.ask(&format!("DELETE /servers/{ip}/{port}?drain=100ms"), "");
        assert_eq!(drain.status(), 202, "{}", drain.text());
        walked.write_config(&slow, 2);
        eventually("the drain has ended", || !walked.has(&other));
        let trial = walked.ask("POST /reload", "{\"confirm_secs\": 0.1}");
        assert_eq!(trial.status(), 200, "{}", trial.text());
        // The clock also jumps while the durations run.
        step(&walked.clock, walked.admin, 0);
        eventually("the trial is taken back", || walked.number() == 1.0);
        step(&walked.clock, walked.admin, ahead);
        walked.goes_on(ahead);
    }
}
