//! Callers without a client's request, for tests.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::ids::BackendId;
use crate::http::proxy_protocol::ProxiedAddrs;
use crate::net::Timer;
use crate::worker::failure::Failure;
use crate::worker::live_config::LiveConfig;
use crate::worker::sample::POOL;
use crate::worker::shard::Shard;
use crate::worker::upstream::{
    Caller, Carrier, Connected, ConnectionMode, Selection, Target, Upstream, connect,
};

/// A request of a pool's own protocol, which may use any connection.
pub const PLAIN: ConnectionMode = ConnectionMode {
    carrier: Carrier::Pools,
    is_fresh: false,
};

/// A request that needs a new connection.
pub const FRESH: ConnectionMode = ConnectionMode {
    is_fresh: true,
    ..PLAIN
};

/// A request that goes by HTTP/1.1, whatever protocol its pool speaks.
pub const BY_HTTP1: ConnectionMode = ConnectionMode {
    carrier: Carrier::Http1,
    is_fresh: false,
};

/// A request for a WebSocket.
pub const WEBSOCKET: ConnectionMode = ConnectionMode {
    carrier: Carrier::WebSocket,
    is_fresh: false,
};

/// Any backend of the pool.
pub const ANY: Selection = Selection {
    pool: POOL,
    key: 0,
    carrier: Carrier::Pools,
    last: None,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The values that a caller without a client's connection refers to.
pub struct Own {
    /// The configuration with which the caller began.
    pub config: Rc<LiveConfig>,
    /// The timer of the caller's task.
    pub timer: Timer,
    /// The connections that serve the caller.
    pub held: Rc<Cell<usize>>,
}

impl Own {
    /// A caller of a worker.
    pub fn of(shard: &Shard) -> Own {
        Own {
            config: shard.config(),
            timer: Timer::new(&shard.timers),
            held: Rc::default(),
        }
    }

    /// The caller, which has much time and watches nothing.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            config: &self.config,
            timer: &self.timer,
            connect: PATIENCE,
            queue: PATIENCE,
            deadline: None,
            introduced: ProxiedAddrs::Local,
            tried: &[],
            held: &self.held,
            watch: &nothing,
        }
    }

    /// Connects to a backend of the pool, by its index.
    pub async fn connect(&self, shard: &Rc<Shard>, index: u32, mode: ConnectionMode) -> Connected {
        connect(shard, Target::at(POOL, index), mode, &self.caller()).await
    }
}

fn nothing(_: Option<BackendId>, _: &mut Context<'_>) -> Poll<Failure> {
    Poll::Pending
}

/// The connection that was asked for.
pub fn ready(connected: Connected) -> Box<Upstream> {
    match connected {
        Connected::Ready(upstream) => upstream,
        Connected::LostRace => panic!("there are as many connections as may be"),
        Connected::Failed { failure, .. } => panic!("{failure:?}"),
    }
}

/// The kind of the outcome.
pub fn kind_of(connected: &Connected) -> String {
    match connected {
        Connected::Ready(_) => "ready".to_owned(),
        Connected::LostRace => "lost race".to_owned(),
        Connected::Failed { failure, .. } => format!("{failure:?}"),
    }
}
