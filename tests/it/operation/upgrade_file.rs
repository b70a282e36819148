//! The new process of an upgrade refuses the files that a reload would refuse.

use crate::support::managed::{ask, is_problem};
use crate::support::place::free_addr;
use crate::support::proxy::route;
use crate::support::{Lineage, Origin, eventually, get};

#[test]
fn a_file_that_serves_nothing_keeps_the_old_process_unless_it_is_meant() {
    let (origin, admin) = (Origin::saying("served"), free_addr());
    let admin_part = format!("[admin]\nlisten_addr = \"{admin}\"\n");
    let route_part = route("/", &[origin.addr]);
    let mut lineage = Lineage::start(&format!("workers = 1\n{admin_part}{route_part}"));
    let addr = lineage.proxy.addr;
    for text in ["", &format!("listen_addr = \"{addr}\"\n"), &admin_part] {
        lineage.write_config(text);
        let answer = ask(admin, "POST /upgrade", &[], "");
        is_problem(&answer, 500);
        assert!(answer.text().contains("allow_empty"), "{}", answer.text());
        assert_eq!(lineage.proxy.ask(get("/")).text(), "served", "{text:?}");
    }
    lineage.write_config(&format!("listen_addr = \"{addr}\"\n{admin_part}"));
    let answer = ask(admin, "POST /upgrade?allow_empty=true", &[], "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    lineage.note_upgrade();
    // The old process takes a client or two until its workers have stopped to accept.
    eventually("the new process answers", || {
        lineage.proxy.ask(get("/")).status() == 404
    });
    // A process that serves nothing may be followed by another one.
    lineage.upgrade();
    assert_eq!(lineage.stop(), 0);
}
