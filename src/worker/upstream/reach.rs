//! Makes a new HTTP/1 connection to the first address of the backend's name that answers, with the PROXY header and the
//! TLS handshake of its pool.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::net::Socket;
use crate::snapshot::Protocol;
use crate::worker::failure::Failure;
use crate::worker::multiplex::Unconnected;
use crate::worker::upstream::connecting::Connecting;
use crate::worker::upstream::dial::{Preliminaries, TlsTarget, greet};
use crate::worker::upstream::race::{Entrant, race};
use crate::worker::upstream::trial::{note_connected, note_unconnected};

impl Connecting<'_> {
    /// Connects to one of these addresses, and sends the PROXY header and makes the TLS handshake. The outcome is noted
    /// for the backend. `introduction`: the PROXY header. Errors: no address can be connected to in time, or the caller
    /// needs no connection any more.
    pub(super) async fn reach_one(
        &self,
        entrants: Vec<Entrant>,
        introduction: Option<&[u8]>,
    ) -> Result<(Entrant, Socket), Failure> {
        let caller = self.caller;
        caller.timer.set(caller.bounded(caller.connect));
        let mut reaching = pin!(self.reach_and_greet(entrants, introduction));
        let reached = poll_fn(|cx| match reaching.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => (caller.watch)(Some(self.reached.get()), cx).map(Err),
        });
        match reached.await? {
            Err(Unconnected::TimedOut) => Err(caller.expired(Failure::ConnectTimeout)),
            outcome => outcome.map_err(Failure::of_unconnected),
        }
    }

    async fn reach_and_greet(
        &self,
        entrants: Vec<Entrant>,
        introduction: Option<&[u8]>,
    ) -> Result<(Entrant, Socket), Unconnected> {
        let (shard, caller, pool) = (self.shard, self.caller, self.pool());
        // A caller whose own time has ended has given the backend less time than the backend may take.
        let is_enough = || !caller.is_overdue();
        let (won, socket) = race(shard, entrants, caller.timer, is_enough).await?;
        self.reached.set(won.id);
        let backend = caller.config.backend_of(won.id);
        let security = backend.and_then(|backend| TlsTarget::of(pool, backend, Protocol::Http1));
        let preliminaries = Preliminaries {
            introduction,
            security: security.as_ref(),
        };
        let greeted = greet(shard, socket, preliminaries, caller.timer).await;
        match &greeted {
            Ok(_) => note_connected(shard, won.id),
            Err(Unconnected::TimedOut) if !is_enough() => {}
            // A failure of HTTP/1.1 at a backend of HTTP/2 says nothing about the backend's other requests.
            Err(_) if pool.protocol == Protocol::Http2 => {}
            Err(unconnected) => note_unconnected(shard, won.id, won.key, *unconnected),
        }
        Ok((won, greeted?))
    }
}
