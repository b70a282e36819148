//! Health checks: what a probe of a backend does, and how often.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

/// How a backend is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The kind of probe, with its own settings.
    pub kind: ProbeKind,
    /// The port that is probed; `None`: the port of the backend.
    pub port: Option<u16>,
    /// The TLS of the probe.
    pub tls: ProbeTls,
    /// `Host` of the probe's request; `None`: the address of the backend.
    pub host: Option<String>,
    /// Further fields of the probe's request: names in lower case, no name twice.
    pub headers: Vec<(String, String)>,
    /// The time between the beginnings of two probes.
    pub interval: Duration,
    /// The time within which a probe must have an outcome.
    pub timeout: Duration,
    /// The time for a probe while a healthy backend has failed its last probe.
    pub timeout_again: Duration,
    /// Failures in a row that make a backend unhealthy.
    pub unhealthy_after: u32,
    /// Successes in a row that make it healthy again.
    pub healthy_after: u32,
}

/// How a probe speaks TLS.
#[derive(Clone, Debug)]
pub enum ProbeTls {
    /// With the TLS of requests.
    AsPool,
    /// In cleartext.
    Off,
    /// With TLS settings of its own. The name is the one that the certificate must have; `None`: the name that requests
    /// ask the backend for.
    Own(Arc<rustls::ClientConfig>, Option<ServerName<'static>>),
}

impl PartialEq for ProbeTls {
    /// Two configurations are equal if they are the same object: equal settings and files are built only once.
    fn eq(&self, other: &ProbeTls) -> bool {
        match (self, other) {
            (ProbeTls::AsPool, ProbeTls::AsPool) | (ProbeTls::Off, ProbeTls::Off) => true,
            (ProbeTls::Own(one, name), ProbeTls::Own(other, other_name)) => {
                Arc::ptr_eq(one, other) && name == other_name
            }
            _ => false,
        }
    }
}

impl Eq for ProbeTls {}

/// The kind of a probe, with the settings of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Opens a connection, nothing more.
    Tcp,
    /// Sends `method path`. The answer must have a status in one of the inclusive ranges, and a body with the text, if
    /// one is set.
    Http {
        /// The method of the request.
        method: String,
        /// The path of the request, and its query if there is one.
        path: String,
        /// The ranges of status codes, both ends included, of which the answer must have one.
        expect: Vec<(u16, u16)>,
        /// The text that the beginning of the body must contain.
        body_contains: Option<String>,
    },
    /// Asks `grpc.health.v1` over HTTP/2 whether this service is serving; the empty name stands for the whole server.
    Grpc {
        /// The name of the service.
        service: String,
    },
}
