//! Tests that any text is understood or has its mistakes listed; nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::parsed;
use crate::base::limits;
use crate::config::{Machine, Resolved, Stores, compile};
use crate::shared::backend_table::BackendTables;
use crate::shared::slots::Slots;
use crate::tls::TlsStore;

/// The parts of a configuration, right and wrong.
const PIECES: [&str; 65] = [
    "[[routes]]\n",
    "[[pools]]\n",
    "[[listeners]]\n",
    "[timeouts]\n",
    "[limits]\n",
    "[access_log]\n",
    "[test_server]\n",
    "[cache]\nmax_size = '8MiB'\n",
    "cache = {",
    "ttl = {",
    "override",
    "slice",
    "\"off\"",
    "listen_addr",
    "listen_addrs",
    "workers",
    "shutdown_timeout",
    "trusted_proxies",
    "connect",
    "name",
    "pool",
    "host",
    "prefix",
    "backends",
    "backend_addrs",
    "addr",
    "weight",
    "balancing_algorithm",
    "hash_on",
    "health_check",
    "outlier",
    "protocol",
    "proxy_protocol",
    "proxy_protocol_from",
    "tls",
    "http2",
    "request_headers",
    "set",
    "remove",
    "timeout",
    "client_cert",
    "host_header",
    "retries",
    " = ",
    " = {",
    "}",
    " = [",
    "]",
    ", ",
    ".",
    "\n",
    "\"",
    "'''",
    "# ",
    "0",
    "7",
    "-1",
    "1e400",
    "true",
    "\"127.0.0.1:80\"",
    "\"unix:/a\"",
    "\"/\"",
    "\"a.b:1\"",
    "\"é\\u0000\"",
    "\"consistent_hash\"",
];

fn check(text: &str) -> Result<(), TestCaseError> {
    let config = match parsed(text) {
        Ok(config) => config,
        Err(mistakes) => {
            prop_assert!(!mistakes.notes.is_empty());
            let last_line = text.split('\n').count();
            for note in &mistakes.notes {
                let (line, column) = note.at.unwrap();
                prop_assert!((1..=last_line).contains(&line), "{note} in {text:?}");
                let columns = text.split('\n').nth(line - 1).unwrap().chars().count() + 1;
                prop_assert!((1..=columns).contains(&column), "{note} in {text:?}");
                prop_assert!(!note.to_string().contains(char::is_control), "{note:?}");
            }
            return Ok(());
        }
    };
    let machine = Machine {
        cpus: 2,
        descriptors: 1024,
        memory_bytes: 1 << 30,
    };
    config.warnings(&machine);
    config.document();
    let mut slots = Slots::new(BackendTables::new(1));
    let snapshot = compile(
        &config,
        &machine,
        &Resolved::new(),
        Stores {
            slots: &mut slots,
            tls_store: &mut TlsStore::default(),
        },
        1,
    );
    prop_assert!(snapshot.is_ok());
    prop_assert!(snapshot.unwrap().routes.len() <= limits::ROUTES);
    Ok(())
}

proptest! {
    #[test]
    fn on_any_text(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn on_what_resembles_a_configuration(pieces in vec(select(&PIECES[..]), 0..40)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn on_a_configuration_with_a_cut_and_an_insertion(
        cut in 0..2000usize, len in 0..20usize, insertion in select(&PIECES[..]),
    ) {
        let whole: Vec<char> = super::snapshots::EVERY_KEY.chars().collect();
        let start = cut.min(whole.len());
        let end = (start + len).min(whole.len());
        let text: String = whole[..start].iter().copied().chain(insertion.chars()).chain(whole[end..]
            .iter().copied()).collect();
        check(&text)?;
    }
}
