//! Sends a request to a backend, and again to another backend if that is safe and promises success.

mod connection;

use std::rc::Rc;

use crate::base::limits;
use crate::base::time::Micros;
use crate::snapshot::Protocol;
use crate::worker::attempt::{self, Ended};
use crate::worker::cache::serving::Serving;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::record::count_failed_attempt;
use crate::worker::retry::{self, Again, Blame, FailedAttempt, Repeatable};
use crate::worker::shard::Shard;
use crate::worker::upstream::{Carrier, Connected, ConnectionMode, Target};
use connection::Seeking;

/// The outcome of an attempt.
enum Tried {
    /// The client has its answer. A stored response is still to be served if there is one here.
    Answered(Option<Box<Serving>>),
    /// The request is to be sent again without the conditions of the cache.
    Repeat,
    /// Another core has opened the last connection that the backend may have.
    LostRace,
    Failed(FailedAttempt),
}

/// A request on its way to a backend.
struct Forwarding<'a> {
    shard: &'a Rc<Shard>,
    client: &'a Client,
    exchange: &'a mut Exchange,
    request: &'a mut PreparedRequest,
}

/// Gets the request answered by a backend of its pool. The result is a stored response that is to be served, if the
/// answer of the backend says so.
pub async fn forward(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
    request: &mut PreparedRequest,
) -> Result<Option<Box<Serving>>, Failure> {
    exchange.config.live(request.pool).note_request();
    if request.is_whole {
        client.watch();
    }
    let forwarding = Forwarding {
        shard,
        client,
        exchange,
        request,
    };
    forwarding.run().await
}

impl Forwarding<'_> {
    async fn run(mut self) -> Result<Option<Box<Serving>>, Failure> {
        let pool = self.request.pool;
        let mut target = self.request.first.map(|index| Target::at(pool, index));
        let mut is_fresh = self.wants_fresh();
        loop {
            let used = self.exchange.progress.used;
            debug_assert!(
                used.rounds() <= limits::FORWARD_ROUNDS,
                "a request goes round without an end: {used:?}"
            );
            let next = match target.take() {
                Some(target) => target,
                None => self.seeking().choose(self.request).await?,
            };
            let began = Micros::now();
            let failed = match self.attempt_at(next, is_fresh).await {
                Tried::Answered(stored) => return Ok(stored),
                Tried::Repeat => {
                    // Without conditions the request is not repeated once more.
                    self.request.drop_conditions();
                    target = Some(Target::at(pool, self.exchange.tally().backend.unwrap_or(0)));
                    continue;
                }
                Tried::LostRace => {
                    self.pass_after_lost_race().await?;
                    continue;
                }
                Tried::Failed(failed) => failed,
            };
            let again = self.how_again(&failed);
            // The backend may have another number after an attempt: another address of the same name may have been
            // connected to.
            let same = self.exchange.tally().backend;
            let same = same.map(|index| Target::at(pool, index));
            (target, is_fresh) = match again {
                Again::Fresh => (same, true),
                Again::Elsewhere => (same, false),
                Again::Next | Again::Leave | Again::Retry | Again::Never => {
                    self.give_up_on_last(failed.failure);
                    (None, self.wants_fresh())
                }
            };
            match again {
                Again::Never => return Err(failed.failure),
                Again::Leave => {
                    let response = self.exchange.route().timeouts.upstream_response;
                    self.exchange.leaves(began, response);
                }
                _ => {}
            }
            self.exchange.progress.used.count(again, failed.failure);
        }
    }

    fn seeking(&self) -> Seeking<'_> {
        Seeking {
            shard: self.shard,
            client: self.client,
            exchange: self.exchange,
        }
    }

    /// Lets other tasks run before a backend is tried again whose last connection another core has opened. Errors: that
    /// has happened too often.
    async fn pass_after_lost_race(&mut self) -> Result<(), Failure> {
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::SpinsAtBound) {
            return Ok(());
        }
        let used = &mut self.exchange.progress.used;
        used.lost_races += 1;
        if used.lost_races > limits::LOST_RACES {
            return Err(Failure::Saturated);
        }
        self.shard.turn.pass().await;
        Ok(())
    }

    /// Sends the request to the backend of `target`. `is_fresh`: the connection must never have been idle.
    async fn attempt_at(&mut self, target: Target, is_fresh: bool) -> Tried {
        let (shard, client) = (self.shard, self.client);
        let picked = target.index;
        self.exchange.note(|tally| tally.backend = Some(picked));
        self.exchange.backend_has_time();
        let is_down = |id| shard.tables.of(shard.worker).is_down(id);
        let first = self.exchange.config.backend(self.request.pool, picked).id();
        let under_way = (shard.under_way).begin(first, is_down(first), &client.timer);
        self.exchange.progress.place = Some(under_way.number());
        let mode = ConnectionMode {
            carrier: self.request.carrier,
            is_fresh,
        };
        let upstream = match self.seeking().connect(target, mode).await {
            Connected::Ready(upstream) => upstream,
            Connected::LostRace => return Tried::LostRace,
            Connected::Failed { failure, backend } => {
                self.exchange.note_backend(backend);
                return Tried::Failed(FailedAttempt::unsent(failure));
            }
        };
        let id = upstream.backend();
        self.exchange.note_backend(id);
        (shard.under_way).note_backend(under_way.number(), id, is_down(id));
        let backend = self.exchange.tally().backend.unwrap_or(picked);
        self.request.prepare_for(self.exchange, backend);
        match attempt::make(shard, client, self.exchange, self.request, upstream).await {
            Ok(Ended::Answered) => Tried::Answered(None),
            Ok(Ended::Stored(serving)) => Tried::Answered(Some(serving)),
            Ok(Ended::Repeat) => Tried::Repeat,
            Err(failed) => Tried::Failed(failed),
        }
    }

    /// Decides whether the request is sent again. A retry takes from the budget of the pool and is counted.
    fn how_again(&self, failed: &FailedAttempt) -> Again {
        let (exchange, request) = (&*self.exchange, &*self.request);
        let tally = exchange.tally();
        let repeatable = Repeatable {
            is_kept: request.is_kept,
            is_idempotent: request.idempotent,
            is_answered: tally.is_heard || tally.is_answered,
        };
        let again = leave::decide(self.shard, exchange, repeatable, failed);
        let budget = exchange.config.live(request.pool).retry_budget();
        match again {
            Again::Retry if !budget.borrow_mut().try_take(Micros::now()) => return Again::Never,
            Again::Retry | Again::Next | Again::Leave => {}
            Again::Never | Again::Fresh | Again::Elsewhere => return again,
        }
        if let Some(route) = exchange.route_counters() {
            route.retries.add(1);
        }
        again
    }

    fn wants_fresh(&self) -> bool {
        let protocol = self.exchange.config.pool(self.request.pool).protocol;
        retry::wants_fresh(self.request.is_whole, protocol == Protocol::Http1)
    }

    /// Notes that the request leaves, without an answer, the backend that it was sent to last. The failure counts
    /// against the backend if the backend is to blame.
    fn give_up_on_last(&mut self, failure: Failure) {
        let exchange = &mut *self.exchange;
        let Some(id) = exchange.last_backend() else {
            return;
        };
        exchange.note_tried(id);
        let tally = exchange.tally();
        if self.request.carrier == Carrier::WebSocket && !tally.is_answered {
            self.shard.shared_upstreams.ask_for_websockets(id);
        }
        let blame = Blame {
            is_of_pools_protocol: self.request.carrier == Carrier::Pools,
            is_body_pending: self.client.is_body_pending(),
            has_sent_body: tally.request_bytes > 0,
            is_bound_by_client: exchange.is_bound_by_client(),
            is_answered: tally.is_answered,
            backend_had_most: exchange.backend_had_most(),
        };
        if retry::is_backends_fault(failure, blame) {
            count_failed_attempt(self.shard, exchange, failure);
            self.shard.report_failure(exchange, id, failure.label());
        }
    }
}
