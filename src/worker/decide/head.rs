//! Takes the head of a request from the client's connection, and decides on the request.

use super::{Decision, Early, decide_on};
use crate::base::limits;
use crate::http::h1::{self, FieldSlots, RequestBody, RequestHead};
use crate::http::refusal::Refusal;
use crate::messages::RefusedHead;
use crate::worker::downstream::{Client, Persistence};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::multiplex::{Gone, MultiplexStream};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;

/// Decides on the head that opened a stream of HTTP/2.
pub fn decide_stream(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    stream: &MultiplexStream,
) -> Result<Decision, Failure> {
    exchange.facts.version = 20;
    let (head, end) = match stream.take_head() {
        Ok(Some(message)) => message,
        Err(Gone::Malformed(refusal)) => {
            tell_refused(shard, client, exchange, &[], refusal);
            return Err(Failure::Refused(refusal));
        }
        _ => return Err(Failure::ClientLeft),
    };
    let mut slots = FieldSlots::new();
    let decided = match head.as_request(end, &mut slots) {
        Ok(head) => {
            client.note(|it| it.head_received(false, has_body(&head)));
            settle(decide_on(shard, client, exchange, &head))
        }
        Err(refusal) => Err(Failure::Refused(refusal)),
    };
    match decided {
        // The decision is made again, with the same head.
        Ok(
            Decision::Follow(_) | Decision::Recall(_) | Decision::Lead(..) | Decision::Slices(..),
        ) => {
            stream.put_head_back((head, end));
        }
        _ => stream.give_head(head),
    }
    decided
}

/// Parses a head of HTTP/1 and decides on it.
pub fn decide_written(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
) -> Result<Decision, Failure> {
    let mut received = client.wire.take();
    let mut slots = FieldSlots::new();
    let limits = &exchange.config.snapshot().client.head;
    let tolerates = client.arrival.listener.tolerates_control_bytes;
    let (consumed, outcome) = match h1::parse_request(received.filled(), &mut slots, limits) {
        Err(Refusal::BadFieldValue) if tolerates => {
            let mut slots = FieldSlots::new();
            let parsed = h1::parse_tolerant(received.filled(), &mut slots, limits);
            decide_parsed(shard, client, exchange, parsed)
        }
        parsed => decide_parsed(shard, client, exchange, parsed),
    };
    if matches!(outcome, Err(Failure::Refused(Refusal::UnsupportedVersion)))
        && h1::lower_version(received.filled_mut())
    {
        client.wire.put(received, &shard.blocks);
        return decide_written(shard, client, exchange);
    }
    if let Err(Failure::Refused(refusal)) = outcome {
        tell_refused(shard, client, exchange, received.filled(), refusal);
    }
    received.consume(consumed);
    let outcome = match outcome {
        // Bytes behind the head of an upgrade request without a body are refused, because they could belong to the next
        // request or to the new protocol (RFC 9110 section 7.8). Bytes behind a body wait for the answer, which tells
        // which of the two they are; none of them is passed on before.
        Ok(Decision::Wait(request) | Decision::Forward(request, _))
            if request.asked.upgrade && !request.has_body && !received.is_empty() =>
        {
            client.note(Persistence::ends);
            Err(Failure::EarlyUpgradeBytes)
        }
        outcome => outcome,
    };
    client.wire.put(received, &shard.blocks);
    outcome
}

/// Takes a head out that a decision has left where it was, because the decision is not made again. `bytes`: the length
/// of a head of HTTP/1.
pub fn take_decided_head(shard: &Shard, client: &Client, bytes: usize) {
    match &client.wire.stream {
        Stream::Socket(_) => {
            let mut received = client.wire.take();
            received.consume(bytes);
            client.wire.put(received, &shard.blocks);
        }
        Stream::Multiplexed(stream) => {
            if let Ok(Some((head, _))) = stream.take_head() {
                stream.give_head(head);
            }
        }
        Stream::Absent => {}
    }
}

/// Decides on the parsed head. The result also has the number of bytes of the head.
fn decide_parsed(
    shard: &Shard,
    client: &Client,
    exchange: &mut Exchange,
    parsed: Result<Option<RequestHead<'_, '_>>, Refusal>,
) -> (usize, Result<Decision, Failure>) {
    match parsed {
        Ok(None) => (0, Ok(Decision::NeedMore)),
        Ok(Some(head)) => {
            client.note(|it| it.head_received(head.keep_alive, has_body(&head)));
            let decided = settle(decide_on(shard, client, exchange, &head));
            let consumed = match decided {
                // The decision is made again, with the same head.
                Ok(
                    Decision::Follow(_)
                    | Decision::Recall(_)
                    | Decision::Lead(..)
                    | Decision::Slices(..),
                ) => 0,
                _ => head.head_bytes,
            };
            (consumed, decided)
        }
        Err(refusal) => (0, Err(Failure::Refused(refusal))),
    }
}

/// Whether a body follows the head.
fn has_body(head: &RequestHead<'_, '_>) -> bool {
    head.body != RequestBody::None
}

/// Turns the early end of a decision into an outcome.
fn settle(decided: Result<Decision, Early>) -> Result<Decision, Failure> {
    match decided {
        Ok(decision) => Ok(decision),
        Err(Early::Reply(reply)) => Ok(Decision::Reply(reply)),
        Err(Early::Failed(failure)) => Err(failure),
    }
}

/// Hands a copy of a refused head to the control thread, which shows refused heads to the operator.
#[cold]
fn tell_refused(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    received: &[u8],
    refusal: Refusal,
) {
    if exchange.config.snapshot().admin.is_none() || !shard.log_ration.may_tell_refused() {
        return;
    }
    let len = received.len().min(limits::REFUSED_HEAD_BYTES);
    shard.links.tell_refused(RefusedHead {
        worker: shard.worker,
        client: client.arrival.peer.ip(),
        request_id: exchange.id,
        refusal,
        head: received[..len].into(),
    });
}
