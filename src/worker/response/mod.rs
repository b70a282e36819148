//! A response on its way: its heads are received from the backend, and the client is answered, through the filters of
//! the body.

mod answer;
mod begin;
mod head;
mod receive;

use crate::net::Block;
use crate::worker::attempt::Attempt;
use crate::worker::body::Body;
use crate::worker::cache::serving::Serving;
use crate::worker::failure::Failure;
use crate::worker::interim::Interims;
use head::Answer;
use receive::Receiving;

pub use answer::{left, send_whole};

/// How an answer ended.
pub enum Delivered {
    /// The client has the whole answer. `reusable`: the backend's connection may carry another exchange.
    Complete { reusable: bool },
    /// The answer is small and has been received to its end, and [`send_whole`] has still to send it. So the backend's
    /// connection is free before the client has the answer. `reusable`: that connection may carry another exchange.
    Whole { reusable: bool },
    /// A stored response is to be served in place of the answer.
    Stored {
        /// The stored response.
        serving: Box<Serving>,
        /// Whether the backend's connection may carry another exchange.
        reusable: bool,
    },
    /// The request is to be sent again without the conditions of the cache. `reusable`: the backend's connection may
    /// carry another exchange.
    Repeat { reusable: bool },
    /// The head of the answer, and what has come of its body, are ready to be sent to the client, and the cache stores
    /// the body: a task of its own receives the rest.
    Detached {
        /// The body, of which a part is still to come.
        body: Body,
        /// Whether the backend's connection may carry another exchange.
        reusable: bool,
    },
    /// The answer was received to its end for the cache, although the client had gone.
    Abandoned {
        /// The reason why the client did not get the answer.
        failure: Failure,
        /// Whether the backend's connection may carry another exchange.
        reusable: bool,
    },
    /// Both sides speak another protocol from now on.
    Switched,
}

/// Receives the response and passes it on through `out`.
pub async fn forward_response(
    attempt: &Attempt<'_>,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    let exchange = attempt.exchange;
    let receiving = Receiving {
        shard: attempt.shard,
        upstream: attempt.upstream,
        asked: attempt.request.asked,
        timer: &attempt.client.timer,
        wait: &|| exchange.bounded(exchange.route().timeouts.upstream_response),
        // The time for the answer begins when the request has been sent to its end.
        may_wait_on: &|| attempt.may_wait_on(),
        expired: &|| exchange.expired(Failure::ResponseTimeout),
        hear: &|| exchange.note(|tally| tally.is_heard = true),
        watch: &|cx| attempt.poll_unanswered(cx),
    };
    let mut interims = Interims::default();
    loop {
        let received = receiving.receive_head(|head| attempt.take_head(head, out));
        match received.await? {
            Answer::Interim { bytes, is_sound } => {
                interims.note(exchange, bytes, is_sound)?;
                attempt.pass_on_interim(out).await?;
            }
            Answer::Switching => {
                attempt.switch(out).await?;
                return Ok(Delivered::Switched);
            }
            Answer::Stored { serving, reusable } => {
                let reusable = reusable && !interims.are_odd;
                return Ok(Delivered::Stored { serving, reusable });
            }
            Answer::Repeat { reusable } => {
                let reusable = reusable && !interims.are_odd;
                return Ok(Delivered::Repeat { reusable });
            }
            Answer::Final { body, reusable } => {
                let reusable = reusable && !interims.are_odd;
                return attempt.answer(body, reusable, out).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
