//! A disk that hangs: operations that need it are answered after a while, and everything else goes on.

use std::fs;
use std::net::SocketAddr;

use crate::support::managed::ask;
use crate::support::odd_authority::{Given, OddAuthority};
use crate::support::place::{Directory, free_addr};
use crate::support::proxy::{command, route};
use crate::support::shim::{Disk, Names};
use crate::support::tls::{BOTH, Dialer};
use crate::support::{Origin, Proxy, eventually, get};

const DAY: i64 = 86_400;

#[test]
fn certificates_that_cannot_be_kept_in_time_keep_nobody_waiting() {
    let odd = OddAuthority::start(Given::Certificate("a.example", 0, 90 * DAY));
    let (state, tls, admin) = (Directory::new(), free_addr(), free_addr());
    let (names, disk) = (Names::new(&odd.name_line()), Disk::new());
    disk.hang(state.path());
    let mut command = command();
    names.apply(&mut command);
    disk.apply(&mut command);
    let config = format!(
        "{}[admin]\nlisten_addr = \"{admin}\"\n[[listeners]]\naddr = \"{tls}\"\n\
         tls = {{ automatic = [\"a.example\"] }}\n{}",
        odd.section(&state),
        route("/", &[free_addr()])
    );
    let mut proxy = Proxy::launch(command, tls, &config);
    proxy.wait_until_it_accepts();
    proxy.wait_for_log(&[
        "a.example",
        "not_kept",
        "the disk does not answer",
        "tried again",
    ]);
    assert_eq!(ask(admin, "GET /health", &[], "").status(), 200);
    assert_eq!(ask(admin, "POST /reload", &[], "").status(), 200);
    disk.go_on();
    let dialer = Dialer::new(odd.issuer(), BOTH);
    eventually("there is a certificate", || {
        dialer.connect(tls, "a.example").is_ok()
    });
    disk.hang(state.path());
    assert_eq!(proxy.stop(), 0);
}

const TOKEN: &str = "secret-admin-token-0123456789";

fn check(admin: SocketAddr, text: &str) -> (u16, String) {
    let fields = [
        ("Authorization", &*format!("Bearer {TOKEN}")),
        ("Content-Type", "application/toml"),
    ];
    let answer = ask(admin, "POST /config/check", &fields, text);
    (answer.status(), answer.text())
}

#[test]
fn checks_whose_files_hang_keep_only_other_checks_waiting_and_not_for_ever() {
    let directory = Directory::new();
    let token = directory.write("token", TOKEN);
    let slow = directory.path().join("slow");
    fs::create_dir(&slow).unwrap();
    fs::write(slow.join("ca.crt"), "no certificate").unwrap();
    let disk = Disk::new();
    disk.hang(&slow);
    let mut command = command();
    disk.apply(&mut command);
    let (origin, admin) = (Origin::saying("served"), free_addr());
    let plain = route("/", &[origin.addr]);
    let config = format!("[admin]\nlisten_addr = \"{admin}\"\ntoken_file = {token:?}\n{plain}");
    let proxy = Proxy::start_as(command, &config);
    assert_eq!(check(admin, &plain).0, 200);
    let hangs = format!(
        "[[pools]]\nname = \"p\"\nbackends = [\"127.0.0.1:1\"]\ntls = {{ ca = {:?} }}\n{plain}",
        slow.join("ca.crt")
    );
    let (status, said) = check(admin, &hangs);
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("the check has not ended within"), "{said}");
    let (status, said) = check(admin, &plain);
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("an earlier check has not ended"), "{said}");
    let token = [("Authorization", &*format!("Bearer {TOKEN}"))];
    assert_eq!(ask(admin, "POST /reload", &token, "").status(), 200);
    assert_eq!(proxy.ask(get("/")).text(), "served");
    disk.go_on();
    eventually("there is room for a check", || {
        check(admin, &plain).0 == 200
    });
    let (status, said) = check(admin, &hangs);
    assert_eq!(status, 200, "{said}");
    assert!(said.contains("holds no certificate"), "{said}");
}
