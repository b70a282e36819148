//! The start says which engine runs, and why.

use crate::support::Proxy;
use crate::support::proxy::command;

#[test]
fn an_engine_that_is_asked_for_runs_and_the_log_says_so() {
    let mut command = command();
    command.env("PALANTIR_ENGINE", "epoll");
    let proxy = Proxy::start_as(command, "");
    proxy.wait_for_log(&["the workers run on epoll, because PALANTIR_ENGINE asks for epoll"]);
}

#[test]
fn the_log_gives_the_reason_for_the_engine_that_palantir_has_chosen() {
    let mut command = command();
    command.env_remove("PALANTIR_ENGINE");
    let proxy = Proxy::start_as(command, "");
    proxy.wait_for_log(&["the workers run on ", ", because "]);
    let log = proxy.log();
    let reasons = [
        "io_uring (DEFER_TASKRUN, SINGLE_ISSUER), because the kernel offers io_uring",
        "io_uring (COOP_TASKRUN), because the kernel offers io_uring",
        "io_uring (no flags), because the kernel offers io_uring",
        "epoll, because the kernel refuses a ring: ",
        "epoll, because the portable build (--no-default-features)",
    ];
    assert!(reasons.iter().any(|reason| log.contains(reason)), "{log}");
}
