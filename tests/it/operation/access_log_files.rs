//! Files of the access log that block, hang, are moved away or belong to another user cost lines at most.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use serde_json::Value;

use crate::support::frozen::Frozen;
use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, route};
use crate::support::{Client, Lineage, Origin, PATIENCE, Proxy, eventually, get, metrics};

fn config(admin: SocketAddr, log: &str, origin: &Origin) -> String {
    format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[access_log]\npath = \"{log}\"\n{}",
        route("/", &[origin.addr])
    )
}

fn value(admin: SocketAddr, name: &str) -> u64 {
    let text = metrics(admin);
    let line = text.lines().find(|line| line.starts_with(name));
    let (_, value) = line.expect(name).rsplit_once(' ').unwrap();
    value.parse().unwrap()
}

const FAILED_WRITES: &str =
    "palantir_access_log_lost_lines_total{worker=\"\",reason=\"failed_write\"}";
const FULL_RING: &str = "palantir_access_log_lost_lines_total{worker=\"0\",reason=\"full_ring\"}";

fn health(admin: SocketAddr) -> Value {
    let request = format!("GET /health HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let answer = Client::connect(admin).ask(request);
    assert_eq!(answer.status(), 200, "{answer:?}");
    serde_json::from_str(&answer.text()).unwrap()
}

fn make_pipe(path: &Path) {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: plain system call with a text that lives.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "mkfifo");
}

#[test]
fn a_pipe_that_nobody_reads_stops_nobody() {
    let origin = Origin::saying("served");
    let (addr, admin) = (free_addr(), free_addr());
    let directory = Directory::new();
    let pipe = directory.path().join("pipe");
    make_pipe(&pipe);
    let config = config(admin, pipe.to_str().unwrap(), &origin);
    let config = format!("listen_addr = \"{addr}\"\n{config}");
    let mut proxy = Proxy::launch(command(), addr, &config);
    proxy.wait_until_it_accepts();
    let mut client = proxy.client();
    let long = get(&format!("/{}", "x".repeat(1000)));
    eventually("lines are lost", || {
        for _ in 0..20 {
            assert_eq!(client.ask(&long).status(), 200);
        }
        value(admin, FAILED_WRITES) > 0
    });
    assert_eq!(value(admin, FULL_RING), 0);
    proxy.wait_for_log(&[
        "the access log cannot be written",
        "nobody reads it",
        "lines=",
    ]);
    // Every line in the pipe, and every later line, is whole, except for the one that was cut.
    let mut lines = BufReader::new(File::open(&pipe).unwrap()).lines();
    let mut whole = 0;
    while whole < 100 {
        assert_eq!(client.ask(get("/")).status(), 200);
        let line = lines.next().unwrap().unwrap();
        whole += usize::from(serde_json::from_str::<Value>(&line).is_ok());
    }
    drop(client);
    proxy.reload(&config.replace(&*pipe.to_string_lossy(), "{dir}/access.log"));
    eventually("lines come to the new file", || {
        assert_eq!(proxy.ask(get("/")).status(), 200);
        fs::metadata(proxy.access_log_path()).unwrap().len() > 0
    });
    assert_eq!(proxy.stop(), 0);
}

#[test]
fn a_file_that_hangs_stops_nobody_and_is_told_of() {
    let origin = Origin::saying("served");
    let admin = free_addr();
    let mut proxy = Proxy::start(&config(admin, "{dir}/access.log", &origin));
    assert_eq!(health(admin)["reasons"], Value::Null);
    let frozen = Frozen::new(proxy.pid(), "access-log");
    eventually("the health says that the access log stands still", || {
        assert_eq!(proxy.ask(get("/")).status(), 200);
        health(admin)["reasons"]
            .to_string()
            .contains("access log stands still")
    });
    assert_eq!(health(admin)["status"], "ok");
    assert_eq!(value(admin, "palantir_access_log_stalled"), 1);
    proxy.wait_for_log(&["the access log stands still"]);
    let mut client = proxy.client();
    eventually("the ring overflows", || {
        client.send(get("/").repeat(2000));
        (0..2000).for_each(|_| assert_eq!(client.answer().status(), 200));
        value(admin, FULL_RING) > 0
    });
    drop(client);
    let origin = Origin::saying("served elsewhere");
    let moved = config(admin, "{dir}/elsewhere.log", &origin);
    proxy.reload(&format!("listen_addr = \"{}\"\n{moved}", proxy.addr));
    eventually("the reload is in force", || {
        proxy.ask(get("/")).text() == "served elsewhere"
    });
    proxy.signal(libc::SIGTERM);
    frozen.wait_for_end();
    assert_eq!(proxy.wait_for_exit(), 0);
    proxy.wait_for_log(&["could not be written to its end in time"]);
}

#[test]
fn a_file_that_answers_again_gets_the_lines_that_waited() {
    let origin = Origin::saying("served");
    let admin = free_addr();
    let proxy = Proxy::start(&config(admin, "{dir}/access.log", &origin));
    let frozen = Frozen::new(proxy.pid(), "access-log");
    for _ in 0..10 {
        assert_eq!(proxy.ask(get("/")).status(), 200);
    }
    proxy.wait_for_log(&["the access log stands still"]);
    drop(frozen);
    assert_eq!(proxy.access_lines(10).len(), 10);
    proxy.wait_for_log(&["the access log goes on"]);
    assert_eq!(value(admin, "palantir_access_log_stalled"), 0);
}

#[test]
fn no_line_is_lost_while_the_control_thread_is_busy() {
    const REQUESTS: usize = 20_000;
    let origin = Origin::saying("");
    let proxy = Proxy::start(&config(free_addr(), "{dir}/access.log", &origin));
    // Once a request is answered, the worker needs nothing more from the control thread.
    assert_eq!(proxy.ask(get("/")).status(), 200);
    let busy = Frozen::new(proxy.pid(), "palantir");
    let mut client = proxy.client();
    for _ in 0..REQUESTS / 1000 {
        client.send(get("/").repeat(1000));
        (0..1000).for_each(|_| assert_eq!(client.answer().status(), 200));
    }
    assert_eq!(proxy.access_lines(REQUESTS + 1).len(), REQUESTS + 1);
    drop(busy);
}

#[test]
fn a_process_that_was_taken_over_from_follows_its_file() {
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /wait ") {
                let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
            }
            link.send(ok("served"));
        }
    });
    let config = format!(
        "workers = 1\n[access_log]\npath = \"{{dir}}/access.log\"\n{}",
        route("/", &[origin.addr])
    );
    let mut lineage = Lineage::start(&config);
    let mut client = lineage.proxy.client();
    client.send(get("/wait"));
    origin.wait_for_requests(1);
    lineage.upgrade();
    let path = lineage.proxy.access_log_path();
    fs::rename(&path, path.with_extension("1")).unwrap();
    lineage.signal(libc::SIGHUP);
    lineage
        .proxy
        .wait_for_log(&["SIGHUP: the access log is opened anew"]);
    lineage
        .proxy
        .wait_for_log(&["the path names another file: the access log is opened anew"]);
    drop(let_go);
    assert_eq!(client.answer().status(), 200);
    let lines = lineage.proxy.access_lines(1);
    assert!(lines[0].contains("/wait"), "{lines:?}");
    drop(client);
    assert_eq!(lineage.stop(), 0);
}

#[test]
fn a_new_file_is_for_its_owner_and_group() {
    let origin = Origin::saying("");
    let proxy = Proxy::start(&config(free_addr(), "{dir}/access.log", &origin));
    let mode = fs::metadata(proxy.access_log_path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

/// Makes a link as another user would. Only root can; for other users the test shows nothing.
fn link_of_another_user(target: &Path, link: &Path) -> bool {
    symlink(target, link).unwrap();
    lchown(link, Some(12_345), None).is_ok()
}

#[test]
fn a_link_of_another_user_is_not_followed() {
    let origin = Origin::saying("");
    let directory = Directory::new();
    let target = directory.write("target", "");
    let link = directory.path().join("access.log");
    if !link_of_another_user(&target, &link) {
        return;
    }
    let folder = directory.path().join("folder");
    link_of_another_user(directory.path(), &folder);
    let admin = free_addr();
    let linked = folder.join("new.log");
    for path in [&link, &linked] {
        let addr = free_addr();
        let config = config(admin, path.to_str().unwrap(), &origin);
        let config = format!("listen_addr = \"{addr}\"\n{config}");
        let mut proxy = Proxy::launch(command(), addr, &config);
        assert_eq!(proxy.wait_for_exit(), 1);
        proxy.wait_for_log(&["access log", "user 12345 has made a link"]);
    }
    // The link appears while palantir runs: neither a reload nor a rotation follows it.
    let proxy = Proxy::start(&config(admin, "{dir}/access.log", &origin));
    let unlinked = format!(
        "listen_addr = \"{}\"\n{}",
        proxy.addr,
        config(admin, "{dir}/access.log", &origin)
    );
    proxy.reload(&unlinked.replace("{dir}/access.log", link.to_str().unwrap()));
    proxy.wait_for_log(&["refused", "user 12345 has made a link"]);
    fs::remove_file(proxy.access_log_path()).unwrap();
    link_of_another_user(&target, &proxy.access_log_path());
    proxy.reload(&unlinked);
    proxy.wait_for_log(&["cannot be opened anew", "user 12345 has made a link"]);
    assert_eq!(proxy.ask(get("/")).status(), 200);
    assert_eq!(fs::read_to_string(&target).unwrap(), "");
    assert!(!directory.path().join("new.log").exists());
}

#[test]
fn a_path_that_cannot_be_opened_for_a_moment_is_opened_as_soon_as_it_can_be() {
    let origin = Origin::saying("");
    let admin = free_addr();
    let proxy = Proxy::start(&config(admin, "{dir}/access.log", &origin));
    let path = proxy.access_log_path();
    let rotated = path.with_extension("1");
    assert_eq!(proxy.ask(get("/one")).status(), 200);
    assert_eq!(proxy.access_lines(1).len(), 1);
    fs::rename(&path, &rotated).unwrap();
    fs::create_dir(&path).unwrap();
    proxy.signal(libc::SIGUSR1);
    proxy.wait_for_log(&[
        "SIGUSR1: the access log cannot be opened anew",
        "Is a directory",
    ]);
    assert_eq!(proxy.ask(get("/two")).status(), 200);
    eventually("the old file stays in use", || {
        fs::read_to_string(&rotated).unwrap().lines().count() == 2
    });
    // As after a program has compressed the file.
    fs::remove_file(&rotated).unwrap();
    eventually(
        "lines for a file that was deleted are lost and counted",
        || {
            assert_eq!(proxy.ask(get("/lost")).status(), 200);
            value(admin, FAILED_WRITES) > 0
        },
    );
    proxy.wait_for_log(&["the access log cannot be written", "the file was deleted"]);
    assert_eq!(proxy.log().matches("cannot be opened anew").count(), 1);
    fs::remove_dir(&path).unwrap();
    // No second signal asks for it.
    proxy.wait_for_log(&["SIGUSR1: the access log is opened anew"]);
    assert_eq!(proxy.ask(get("/three")).status(), 200);
    let lines = proxy.access_lines(1);
    assert!(lines.last().unwrap().contains("/three"), "{lines:?}");
}
