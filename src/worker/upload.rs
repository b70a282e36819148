//! Passing on a request body that is too large to keep, while the answer may already be coming.

use crate::net::{Expired, Timer};
use crate::worker::body::{Body, Unacceptable};
use crate::worker::deliver::Ends;
use crate::worker::failure::Failure;
use crate::worker::relay::{Broken, Relay};
use crate::worker::wire::nothing;

/// Passes the rest of the body on. A backend that stops reading is no failure here: its answer tells why.
pub async fn upload(ends: &Ends<'_>, body: &mut Body) -> Result<(), Failure> {
    let (client, exchange) = (ends.client, ends.exchange);
    let route = exchange.route();
    let timer = Timer::new(&ends.shard.timers);
    if ends.admitted.expects_continue && route.answer_continue {
        ask_for_body(ends, &timer).await?;
    }
    let relay = Relay {
        blocks: &ends.shard.blocks,
        from: &client.wire,
        to: &ends.upstream.wire.stream,
        timer: &timer,
        idle: &|| exchange.bounded(route.timeouts.client_body),
        stall: route.timeouts.upstream_response,
        count: &|bytes| exchange.count_request(bytes),
    };
    let mut out = ends.shard.blocks.take();
    let relayed = relay.run(&mut out, body, nothing).await;
    ends.shard.blocks.give(out);
    match relayed {
        Ok(()) => client.body_pending.set(false),
        Err(Broken::SinkClosed) => {}
        Err(Broken::SourceEnded) => return Err(Failure::ClientLeft),
        Err(Broken::SourceTimeout) => return Err(exchange.expired(Failure::BodyTimeout)),
        Err(Broken::SinkTimeout) => return Err(exchange.expired(Failure::ResponseTimeout)),
        Err(Broken::Unacceptable(Unacceptable::TooLarge)) => return Err(Failure::BodyTooLarge),
        Err(Broken::Unacceptable(Unacceptable::Malformed(refusal))) => {
            return Err(Failure::Refused(refusal));
        }
        Err(Broken::Watched(never)) => match never {},
    }
    Ok(())
}

async fn ask_for_body(ends: &Ends<'_>, timer: &Timer) -> Result<(), Failure> {
    timer.set(ends.exchange.plan.snapshot().client.idle_timeout);
    let mut out = ends.shard.blocks.take();
    out.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
    let stream = &ends.client.wire.stream;
    let begun = stream.answer(&mut out, false);
    let sent = stream.send_all(&mut out, false, timer).await;
    ends.shard.blocks.give(out);
    match (begun, sent) {
        (Ok(()), Ok(Ok(()))) => Ok(()),
        (_, Err(Expired)) => Err(Failure::ClientStalled),
        _ => Err(Failure::ClientLeft),
    }
}
