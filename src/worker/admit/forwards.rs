//! Requests that say how often they may be forwarded (RFC 9110 section 7.6.2).

use crate::http::h1::RequestHead;
use crate::http::max_forwards::Forwards;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;

/// How often the request may still be forwarded, at least once.
pub fn forwards_of(exchange: &Exchange, head: &RequestHead<'_, '_>) -> Result<Forwards, Failure> {
    match Forwards::of(head.method.as_bytes(), head.fields) {
        Ok(Forwards::Spent) => {
            // The answer is an ordinary one: no call of gRPC is made by OPTIONS.
            exchange.is_grpc.set(false);
            Err(Failure::ForwardsSpent)
        }
        Ok(forwards) => Ok(forwards),
        Err(refusal) => Err(Failure::Refused(refusal)),
    }
}
