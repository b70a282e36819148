//! The steps of a request in their order: this file is the table of contents of the program.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::net::Timer;
use crate::worker::buffer_body::buffer_body;
use crate::worker::cache::follow::await_decision;
use crate::worker::cache::instead::stored_instead;
use crate::worker::cache::recall::{await_purge, await_recall};
use crate::worker::cache::refresh::refresh;
use crate::worker::cache::serve::answer_from_store;
use crate::worker::cache::slices::answer_in_slices;
use crate::worker::decide::{Decision, decide, wait_for_memory};
use crate::worker::downstream::{Client, Next, receive_rest_of_head};
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::forward::forward;
use crate::worker::live_config::LiveConfig;
use crate::worker::record::record;
use crate::worker::reply;
use crate::worker::shard::Shard;

/// Serves the request whose first bytes were received.
pub async fn serve(shard: &Rc<Shard>, client: &Client) -> Next {
    client.begin_request();
    let counted = shard.count_exchange();
    let mut exchange = shard.begin_exchange();
    let mut age_limit = AgeLimit::of(exchange.config.clone());
    let is_cut = {
        let mut answering = pin!(answer_or_fail(shard, client, &mut exchange));
        let is_cut = poll_fn(|cx| {
            if shard.is_cut() {
                Poll::Ready(true)
            } else {
                age_limit.look(&client.timer, cx);
                answering.as_mut().poll(cx).map(|()| false)
            }
        });
        is_cut.await
    };
    if is_cut && client.since_answer(shard).is_none() {
        exchange.progress.failure = Some(Failure::CutByStop);
        // Where the end of the connection is the end of the answer, the client must not take a part for the whole.
        client.cut();
    }
    record(shard, client, &mut exchange);
    drop(counted);
    if is_cut {
        // The kernel may still work on operations of the client's connection, so that the connection is never dropped:
        // it ends with the process, and nothing that is due at a close is sent behind a part of an answer.
        return pending().await;
    }
    client.next()
}

/// The end of an exchange that began with one of too many configurations in use. The step under way has a deadline
/// that was set before the configuration became too old, and that may be far away.
struct AgeLimit {
    config: Rc<LiveConfig>,
    /// The time that is left; `None`: the configuration is not too old.
    left: Option<Timer>,
    has_ended: bool,
}

impl AgeLimit {
    /// The limit for an exchange with this configuration.
    fn of(config: Rc<LiveConfig>) -> AgeLimit {
        AgeLimit {
            config,
            left: None,
            has_ended: false,
        }
    }

    /// Ends the step under way, whose deadline is that of `step`, once the time of the configuration is over: a step
    /// that begins later gets no time anyway. A worker wakes every exchange when a configuration becomes too old.
    #[inline]
    fn look(&mut self, step: &Timer, cx: &mut Context<'_>) {
        let Some(due) = self.config.due() else {
            return;
        };
        if self.has_ended {
            return;
        }
        let timers = step.timers();
        let left = self.left.get_or_insert_with(|| {
            let left = Timer::new(timers);
            left.set_until(due);
            left
        });
        if left.poll(cx).is_ready() {
            self.has_ended = true;
            timers.expire(step.number());
        }
    }
}

async fn answer_or_fail(shard: &Rc<Shard>, client: &Client, exchange: &mut Exchange) {
    if let Err(failure) = answer(shard, client, exchange).await {
        reply::fail(shard, client, exchange, failure).await;
    }
}

/// Decides on a request, and acts on the decision.
async fn answer(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let (mut request, promise) = loop {
        match decide(shard, client, exchange)? {
            Decision::NeedMore => receive_rest_of_head(shard, client, exchange).await?,
            Decision::Wait(request) => {
                break (request, Some(wait_for_memory(shard, client).await?));
            }
            Decision::Reply(reply) => {
                let reply = await_purge(shard, client, exchange, reply).await?;
                reply::send(shard, client, exchange, &reply).await;
                return Ok(());
            }
            Decision::Serve(serving, request) => {
                if let Some(request) = request {
                    refresh(shard, &client.arrival, exchange, request);
                }
                return answer_from_store(shard, client, exchange, *serving).await;
            }
            Decision::Follow(fill) => {
                await_decision(shard, client, exchange, &fill).await?;
                exchange.progress.followed.set(Some(fill));
                exchange.leave_route();
            }
            Decision::Recall(recall) => {
                await_recall(shard, client, exchange, &recall).await?;
                exchange.leave_route();
            }
            Decision::Lead(request, led) => {
                refresh(shard, &client.arrival, exchange, request);
                let fill = led.fill.clone();
                exchange.progress.note_led(led);
                await_decision(shard, client, exchange, &fill).await?;
                exchange.leave_route();
            }
            Decision::Slices(mut request, start) => {
                let sliced = (&*request, start);
                // A box keeps the state of all other requests small.
                let answering = Box::pin(answer_in_slices(shard, client, exchange, sliced));
                let is_answered = answering.await?;
                shard.blocks.give(std::mem::take(&mut request.bytes));
                if is_answered {
                    return Ok(());
                }
                exchange.progress.is_unsliced = true;
                exchange.leave_route();
            }
            Decision::Forward(request, promise) => break (request, promise),
        }
    };
    buffer_body(&shard.blocks, client, exchange, &mut request)?;
    let forwarded = forward(shard, client, exchange, &mut request).await;
    shard.blocks.give(std::mem::take(&mut request.bytes));
    drop(promise);
    let stored = match forwarded {
        Ok(stored) => stored,
        Err(failure) => Some(stored_instead(exchange, &request, failure).ok_or(failure)?),
    };
    if let Some(serving) = stored {
        return answer_from_store(shard, client, exchange, *serving).await;
    }
    debug_assert!(
        exchange.tally().is_answered,
        "an exchange ends with an answer or a failure"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
