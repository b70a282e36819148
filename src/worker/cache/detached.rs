//! The rest of an answer that the cache stores: a task of its own receives it, and the client that asked follows the
//! fill as others do, so that a client that reads slowly, or leaves, holds up no other client.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::base::memory;
use crate::net::{Block, spawn};
use crate::shared::cache::{FillEnd, Follower};
use crate::shared::{SharedEntry, SharedFill};
use crate::worker::body::{Body, Coming};
use crate::worker::cache::fetch::is_nearly_stored;
use crate::worker::cache::serve::pass_on_stored;
use crate::worker::cache::serving::announced_length;
use crate::worker::cache::stored_body::{BodySegment, Followed, StoredBody};
use crate::worker::cache::waits::Wait;
use crate::worker::contain::contain;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave;
use crate::worker::min_rate::MinRate;
use crate::worker::relay::{Relay, Sink, Source, Supply};
use crate::worker::shard::Shard;
use crate::worker::unfinished::Unfinished;
use crate::worker::upstream::{Upstream, keep_idle};

/// An answer of which a part is still to come, with the connection that it comes on.
pub struct DetachedAnswer {
    /// The connection to the backend.
    pub upstream: Box<Upstream>,
    /// The body, with its fill.
    pub body: Body,
    /// Whether the connection may carry another exchange behind the answer.
    pub reusable: bool,
}

impl DetachedAnswer {
    /// Has the rest of the answer received by a task of its own, and sends to the client what is ready in `out` and the
    /// rest behind it. Errors: the client has not got the whole answer.
    pub async fn pass_on(
        mut self,
        shard: &Rc<Shard>,
        client: &Client,
        exchange: &Exchange,
        out: &mut Block,
    ) -> Result<(), Failure> {
        let following = self.body.fill.as_ref().and_then(|fill| fill.follow());
        debug_assert!(following.is_some(), "only what can be followed is detached");
        let (entry, start, follower) = following.ok_or(Failure::Truncated)?;
        let end = match self.body.coming {
            Coming::Length(left) => start + left,
            _ => u64::MAX,
        };
        let mut body = Body {
            coming: match self.body.coming {
                Coming::Length(left) => Coming::Length(left),
                _ => Coming::UntilClose,
            },
            chunked: self.body.chunked,
            most: u64::MAX,
            filters: self.body.filters.take(),
            ..Body::none()
        };
        self.body.chunked = false;
        self.begin(shard, client, exchange, (&entry, &follower));
        let followed = Followed {
            wait: shard.wait_for_fill(follower.number()),
            fill: follower,
            worker: shard.worker,
        };
        let segments = [BodySegment::Stored(start..end)].into();
        let stored = StoredBody::new(entry, Some(followed), segments, false);
        let supply = (Supply::Stored(&stored), &mut body);
        pass_on_stored(shard, client, exchange, supply, out).await
    }

    /// Begins the task that receives the rest. The rest is bounded by the time that the client's exchange has.
    fn begin(
        self,
        shard: &Rc<Shard>,
        client: &Client,
        exchange: &Exchange,
        (entry, follower): (&SharedEntry, &Follower),
    ) {
        let receiving = Receiving {
            shard: shard.clone(),
            client: Client::absent(client.arrival.clone(), shard),
            exchange: exchange.rest(),
            fill: follower.fill().clone(),
            wait: shard.wait_for_fill(follower.number()),
            length: announced_length(entry),
            alone_since: Cell::default(),
        };
        let promise = memory::promise();
        spawn(async move {
            let shard = receiving.shard.clone();
            contain(&shard, pin!(receiving.run(self))).await;
            drop(promise);
        });
    }
}

/// The task that receives the rest of an answer.
struct Receiving {
    shard: Rc<Shard>,
    /// A client that takes all, in the place of the one that follows the fill.
    client: Client,
    exchange: Exchange,
    fill: SharedFill,
    /// The wait of the task for its followers.
    wait: Rc<Wait>,
    /// The length of the body, if it is known.
    length: Option<u64>,
    /// The core's millisecond since which nobody follows.
    alone_since: Cell<Option<u64>>,
}

impl Receiving {
    async fn run(mut self, rest: DetachedAnswer) {
        let DetachedAnswer {
            upstream,
            mut body,
            reusable,
        } = rest;
        let shard = self.shard.clone();
        let _counted = (
            shard.count_exchange(),
            shard.count_in_flight(upstream.backend()),
        );
        let id = upstream.backend();
        let is_down = shard.tables.of(shard.worker).is_down(id);
        let under_way = shard.under_way.begin(id, is_down, &self.client.timer);
        let millis = shard.timers.millis();
        shard.under_way.note_head(under_way.number(), id, millis);
        self.exchange.progress.place = Some(under_way.number());
        let unfinished = Unfinished {
            shard: &shard,
            stream: &upstream.wire.stream,
        };
        let is_whole = self.receive(&upstream, &mut body).await;
        drop(unfinished);
        if is_whole && reusable {
            upstream.wire.stream.note_answered();
            keep_idle(&shard, upstream);
        }
    }

    /// Receives the body to its end. False: the body is not whole, or nobody needs its rest.
    async fn receive(&self, upstream: &Upstream, body: &mut Body) -> bool {
        let (shard, exchange, timer) = (&self.shard, &self.exchange, &self.client.timer);
        let relay = Relay {
            source: Source {
                shard,
                supply: Supply::Wire(&upstream.wire),
                timer,
                idle: &|| self.patience(),
                is_slow: &|_, _| false,
            },
            sink: Sink {
                shard,
                stream: &self.client.wire.stream,
                timer,
                stall: &|| limits::LONGEST_TIMEOUT,
                count: &|bytes| exchange.count_response(bytes),
                rate: &MinRate::none(),
                is_cut: &|| self.is_over(),
                has_sent: Cell::default(),
            },
        };
        let mut head = Block::default();
        let watch = |cx: &mut Context<'_>| {
            self.wait.set(cx);
            self.fill.await_last(shard.worker.index());
            if self.is_over() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        };
        relay.run(&mut head, body, watch).await.is_ok()
    }

    /// How long the backend may send nothing.
    fn patience(&self) -> Duration {
        let exchange = &self.exchange;
        let idle = exchange.bounded(exchange.route().timeouts.upstream_idle);
        match self.alone_for() {
            None => idle,
            Some(alone) => idle.min(limits::FILL_ALONE.saturating_sub(alone)),
        }
    }

    /// The time since the last follower left the fill; `None`: the fill has followers.
    fn alone_for(&self) -> Option<Duration> {
        if self.fill.followers() > 0 {
            self.alone_since.set(None);
            return None;
        }
        let now = self.shard.timers.millis();
        let since = self.alone_since.get().unwrap_or(now);
        self.alone_since.set(Some(since));
        Some(Duration::from_millis(now - since))
    }

    /// Whether the rest of the answer is needed no more, or may not come any more. What nobody follows comes to its end
    /// if the end is near, and for a bounded time.
    fn is_over(&self) -> bool {
        let is_left = self.alone_for().is_some_and(|alone| {
            let is_near = is_nearly_stored(self.length, self.fill.filled());
            !is_near || alone >= limits::FILL_ALONE
        });
        is_left
            || self.fill.end() == FillEnd::Broken
            || leave::is_cut(&self.shard, &self.exchange)
            || self.exchange.is_outdated()
    }
}
