//! Promises of the API, and operations that palantir itself wants, are kept in the end: after every obstacle that
//! passes, and by a later process if the process that promised has ended.

use std::collections::BTreeSet;
use std::fs;

use crate::support::managed::{Managed, ask, is_problem, json_of, pool};
use crate::support::place::{Directory, free_addr, listen};
use crate::support::proxy::list;
use crate::support::{Lineage, Origin, eventually, get, metrics};

fn delete(addr: std::net::SocketAddr, drain: &str) -> String {
    format!(
        "DELETE /servers/{}/{}?drain={drain}",
        addr.ip(),
        addr.port()
    )
}

#[test]
fn a_drain_that_was_promised_ends_in_the_next_process_too() {
    let (slow, _let_go) = Origin::waiting();
    let other = Origin::saying("other");
    let directory = Directory::new();
    let state = format!("state_file = {:?}", directory.path().join("state.json"));
    let config = pool(&[slow.addr, other.addr]);
    let managed = Managed::start(&state, &config);
    let mut clients: Vec<_> = (0..4).map(|_| managed.proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    slow.wait_for_requests(1);
    let drained = managed.ask(&delete(slow.addr, "600s"), &[], "");
    assert_eq!(drained.status(), 202, "{}", drained.text());
    managed.proxy.signal(libc::SIGKILL);
    let managed = Managed::start(&state, &config);
    eventually("the backend is gone", || {
        managed.servers() == BTreeSet::from([other.addr.to_string()])
    });
}

#[test]
fn a_drain_that_was_promised_outlives_an_upgrade() {
    let (slow, _let_go) = Origin::waiting();
    let other = Origin::saying("other");
    let admin = free_addr();
    let config = format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\nstate_file = \"{{dir}}/state.json\"\n{}",
        pool(&[slow.addr, other.addr])
    );
    let mut lineage = Lineage::start(&config);
    let mut clients: Vec<_> = (0..2).map(|_| lineage.proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    slow.wait_for_requests(1);
    assert_eq!(
        ask(admin, &delete(slow.addr, "600s"), &[], "").status(),
        202
    );
    lineage.upgrade();
    eventually("the backend is gone", || {
        let servers = ask(admin, "GET /servers?pool=api", &[], "");
        servers.status() == 200 && !servers.text().contains(&slow.addr.to_string())
    });
}

#[test]
fn a_backend_is_not_drained_that_could_not_be_taken_out() {
    let [first, second] = ["first", "second"].map(|text| (Origin::saying(text), text));
    let managed = Managed::to(&[first.0.addr, second.0.addr]);
    let (held, _let_go) = Origin::waiting();
    let url = format!("{{\"url\": \"http://{}\"}}", held.addr);
    assert_eq!(managed.ask("POST /servers", &[], &url).status(), 201);
    let mut clients: Vec<_> = (0..12).map(|_| managed.proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    held.wait_for_requests(1);
    // The backend is being removed for as long as its requests run.
    assert_eq!(
        managed.ask(&delete(held.addr, "600s"), &[], "").status(),
        202
    );
    assert_eq!(
        managed.ask(&delete(first.0.addr, "1s"), &[], "").status(),
        202
    );
    is_problem(&managed.ask(&delete(second.0.addr, "1s"), &[], ""), 409);
    let at_once = delete(second.0.addr, "1s").replace("?drain=1s", "");
    is_problem(&managed.ask(&at_once, &[], ""), 409);
    assert_eq!(managed.proxy.ask(get("/")).text(), "second");
    // Adding the backend again calls its removal off.
    let again = managed.ask("POST /servers", &[], &url);
    assert_eq!(again.status(), 200, "{}", again.text());
    assert_eq!(json_of(&again)["drain"], false, "{}", again.text());
    assert_eq!(
        managed.ask(&delete(second.0.addr, "0s"), &[], "").status(),
        202
    );
    eventually("only that one is left", || {
        managed.servers() == BTreeSet::from([held.addr.to_string()])
    });
}

#[test]
fn a_trial_is_taken_back_when_what_is_in_the_way_is_gone() {
    let origin = Origin::saying("good");
    let gone = free_addr();
    let managed = Managed::to(&[origin.addr]);
    let (addr, admin) = (managed.proxy.addr, managed.admin);
    let whole = |listened: &[std::net::SocketAddr], rest: &str| {
        let rest = format!("workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{rest}");
        let text = format!("listen_addr = {}\n{rest}", list(listened));
        managed.proxy.directory.write("config.toml", &text);
    };
    whole(&[addr, gone], &pool(&[origin.addr]));
    assert_eq!(managed.ask("POST /reload", &[], "").status(), 200);
    whole(&[addr], &pool(&[free_addr()]));
    let trial = managed.ask("POST /reload", &[], "{\"confirm_secs\": 1}");
    assert_eq!(trial.status(), 200, "{}", trial.text());
    let taken = listen(gone);
    managed
        .proxy
        .wait_for_log(&["refused", "trial", &gone.to_string()]);
    managed.proxy.wait_for_log(&["tries this again"]);
    let wanted = "palantir_pending_operation{operation=\"rollback\"}";
    eventually("it shows as wanted", || {
        metrics(admin).contains(&format!("{wanted} 1"))
    });
    is_problem(&managed.ask("POST /reload", &[], ""), 409);
    drop(taken);
    eventually("the old configuration is back", || {
        managed.proxy.ask(get("/")).status() == 200
    });
    eventually("it is wanted no more", || {
        metrics(admin).contains(&format!("{wanted} 0"))
    });
    let told = managed.proxy.log().matches("is taken back").count();
    assert_eq!(told, 1, "{}", managed.proxy.log());
    // The new process would load the file that was taken back.
    is_problem(&managed.ask("POST /upgrade", &[], ""), 409);
    whole(&[addr], &pool(&[origin.addr]));
    assert_eq!(managed.ask("POST /reload", &[], "").status(), 200);
}

#[test]
fn a_hang_up_during_a_trial_is_followed_after_it() {
    let origin = Origin::saying("good");
    let managed = Managed::to(&[origin.addr]);
    let (addr, admin) = (managed.proxy.addr, managed.admin);
    let write = |rest: &str| {
        let text = format!(
            "listen_addr = \"{addr}\"\nworkers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{rest}"
        );
        managed.proxy.directory.write("config.toml", &text);
    };
    write(&(pool(&[origin.addr]) + "outlier = { eject_secs = 7 }\n"));
    let trial = managed.ask("POST /reload", &[], "{\"confirm_secs\": 600}");
    assert_eq!(trial.status(), 200, "{}", trial.text());
    write(&(pool(&[origin.addr]) + "outlier = { eject_secs = 8 }\n"));
    managed.proxy.signal(libc::SIGHUP);
    eventually("the reload is wanted", || {
        metrics(admin).contains("palantir_pending_operation{operation=\"reload\"} 1")
    });
    assert_eq!(managed.ask("POST /reload/confirm", &[], "").status(), 200);
    eventually("the file is in force", || {
        managed.get("/pools/api")["outlier"]["eject_secs"] == 8.0
    });
}

#[test]
fn a_state_file_that_is_new_or_moved_has_everything_at_once() {
    let origin = Origin::saying("here");
    let added = free_addr();
    let managed = Managed::to(&[origin.addr]);
    let (addr, admin) = (managed.proxy.addr, managed.admin);
    let url = format!("{{\"url\": \"http://{added}\"}}");
    assert_eq!(managed.ask("POST /servers", &[], &url).status(), 201);
    let path = |name: &str| managed.proxy.directory.path().join(name);
    let write = |name: &str| {
        let state = format!("state_file = {:?}", path(name));
        let rest = format!("workers = 2\n[admin]\nlisten_addr = \"{admin}\"\n{state}\n");
        let text = format!("listen_addr = \"{addr}\"\n{rest}{}", pool(&[origin.addr]));
        managed.proxy.directory.write("config.toml", &text);
    };
    for name in ["first.json", "second.json"] {
        write(name);
        let reload = managed.ask("POST /reload", &[], "");
        assert_eq!(reload.status(), 200, "{}", reload.text());
        let text = fs::read_to_string(path(name)).unwrap();
        assert!(text.contains(&added.to_string()), "{name}: {text}");
    }
    let later = free_addr();
    let url = format!("{{\"url\": \"http://{later}\"}}");
    assert_eq!(managed.ask("POST /servers", &[], &url).status(), 201);
    let text = fs::read_to_string(path("second.json")).unwrap();
    assert!(text.contains(&later.to_string()), "{text}");
    // No other file is overwritten.
    fs::write(path("letter"), "precious").unwrap();
    write("letter");
    assert_eq!(managed.ask("POST /reload", &[], "").status(), 500);
    assert_eq!(fs::read_to_string(path("letter")).unwrap(), "precious");
}

#[test]
fn an_outage_does_not_take_a_pool_apart() {
    let live = Origin::saying("well");
    let dead: Vec<_> = (0..3).map(|_| free_addr()).collect();
    let entry =
        |addr: &std::net::SocketAddr| format!("{{ addr = \"{addr}\", remove_after_secs = 0.2 }}");
    let all: Vec<_> = dead.iter().chain([&live.addr]).map(entry).collect();
    let config = format!(
        "[[routes]]\npool = \"api\"\n[[pools]]\nname = \"api\"\nbackends = [{}]\n\
         health_check = {{ tcp = true, interval_secs = 0.05, unhealthy_after = 1 }}\n",
        all.join(", ")
    );
    let managed = Managed::start("", &config);
    let stays = ["stays although", "half of the pool"];
    managed.proxy.wait_for_log(&stays);
    assert_eq!(managed.servers().len(), 2, "{}", managed.proxy.log());
    assert!(managed.servers().contains(&live.addr.to_string()));
    let told = managed.proxy.log().matches("stays although").count();
    assert!(told <= 3, "{}", managed.proxy.log());
}

#[test]
fn an_outage_does_not_take_a_pool_apart_over_upgrades() {
    let (live, admin) = (Origin::saying("well"), free_addr());
    let mut lineage = Lineage::start(&format!(
        "workers = 1\n[admin]\nlisten_addr = \"{admin}\"\n[[routes]]\npool = \"api\"\n\
         [[pools]]\nname = \"api\"\nbackends = [\"{}\"]\n\
         health_check = {{ tcp = true, interval_secs = 0.05, unhealthy_after = 1 }}\n",
        live.addr
    ));
    for _ in 0..7 {
        let line = format!("PUT /pools/api/servers/{}", free_addr());
        let put = ask(admin, &line, &[], "{\"remove_after_secs\": 2}");
        assert_eq!(put.status(), 201, "{}", put.text());
    }
    let left = || {
        let servers = json_of(&ask(admin, "GET /servers?pool=api", &[], ""));
        servers["servers"].as_array().unwrap().len()
    };
    // Each of those that stay is told once by each process.
    for told in [3, 6] {
        let stays = ["stays although", "half of the pool"];
        lineage.proxy.wait_for_log_times(&stays, told);
        assert_eq!(left(), 4, "{}", lineage.proxy.log());
        if told == 3 {
            lineage.upgrade();
            lineage.wait_for_elders();
        }
    }
    assert_eq!(lineage.stop(), 0);
}
