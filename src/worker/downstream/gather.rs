//! Receiving a small body whole before a backend is asked for a connection: one send then carries the request, it can be
//! repeated, and a slow client occupies no backend.

use crate::net::Expired;
use crate::worker::admit::Admitted;
use crate::worker::body::{Coming, Unacceptable};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;

/// Puts behind the encoded head what is there of the body; receives the rest too if its length is known, it fits, and
/// the client does not wait to be asked for it.
pub async fn gather(
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
) -> Result<(), Failure> {
    if admitted.body.has_ended() {
        return Ok(());
    }
    take_received(client, exchange, admitted)?;
    if let Coming::Length(left) = admitted.body.coming
        && left <= admitted.request.room() as u64
        && !admitted.expects_continue
    {
        receive_rest(client, exchange, admitted, left as usize).await?;
        admitted.body.coming = Coming::Nothing;
    }
    let is_whole = admitted.body.has_ended();
    admitted.is_whole = is_whole;
    client.body_pending.set(!is_whole);
    Ok(())
}

fn take_received(
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
) -> Result<(), Failure> {
    let before = admitted.request.len();
    let (body, request) = (&mut admitted.body, &mut admitted.request);
    let outcome = client.wire.with(|received| body.reframe(received, request));
    exchange.count_request(admitted.request.len() - before);
    match outcome {
        Ok(_) => Ok(()),
        Err(Unacceptable::TooLarge) => Err(Failure::BodyTooLarge),
        Err(Unacceptable::Malformed(refusal)) => Err(Failure::Refused(refusal)),
    }
}

async fn receive_rest(
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
    mut left: usize,
) -> Result<(), Failure> {
    let wait = exchange.route().timeouts.client_body;
    exchange.count_request(left);
    while left > 0 {
        let mut request = std::mem::take(&mut admitted.request);
        request.allow(left);
        client.timer.set(exchange.bounded(wait));
        match client.wire.stream.receive(request, &client.timer).await {
            Ok((Ok(count), request)) if count > 0 => {
                admitted.request = request;
                left -= count;
            }
            Ok(_) => return Err(Failure::ClientLeft),
            Err(Expired) => return Err(exchange.expired(Failure::BodyTimeout)),
        }
    }
    Ok(())
}
