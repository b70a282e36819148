//! The health of one backend, in a form that another process of the same machine understands: for the process that
//! takes over at an upgrade.

use serde::{Deserialize, Serialize};

/// The health of one backend. The fields are a part of the format of the message between processes. Instants are in
/// microseconds of CLOCK_MONOTONIC, see [`crate::base::machine_clock`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthRecord {
    /// The name of the backend's pool.
    pub pool: String,
    /// The backend, as logs name it: its address, and the name that resolved to the address if there is one.
    pub backend: String,
    /// A digest of the settings of the backend's probes; `None`: the backend is not probed.
    pub probe_settings: Option<String>,
    /// A digest of the settings by which the pool ejects backends; `None`: the pool ejects none.
    pub outlier_settings: Option<String>,
    /// The label of the state that the workers go by.
    pub state: String,
    /// The instant of the last change of that state.
    pub since: i64,
    /// Whether the backend fails its probes, even while it is drained.
    pub is_down: bool,
    /// Probes in a row that contradict `is_down`.
    pub against: u32,
    /// The ejection that is in force.
    pub ejection: Option<EjectionRecord>,
    /// The last ejection that is over. The next one lasts longer if it follows soon.
    pub last_ejection: Option<EjectionRecord>,
}

/// A time for which a backend is out of service because requests to it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EjectionRecord {
    /// The instant at which the ejection ends, or has ended.
    pub until: i64,
    /// 1 for the first ejection, and one more for each that followed before the one before it was forgotten.
    pub number: u32,
}
