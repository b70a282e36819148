//! The settings that count only when a process starts. A process keeps them, whatever a later configuration says.

use std::net::SocketAddr;

use super::machine::Machine;
use super::settings::Settings;
use super::tls::ServerTlsSettings;
use crate::base::limits;
use crate::snapshot::{Admin, CacheOptions};

/// The settings that count only when a process starts, as they were at the start of this process.
#[derive(Clone, Debug)]
pub struct StartSettings {
    /// The number of workers.
    pub workers: usize,
    /// The addresses of the test servers.
    pub test_servers: Vec<SocketAddr>,
    /// The management API.
    pub admin: Option<Admin>,
    /// The cache of the process; `None`: nothing is cached, whatever routes say.
    pub cache: Option<CacheOptions>,
    /// The TLS settings of the management API, whose files are read again like all others.
    pub admin_tls: Option<ServerTlsSettings>,
}

impl StartSettings {
    /// The settings of a process on this machine that starts with these.
    pub fn of(settings: &Settings, machine: &Machine) -> StartSettings {
        StartSettings {
            workers: workers(settings, machine),
            test_servers: settings
                .test_servers
                .iter()
                .map(|addr| addr.value)
                .collect(),
            admin: settings.admin.as_ref().map(|admin| admin.value.clone()),
            cache: settings.cache.as_ref().map(|cache| cache.options()),
            admin_tls: settings.admin_tls.clone(),
        }
    }
}

/// Workers to run: as written, else one per CPU.
pub fn workers(settings: &Settings, machine: &Machine) -> usize {
    match settings.workers.value {
        0 => machine.cpus.clamp(1, limits::WORKERS),
        workers => workers,
    }
}
