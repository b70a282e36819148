//! Probes: one file per kind, one line each in [`run`]. A probe opens its own connection, has one question and one
//! answer, and is bounded in time and bytes.

mod http;
mod tcp;

use std::io::{self, ErrorKind};

use monoio::time::timeout;

use crate::snapshot::{Backend, BackendAddr, HealthCheck, ProbeKind};

/// How a probe went, in words for the log: `answered 200`, `connection refused`.
pub type Outcome = Result<String, String>;

/// Probes a backend once. Returns within `check.timeout`.
pub async fn probe(backend: &Backend, check: &HealthCheck) -> Outcome {
    let Some(addr) = &backend.addr else {
        return Err("no address".to_owned());
    };
    match timeout(check.timeout, run(&check.kind, addr, &backend.host)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {:?}", check.timeout)),
    }
}

/// The registry of probe kinds.
async fn run(kind: &ProbeKind, addr: &BackendAddr, host: &str) -> Outcome {
    match kind {
        ProbeKind::Tcp => tcp::probe(addr).await,
        ProbeKind::Http { path, expect } => http::probe(addr, host, path, expect).await,
    }
}

/// An I/O error in a few words, without the system's number where the kind says it all.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::Other => error.to_string(),
        kind if kind.to_string() == "uncategorized error" => error.to_string(),
        kind => kind.to_string(),
    }
}
