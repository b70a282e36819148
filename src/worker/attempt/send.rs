//! Sending a request to its backend: at first what is kept of it, then the rest.

use crate::http::h2::to_h2;
use crate::net::{Block, Expired, Timer};
use crate::worker::attempt::{Attempt, Side};
use crate::worker::body::Body;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::multiplex;
use crate::worker::stream::{Piece, Stream};
use crate::worker::upload::upload;
use crate::worker::upstream::Upstream;

/// How a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All that is kept of the request went out, or the connection has ended; receiving tells which.
    All,
    /// The connection took no byte of the request.
    Nothing,
    /// The windows of the stream let out a part of what is kept of the request; so many bytes are left.
    Partly(usize),
}

impl Sent {
    /// Bytes of what is kept of the request that are still to be sent.
    pub fn left(self) -> usize {
        match self {
            Sent::Partly(left) => left,
            Sent::All | Sent::Nothing => 0,
        }
    }
}

/// Sends the head and what is kept of the body. That the backend does not take it is no failure yet: it may have
/// answered and then stopped reading; if it has not, receiving tells.
pub async fn send_request(
    client: &Client,
    exchange: &Exchange,
    request: &mut PreparedRequest,
    upstream: &Upstream,
) -> Result<Sent, Failure> {
    let socket = match &upstream.wire.stream {
        Stream::Multiplexed(stream) => return begin(stream, upstream, request),
        Stream::Socket(socket) => socket,
    };
    let wait = exchange.route().timeouts.upstream_response;
    client.timer.set(exchange.bounded(wait));
    let bytes = &mut request.bytes;
    let length = bytes.len();
    // The kept part of a request is no more than a socket takes.
    let Ok(taken) = socket.send(bytes, length, &client.timer, |_| ()).await else {
        request.is_kept = false; // The block is lost with its send.
        return Err(exchange.expired(Failure::ResponseTimeout));
    };
    // The number of bytes that a socket took is known in cleartext only: a record of TLS may have gone out in part.
    let is_known = !socket.is_tls();
    let took_nothing = is_known && taken.is_err() && bytes.len() == length;
    Ok(if took_nothing {
        Sent::Nothing
    } else {
        Sent::All
    })
}

/// Opens a stream for a request, and sends as much of what is kept of it as the windows allow at once: the backend may
/// answer before it allows more.
fn begin(
    stream: &multiplex::MultiplexStream,
    upstream: &Upstream,
    request: &mut PreparedRequest,
) -> Result<Sent, Failure> {
    let is_websocket = upstream.is_websocket;
    let bytes = &mut request.bytes;
    let is_bare = to_h2::head_bytes(bytes.filled()) == bytes.len();
    // The bytes behind a request for a WebSocket belong to the WebSocket.
    let ends_here = request.body.ends_here() && !is_websocket;
    let ends_at_once = ends_here && is_bare;
    let asked = stream.ask(bytes, upstream.scheme, ends_at_once, is_websocket);
    asked.map_err(|_| Failure::Unprocessed)?;
    if request.asked.strict {
        stream.hold_to_the_letter();
    }
    let mut left = bytes.len();
    let sent = stream.send_now(bytes, &mut left, ends_here);
    if sent.is_ok() && left > 0 {
        return Ok(Sent::Partly(left));
    }
    send_trailers(stream, &request.body);
    Ok(Sent::All)
}

/// Ends a request whose body was received to its end, if trailers end it.
fn send_trailers(stream: &multiplex::MultiplexStream, body: &Body) {
    if body.has_ended() && !body.trailers.is_empty() {
        // As with a backend that reads no further: if that is a failure, receiving tells.
        let _ = stream.send_trailers(&body.trailers);
    }
}

/// Sends what is left of a request: `left` bytes of what is kept of it, and the rest of the body.
pub async fn send_rest(
    attempt: &Attempt<'_>,
    kept: &mut Block,
    left: usize,
    body: &mut Body,
    timer: &Timer,
) -> Result<(), Failure> {
    if let Stream::Multiplexed(stream) = &attempt.upstream.wire.stream
        && left > 0
    {
        let give_time = |_| timer.set(attempt.wait_to_upload(Side::Backend));
        give_time(0);
        let piece = Piece {
            count: left,
            is_last: body.ends_here(),
        };
        let sending = stream.send(kept, piece, timer, give_time);
        match sending.await {
            Ok(Ok(())) => send_trailers(stream, body),
            Ok(Err(_)) => return Ok(()), // Receiving tells why.
            Err(Expired) if attempt.is_refused() => return Ok(()),
            Err(Expired) => return Err(attempt.exchange.expired(Failure::ResponseTimeout)),
        }
    }
    if attempt.request.is_whole {
        Ok(())
    } else {
        upload(attempt, body, timer).await
    }
}
