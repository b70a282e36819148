//! Connections to backends for the request of an exchange.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::ids::BackendId;
use crate::http::proxy_protocol::ProxiedAddrs;
use crate::net::RemoteAddr;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave::poll_unsent;
use crate::worker::shard::Shard;
use crate::worker::upstream::{
    Caller, Connected, ConnectionMode, Selection, Target, choose, connect,
};

/// An exchange whose request needs a backend.
pub struct Seeking<'a> {
    /// The core on which the exchange runs.
    pub shard: &'a Rc<Shard>,
    /// The client that has sent the request.
    pub client: &'a Client,
    /// The exchange of the request.
    pub exchange: &'a Exchange,
}

impl Seeking<'_> {
    /// Chooses a backend for the request.
    pub async fn choose(&self, request: &PreparedRequest) -> Result<Target, Failure> {
        let selection = Selection {
            pool: request.pool,
            key: request.key,
            carrier: request.carrier,
            last: self.exchange.last_backend(),
        };
        let watch = |at, cx: &mut Context<'_>| self.poll_unneeded(at, cx);
        let caller = caller(self.client, self.exchange, &watch);
        choose(self.shard, selection, &caller).await
    }

    /// Gets the request a connection to a backend.
    pub async fn connect(&self, target: Target, mode: ConnectionMode) -> Connected {
        let watch = |at, cx: &mut Context<'_>| self.poll_unneeded(at, cx);
        let caller = caller(self.client, self.exchange, &watch);
        connect(self.shard, target, mode, &caller).await
    }

    /// Ready when the request needs the connection no longer: its client has gone, or the request leaves the backend
    /// `at` that is being connected to.
    fn poll_unneeded(&self, at: Option<BackendId>, cx: &mut Context<'_>) -> Poll<Failure> {
        match at {
            None => self.client.poll_gone(self.shard, cx),
            Some(backend) => {
                self.exchange.note_backend(backend);
                poll_unsent(self.shard, self.client, self.exchange, cx)
            }
        }
    }
}

/// The request of an exchange in the role of the caller of [`connect`].
fn caller<'a>(
    client: &'a Client,
    exchange: &'a Exchange,
    watch: &'a dyn Fn(Option<BackendId>, &mut Context<'_>) -> Poll<Failure>,
) -> Caller<'a> {
    let connect = exchange.route().timeouts.connect;
    Caller {
        config: &exchange.config,
        timer: &client.timer,
        connect,
        queue: exchange.wait_for_connection(connect),
        deadline: exchange.deadline(),
        introduced: introduced(client, exchange),
        tried: &exchange.progress.tried,
        held: &client.arrival.upstreams,
        watch,
    }
}

/// The client that a PROXY header names. The port of a client whom a proxy names in a field of the request is not
/// known, and sent as 0.
fn introduced(client: &Client, exchange: &Exchange) -> ProxiedAddrs {
    let arrival = &client.arrival;
    match (exchange.facts.client, arrival.peer, arrival.reached) {
        (Some(client), RemoteAddr::Tcp(peer), Some(server)) => {
            let is_peer = client.to_canonical() == peer.ip().to_canonical();
            let port = if is_peer { peer.port() } else { 0 };
            let client = SocketAddr::new(client, port);
            ProxiedAddrs::Tcp { client, server }
        }
        _ => ProxiedAddrs::Unknown,
    }
}
