//! A stored response in the place of a failure.

use crate::base::time::unix_millis;
use crate::cache::reuse::Trouble;
use crate::worker::cache::effect::stale_instead;
use crate::worker::cache::serving::Serving;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;

/// The stored response that answers a request which no backend has answered, if the response and the operator permit
/// that.
pub fn stored_instead(
    exchange: &Exchange,
    request: &PreparedRequest,
    failure: Failure,
) -> Option<Box<Serving>> {
    let fetch = request.fetch.as_ref()?;
    let policy = exchange.route().cache.as_ref()?;
    if exchange.tally().is_answered || !failure.is_of_upstream() {
        return None;
    }
    let serving = stale_instead(policy, fetch, Trouble::Unreachable, unix_millis())?;
    Some(Box::new(serving))
}
