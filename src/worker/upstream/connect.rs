//! Gets a connection to a backend: an existing one, otherwise a new one.

use std::cell::Cell;
use std::rc::Rc;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::snapshot::Protocol;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::upstream::await_descriptor::{may_open, wait_for_one};
use crate::worker::upstream::connecting::{Connecting, Full, new_hold};
use crate::worker::upstream::descriptors::Held;
use crate::worker::upstream::dial::introduction;
use crate::worker::upstream::race::{Entrant, others};
use crate::worker::upstream::stream::{Obtained, await_connection, obtain_stream};
use crate::worker::upstream::websocket::{for_websocket, goes_by_http1};
use crate::worker::upstream::{Caller, Carrier, ConnectionMode, Granted, Hold, Target, Upstream};
use crate::worker::wire::Wire;

/// The outcome of asking for a connection.
pub enum Connected {
    /// A connection, or a stream on a shared one.
    Ready(Box<Upstream>),
    /// The backend has as many connections as it may have, and none of them is idle on this core, because another core
    /// has opened the last one.
    LostRace,
    Failed {
        failure: Failure,
        /// The backend that was connected to last. Another address of the picked name may have answered first.
        backend: BackendId,
    },
}

/// Gets a connection to the backend of `target`. The caller waits for a descriptor, if none is free, and for the
/// connection to be made.
pub async fn connect(
    shard: &Rc<Shard>,
    target: Target,
    mode: ConnectionMode,
    caller: &Caller<'_>,
) -> Connected {
    let backend = caller.config.backend(target.pool, target.index);
    let failed = |failure, backend| Connected::Failed { failure, backend };
    let Some(key) = caller.config.reuse_key(backend.id()) else {
        return failed(Failure::ConnectFailed, backend.id());
    };
    let connecting = Connecting {
        shard,
        caller,
        mode,
        pool: target.pool,
        backend,
        key,
        reached: Cell::new(backend.id()),
    };
    match connecting.run(target.granted).await {
        Ok(connected) => connected,
        Err(failure) => failed(failure, connecting.reached.get()),
    }
}

/// The ways in which a caller may get a connection that no other request uses.
enum Claim {
    Connection(Box<Upstream>),
    /// A new connection may be opened.
    New(Option<Hold>),
    Nothing,
}

impl Connecting<'_> {
    async fn run(&self, mut granted: Option<Box<Granted>>) -> Result<Connected, Failure> {
        let config = self.caller.config;
        let goes_by_http1 = goes_by_http1(self.shard, config, self.mode.carrier, self.backend.id());
        if self.pool().protocol == Protocol::Http2
            && !goes_by_http1
            && let Some(connected) = self.get_stream(&mut granted).await?
        {
            return Ok(connected);
        }
        let hold = match self.claim(granted) {
            Claim::Connection(upstream) => return Ok(self.ready(upstream)),
            Claim::New(hold) => hold,
            Claim::Nothing => return Ok(Connected::LostRace),
        };
        if let Some(upstream) = self.await_descriptor().await? {
            return Ok(self.ready(upstream));
        }
        self.open(hold).await
    }

    /// Gets a stream on a shared connection. `None`: the backend has announced that it takes no extended CONNECT, so
    /// that the request needs a connection of its own.
    async fn get_stream(
        &self,
        granted: &mut Option<Box<Granted>>,
    ) -> Result<Option<Connected>, Failure> {
        loop {
            match obtain_stream(self, granted.take())? {
                Obtained::Stream(upstream) if self.mode.carrier == Carrier::WebSocket => {
                    let upstream = for_websocket(self, upstream).await?;
                    return Ok(upstream.map(Connected::Ready));
                }
                Obtained::Stream(upstream) => {
                    let upstream = await_connection(self, upstream).await?;
                    return Ok(Some(Connected::Ready(upstream)));
                }
                Obtained::Nothing => return Ok(Some(Connected::LostRace)),
                Obtained::NoDescriptor => {
                    // No client is charged for the connection, because requests of other clients will use it, too.
                    let nobodys = Rc::default();
                    let id = self.backend.id();
                    wait_for_one(self.shard, self.caller, id, nobodys).await?;
                }
            }
        }
    }

    /// The connection that the caller may use: the connection that it was granted while it waited, an idle one, or a
    /// new one if the backend's bound allows another.
    #[inline]
    fn claim(&self, granted: Option<Box<Granted>>) -> Claim {
        let (shard, id) = (self.shard, self.backend.id());
        match granted.map(|granted| *granted) {
            Some(Granted::Hold(hold)) if hold.backend() == id => return Claim::New(Some(hold)),
            Some(Granted::Connection(upstream)) if upstream.backend == id => {
                let is_good =
                    !self.mode.is_fresh && upstream.key == self.key && upstream.unasked().is_none();
                return if is_good {
                    Claim::Connection(upstream)
                } else {
                    Claim::New(upstream.close())
                };
            }
            _ => {} // A grant of another backend goes to the next request.
        }
        if let Some(upstream) = self.take_idle() {
            return Claim::Connection(upstream);
        }
        match new_hold(shard, self.caller.config, self.pool, self.backend) {
            Ok(hold) => Claim::New(hold),
            #[cfg(test)]
            Err(Full) if crate::simulated::is_planted(crate::simulated::Fault::SpinsAtBound) => {
                Claim::Nothing
            }
            // An idle connection of this core must not keep a request of this core waiting.
            Err(Full) => match shard
                .upstreams
                .close_oldest(id, shard.tables.of(shard.worker))
            {
                Some(hold) => Claim::New(Some(hold)),
                None => Claim::Nothing,
            },
        }
    }

    /// An idle connection, if there is one that the caller may use.
    fn take_idle(&self) -> Option<Box<Upstream>> {
        if self.mode.is_fresh {
            return None;
        }
        let shard = self.shard;
        let (now, table) = (shard.timers.millis(), shard.tables.of(shard.worker));
        shard
            .upstreams
            .take(self.backend.id(), self.key, now, table)
    }

    /// Waits until a descriptor may be taken for a new connection. The result is an idle connection that became free
    /// meanwhile, if there is one.
    async fn await_descriptor(&self) -> Result<Option<Box<Upstream>>, Failure> {
        let (shard, held) = (self.shard, self.caller.held);
        while !may_open(shard, held.get()) || !shard.descriptor_waiters.is_empty() {
            wait_for_one(shard, self.caller, self.backend.id(), held.clone()).await?;
            if let Some(upstream) = self.take_idle() {
                return Ok(Some(upstream));
            }
            if may_open(shard, held.get()) {
                break;
            }
        }
        Ok(None)
    }

    /// Opens a connection for the caller alone.
    async fn open(&self, hold: Option<Hold>) -> Result<Connected, Failure> {
        let (shard, config) = (self.shard, self.caller.config);
        let held = Held::by(self.caller.held);
        debug_assert!(
            (hold.as_ref()).is_none_or(|hold| hold.backend() == self.backend.id()),
            "a permit is for the backend that is connected to"
        );
        let addr = self.backend.addr.clone().ok_or(Failure::ConnectFailed)?;
        let mut entrants = vec![Entrant {
            id: self.backend.id(),
            key: self.key,
            addr,
            hold,
        }];
        entrants.extend(others(self));
        let began = Micros::now();
        let introduction = introduction(self.pool(), &self.caller.introduced);
        let (won, socket) = self.reach_one(entrants, introduction.as_deref()).await?;
        let backend = config.backend_of(won.id).ok_or(Failure::ConnectFailed)?;
        let counters = backend.slot.counters().workers.of(shard.worker);
        counters.connect_times.observe(Micros::now().since(began));
        Ok(Connected::Ready(Box::new(Upstream {
            wire: Wire::new(Stream::Socket(socket)),
            backend: won.id,
            key: won.key,
            scheme: "http",
            is_websocket: false,
            reused: false,
            hold: won.hold,
            held: Some(held),
        })))
    }

    /// An existing connection, counted for the caller's client.
    fn ready(&self, mut upstream: Box<Upstream>) -> Connected {
        debug_assert!(
            upstream.held.is_none(),
            "an idle connection is held by no client"
        );
        upstream.held = Some(Held::by(self.caller.held));
        Connected::Ready(upstream)
    }
}

#[cfg(test)]
mod tests;
