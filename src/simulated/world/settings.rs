//! The configuration of a run: a text for the real reader and compiler, and settings of TLS that are only told apart.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

use super::scenario::{PoolKind, Scenario, Settings};
use crate::config::{self, Config, Machine, Resolved};
use crate::shared::slots::Slots;
use crate::snapshot::{ClientTls, Snapshot};
use crate::tls::TlsStore;

const MACHINE: Machine = Machine {
    cpus: 4,
    descriptors: 1 << 20,
    memory_bytes: 1 << 40,
};

thread_local! {
    static READ: RefCell<HashMap<String, Rc<Config>>> = RefCell::default();
}

/// The two settings of TLS that there are.
fn tls() -> &'static [Arc<ClientConfig>; 2] {
    static TLS: OnceLock<[Arc<ClientConfig>; 2]> = OnceLock::new();
    TLS.get_or_init(|| {
        let make = || {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider);
            let builder = builder.with_safe_default_protocol_versions().unwrap();
            let roots = RootCertStore::empty();
            Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
        };
        [make(), make()]
    })
}

/// The number of the TLS settings that a simulated connection was made with; 0: none.
pub fn number_of(secured: Option<usize>) -> u8 {
    let place = |secured| {
        tls()
            .iter()
            .position(|one| Arc::as_ptr(one).addr() == secured)
    };
    secured.map_or(0, |secured| 1 + place(secured).unwrap() as u8)
}

/// The compiled configuration of a scenario with these settings.
pub fn snapshot(
    scenario: &Scenario,
    settings: &Settings,
    slots: &mut Slots,
    generation: u64,
) -> Arc<Snapshot> {
    let mut snapshot = compiled(text(scenario, settings), slots, generation);
    if settings.tls > 0 {
        let config = &tls()[usize::from(settings.tls) - 1];
        for pool in snapshot.pools.iter_mut().filter(|pool| pool.name == "one") {
            let pool = Arc::get_mut(pool).unwrap();
            pool.tls = Some(ClientTls {
                config: config.clone(),
                http1: config.clone(),
            });
        }
    }
    Arc::new(snapshot)
}

/// The compiled form of a configuration.
pub fn compiled(text: String, slots: &mut Slots, generation: u64) -> Snapshot {
    let config = read(text);
    let (resolved, mut tls_store) = (Resolved::new(), TlsStore::default());
    let compiled = config::compile(
        &config,
        &MACHINE,
        &resolved,
        config::Stores {
            slots,
            tls_store: &mut tls_store,
        },
        generation,
    );
    compiled.unwrap()
}

fn read(text: String) -> Rc<Config> {
    READ.with_borrow_mut(|read| {
        if let Some(config) = read.get(&text) {
            return config.clone();
        }
        let config = config::parse(Path::new("simulated.toml"), text.clone());
        let config = Rc::new(config.map_err(|mistakes| mistakes.to_string()).unwrap());
        read.insert(text, config.clone());
        config
    })
}

fn text(scenario: &Scenario, settings: &Settings) -> String {
    let mut text = format!(
        "shutdown_timeout = 2\nworkers = {}\n[timeouts]\n\
         client_header = 1\nclient_body = 1\nclient_idle = 3\nclient_stream_stall = 3\nconnect = 1\n\
         upstream_response = 3\nupstream_idle = 3\nupstream_keepalive = 2\n\
         [[listeners]]\naddr = \"127.0.0.1:80\"\nhalf_close = \"{}\"\n",
        scenario.workers,
        if scenario.serves_half_closed {
            "serve"
        } else {
            "abort"
        }
    );
    let pools = [
        (PoolKind::One, "one", "h1", 1),
        (PoolKind::Two, "two", "h2", 2),
    ];
    for (kind, name, protocol, prefix) in pools {
        let mut backends = scenario.pool(kind);
        if settings.is_shorter && backends.len() > 1 {
            backends.pop();
        }
        let bound = match settings.max_connections {
            0 => String::new(),
            most => format!(", max_connections = {most}"),
        };
        let backends = backends.iter().map(|backend| {
            let addr = scenario.addr(*backend);
            format!("{{ addr = \"{addr}\"{bound} }}")
        });
        let backends: Vec<String> = backends.collect();
        text += &format!(
            "[[pools]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nbackends = [{}]\n\
             balancing_algorithm = \"{}\"\nhealth_check = {{ path = \"/\" }}\n",
            backends.join(", "),
            settings.algorithm,
        );
        if settings.algorithm == "consistent_hash" {
            text += "hash_on = \"path\"\n";
        }
        if settings.proxy_protocol && kind == PoolKind::One {
            text += "proxy_protocol = \"v1\"\n";
        }
        text += &format!(
            "[[routes]]\nprefix = \"/{prefix}\"\npool = \"{name}\"\nretries = {}\n",
            settings.retries
        );
    }
    text
}
