//! Connections to backends: kept while idle, opened when none is, retired before the backend would close them.

mod dial;
mod idle;
mod learnt;
mod open;
mod shared;

use crate::base::ids::BackendId;
use crate::shared::backend_table::Permit;
use crate::worker::stream::Stream;
use crate::worker::wire::Wire;

pub use idle::{Keep, Upstreams};
pub use open::obtain;
pub use shared::Shared;

/// A connection to a backend. It is watched at all times between exchanges: that something comes then means that
/// the backend has closed or sent what nobody asked for, and after a checkout the same wait brings the response.
pub struct Upstream {
    pub wire: Wire,
    pub backend: BackendId,
    /// Of the targets asked for: `http` or `https`.
    pub scheme: &'static str,
    /// Whether it served an exchange before, so that its backend may just have closed it.
    pub reused: bool,
    /// The backend's bound on connections counts this one.
    permit: Option<Permit>,
}

impl Drop for Upstream {
    /// The descriptor is closed by the engine, a moment later; before another connection may take its place, the
    /// backend must know that this one has ended.
    fn drop(&mut self) {
        if self.permit.is_some()
            && let Stream::Socket(socket) = &self.wire.stream
        {
            socket.end();
        }
    }
}
