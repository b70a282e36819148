//! A connection with one exchange after the other. An idle connection is a small task without a block. The state of an
//! exchange is allocated beside the task while exchanges run, and freed soon after.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::base::limits;
use crate::worker::downstream::{Client, Next, Woken};
use crate::worker::proxy;
use crate::worker::shard::Shard;

/// Serves a connection that has brought its first bytes.
pub async fn serve(shard: &Rc<Shard>, client: &Client) {
    while busy(shard, client).await == Next::Request {
        let wait = shard.config().snapshot().client.idle_timeout;
        if client.wait_for_request_idly(shard, wait).await != Woken::Bytes {
            client.close(shard).await;
            return;
        }
    }
}

/// [`serve_busy`], boxed so that the task of an idle connection reserves no memory for it.
fn busy<'a>(shard: &'a Rc<Shard>, client: &'a Client) -> Pin<Box<impl Future<Output = Next>>> {
    Box::pin(serve_busy(shard, client))
}

/// Serves requests as long as they come without a long pause.
async fn serve_busy(shard: &Rc<Shard>, client: &Client) -> Next {
    let mut served = 0;
    loop {
        if proxy::serve(shard, client).await == Next::Close {
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
            Woken::Over => {
                client.close(shard).await;
                return Next::Close;
            }
        }
    }
}
