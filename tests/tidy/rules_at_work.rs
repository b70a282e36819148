//! The rules at work: each finds its breaches, and nothing that is allowed.

use crate::RULES;
use crate::source::Source;

/// The rules that a file at this path and with this text breaks.
fn broken(path: &str, text: &str) -> Vec<&'static str> {
    let order = [
        "base", "http", "tls", "balance", "cache", "guard", "route", "shared", "snapshot",
        "messages", "net", "worker", "config", "health", "control",
    ];
    let order = order.map(str::to_owned);
    let source = Source::new(path, text);
    let rules = RULES
        .iter()
        .filter(|rule| !(rule.breaches)(&source, &order).is_empty());
    rules.map(|rule| rule.name).collect()
}

#[test]
fn each_rule_finds_its_breaches() {
    let order = RULES[0].name;
    let steps = RULES[1].name;
    let sharing = RULES[2].name;
    let waiting = RULES[3].name;
    let engine = RULES[4].name;
    let functions = RULES[6].name;
    let printing = RULES[11].name;
    let names = RULES[8].name;
    let open = RULES[9].name;
    let safety = RULES[10].name;
    let long_function = format!(
        "fn long(a: [u8; 3]) {{\n{}}}\n",
        "    let x = 1;\n".repeat(69)
    );
    let todo = format!("// {}{}: more\n", "TO", "DO");
    let ignored = format!("#[ig{}]\nfn x() {{}}\n", "nore");
    let table = [
        ("base/time.rs", "use crate::http::h1;\n", order),
        (
            "http/h1/mod.rs",
            "use crate::{base::ids, worker::shard};\n",
            order,
        ),
        (
            "worker/accept.rs",
            "fn f() { crate::config::load() }\n",
            order,
        ),
        ("http/host.rs", "use crate::tls::Vault;\n", order),
        ("tls/store.rs", "use crate::snapshot::Snapshot;\n", order),
        ("net/mod.rs", "use super::worker;\n", order),
        (
            "snapshot/mod.rs",
            "use crate::worker::shard::Shard;\n",
            order,
        ),
        ("shared/slots.rs", "use crate::snapshot::Pool;\n", order),
        ("shared/slots.rs", "use crate::messages::ToWorker;\n", order),
        ("route/mod.rs", "use crate::balance::Plan;\n", steps),
        (
            "route/tree.rs",
            "use crate::{base::ids, cache::{self, Entry}, route::Rule};\n",
            steps,
        ),
        ("guard/mod.rs", "use super::cache::Entry;\n", steps),
        ("route/tree.rs", "use super::super::balance;\n", steps),
        ("worker/shard.rs", "use std::sync::Arc;\n", sharing),
        (
            "net/stream.rs",
            "fn f(x: std::sync::atomic::AtomicU32) {}\n",
            sharing,
        ),
        (
            "worker/mailbox.rs",
            "use crossbeam_channel::Sender;\n",
            sharing,
        ),
        (
            "http/date.rs",
            "fn f() { let now = SystemTime::now(); }\n",
            waiting,
        ),
        ("cache/mod.rs", "fn f() { x.await; }\n", waiting),
        ("guard/mod.rs", "fn f() { Micros::now(); }\n", waiting),
        (
            "worker/accept.rs",
            "use monoio::net::TcpListener;\n",
            engine,
        ),
        ("control/mod.rs", "fn f() { libc::setsockopt(); }\n", engine),
        ("health/mod.rs", "use io_uring::IoUring;\n", engine),
        ("health/probe.rs", "use monoio_http::h1;\n", engine),
        ("health/probe.rs", "use monoio::net::UnixStream;\n", engine),
        ("base/long.rs", &"// line\n".repeat(500), RULES[5].name),
        ("base/long.rs", &long_function, functions),
        ("base/names.rs", "pub struct RouteManager;\n", names),
        ("base/names.rs", "fn handle_data() {}\n", names),
        ("base/names.rs", "mod utils;\n", names),
        ("base/names.rs", "struct ServiceManagerInfo;\n", names),
        ("base/open.rs", &todo, open),
        ("base/open.rs", &ignored, open),
        ("base/raw.rs", "fn f() { unsafe { g() } }\n", safety),
        ("cli/a.rs", "fn f() { println!(\"x\"); }\n", printing),
        (
            "cli/b.rs",
            "fn f<F: Fn(u8, u8) -> u8>(&self, a: F, b: u8, c: u8, d: u8, e: u8, f: u8) {}\n",
            RULES[12].name,
        ),
    ];
    for (path, text, rule) in table {
        let text = format!("//! A file.\n{text}");
        assert_eq!(broken(path, &text), [rule], "{path}: {text}");
    }
    assert_eq!(
        broken("base/headless.rs", "use std::fmt;\n"),
        [RULES[7].name]
    );
}

#[test]
fn what_is_allowed_breaks_no_rule() {
    let table = [
        (
            "base/a.rs",
            "// Arc, crate::worker, monoio\nfn f() -> &'static str { \"crate::worker::x unsafe\" }\n",
        ),
        (
            "base/b.rs",
            "/* crate::worker */ fn f() -> char { '\"' }\nfn g() -> char { '\\'' }\n",
        ),
        (
            "base/c.rs",
            "fn f() { r#\"crate::worker \" unsafe\"# }\nfn metadata() {}\n",
        ),
        (
            "http/a.rs",
            "/// [`crate::worker`]\nuse crate::base::limits;\npub(crate) fn f<'a>(x: &'a u8) {}\n",
        ),
        (
            "http/b.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::worker::x;\n    fn f() { y.await }\n}\nfn g() {}\n",
        ),
        ("http/c.rs", "#[cfg(test)]\nmod tests;\n\nfn g() {}\n"),
        (
            "http/g.rs",
            "fn g(&self, a: Map<u8, u8>, b: (u8, u8), P { c: d, .. }: P, e: fn(u8, u8), f: u8) {}\n",
        ),
        (
            "http/d.rs",
            "fn f() {\n    match x {\n        #[cfg(test)]\n        A => y.await,\n        B => {}\n    }\n}\n",
        ),
        (
            "http/e.rs",
            "#[cfg(test)]\nuse crate::{\n    worker::a,\n};\n#[cfg(test)]\nfn f(\n    x: u8,\n) {\n    y.await\n}\n",
        ),
        ("route/tests.rs", "use crate::config::load;\n"),
        ("route/tree.rs", "use super::Rule;\nuse crate::route::x;\n"),
        (
            "worker/proxy.rs",
            "use crate::{balance, route};\nuse super::shard::Shard;\nfn f() { x.await; }\n",
        ),
        (
            "snapshot/mod.rs",
            "use crate::{balance::AlgorithmPlan, route::RouteTable};\nuse crate::shared::slots;\n",
        ),
        (
            "messages/mod.rs",
            "use crate::snapshot::Snapshot;\nuse std::sync::Arc;\n",
        ),
        ("net/tls/a.rs", "use std::sync::Arc;\n"),
        (
            "control/a.rs",
            "pub mod service_manager;\nfn tell_service_manager() {}\nstruct ServiceManager;\n",
        ),
        (
            "net/a.rs",
            "// SAFETY: nothing is touched.\nunsafe fn f() { monoio::spawn(); }\n",
        ),
    ];
    for (path, text) in table {
        let text = format!("//! A file.\n{text}");
        assert_eq!(broken(path, &text), [""; 0], "{path}: {text}");
    }
}
