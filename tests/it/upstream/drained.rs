//! Backends that are being drained for removal count as removed, whatever the caller asks for, and come back as a user
//! would expect.

use std::net::SocketAddr;

use crate::support::managed::{Managed, is_problem, json_of};
use crate::support::{Origin, eventually, get};

fn server(addr: SocketAddr) -> String {
    format!("/pools/api/servers/{addr}")
}

#[test]
fn the_last_backend_that_takes_requests_stays_in_every_way_of_asking() {
    let [drained, last] = ["drained", "last"].map(Origin::saying);
    let managed = Managed::to(&[drained.addr, last.addr]);
    let patch = managed.ask(
        &format!("PATCH {}", server(drained.addr)),
        &[],
        "{\"drain\": true}",
    );
    assert_eq!(patch.status(), 200, "{}", patch.text());
    let last_server = server(last.addr);
    let entry = |addr: SocketAddr| format!("{{\"addr\": \"{addr}\", \"drain\": true}}");
    let both = format!(
        "{{\"backends\": [{}, {}]}}",
        entry(drained.addr),
        entry(last.addr)
    );
    let other = format!("{{\"backends\": [{}]}}", entry(drained.addr));
    let short = format!("/servers/{}/{}", last.addr.ip(), last.addr.port());
    let rows = [
        (format!("DELETE {last_server}"), ""),
        (format!("DELETE {last_server}?drain=1s"), ""),
        (format!("DELETE {short}"), ""),
        (format!("DELETE {short}?drain=0s"), ""),
        (format!("PATCH {last_server}"), "{\"drain\": true}"),
        (format!("PUT {last_server}"), "{\"drain\": true}"),
        ("PUT /pools/api".to_owned(), &both),
        ("PUT /pools/api".to_owned(), &other),
        ("PATCH /pools/api".to_owned(), &both),
        ("PATCH /pools/api".to_owned(), &other),
    ];
    for (line, body) in rows {
        let answer = managed.ask(&line, &[], body);
        assert_eq!(answer.status(), 409, "{line} {body}: {}", answer.text());
        is_problem(&answer, 409);
        assert_eq!(managed.proxy.ask(get("/")).text(), "last", "{line}");
    }
    // The drained server may be removed.
    let gone = managed.ask(&format!("DELETE {}", server(drained.addr)), &[], "");
    assert_eq!(gone.status(), 200, "{}", gone.text());
}

#[test]
fn a_backend_that_is_added_while_it_leaves_has_the_settings_that_it_is_given_and_those_that_it_had()
{
    let (held, _let_go) = Origin::waiting();
    let other = Origin::saying("other");
    let managed = Managed::to(&[held.addr, other.addr]);
    let line = server(held.addr);
    let put = managed.ask(&format!("PUT {line}"), &[], "{\"remove_after_secs\": 600}");
    assert_eq!(put.status(), 200, "{}", put.text());
    let mut clients: Vec<_> = (0..8).map(|_| managed.proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    held.wait_for_requests(1);
    let leaves = managed.ask(&format!("DELETE {line}?drain=600s"), &[], "");
    assert_eq!(leaves.status(), 202, "{}", leaves.text());
    let body = format!(
        "{{\"url\": \"http://{}\", \"weight\": 7, \"max_connections\": 300}}",
        held.addr
    );
    let again = managed.ask("POST /servers?pool=api", &[], &body);
    assert_eq!(again.status(), 200, "{}", again.text());
    for shown in [json_of(&again), managed.get(&line)] {
        assert_eq!(shown["weight"], 7, "{shown}");
        assert_eq!(shown["max_connections"], 300, "{shown}");
        assert_eq!(shown["remove_after_secs"], 600.0, "{shown}");
        assert_eq!(shown["drain"], false, "{shown}");
    }
}

#[test]
fn a_rollback_brings_a_backend_that_has_left_back_to_take_requests() {
    let [leaves, stays] = ["leaves", "stays"].map(Origin::saying);
    let managed = Managed::to(&[leaves.addr, stays.addr]);
    let drain = managed.ask(
        &format!("DELETE {}?drain=60s", server(leaves.addr)),
        &[],
        "",
    );
    assert_eq!(drain.status(), 202, "{}", drain.text());
    eventually("the backend has left", || {
        managed.get("/version")["revision"] == 3
    });
    let back = managed.ask("POST /config/rollback", &[], "{\"revision\": 2}");
    assert_eq!(back.status(), 200, "{}", back.text());
    assert!(
        back.text().contains("takes requests again"),
        "{}",
        back.text()
    );
    assert_eq!(managed.get(&server(leaves.addr))["drain"], false);
    eventually("it takes requests", || {
        managed.proxy.ask(get("/")).text() == "leaves"
    });
}

#[test]
fn a_rollback_does_not_end_a_drain_that_the_file_demands() {
    let [drained, other] = ["drained", "other"].map(Origin::saying);
    let pool = format!(
        "[[routes]]\npool = \"api\"\n[[pools]]\nname = \"api\"\n\
         backends = [{{ addr = \"{}\", drain = true }}, \"{}\"]\n",
        drained.addr, other.addr
    );
    let managed = Managed::start("", &pool);
    let line = server(drained.addr);
    let leaves = managed.ask(&format!("DELETE {line}?drain=60s"), &[], "");
    assert_eq!(leaves.status(), 202, "{}", leaves.text());
    eventually("the backend has left", || managed.servers().len() == 1);
    let back = managed.ask("POST /config/rollback", &[], "{\"revision\": 1}");
    assert_eq!(back.status(), 200, "{}", back.text());
    assert_eq!(managed.get(&line)["drain"], true);
    assert_eq!(managed.proxy.ask(get("/")).text(), "other");
}

#[test]
fn a_rollback_does_not_end_a_departure_that_goes_on() {
    let (held, let_go) = Origin::waiting();
    let other = Origin::saying("other");
    let managed = Managed::to(&[held.addr, other.addr]);
    let mut clients: Vec<_> = (0..8).map(|_| managed.proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    held.wait_for_requests(1);
    let drain = managed.ask(&format!("DELETE {}?drain=600s", server(held.addr)), &[], "");
    assert_eq!(drain.status(), 202, "{}", drain.text());
    let change = managed.ask(
        &format!("PATCH {}", server(other.addr)),
        &[],
        "{\"weight\": 2}",
    );
    assert_eq!(change.status(), 200, "{}", change.text());
    let back = managed.ask("POST /config/rollback", &[], "{\"revision\": 2}");
    assert_eq!(back.status(), 200, "{}", back.text());
    assert_eq!(managed.get(&server(held.addr))["drain"], true);
    drop(let_go);
    eventually("the backend has left", || managed.servers().len() == 1);
}
