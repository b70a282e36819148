//! An attempt under way: its request, its backend and its client, as both directions of the exchange see them.

use std::cell::{Cell, OnceCell};

use super::duplex::Duplex;
use crate::base::time::Micros;
use crate::net::Timer;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::min_rate::MinRate;
use crate::worker::shard::Shard;
use crate::worker::upstream::Upstream;

/// An attempt whose request has been sent, as far as it is kept: both directions of the exchange look at it.
pub struct Attempt<'a> {
    /// The core on which the attempt runs.
    pub shard: &'a Shard,
    /// The client that has sent the request.
    pub client: &'a Client,
    /// The exchange that the attempt belongs to.
    pub exchange: &'a Exchange,
    /// The request, as far as nothing of it is sent while the answer arrives.
    pub request: &'a PreparedRequest,
    /// The connection to the backend.
    pub upstream: &'a Upstream,
    /// When the request was sent, or began to be.
    pub asked_at: Micros,
    /// Bytes of the request's body that had been given away by then.
    pub sent_before: u64,
    /// Bounds what the rest of the request waits for, if a rest of it is sent while the answer may come.
    pub upload_timer: Option<&'a Timer>,
    /// How fast the client must take the answer's body, once that has begun.
    pub reader_rate: OnceCell<MinRate>,
    /// The state that the two directions share.
    pub(super) duplex: Cell<Duplex>,
}

impl Attempt<'_> {
    /// The state that the two directions share, as it is now.
    pub fn duplex(&self) -> Duplex {
        self.duplex.get()
    }

    /// Tells the other direction something.
    pub fn tell(&self, change: impl FnOnce(&mut Duplex)) {
        let mut duplex = self.duplex.get();
        change(&mut duplex);
        self.duplex.set(duplex);
    }
}
