//! Takes the part of a request's body that has already come, and puts it behind the encoded head. Most small bodies are
//! whole then: one send carries the request, and the request can be sent again.

use std::io;

use crate::net::Blocks;
use crate::worker::body::{BodyProgress, Coming, Unacceptable};
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::stream::Stream;
use crate::worker::wire::Amount;

/// Appends the received part of the body to the encoded head. The function waits for nothing, because a client that
/// sends slowly may be waiting for an answer.
#[inline]
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
    // If the encoded head fills a block, bytes of the body may be left in the client's block. These come before bytes
    // that are still to be received.
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

/// Takes the bytes that the connection has received for the stream.
fn take_from_connection(blocks: &Blocks, client: &Client) -> Result<(), Failure> {
    match client.wire.receive(blocks, Amount::BLOCK) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(client.ended_early()),
        _ => Ok(()),
    }
}

/// Takes the bytes that have arrived meanwhile, without waiting for more.
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
                debug_assert!(
                    count as u64 <= *left,
                    "a body has no more bytes than its length"
                );
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
