//! A new process of the binary takes over from the old one, and no client notices.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::installed::write_script;
use crate::support::load::Load;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::process::{self, signal, stop};
use crate::support::proxy::{command, end_with_this_thread, route};
use crate::support::{Client, Lineage, Origin, PATIENCE, Proxy, eventually, get, when_still};

/// A request after which its client sends nothing more.
const LAST: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// An origin that answers half of what it has, and the rest when it is let go.
fn halting() -> (Origin, mpsc::Sender<()>) {
    let (let_go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /long ") {
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
                link.send("half");
            } else {
                link.send(ok("served"));
            }
        }
    });
    (origin, let_go)
}

/// A proxy with a management API at `admin`, and the processes that take over from it.
fn start_managed(admin: SocketAddr, origin: &Origin) -> Lineage {
    let route = route("/", &[origin.addr]);
    Lineage::start(&format!("{route}[admin]\nlisten_addr = \"{admin}\"\n"))
}

/// The kernel wakes one of the processes that accept from a socket, and the old one may stop accepting before it comes
/// to the client.
#[test]
fn a_client_that_comes_when_the_old_process_stops_accepting_is_served_though_no_other_comes() {
    let origin = Origin::saying("served");
    let mut lineage = Lineage::start(&route("/", &[origin.addr]));
    for _ in 0..20 {
        lineage.upgrade();
        let mut client = Client::connect(lineage.proxy.addr);
        assert_eq!(client.ask(get("/")).text(), "served");
    }
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn five_upgrades_under_load_cost_no_request() {
    let origin = Origin::saying("served");
    let config = format!("workers = 2\n{}", route("/", &[origin.addr]));
    let mut lineage = Lineage::start(&config);
    let load = Load::on(lineage.proxy.addr);
    load.wait_for(200);
    for _ in 0..5 {
        lineage.upgrade();
        load.wait_for(200);
    }
    load.end();
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn an_idle_connection_is_served_once_more_and_told_that_it_ends() {
    let origin = Origin::saying("served");
    let mut lineage = Lineage::start(&route("/", &[origin.addr]));
    let mut client = lineage.proxy.client();
    assert_eq!(client.ask(get("/")).field("connection"), None);
    lineage.upgrade();
    // The log says that the new process is in charge before every worker of the old one knows.
    eventually("the connection is told that it ends", || {
        let answer = client.ask(get("/"));
        assert_eq!(answer.text(), "served");
        answer.field("connection") == Some("close")
    });
    client.ends();
    lineage.wait_for_elders();
}

#[test]
fn a_connection_that_has_not_asked_yet_is_served() {
    let origin = Origin::saying("served");
    let timeouts = "[timeouts]\nclient_header = 600\n".to_owned();
    let mut lineage = Lineage::start(&(timeouts + &route("/", &[origin.addr])));
    let mut early = lineage.proxy.client();
    // Accepted after `early`, so `early` is in the old process.
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
    lineage.upgrade();
    assert_eq!(early.ask(get("/")).text(), "served");
    lineage.wait_for_elders();
}

#[test]
fn connections_in_the_accept_queue_are_served_by_the_new_process() {
    let (origin, let_go) = halting();
    let config = "workers = 1\n[limits]\nconnections = 1\n".to_owned();
    let mut lineage = Lineage::start(&(config + &route("/", &[origin.addr])));
    let mut running = lineage.proxy.client();
    running.send(get("/long"));
    origin.wait_for_requests(1);
    let mut waiting: Vec<_> = (0..10).map(|_| lineage.proxy.client()).collect();
    for client in &mut waiting {
        client.send(LAST);
    }
    lineage.upgrade();
    for client in &mut waiting {
        assert_eq!(client.answer().text(), "served");
    }
    let_go.send(()).unwrap();
    assert_eq!(running.answer().text(), "halfhalf");
    drop(running);
    lineage.wait_for_elders();
}

#[test]
fn a_long_download_goes_on_in_the_old_process() {
    let (origin, let_go) = halting();
    // The old process may take longer than a stop may.
    let config = format!("shutdown_timeout = 0.1\n{}", route("/", &[origin.addr]));
    let mut lineage = Lineage::start(&config);
    let mut client = lineage.proxy.client();
    client.send(get("/long"));
    assert_eq!(client.begin_answer().status(), 200);
    assert_eq!(client.bytes(4), b"half");
    lineage.upgrade();
    lineage.upgrade();
    assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
    let_go.send(()).unwrap();
    assert_eq!(client.bytes(4), b"half");
    drop(client);
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_signal_ends_the_old_process_as_ever() {
    let (origin, _let_go) = halting();
    let config = format!("shutdown_timeout = 0.1\n{}", route("/", &[origin.addr]));
    let mut lineage = Lineage::start(&config);
    let mut client = lineage.proxy.client();
    client.send(get("/long"));
    origin.wait_for_requests(1);
    lineage.upgrade();
    lineage.proxy.signal(libc::SIGTERM);
    assert_eq!(lineage.proxy.wait_for_exit(), 1, "a request was cut");
    assert_eq!(lineage.proxy.ask(get("/")).text(), "served");
}

#[test]
fn a_mistake_in_the_configuration_keeps_the_old_process() {
    let origin = Origin::saying("served");
    let mut lineage = Lineage::start(&route("/", &[origin.addr]));
    let good = lineage.config();
    let mut client = lineage.proxy.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    lineage.write_config(&format!("{good}\nno_such_key = 1\n"));
    lineage.fail_to_upgrade(&["no_such_key"]);
    let answer = client.ask(get("/"));
    assert_eq!((answer.status(), answer.field("connection")), (200, None));
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
    lineage.write_config(&good);
    lineage.upgrade();
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
    drop(client);
    lineage.wait_for_elders();
}

/// A command that runs what lies at `path`.
fn command_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_remove("RUST_LOG");
    end_with_this_thread(&mut command);
    command
}

#[test]
fn a_binary_that_cannot_take_over_keeps_the_old_process() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let path = directory.path().join("palantir");
    let binary = env!("CARGO_BIN_EXE_palantir");
    symlink(binary, &path).unwrap();
    let mut lineage = Lineage::start_as(command_at(&path), &route("/", &[origin.addr]));
    write_script(&path, "#!/bin/sh\nexit 7\n");
    lineage.fail_to_upgrade(&["exit status: 7"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    lineage.fail_to_upgrade(&["cannot start", "Permission denied"]);
    fs::remove_file(&path).unwrap();
    lineage.fail_to_upgrade(&["cannot start", "No such file"]);
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
    symlink(binary, &path).unwrap();
    lineage.upgrade();
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
    lineage.wait_for_elders();
}

#[test]
fn a_stop_while_the_new_process_starts_ends_both() {
    let origin = Origin::saying("served");
    let directory = Directory::new();
    let path = directory.path().join("palantir");
    let binary = env!("CARGO_BIN_EXE_palantir");
    symlink(binary, &path).unwrap();
    let mut lineage = Lineage::start_as(command_at(&path), &route("/", &[origin.addr]));
    let started = directory.path().join("started");
    let script = format!(
        "#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nexec sleep 100\n",
        started.display()
    );
    write_script(&path, &script);
    lineage.signal(libc::SIGUSR2);
    eventually("the new process starts", || started.exists());
    lineage.signal(libc::SIGUSR2);
    lineage.proxy.wait_for_log(&["an upgrade is under way"]);
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
    assert_eq!(lineage.stop(), 0);
    // The program was not palantir, which would end by itself.
    let pid: i32 = fs::read_to_string(&started)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    signal(pid, libc::SIGKILL);
}

#[test]
fn workers_may_become_fewer_and_more() {
    let origin = Origin::saying("served");
    let mut lineage = Lineage::start(&format!("workers = 3\n{}", route("/", &[origin.addr])));
    let load = Load::on(lineage.proxy.addr);
    for workers in [1, 2, 4] {
        let config = lineage.config();
        let config = config.lines().map(|line| {
            if line.starts_with("workers") {
                format!("workers = {workers}\n")
            } else {
                format!("{line}\n")
            }
        });
        lineage.write_config(&config.collect::<String>());
        lineage.upgrade();
        load.wait_for(200);
    }
    load.end();
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn addresses_may_come_and_go() {
    let (origin, let_go) = halting();
    let [stays, goes, comes] = [free_addr(), free_addr(), free_addr()];
    let rest = format!(
        "workers = 1\n[limits]\nconnections = 1\n{}",
        route("/", &[origin.addr])
    );
    let before = format!("listen_addr = [\"{stays}\", \"{goes}\"]\n{rest}");
    let mut lineage = Lineage::launch(command(), stays, &before);
    lineage.proxy.wait_until_it_accepts();
    let mut running = Client::connect(stays);
    running.send(get("/long"));
    origin.wait_for_requests(1);
    // Waits at an address that the new process is not meant to listen on. The old one serves it if it was accepting
    // there already when its only connection was taken; else the new one says that what was there is gone.
    let mut waiting = Client::connect(goes);
    waiting.send(LAST);
    lineage.write_config(&format!("listen_addr = [\"{stays}\", \"{comes}\"]\n{rest}"));
    lineage.upgrade();
    let answer = waiting.answer();
    let is_told = answer.status() == 503 && answer.text().contains("gone");
    assert!(answer.text() == "served" || is_told, "{answer:?}");
    eventually("nobody listens there any more", || {
        TcpStream::connect(goes).is_err()
    });
    for addr in [stays, comes] {
        let mut client = Client::connect(addr);
        client.send(LAST);
        assert_eq!(client.answer().text(), "served");
        client.ends();
    }
    let_go.send(()).unwrap();
    assert_eq!(running.answer().text(), "halfhalf");
    drop(running);
    lineage.wait_for_elders();
}

#[test]
fn a_unix_socket_is_handed_over_with_its_file() {
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;
    let origin = Origin::saying("served");
    let addr = free_addr();
    let config = format!(
        "listen_addr = [\"{addr}\", \"unix:{{dir}}/socket\"]\nworkers = 2\n{}",
        route("/", &[origin.addr])
    );
    let mut lineage = Lineage::launch(command(), addr, &config);
    lineage.proxy.wait_until_it_accepts();
    let path = lineage.proxy.directory.path().join("socket");
    let file = fs::metadata(&path).unwrap().ino();
    for _ in 0..2 {
        lineage.upgrade();
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(LAST.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(fs::metadata(&path).unwrap().ino(), file);
    lineage.wait_for_elders();
}

#[test]
fn test_servers_are_handed_over_too() {
    let [one, other] = [free_addr(), free_addr()];
    let config = format!(
        "{}[test_server]\nlisten_addrs = [\"{one}\", \"{other}\"]\n",
        route("/", &[one, other])
    );
    let mut lineage = Lineage::start(&config);
    for _ in 0..2 {
        assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
        lineage.upgrade();
        lineage.wait_for_elders();
    }
    assert_eq!(lineage.proxy.ask(get("/")).status(), 200);
}

#[test]
fn the_management_api_hands_over_and_is_handed_over() {
    let origin = Origin::saying("served");
    let admin = free_addr();
    let mut lineage = start_managed(admin, &origin);
    let ask = |request: String| Client::connect(admin).ask(request);
    let post = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        )
    };
    for times in 1..=2 {
        let answer = ask(post("/upgrade"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        lineage.note_upgrade();
        let pid = lineage.pid().to_string();
        assert!(answer.text().contains(&pid), "{}", answer.text());
        lineage.wait_for_elders();
        let listening = ["listening on", &lineage.proxy.addr.to_string()];
        lineage.proxy.wait_for_log_times(&listening, times + 1);
    }
    let good = lineage.config();
    lineage.write_config("mistaken");
    let answer = ask(post("/upgrade"));
    assert!(answer.status() >= 400, "{}", answer.text());
    assert!(answer.text().contains("mistaken"), "{}", answer.text());
    lineage.write_config(&good);
    let version = format!("GET /version HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    assert_eq!(ask(version).status(), 200);
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_retired_process_says_on_every_connection_that_another_one_is_to_be_asked() {
    let (origin, go_on) = halting();
    let admin = free_addr();
    let mut lineage = start_managed(admin, &origin);
    let mut held = lineage.proxy.client();
    held.send(get("/long"));
    origin.wait_for_requests(1);
    let metrics = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    let mut scraper = Client::connect(admin);
    let before = scraper.ask(&metrics);
    assert_eq!(before.field("connection"), None);
    let mut follower = Client::connect(admin);
    follower.send(format!("GET /events HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    assert_eq!(follower.begin_answer().status(), 200);
    lineage.upgrade();
    let process = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("process_start_time"));
        line.map(str::to_owned)
    };
    let last = scraper.ask(&metrics);
    assert_eq!(process(&last.text()), process(&before.text()));
    assert_eq!(last.field("connection"), Some("close"));
    scraper.ends();
    let events = String::from_utf8(follower.rest()).unwrap();
    assert!(events.ends_with("\r\n0\r\n\r\n"), "cut: {events}");
    assert_ne!(
        process(&Client::connect(admin).ask(&metrics).text()),
        process(&before.text())
    );
    go_on.send(()).unwrap();
    assert_eq!(held.answer().text(), "halfhalf");
    drop(held);
    assert_eq!(lineage.stop(), 0);
}

/// Two routes: `/` with an origin that can be held up, and one whose backend is probed all the time.
fn probing(halting: &Origin, probed: &Origin) -> String {
    format!(
        "shutdown_timeout = 300\n{}[[pools]]\nname = \"probed\"\nbackends = [\"{}\"]\n\
         health_check = {{ path = \"/\", interval_secs = 0.1, timeout_secs = 50 }}\n\
         [[routes]]\nprefix = \"/probed\"\npool = \"probed\"\n",
        route("/", &[halting.addr]),
        probed.addr
    )
}

/// No process probes the origin any more.
#[track_caller]
fn assert_unprobed(origin: &Origin) {
    let probes = || origin.count() as u64;
    let still = when_still(probes);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(probes(), still, "it is probed");
}

#[test]
fn a_process_that_has_retired_probes_nobody() {
    let (origin, go_on) = halting();
    let probed = Origin::saying("well");
    let mut lineage = Lineage::start(&probing(&origin, &probed));
    probed.wait_for_requests(5);
    let mut held = lineage.proxy.client();
    held.send(get("/long"));
    origin.wait_for_requests(1);
    lineage.upgrade();
    probed.wait_for_requests(probed.count() + 20);
    // Only the retired process can probe now.
    stop(lineage.pid());
    assert_unprobed(&probed);
    process::go_on(lineage.pid());
    go_on.send(()).unwrap();
    assert_eq!(held.answer().text(), "halfhalf");
    drop(held);
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_process_that_stops_probes_nobody() {
    let (origin, go_on) = halting();
    let probed = Origin::saying("well");
    let mut proxy = Proxy::start(&probing(&origin, &probed));
    probed.wait_for_requests(5);
    let mut held = proxy.client();
    held.send(get("/long"));
    origin.wait_for_requests(1);
    proxy.signal(libc::SIGTERM);
    proxy.wait_for_log(&["stopping: running requests may finish"]);
    assert_unprobed(&probed);
    go_on.send(()).unwrap();
    assert_eq!(held.answer().text(), "halfhalf");
    assert_eq!(proxy.wait_for_exit(), 0);
}
