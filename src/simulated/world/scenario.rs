//! The events of a run as plain data, so that a run can be printed, and be made smaller while a failure remains.

use crate::simulated::{Manner, Weather};

/// The number of a request: its place in [`Scenario::requests`].
pub type Id = usize;

/// A run of the simulated world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Decides all chances of the network and the engine.
    pub seed: u64,
    pub workers: usize,
    pub weather: Weather,
    /// Whether a client that has ended its sending side is served all the same.
    pub serves_half_closed: bool,
    pub settings: Settings,
    pub backends: Vec<BackendPlan>,
    pub clients: Vec<ClientPlan>,
    pub requests: Vec<RequestPlan>,
    pub changes: Vec<Change>,
}

/// The pools of every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolKind {
    /// Backends of HTTP/1.1.
    One,
    /// Backends of HTTP/2.
    Two,
}

/// The part of the configuration that differs from run to run and from reload to reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Settings {
    pub algorithm: &'static str,
    pub retries: u8,
    /// Of each backend; 0: as many as possible.
    pub max_connections: u32,
    /// The number of the TLS settings that the first pool has; 0: none.
    pub tls: u8,
    /// Whether the first pool's connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether the last backend of each pool is left out, if the pool has others.
    pub is_shorter: bool,
}

/// A backend and how it behaves on all its connections.
#[derive(Clone, Debug)]
pub struct BackendPlan {
    pub pool: PoolKind,
    /// How its address answers, from which time on, in microseconds.
    pub manners: Vec<(u64, Manner)>,
    /// Requests after which it closes a connection of HTTP/1; 0: never.
    pub requests_per_connection: u32,
    /// Microseconds after which it closes an idle connection; 0: never.
    pub idle_close: u64,
    /// Streams that it takes at once; 0: any number.
    pub streams: u32,
}

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    pub at: u64,
    pub worker: usize,
    pub http2: bool,
    pub requests: Vec<Id>,
    /// Whether a request of HTTP/1 is sent before the one ahead is answered.
    pub pipelines: bool,
    /// How long after its connection is made it leaves, and whether by a reset.
    pub leaves: Option<(u64, bool)>,
    /// The client reads so many bytes in so many microseconds.
    pub reads_slowly: Option<(usize, u64)>,
    /// Whether it ends its sending side behind its last request.
    pub half_closes: bool,
    /// Sends one byte of a next request behind each of HTTP/1 and nothing more.
    pub sends_ahead: bool,
}

/// A request and the answer that a backend gives to it.
#[derive(Clone, Debug)]
pub struct RequestPlan {
    pub pool: PoolKind,
    /// Microseconds before it is sent, from the end of the one before or the beginning of the connection.
    pub gap: u64,
    pub method: &'static str,
    pub body: usize,
    pub is_chunked: bool,
    /// Microseconds between the two halves of its body.
    pub pause: u64,
    /// Whether the second half of its body never comes.
    pub stalls: bool,
    /// Bytes of a field and of a query that make the head long.
    pub long_field: usize,
    pub long_query: usize,
    /// Microseconds from the request to the answer.
    pub wait: u64,
    pub answer: usize,
    pub answer_is_chunked: bool,
    /// Whether the client sends the body only when it is asked to (`Expect: 100-continue`).
    pub expects: bool,
    /// Whether trailers stand behind the bodies, of the request and of the answer, whose lengths are not told.
    pub trailers: bool,
    /// Whether the request asks for another protocol: its body and its answer's go through a tunnel, at once.
    pub tunnel: bool,
    /// The fault at the backends, and the number of attempts that it strikes.
    pub fault: Option<BackendFault>,
    pub faulty_attempts: usize,
}

/// A fault at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendFault {
    /// The connection is reset before the answer.
    Resets,
    /// The connection is closed before the answer.
    Closes,
    /// The connection is closed, or the stream reset, after so many bytes of the answer.
    Breaks(usize),
    /// The answer comes before the body was read.
    Early,
    /// There is no answer.
    Silent,
    /// The answer is no HTTP, or malformed behind its head.
    Garbage,
    /// HTTP/2: the stream is refused: known to be unprocessed.
    RefusesStream,
    /// HTTP/2: the stream is reset with an internal error.
    ResetsStream,
    /// HTTP/2: GOAWAY says that the stream was not processed, and the connection ends soon.
    GoesAway,
}

/// A change from outside while the run goes on.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: u64,
    pub what: What,
}

/// A change in the course of a run.
#[derive(Clone, Debug)]
pub enum What {
    /// A snapshot with these settings is put in force.
    Reload(Settings),
    /// The health thread says that a backend fails its probes, or does so no more.
    Health { backend: usize, is_down: bool },
    /// The workers stop: another process has the same listening sockets (an upgrade).
    Retire,
    /// The workers stop: they close what is idle and end what runs (a stop of the service).
    Drain,
}

impl RequestPlan {
    /// Whether a backend may execute it twice.
    pub fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    /// Whether trailers stand behind the request.
    pub fn sends_trailers(&self) -> bool {
        self.trailers && self.is_chunked && self.body > 0 && !self.tunnel
    }

    /// Whether trailers stand behind the answer.
    pub fn is_answered_with_trailers(&self) -> bool {
        self.trailers && self.answer_is_chunked && self.answer > 0 && !self.tunnel
    }
}

impl Scenario {
    /// The backends of a pool, by their place in the list of all.
    pub fn pool(&self, kind: PoolKind) -> Vec<usize> {
        let all = self.backends.iter().enumerate();
        all.filter(|(_, backend)| backend.pool == kind)
            .map(|(at, _)| at)
            .collect()
    }

    /// The address of a backend.
    pub fn addr(&self, backend: usize) -> std::net::SocketAddr {
        ([10, 1, 0, backend as u8 + 1], 80).into()
    }

    /// Whether a backend is there for the whole run, accepts connections and keeps them.
    pub fn is_steady(&self, backend: usize) -> bool {
        let config = &self.backends[backend];
        let falls = |change: &Change| matches!(change.what, What::Health { backend: one, .. } if one == backend);
        config
            .manners
            .iter()
            .all(|(_, manner)| *manner == Manner::Accepts)
            && config.requests_per_connection == 0
            && config.idle_close == 0
            && !self.changes.iter().any(falls)
            && !self.is_left_out(backend)
    }

    /// Whether some reload leaves a backend out.
    fn is_left_out(&self, backend: usize) -> bool {
        let shortens =
            |change: &Change| matches!(&change.what, What::Reload(settings) if settings.is_shorter);
        let pool = self.pool(self.backends[backend].pool);
        pool.last() == Some(&backend) && self.changes.iter().any(shortens)
    }
}
