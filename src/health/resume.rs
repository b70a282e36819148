//! The health of the backends as one process hands it to the next, and the part of it that the next process may use:
//! only what it would have found itself, because the settings by which it was found are the same.

use std::collections::HashMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::base::machine_clock::MachineClock;
use crate::base::time::Micros;
use crate::health::backend_health::BackendHealth;
use crate::health::backend_ref::BackendRef;
use crate::shared::health_record::HealthRecord;
use crate::snapshot::{HealthCheck, Outlier, ProbeKind, ProbeTls, Protocol, ProxyProtocol};

/// The records of another process, by pool and backend.
#[derive(Debug)]
pub struct Records {
    by_backend: HashMap<(String, String), HealthRecord>,
    clock: MachineClock,
}

impl Records {
    /// Takes over `records` of another process, with the machine clock `clock` of this one. Of two records of one
    /// backend the last counts.
    pub fn new(records: Vec<HealthRecord>, clock: MachineClock) -> Records {
        let by_backend = records.into_iter().map(|record| {
            let key = (record.pool.clone(), record.backend.clone());
            (key, record)
        });
        Records {
            by_backend: by_backend.collect(),
            clock,
        }
    }

    /// The judgement of the backend with which this process begins. A backend that the other process did not know, or
    /// watched by other settings, is a new one.
    pub fn health(&self, backend_ref: &BackendRef, now: Micros) -> BackendHealth {
        let mut health = BackendHealth::default();
        if let Some(record) = self.of(backend_ref) {
            let probes = probe_settings(backend_ref);
            if probes.is_some() && probes == record.probe_settings {
                health.resume_probes(record);
            }
            let settings = outlier_settings(backend_ref);
            if let Some(outlier) = &backend_ref.pool().outlier
                && settings == record.outlier_settings
            {
                health.resume_ejections(record, outlier, self.clock, now);
            }
        }
        health
    }

    /// Takes over the instant of the last change of the backend's state, if its state is the one that it had in the
    /// other process.
    pub fn resume_since(&self, backend_ref: &BackendRef, health: &BackendHealth) {
        let record = self.of(backend_ref);
        if let Some(record) = record.filter(|record| record.state == health.state().label()) {
            let changes = &backend_ref.backend().slot.counters().changes;
            changes.resume(self.clock.own(record.since));
        }
    }

    fn of(&self, backend_ref: &BackendRef) -> Option<&HealthRecord> {
        let key = (
            backend_ref.pool().name.clone(),
            backend_ref.backend().label.clone(),
        );
        self.by_backend.get(&key)
    }
}

/// The record of one backend, for another process.
pub fn record_of(
    backend_ref: &BackendRef,
    health: &BackendHealth,
    clock: MachineClock,
) -> HealthRecord {
    let since = backend_ref.backend().slot.counters().changes.since();
    let mut record = HealthRecord {
        pool: backend_ref.pool().name.clone(),
        backend: backend_ref.backend().label.clone(),
        probe_settings: probe_settings(backend_ref),
        outlier_settings: outlier_settings(backend_ref),
        state: health.state().label().to_owned(),
        since: clock.shared(Micros(0)).saturating_add(since),
        ..HealthRecord::default()
    };
    health.write_to(&mut record, clock);
    record
}

/// A digest of everything that decides how a probe of this backend goes and what its outcome means; `None`: the backend
/// is not probed. The contents of certificate files are not a part of it. The texts below are a part of the format of
/// the message between processes.
fn probe_settings(backend_ref: &BackendRef) -> Option<String> {
    let (pool, backend) = (backend_ref.pool(), backend_ref.backend());
    let check = backend.health_check.as_ref()?;
    let protocol = match pool.protocol {
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
    };
    let proxy_protocol = match pool.proxy_protocol {
        None => "none",
        Some(ProxyProtocol::V1) => "v1",
        Some(ProxyProtocol::V2) => "v2",
    };
    let (is_tls, name) = (pool.tls.is_some(), backend.server_name.to_str());
    let mut text = format!("{protocol} {proxy_protocol} {is_tls} {name:?}\n");
    write_check(&mut text, check);
    Some(digest(&text))
}

fn write_check(text: &mut String, check: &HealthCheck) {
    let kind = match &check.kind {
        ProbeKind::Tcp => "tcp".to_owned(),
        ProbeKind::Http {
            method,
            path,
            expect,
            body_contains,
        } => format!("http {method:?} {path:?} {expect:?} {body_contains:?}"),
        ProbeKind::Grpc { service } => format!("grpc {service:?}"),
    };
    let tls = match &check.tls {
        ProbeTls::AsPool => "as pool".to_owned(),
        ProbeTls::Off => "off".to_owned(),
        ProbeTls::Own(_, name) => format!("own {:?}", name.as_ref().map(|name| name.to_str())),
    };
    let HealthCheck {
        port,
        host,
        headers,
        interval,
        timeout,
        timeout_again,
        unhealthy_after,
        healthy_after,
        ..
    } = check;
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{kind}\n{tls}\n{port:?} {host:?} {headers:?}\n{} {} {} {unhealthy_after} {healthy_after}",
        interval.as_micros(),
        timeout.as_micros(),
        timeout_again.as_micros(),
    );
}

/// A digest of the settings by which the backend's pool ejects backends; `None`: the pool ejects none.
fn outlier_settings(backend_ref: &BackendRef) -> Option<String> {
    let Outlier {
        consecutive_failures,
        eject,
        max_ejected_percent,
    } = backend_ref.pool().outlier.as_ref()?;
    let eject = eject.as_micros();
    Some(digest(&format!(
        "{consecutive_failures} {eject} {max_ejected_percent}"
    )))
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    // Half of it tells settings apart well enough.
    let half = digest.iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}
