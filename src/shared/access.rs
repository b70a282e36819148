//! One line of the access log on its way from a worker to the control thread.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::base::ids::{PoolId, RouteId};
use crate::snapshot::Snapshot;

/// What is known of an exchange when it has ended. Texts are cut at `limits::LOGGED_TEXT_BYTES`.
#[derive(Debug)]
pub struct AccessLine {
    pub at: SystemTime,
    /// The id that the client saw in an own answer; unique in this process.
    pub request_id: u64,
    pub client: Option<IpAddr>,
    /// `METHOD SP target SP version` as received, then host, referer and user agent: one allocation for all.
    pub texts: Box<[u8]>,
    /// Where each of method, target, host, referer and user agent ends in `texts`.
    pub ends: [u16; 5],
    /// 10 or 11.
    pub version: u8,
    pub status: u16,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// For the names of route, pool and backend.
    pub snapshot: Arc<Snapshot>,
    pub route: Option<RouteId>,
    pub pool: Option<PoolId>,
    /// Index in the pool's backends.
    pub backend: Option<u32>,
    pub attempts: u8,
    /// Microseconds from the first attempt to the response head; 0 if none came.
    pub upstream_micros: u64,
    /// Microseconds from the request's first byte to the answer's last.
    pub total_micros: u64,
    /// The reason word of a failure; `""` if there was none.
    pub failure: &'static str,
}
