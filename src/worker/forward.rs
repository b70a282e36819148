//! Sending a request to a backend, and again to another one where that is safe and promises something.

use std::rc::Rc;
use std::task::Poll;

use crate::base::limits;
use crate::base::time::Micros;
use crate::net::Expired;
use crate::snapshot::{Backend, Protocol};
use crate::worker::admit::{Admitted, pick};
use crate::worker::attempt::{Attempt, Setback};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::plan::Pick;
use crate::worker::record::count_failed_attempt;
use crate::worker::shard::Shard;
use crate::worker::upstream::obtain;

/// Gets the request answered by some backend of its pool.
pub async fn forward(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    admitted: &mut Admitted,
) -> Result<(), Failure> {
    let live = exchange.plan.live(admitted.pool);
    live.retry_budget().borrow_mut().deposit();
    if admitted.is_whole {
        client.watch();
    }
    let mut preferred = admitted.first;
    let mut fresh = wants_fresh(exchange, admitted);
    let (mut retries, mut unprocessed) = (0, 0);
    loop {
        let index = match preferred.take() {
            Some(index) => index,
            None => choose(shard, client, exchange, admitted.key).await?,
        };
        exchange.backend.set(Some(index));
        let backend = exchange.plan.backend(admitted.pool, index);
        admitted.prepare_for(exchange, index);
        let obtained = obtain(shard, client, exchange, backend, fresh).await;
        let Some(obtained) = obtained.transpose() else {
            continue; // Another core was quicker to open the last connection: wait or choose again.
        };
        let tried = match obtained {
            Ok(obtained) => {
                let attempt = Attempt {
                    shard,
                    client,
                    exchange,
                    backend: backend.id(),
                };
                attempt.make(admitted, obtained).await
            }
            Err(failure) => Err(Setback {
                failure,
                was_reused: false,
            }),
        };
        let Err(setback) = tried else {
            return Ok(());
        };
        if is_stale(exchange, admitted, &setback) && !fresh {
            // The connection died idle, before the backend can have seen the request. That is no failure of the backend
            // and no retry: the request is sent for the first time, on a connection that is not an old one.
            (preferred, fresh) = (Some(index), true);
            continue;
        }
        if is_unprocessed(exchange, admitted, &setback)
            && unprocessed < limits::UNPROCESSED_ATTEMPTS
        {
            // It came as the backend was ending the connection, or had its hands full: no failure either.
            unprocessed += 1;
            (preferred, fresh) = (Some(index), false);
            continue;
        }
        give_up_on(shard, exchange, backend, setback.failure);
        if !may_retry(exchange, admitted, setback.failure, retries) {
            return Err(setback.failure);
        }
        if let Some(route) = exchange.route_counts() {
            route.retries.add(1);
        }
        (retries, fresh) = (retries + 1, false);
    }
}

/// Whether the request should have a new connection: one that cannot be sent again should not go out on an old one, which
/// may just have died (a connection of HTTP/2 is said to end before it does).
fn wants_fresh(exchange: &Exchange, admitted: &Admitted) -> bool {
    !admitted.is_whole && exchange.plan.pool(admitted.pool).protocol == Protocol::Http1
}

fn is_stale(exchange: &Exchange, admitted: &Admitted, setback: &Setback) -> bool {
    setback.was_reused
        && setback.failure == Failure::Reset
        && admitted.is_whole
        && !exchange.answered.get()
}

fn is_unprocessed(exchange: &Exchange, admitted: &Admitted, setback: &Setback) -> bool {
    setback.failure == Failure::Unprocessed && admitted.is_whole && !exchange.answered.get()
}

fn give_up_on(shard: &Shard, exchange: &Exchange, backend: &Backend, failure: Failure) {
    exchange.note_tried(backend.id());
    if failure.blames_backend() {
        count_failed_attempt(shard, exchange, failure);
        shard.report_failure(exchange, backend.id(), failure.consequences().word);
    }
}

/// Whether to try once more: nothing of the answer is on its way, another backend may do better, the request can be
/// sent again, it either cannot have been processed or may be processed twice, and neither the route's bound nor the
/// pool's budget is used up.
fn may_retry(exchange: &Exchange, admitted: &Admitted, failure: Failure, retries: u8) -> bool {
    let may_repeat = admitted.idempotent && !admitted.has_body && admitted.is_whole;
    let is_possible = failure.is_worth_another_try()
        && (failure.is_before_sending() || may_repeat)
        && !exchange.answered.get()
        && retries < exchange.route().retries;
    let budget = exchange.plan.live(admitted.pool).retry_budget();
    is_possible && budget.borrow_mut().try_take(Micros::now())
}

/// A backend for the request; waits for a connection to become free if all may have no more.
async fn choose(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    key: u64,
) -> Result<u32, Failure> {
    let route = exchange.route();
    let live = exchange.plan.live(route.pool);
    client.timer.set(exchange.bounded(route.timeouts.connect));
    let mut counted = None;
    let waited = client.timer.bound(|cx| match pick(shard, exchange, key) {
        Pick::Backend(index) => Poll::Ready(Ok(index)),
        Pick::None => Poll::Ready(Err(Failure::NoBackend)),
        Pick::Saturated if live.wait(cx.waker()) => {
            counted.get_or_insert_with(|| shard.count_waiting(exchange));
            client.poll_gone(shard, cx).map(Err)
        }
        Pick::Saturated => Poll::Ready(Err(Failure::Saturated)),
    });
    match waited.await {
        Ok(outcome) => outcome,
        Err(Expired) => Err(exchange.expired(Failure::Saturated)),
    }
}
