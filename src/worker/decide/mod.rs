//! The decision about a request, made in one go while its head lies in the receive buffer: whether the request is
//! well-formed, whether the listener serves it, which route takes it, and which backend comes first. No step waits. A
//! decision has one outcome ([`Decision`]).

mod access;
mod balance;
mod cache;
mod carrier;
mod challenge;
mod demands;
mod facts;
mod head;
mod incoming;
mod memory;
mod purge;
mod route;
#[cfg(test)]
pub mod sample;
mod target;
#[cfg(test)]
mod tests;
mod trace;

use crate::base::memory::Promise;
use crate::http::h1::RequestHead;
use crate::http::max_forwards::Forwards;
use crate::shared::cache::Follower;
use crate::worker::cache::own::{Led, SliceStart};
use crate::worker::cache::serving::Serving;
use crate::worker::downstream::Client;
use crate::worker::encode::{PreparedRequest, encode};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::reply::Reply;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use cache::LookedUp;
use memory::Room;
use target::RequestedPath;
use trace::Trace;

pub use balance::Balanced;
pub use head::take_decided_head;
pub use incoming::Incoming;
pub use memory::wait_for_memory;

/// The outcome of a decision.
pub enum Decision {
    /// The head is not complete: the decision is made again when more of the head was received.
    NeedMore,
    /// The request is forwarded as soon as there is memory for it.
    Wait(Box<PreparedRequest>),
    /// A stored response answers. The request, if there is one, refreshes the response meanwhile.
    Serve(Box<Serving>, Option<Box<PreparedRequest>>),
    /// The request waits for the answer to another one; then the decision is made again.
    Follow(Follower),
    /// The request waits for the disk of the cache; then the decision is made again.
    Recall(Follower),
    /// A fetch of the cache's own begins, and the request waits for its answer; then the decision is made again.
    Lead(Box<PreparedRequest>, Led),
    /// The request is answered in slices, whose requests are made of this one; or the decision is made again.
    Slices(Box<PreparedRequest>, SliceStart),
    /// The request is answered by palantir itself.
    Reply(Box<Reply>),
    /// The request goes to a backend now. The promise reserves the memory that its exchange may take; `None`: the
    /// connection of the client reserved the memory when the client opened the stream.
    Forward(Box<PreparedRequest>, Option<Promise>),
}

/// The purpose of a request to a backend.
enum RequestPurpose {
    /// The client gets the answer.
    Forward,
    /// The answer refreshes the stored response that the client gets.
    Refresh(Box<Serving>),
    /// The client gets what the cache stores of the answer.
    Lead(Led),
    /// The answer is a slice of what the client gets.
    Slices(SliceStart),
}

/// The reason for which a decision ends before its last step.
enum Early {
    Reply(Box<Reply>),
    Failed(Failure),
}

impl From<Failure> for Early {
    fn from(failure: Failure) -> Early {
        Early::Failed(failure)
    }
}

impl From<Reply> for Early {
    fn from(reply: Reply) -> Early {
        Early::Reply(Box::new(reply))
    }
}

/// Decides on the request whose first bytes were received. Errors: the request fails.
#[inline]
pub fn decide(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
) -> Result<Decision, Failure> {
    match &client.wire.stream {
        Stream::Socket(_) => head::decide_written(shard, client, exchange),
        Stream::Multiplexed(stream) => head::decide_stream(shard, client, exchange, stream),
        Stream::Absent => Err(Failure::ClientLeft),
    }
}

/// The steps of a decision in their order. Each step is one line.
fn decide_on(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    head: &RequestHead<'_, '_>,
) -> Result<Decision, Early> {
    let mut scratch = Default::default();
    let config = exchange.config.clone();
    let incoming = &Incoming {
        shard,
        client,
        config: &config,
        head,
        target: RequestedPath::of(shard, client, head, &mut scratch),
        trace: Trace::of(shard, &config, head),
        forwards: Forwards::of(head.method.as_bytes(), head.fields),
    };
    facts::note(incoming, exchange);
    challenge::answer(incoming)?;
    // The route is found first, because the replies of the following steps carry the fields of the route.
    let found = route::find(incoming, exchange);
    access::check(incoming)?;
    // Guard rules of the client belong here.
    let route = route::enter(incoming, exchange, found)?;
    // Guard rules of the route and authentication belong here.
    let (purpose, fetch) = match cache::look_up(incoming, exchange, route)? {
        LookedUp::Unconcerned => (RequestPurpose::Forward, None),
        LookedUp::Fetch(fetch) => (RequestPurpose::Forward, Some(fetch)),
        LookedUp::Serve(serving, None) => return Ok(Decision::Serve(serving, None)),
        LookedUp::Serve(serving, refresh) => (RequestPurpose::Refresh(serving), refresh),
        LookedUp::Follow(fill) => return Ok(Decision::Follow(fill)),
        LookedUp::Recall(recall) => return Ok(Decision::Recall(recall)),
        LookedUp::Lead(fetch, led) => (RequestPurpose::Lead(led), Some(fetch)),
        LookedUp::Slices(fetch, start) => (RequestPurpose::Slices(start), Some(fetch)),
    };
    let balanced = balance::choose(incoming, exchange, route);
    // Load shedding belongs here.
    // The request is moved several times until its exchange ends; a box makes that cheap.
    let request = Box::new(encode(incoming, exchange, balanced, fetch));
    Ok(match purpose {
        RequestPurpose::Lead(led) => Decision::Lead(request, led),
        RequestPurpose::Slices(start) => Decision::Slices(request, start),
        RequestPurpose::Refresh(serving) => Decision::Serve(serving, Some(request)),
        RequestPurpose::Forward => match memory::ask(client) {
            Room::Promised(promise) => Decision::Forward(request, promise),
            Room::None => Decision::Wait(request),
        },
    })
}
