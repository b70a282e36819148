//! Requests that limit how often they may be forwarded (RFC 9110 section 7.6.2).

use crate::http::h1::RequestHead;
use crate::http::max_forwards::Forwards;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;

/// How often the request may still be forwarded. Errors: the request may not be forwarded at all, or its
/// `Max-Forwards` is malformed.
pub fn forwards_of(exchange: &Exchange, head: &RequestHead<'_, '_>) -> Result<Forwards, Failure> {
    match Forwards::of(head.method.as_bytes(), head.fields) {
        Ok(Forwards::Spent) => {
            // The answer is an ordinary one, because no call of gRPC uses OPTIONS.
            exchange.is_grpc.set(false);
            Err(Failure::ForwardsSpent)
        }
        Ok(forwards) => Ok(forwards),
        Err(refusal) => Err(Failure::Refused(refusal)),
    }
}
