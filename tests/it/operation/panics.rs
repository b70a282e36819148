//! After a panic of a thread, the process ends in good order, with an exit code that makes a service manager start it
//! anew. The process never goes on without the thread.

use std::fs;
use std::net::SocketAddr;

use crate::support::origin::ok;
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, route};
use crate::support::{Client, Origin, Proxy, eventually, get};

/// A proxy, and the file that names the thread that is to panic.
fn start(directory: &Directory, admin: SocketAddr, origin: &Origin) -> Proxy {
    let mut command = command();
    command.env("PALANTIR_PANIC_FILE", directory.path().join("panic"));
    let config = format!(
        "workers = 2\nshutdown_timeout = 300\n{}health_check = {{ path = \"/\", interval_secs = 1, timeout_secs = 60 }}\n\
         [admin]\nlisten_addr = \"{admin}\"\n[access_log]\npath = \"{{dir}}/access.log\"\n",
        route("/", &[origin.addr])
    );
    Proxy::start_as(command, &config)
}

/// Makes a thread panic when it reaches this place.
fn panic_in(directory: &Directory, place: &str) {
    let draft = directory.write("draft", place);
    fs::rename(draft, directory.path().join("panic")).unwrap();
}

fn post(admin: SocketAddr, path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    )
}

/// An origin that sends half of its answer to `/long`, and the rest once the file exists.
fn slow_origin(directory: &Directory) -> Origin {
    let path = directory.path().join("go_on");
    Origin::start(move |link| {
        while let Some(request) = link.request() {
            if request.head.first_line().contains(" /long ") {
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
                eventually("it may go on", || path.exists());
                link.send("half");
            } else {
                link.send(ok("served"));
            }
        }
    })
}

#[test]
fn a_thread_that_panics_ends_the_process_after_its_running_requests() {
    let rows = [
        ("health", "the health thread has ended; stopping"),
        ("files", "the files thread has ended; stopping"),
        ("access log", "the access-log thread has ended; stopping"),
        ("log", "the log thread has ended; stopping"),
        ("control", "the control thread has panicked; stopping"),
        ("accepting", "the management API has panicked; stopping"),
    ];
    for (place, told) in rows {
        let directory = Directory::new();
        let (origin, admin) = (slow_origin(&directory), free_addr());
        let mut proxy = start(&directory, admin, &origin);
        let mut held = proxy.client();
        held.send(get("/long"));
        origin.wait_for_requests(1);
        panic_in(&directory, place);
        match place {
            "files" => Client::connect(admin).send(post(admin, "/reload")),
            "accepting" => drop(Client::connect(admin)),
            // SIGUSR1 has a line logged and does nothing else here.
            "log" => proxy.signal(libc::SIGUSR1),
            _ => {}
        }
        proxy.wait_for_log(&[told]);
        directory.write("go_on", "");
        assert_eq!(held.answer().text(), "halfhalf", "{place}");
        drop(held);
        assert_eq!(proxy.wait_for_exit(), 1, "{place}: {}", proxy.log());
    }
}

#[test]
fn a_worker_that_panics_takes_its_own_connections_along_and_those_of_the_others_go_on() {
    let directory = Directory::new();
    let (origin, admin) = (slow_origin(&directory), free_addr());
    let mut proxy = start(&directory, admin, &origin);
    // The kernel chooses a worker for each connection: with this many, every worker gets some.
    let mut held: Vec<Client> = (0..24).map(|_| proxy.client()).collect();
    for client in &mut held {
        client.send(get("/long"));
        assert_eq!(client.begin_answer().status(), 200);
    }
    panic_in(&directory, "worker");
    proxy.wait_for_log(&["a worker has panicked while keeping time; stopping"]);
    proxy.wait_for_log(&["a worker has ended; stopping", "the worker panicked"]);
    directory.write("go_on", "");
    let whole = |mut client: Client| client.rest() == b"halfhalf";
    let whole = held.into_iter().map(whole).filter(|whole| *whole).count();
    assert!(0 < whole && whole < 24, "{whole} of 24 answers are whole");
    assert_eq!(proxy.wait_for_exit(), 1, "{}", proxy.log());
}

#[test]
fn a_worker_that_panics_when_it_is_told_something_ends_the_process() {
    let directory = Directory::new();
    let (origin, admin) = (slow_origin(&directory), free_addr());
    let mut proxy = start(&directory, admin, &origin);
    assert_eq!(proxy.ask(get("/")).text(), "served");
    panic_in(&directory, "worker mailbox");
    let reload = post(admin, "/reload");
    let config = fs::read_to_string(proxy.directory.path().join("config.toml")).unwrap();
    proxy.directory.write(
        "config.toml",
        &format!(
            "{config}# another\n[[routes]]\nprefix = \"/a\"\nbackend_addrs = [\"127.0.0.1:1\"]\n"
        ),
    );
    Client::connect(admin).send(reload);
    proxy.wait_for_log(&["a worker has ended; stopping", "the worker panicked"]);
    assert_eq!(proxy.wait_for_exit(), 1, "{}", proxy.log());
}

#[test]
fn a_request_to_the_management_api_that_panics_ends_alone() {
    let directory = Directory::new();
    let (origin, admin) = (slow_origin(&directory), free_addr());
    let mut proxy = start(&directory, admin, &origin);
    let health = format!("GET /health HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    assert_eq!(proxy.ask(get("/")).text(), "served");
    panic_in(&directory, "api");
    let mut unlucky = Client::connect(admin);
    unlucky.send(&health);
    unlucky.ends();
    proxy.wait_for_log(&["thread main panicked"]);
    assert_eq!(Client::connect(admin).ask(&health).status(), 200);
    assert_eq!(proxy.ask(get("/")).text(), "served");
    assert_eq!(proxy.stop(), 0);
}
