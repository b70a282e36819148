//! Taking what has already come of a request's body behind its head. A small body is whole then, as a rule: one send
//! carries the request, and it can be repeated.

use std::io;

use crate::net::Blocks;
use crate::worker::body::{BodyProgress, Coming, Unacceptable};
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::stream::Stream;
use crate::worker::wire::Amount;

/// Puts behind the encoded head what is there of the body. Nothing is waited for: who sends slowly may be waiting for
/// an answer.
pub fn buffer_body(
    blocks: &Blocks,
    client: &Client,
    exchange: &Exchange,
    request: &mut PreparedRequest,
) -> Result<(), Failure> {
    if request.body.has_ended() {
        return Ok(());
    }
    if let Stream::Multiplexed(_) = client.wire.stream {
        take_from_connection(blocks, client)?;
    }
    take_received(client, exchange, request)?;
    // Behind a head that fills a block, bytes of the body are still in the client's block: they come first.
    let is_next = client.wire.is_empty();
    #[cfg(test)]
    let is_next = is_next || crate::simulated::is_planted(crate::simulated::Fault::Overtakes);
    if let Coming::Length(left) = request.body.coming
        && is_next
        && left <= request.bytes.room() as u64
    {
        take_arrived(client, exchange, request).map_err(|_| client.ended_early())?;
    }
    request.is_whole = request.body.has_ended();
    client.note(|persistence| persistence.body_received(request.is_whole));
    Ok(())
}

fn take_received(
    client: &Client,
    exchange: &Exchange,
    request: &mut PreparedRequest,
) -> Result<(), Failure> {
    let allowed = request.body.most;
    let (body, bytes) = (&mut request.body, &mut request.bytes);
    let outcome = client.wire.with(|received| body.reframe(received, bytes));
    let stream = &client.wire.stream;
    if outcome == Ok(BodyProgress::Drained) && stream.is_complete() {
        body.source_ended(stream.take_trailers(), bytes);
    }
    // The framing of the body takes nothing from what the body may still have.
    exchange.count_request((allowed - request.body.most) as usize);
    match outcome {
        Ok(_) => Ok(()),
        Err(Unacceptable::TooLarge) => Err(Failure::BodyTooLarge),
        Err(Unacceptable::Malformed(refusal)) => Err(Failure::Refused(refusal)),
    }
}

/// Takes what the connection has received for the stream.
fn take_from_connection(blocks: &Blocks, client: &Client) -> Result<(), Failure> {
    match client.wire.receive(blocks, Amount::BLOCK) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(client.ended_early()),
        _ => Ok(()),
    }
}

/// Takes what has arrived meanwhile, without waiting for more.
fn take_arrived(
    client: &Client,
    exchange: &Exchange,
    request: &mut PreparedRequest,
) -> io::Result<()> {
    while let Coming::Length(left) = &mut request.body.coming {
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        match client.wire.stream.receive(&mut request.bytes, most) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                *left -= count as u64;
                exchange.count_request(count);
                if *left == 0 {
                    request.body.coming = Coming::Nothing;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
