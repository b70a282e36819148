//! Connections to backends: kept while idle, opened when none is idle, retired before the backend would close them, and
//! waited for when there are as many as the bounds allow.

mod await_descriptor;
mod caller;
mod carrier;
mod connect;
mod connecting;
pub mod descriptors;
mod dial;
mod hold;
mod idle;
mod idle_timeout;
mod keep;
mod peak;
mod pick;
mod queue;
mod race;
mod reach;
mod rest;
mod reuse_key;
#[cfg(test)]
mod sample;
mod shared;
mod stream;
mod trial;
mod wait;
mod websocket;

use crate::base::ids::{BackendId, PoolId};
use crate::net::Unasked;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::wire::Wire;

pub use await_descriptor::spare as spare_descriptors;
pub use caller::Caller;
pub use carrier::Carrier;
pub use connect::{Connected, connect};
use descriptors::Held;
pub use hold::Hold;
pub use idle::Upstreams;
pub use keep::keep_idle;
pub use pick::{Selection, choose_first, is_well, prefers_well};
pub use queue::{Backends, Neighbours, Queue};
pub use rest::Rests;
pub use reuse_key::ReuseKey;
pub use shared::Shared;
pub use trial::go_on as go_on_with_rests;
use trial::note_refusal;
pub use wait::choose;

/// A connection to a backend. Between exchanges the connection is always watched: an event then means that the backend
/// has closed it or sent bytes without a request. When a request takes the connection, the same wait brings the
/// response. A connection stays in its box from its beginning to its end, because it changes hands ten times per
/// request.
pub struct Upstream {
    /// The connection's stream with its received bytes.
    pub wire: Wire,
    /// The backend that was picked.
    pub backend: BackendId,
    /// The key of the settings with which the connection was made.
    key: ReuseKey,
    /// The scheme of the request's target over HTTP/2: `http` or `https`.
    pub scheme: &'static str,
    /// Whether the one request of this upstream is sent as an extended CONNECT (RFC 8441).
    pub is_websocket: bool,
    /// Whether the connection has served an exchange before, so that its backend may just have closed it.
    pub reused: bool,
    /// The part of the backend's bounds that the connection uses, if there are any. A waiting request gets the part
    /// when the connection has ended.
    hold: Option<Hold>,
    /// Counts the connection for the client's connection whose request it serves.
    held: Option<Held>,
}

impl Upstream {
    /// The failure of a request whose connection has ended before a byte of an answer came.
    pub fn end_without_answer(&self, shard: &Shard) -> Failure {
        match &self.wire.stream {
            Stream::Socket(socket) if note_refusal(shard, (self.backend, self.key), socket) => {
                Failure::Untrusted
            }
            _ => Failure::Reset,
        }
    }
}

/// The backend to reach.
pub struct Target {
    /// The pool of the backend.
    pub pool: PoolId,
    /// Index in the pool's backends.
    pub index: u32,
    /// The connection, or the permission to open one, that the request was granted while it waited.
    granted: Option<Box<Granted>>,
}

impl Target {
    /// A backend of a pool, for a request that has not waited.
    pub fn at(pool: PoolId, index: u32) -> Target {
        Target {
            pool,
            index,
            granted: None,
        }
    }
}

/// The demands of a request on its connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionMode {
    /// The protocol by which the request is sent.
    pub carrier: Carrier,
    /// Whether the connection must never have been idle, because its backend may just have closed an idle one (RFC 9112
    /// section 9.5). Over HTTP/2 a backend announces the end (RFC 9113 section 6.8), so that any connection will do.
    pub is_fresh: bool,
}

/// The grant of a request that has waited.
enum Granted {
    Connection(Box<Upstream>),
    /// The request may open a connection.
    Hold(Hold),
}

impl Upstream {
    /// The backend that is connected to. Over HTTP/2, the backend may be another address of the picked name.
    pub fn backend(&self) -> BackendId {
        match &self.wire.stream {
            Stream::Multiplexed(stream) => stream.backend().unwrap_or(self.backend),
            Stream::Socket(_) | Stream::Absent => self.backend,
        }
    }

    /// Notes that the request on this connection has ended.
    pub fn let_go(&mut self) {
        self.held = None;
    }

    /// The key of the settings with which the connection was made.
    pub fn key(&self) -> ReuseKey {
        self.key
    }

    /// Whether requests wait in the queue of the bound that counts this connection.
    pub fn is_awaited(&self) -> bool {
        let hold = self.hold.as_ref();
        hold.is_some_and(|hold| hold.queue().is_awaited())
    }

    /// Closes the connection if the backend has more connections than it may have now; otherwise gives the connection
    /// back.
    pub fn unless_beyond(self: Box<Self>, most: u32) -> Option<Box<Upstream>> {
        let permit = self.hold.as_ref().and_then(Hold::as_permit);
        if permit.is_none_or(|permit| !permit.is_beyond(most)) {
            return Some(self);
        }
        // No waiting request gets the permit, because another connection would be one too many as well.
        drop(self.close().and_then(Hold::into_permit));
        None
    }

    /// Bytes, or the end, that have come on the connection although no response is due on it.
    fn unasked(&self) -> Option<Unasked> {
        match &self.wire.stream {
            Stream::Socket(socket) if self.wire.is_empty() => socket.unasked(),
            _ => Some(Unasked::Bytes),
        }
    }

    /// Closes the connection, so that another one may take its part of the bound.
    fn close(mut self) -> Option<Hold> {
        self.end();
        self.hold.take()
    }

    /// The engine closes the descriptor some time later. The backend must see the end of this connection before another
    /// one may take its part of the bound.
    fn end(&self) {
        if self.hold.is_some()
            && let Stream::Socket(socket) = &self.wire.stream
        {
            socket.end();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.end();
    }
}
