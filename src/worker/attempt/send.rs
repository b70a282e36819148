//! Sending a request to its backend: first the kept part, then the rest.

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
    /// The whole kept part of the request was sent, or the connection has ended. Receiving finds out which of the two.
    All,
    /// The connection took no byte of the request.
    Nothing,
    /// The flow-control windows of the stream allowed a part of the kept bytes; so many bytes are left.
    Partly(usize),
}

impl Sent {
    /// Bytes of the kept part that are still to be sent.
    pub fn left(self) -> usize {
        match self {
            Sent::Partly(left) => left,
            Sent::All | Sent::Nothing => 0,
        }
    }
}

/// Sends the head and the kept part of the body. A backend that does not take the bytes is no failure yet: the backend
/// may have answered before it stopped reading. Receiving finds out.
pub async fn send_request(
    client: &Client,
    exchange: &Exchange,
    request: &mut PreparedRequest,
    upstream: &Upstream,
) -> Result<Sent, Failure> {
    let socket = match &upstream.wire.stream {
        Stream::Multiplexed(stream) => return begin(stream, upstream, request),
        Stream::Socket(socket) => socket,
        Stream::Absent => return Ok(Sent::Nothing),
    };
    let wait = exchange.route().timeouts.upstream_response;
    client.timer.set(exchange.bounded(wait));
    let bytes = &mut request.bytes;
    let length = bytes.len();
    // The kept part of a request always fits into one send.
    let Ok(taken) = socket.send(bytes, length, &client.timer, |_| ()).await else {
        request.is_kept = false; // The block is lost when its send is given up.
        return Err(exchange.expired(Failure::ResponseTimeout));
    };
    // The number of bytes that a socket took is known in cleartext only: a part of a TLS record may have been sent.
    let is_known = !socket.is_tls();
    let took_nothing = is_known && taken.is_err() && bytes.len() == length;
    Ok(if took_nothing {
        Sent::Nothing
    } else {
        Sent::All
    })
}

/// Opens a stream for a request, and sends as much of the kept part as the windows allow at once. The backend may
/// answer before the windows allow more.
fn begin(
    stream: &multiplex::MultiplexStream,
    upstream: &Upstream,
    request: &mut PreparedRequest,
) -> Result<Sent, Failure> {
    let is_websocket = upstream.is_websocket;
    let bytes = &mut request.bytes;
    let is_bare = to_h2::head_bytes(bytes.filled()) == bytes.len();
    // The bytes behind the head of a request for a WebSocket belong to the WebSocket.
    let ends_here = request.body.ends_here() && !is_websocket;
    let ends_at_once = ends_here && is_bare;
    let asked = stream.ask(bytes, upstream.scheme, ends_at_once, is_websocket);
    asked.map_err(|_| Failure::Unprocessed)?;
    if request.asked.strict {
        stream.refuse_odd_trailers();
    }
    let mut left = bytes.len();
    let sent = stream.send_now(bytes, &mut left, ends_here);
    if sent.is_ok() && left > 0 {
        return Ok(Sent::Partly(left));
    }
    send_trailers(stream, &request.body);
    Ok(Sent::All)
}

/// Sends the trailers of a request whose body was received to its end, if the body has trailers.
fn send_trailers(stream: &multiplex::MultiplexStream, body: &Body) {
    if body.has_ended() && !body.trailers.is_empty() {
        // A failure is ignored here, because receiving the answer finds out whether the backend is gone.
        let _ = stream.send_trailers(&body.trailers);
    }
}

/// The rest of a request, which is sent while the answer may arrive.
pub struct Rest {
    /// The kept part of the request.
    pub kept: Block,
    /// The bytes of the kept part, at its end, that are still to be sent.
    pub left: usize,
    /// The part of the body that is still to come from the client.
    pub body: Body,
}

/// Sends the rest of a request.
pub async fn send_rest(
    attempt: &Attempt<'_>,
    rest: &mut Rest,
    timer: &Timer,
) -> Result<(), Failure> {
    let body = &mut rest.body;
    if let Stream::Multiplexed(stream) = &attempt.upstream.wire.stream
        && rest.left > 0
    {
        let give_time = |_| timer.set(attempt.wait_to_upload(Side::Backend));
        give_time(0);
        let piece = Piece {
            count: rest.left,
            is_last: body.ends_here(),
        };
        let sending = stream.send(&mut rest.kept, piece, timer, give_time);
        match sending.await {
            Ok(Ok(())) => send_trailers(stream, body),
            Ok(Err(_)) => return Ok(()), // Receiving finds out why.
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
