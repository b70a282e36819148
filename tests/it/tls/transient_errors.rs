//! Files of TLS that could not be used for a while: palantir recovers without a restart when the cause is over.

use std::net::SocketAddr;

use crate::support::managed::{Managed, ask, is_problem, pool, request};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, list};
use crate::support::shim::{Disk, Strike};
use crate::support::tls::{Authority, BOTH, Dialer, Front, Server};
use crate::support::{Client, Origin, Proxy, eventually, get};

/// Lets the process open no further file for now, or, with `None`, as many as it may.
#[track_caller]
fn allow_descriptors(proxy: &Proxy, count: Option<u64>) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let pid = proxy.pid() as i32;
    // SAFETY: reads and sets a limit of a live child through live structs.
    unsafe {
        let nothing = std::ptr::null();
        assert_eq!(
            libc::prlimit(pid, libc::RLIMIT_NOFILE, nothing, &raw mut limit),
            0
        );
        limit.rlim_cur = count.unwrap_or(limit.rlim_max);
        let nothing = std::ptr::null_mut();
        assert_eq!(
            libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, nothing),
            0
        );
    }
}

#[test]
fn a_certificate_that_could_not_be_read_once_is_read_later() {
    let front = Front::start("", "[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n");
    let dialer = front.dialer();
    allow_descriptors(&front.proxy, Some(3));
    let renewed = front.authority.issue(&["a.example"]);
    renewed.write(&front.directory, "a");
    front.proxy.wait_for_log(&["a.crt", "Too many open files"]);
    allow_descriptors(&front.proxy, None);
    eventually("the new certificate is shown", || {
        let stream = dialer.connect(front.addr, "a.example");
        stream.is_ok_and(|stream| stream.conn.peer_certificates().unwrap()[0] == renewed.der())
    });
    let told = front.proxy.log().matches("Too many open files").count();
    assert!(
        told < 20,
        "it is not told again and again: {}",
        front.proxy.log()
    );
}

/// Has the configuration reloaded; returns the status.
#[track_caller]
fn reload(admin: SocketAddr) -> u16 {
    let answer = Client::connect(admin).ask(format!(
        "POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    ));
    answer.status()
}

#[test]
fn authorities_of_the_machine_that_come_or_change_are_believed_without_a_restart() {
    let directory = Directory::new();
    let (first, second) = (Authority::new(), Authority::new());
    let serve = |authority: &Authority, text: &'static str| {
        let ok = crate::support::origin::ok(text);
        Server::new(&authority.issue(&["backend.example"])).start(move |link| {
            while link.request().is_some() && link.try_send(&ok) {}
        })
    };
    let backends = [serve(&first, "first"), serve(&second, "second")];
    let admin = free_addr();
    let base = format!("[admin]\nlisten_addr = \"{admin}\"\n");
    let plain = format!("{base}[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n");
    let secure = format!(
        "{base}[[pools]]\nname = \"first\"\ntls = {{ server_name = \"backend.example\" }}\nbackends = {}\n\
         [[pools]]\nname = \"second\"\ntls = {{ server_name = \"backend.example\" }}\nbackends = {}\n\
         [[routes]]\nprefix = \"/first\"\npool = \"first\"\n[[routes]]\nprefix = \"/second\"\npool = \"second\"\n",
        list(&[backends[0].addr]),
        list(&[backends[1].addr])
    );
    let bundle = directory.path().join("bundle.pem");
    let mut command = command();
    command.env("SSL_CERT_FILE", &bundle);
    command.env_remove("SSL_CERT_DIR");
    let proxy = Proxy::start_as(command, &plain);
    let listen = format!("listen_addr = \"{}\"\n", proxy.addr);
    proxy.directory.write("config.toml", &(listen + &secure));
    assert_eq!(reload(admin), 422, "there are no authorities");
    directory.write("bundle.pem", &first.pem());
    assert_eq!(reload(admin), 200, "there are some now: {}", proxy.log());
    assert_eq!(proxy.ask(get("/first")).text(), "first");
    assert_eq!(proxy.ask(get("/second")).status(), 502);
    directory.write("bundle.pem", &(first.pem() + &second.pem()));
    eventually("the second authority is believed", || {
        proxy.ask(get("/second")).status() == 200
    });
    // A bundle that is being written is empty for a while: the authorities that were loaded before stay.
    directory.write("bundle.pem", "");
    proxy.wait_for_log(&["authorities", "cannot be used; what was read before stays"]);
    assert_eq!(proxy.ask(get("/first")).text(), "first");
}

#[test]
fn the_management_api_follows_its_files_after_a_reload_that_changes_its_section() {
    let directory = Directory::new();
    let (authority, others) = (Authority::new(), Authority::new());
    directory.write("ca.crt", &authority.pem());
    let pair = authority
        .issue(&["admin.example"])
        .write(&directory, "admin");
    let ca = directory.path().join("ca.crt");
    let (admin, elsewhere) = (free_addr(), free_addr());
    let config = |addr: SocketAddr| {
        format!(
            "[admin]\nlisten_addr = \"{addr}\"\n\
             tls = {{ certificates = [{pair}], client_ca = {ca:?} }}\n\
             [[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n"
        )
    };
    let proxy = Proxy::start(&config(admin));
    let alice = Dialer::with_identity(&authority, &authority.issue(&["alice"]));
    let shown = |dialer: &Dialer| {
        let stream = dialer.connect(admin, "admin.example").ok()?;
        Some(stream.conn.peer_certificates()?[0].clone())
    };
    assert!(shown(&alice).is_some());
    // A change of the address waits for the next start; everything else about the API goes on as before.
    let listen = format!("listen_addr = \"{}\"\n", proxy.addr);
    proxy.reload(&(listen + &config(elsewhere)));
    let renewed = authority.issue(&["admin.example"]);
    renewed.write(&directory, "admin");
    eventually("the new certificate is shown", || {
        shown(&alice) == Some(renewed.der())
    });
    // A client of another authority gets in once the file holds that authority.
    let bob = Dialer::with_identity(&authority, &others.issue(&["bob"]));
    assert!(bob.refusal(admin, "admin.example").is_some());
    directory.write("ca.crt", &others.pem());
    eventually("the clients of the new authority get in", || {
        bob.refusal(admin, "admin.example").is_none()
    });
    let anonymous = Dialer::new(&authority, BOTH);
    assert!(anonymous.refusal(admin, "admin.example").is_some());
    assert!(alice.refusal(admin, "admin.example").is_some());
}

#[test]
fn a_configuration_file_that_could_not_be_read_once_is_loaded_later() {
    let (origin, added) = (Origin::saying("here"), free_addr());
    let managed = Managed::to(&[origin.addr]);
    let mut client = Client::connect(managed.admin);
    let mut ask = |line: &str| client.ask(request(managed.admin, line, &[], ""));
    assert_eq!(ask("GET /health").status(), 200);
    let text = format!(
        "listen_addr = \"{}\"\nworkers = 2\n[admin]\nlisten_addr = \"{}\"\n{}",
        managed.proxy.addr,
        managed.admin,
        pool(&[origin.addr, added])
    );
    managed.proxy.directory.write("config.toml", &text);
    allow_descriptors(&managed.proxy, Some(3));
    for line in ["POST /reload", "GET /config/diff"] {
        let refused = ask(line);
        is_problem(&refused, 503);
        let words = "Too many open files";
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    managed.proxy.signal(libc::SIGHUP);
    managed.proxy.wait_for_log(&["tries this again", "SIGHUP"]);
    allow_descriptors(&managed.proxy, None);
    eventually("the file is in force", || {
        managed.servers().contains(&added.to_string())
    });
}

/// The section `[acme]` without its authority.
const ACME: &str = "[acme]\nterms_of_service_agreed = true\ndirectory = \"https://127.0.0.1:1/\"\n";

#[test]
fn no_file_of_tls_loses_a_reload_that_could_not_be_read_once() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let issued = authority.issue(&["a.example"]).write(&directory, "a");
    let dir = directory.path().display().to_string();
    for name in ["clients.crt", "backends.crt", "acme.crt", "roots.crt"] {
        directory.write(name, &authority.pem());
    }
    directory.write("eab", "c2VjcmV0LWhtYWMta2V5\n");
    let listener = free_addr();
    let listens = |tls: &str| format!("[[listeners]]\naddr = \"{listener}\"\ntls = {{ {tls} }}\n");
    let pool = |tls: &str| {
        format!("[[pools]]\nname = \"new\"\nbackends = [\"127.0.0.1:1\"]\ntls = {tls}\n")
    };
    let acme = |more: &str| format!("{ACME}state_dir = \"{dir}/acme\"\n{more}");
    let trusting = format!("certificates = [{issued}], client_ca = \"{dir}/clients.crt\"");
    // Columns: the addition to the configuration, a file that it names, and which opening of the file fails: the one
    // for the check, and the one for the compiled configuration. In between, a certificate is opened for warnings.
    let rows: [(String, &str, &[usize]); 6] = [
        (
            listens(&format!("certificates = [{issued}]")),
            "a.crt",
            &[1, 3],
        ),
        (listens(&trusting), "clients.crt", &[1, 2]),
        (
            pool(&format!("{{ ca = \"{dir}/backends.crt\" }}")),
            "backends.crt",
            &[1, 2],
        ),
        (pool("{}"), "roots.crt", &[1, 2]),
        (
            acme(&format!("ca = \"{dir}/acme.crt\"\n")),
            "acme.crt",
            &[1],
        ),
        (
            acme(&format!(
                "eab = {{ key_id = \"a\", hmac_key_file = \"{dir}/eab\" }}\n"
            )),
            "eab",
            &[1],
        ),
    ];
    for (new, file, opened) in rows {
        let opened = opened.iter();
        let strikes = opened.map(|number| ("open", *number, libc::EMFILE));
        for (function, number, error) in strikes.chain([("read", 1, libc::EIO)]) {
            // Each process reads the files for the first time: it keeps those of earlier revisions.
            let (disk, admin) = (Disk::new(), free_addr());
            let mut command = command();
            disk.apply(&mut command);
            command.env("SSL_CERT_FILE", directory.path().join("roots.crt"));
            command.env_remove("SSL_CERT_DIR");
            let plain = format!(
                "[admin]\nlisten_addr = \"{admin}\"\n[[routes]]\nbackend_addrs = [\"127.0.0.1:1\"]\n"
            );
            let proxy = Proxy::start_as(command, &plain);
            let in_force = || ask(admin, "GET /config", &[], "").text();
            let before = in_force();
            let text = format!("listen_addr = \"{}\"\n{plain}{new}", proxy.addr);
            proxy.directory.write("config.toml", &text);
            let label = format!("{function} {file}, {number}: {new}");
            disk.strike(&format!("{function} {file}"), number, Strike::Error(error));
            let refused = ask(admin, "POST /reload", &[], "");
            assert!(disk.is_hit(), "{label}");
            assert_eq!(refused.status(), 503, "{label}: {}", refused.text());
            disk.strike(&format!("{function} {file}"), number, Strike::Error(error));
            proxy.signal(libc::SIGHUP);
            eventually("the file is in force", || in_force() != before);
            assert!(disk.is_hit(), "{label}");
        }
    }
}
