//! A client's connection from accept to close. While nothing happens it is this small task without a block; what an
//! exchange needs is put beside it while exchanges run and given back soon after.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::limits;
use crate::worker::downstream::{Accepted, Client, Next, Woken};
use crate::worker::proxy::serve;
use crate::worker::record;
use crate::worker::shard::{CountedConnection, Shard};

/// Serves a connection to its end. A panic ends this connection and nothing else.
pub async fn run(shard: Rc<Shard>, counted: CountedConnection, accepted: Accepted) {
    let mut serving = pin!(serve_all(&shard, accepted));
    let outcome =
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            },
        )
        .await;
    if outcome.is_err() {
        record::report_panic(&shard);
    }
    drop(counted);
}

async fn serve_all(shard: &Rc<Shard>, accepted: Accepted) {
    let client = Client::new(accepted, shard);
    let mut wait = shard.plan().snapshot().client.header_timeout; // The first request is due at once.
    while client.wait_for_request(shard, wait).await == Woken::Bytes {
        match busy(shard, &client).await {
            Next::Request => wait = shard.plan().snapshot().client.idle_timeout,
            Next::Close => return,
        }
    }
}

/// [`serve_busy`], boxed here so that the connection's task has no room for it while it is idle.
fn busy<'a>(shard: &'a Shard, client: &'a Client) -> Pin<Box<impl Future<Output = Next>>> {
    Box::pin(serve_busy(shard, client))
}

/// Serves requests as long as they come without a long pause.
async fn serve_busy(shard: &Shard, client: &Client) -> Next {
    let mut served = 0;
    loop {
        if serve(shard, client).await == Next::Close {
            client.close(shard).await;
            return Next::Close;
        }
        served += 1;
        if served % limits::PIPELINED_TURN == 0 && !client.wire.is_empty() {
            shard.turn.pass().await;
        }
        let pause = Duration::from_millis(limits::DEMOTE_MILLIS);
        match client.wait_for_request(shard, pause).await {
            Woken::Bytes => {}
            Woken::Expired => return Next::Request,
            Woken::Over => return Next::Close,
        }
    }
}
