//! One attempt to have a request answered: it goes to one backend, and the answer comes back.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::raise;
use crate::http::proxy_protocol::Said;
use crate::net::{Block, Expired, Peer, Timer};
use crate::worker::admit::Admitted;
use crate::worker::body::Body;
use crate::worker::deliver::{Delivered, Ends, Side, deliver, send_whole};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::leave::poll_unsent;
use crate::worker::multiplex;
use crate::worker::retry::Setback;
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::tunnel;
use crate::worker::upload::{ask_for_body, discard, upload};
use crate::worker::upstream::{
    Caller, Connected, ConnectionMode, Selection, Target, Upstream, choose, connect,
};

/// Chooses a backend for the request of an exchange. `key`: hash of what the balancing algorithm goes by.
pub async fn choose_for(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    key: u64,
) -> Result<Target, Failure> {
    let pool = exchange.route().pool;
    let last = exchange.backend.get();
    let selection = Selection {
        pool,
        key,
        carrier: exchange.carrier.get(),
        last: last.map(|index| exchange.plan.backend(pool, index).id()),
    };
    let watch = |at, cx: &mut Context<'_>| poll_unneeded(shard, client, exchange, at, cx);
    let tried = exchange.tried();
    choose(shard, selection, &caller(client, exchange, &tried, &watch)).await
}

/// Gets the request of an exchange a connection to a backend.
pub async fn connect_for(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &Exchange,
    target: Target,
    mode: ConnectionMode,
) -> Connected {
    let watch = |at, cx: &mut Context<'_>| poll_unneeded(shard, client, exchange, at, cx);
    let tried = exchange.tried();
    let caller = caller(client, exchange, &tried, &watch);
    connect(shard, target, mode, &caller).await
}

/// The request of an exchange as one who asks for a connection.
fn caller<'a>(
    client: &'a Client,
    exchange: &'a Exchange,
    tried: &'a [BackendId],
    watch: &'a dyn Fn(Option<BackendId>, &mut Context<'_>) -> Poll<Failure>,
) -> Caller<'a> {
    let connect = exchange.route().timeouts.connect;
    Caller {
        plan: &exchange.plan,
        timer: &client.timer,
        connect,
        queue: exchange.wait_for_connection(connect),
        deadline: exchange.deadline(),
        introduced: introduced(client, exchange),
        tried,
        held: &client.arrival.upstreams,
        watch,
    }
}

/// Whom a PROXY header names. The port of a client whom a proxy names in the request is not known, and told as 0.
fn introduced(client: &Client, exchange: &Exchange) -> Said {
    let arrival = &client.arrival;
    match (exchange.client.get(), arrival.peer, arrival.reached) {
        (Some(client), Peer::Tcp(peer), Some(server)) => {
            let is_peer = client.to_canonical() == peer.ip().to_canonical();
            let port = if is_peer { peer.port() } else { 0 };
            let client = SocketAddr::new(client, port);
            Said::Tcp { client, server }
        }
        _ => Said::Unknown,
    }
}

/// Ready when the request of an exchange needs no connection any more: its client has gone, or it leaves the backend
/// `at` that is being connected to.
fn poll_unneeded(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    at: Option<BackendId>,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    match at {
        None => client.poll_gone(shard, cx),
        Some(backend) => {
            exchange.note_backend(backend);
            poll_unsent(shard, client, exchange, cx)
        }
    }
}

/// One attempt.
pub struct Attempt<'a> {
    pub shard: &'a Rc<Shard>,
    pub client: &'a Client,
    pub exchange: &'a Exchange,
    pub backend: BackendId,
}

/// How a request was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// All that is kept of the request went out, or the connection has ended; receiving tells which.
    All,
    /// The connection took no byte of the request.
    Nothing,
    /// The windows of the stream let out a part of what is kept of the request; so many bytes are left.
    Partly(usize),
}

impl Attempt<'_> {
    /// The request goes out, the answer comes in, and if the request's body is still coming both happen at once.
    pub async fn make(&self, admitted: &mut Admitted, upstream: Upstream) -> Result<(), Setback> {
        let _counted = self.shard.count_in_flight(self.backend);
        let attempts = &self.exchange.attempts;
        attempts.set(attempts.get().saturating_add(1));
        let mut out = self.shard.blocks.take();
        let answered = self.answer(admitted, upstream, &mut out).await;
        self.shard.blocks.give(out);
        answered
    }

    async fn answer(
        &self,
        admitted: &mut Admitted,
        upstream: Upstream,
        out: &mut Block,
    ) -> Result<(), Setback> {
        let (reused, asked_at) = (upstream.reused, Micros::now());
        let sent = self.send_request(admitted, &upstream).await;
        let took_nothing = sent == Ok(Sent::Nothing);
        self.exchange.backend_has_time();
        let outcome = match sent {
            // What such a connection still brings was on its way before the request: it is nobody's answer.
            Ok(Sent::Nothing) if reused => Err(Failure::Reset),
            Ok(Sent::Partly(left)) => {
                self.exchange_bodies(admitted, &upstream, asked_at, left, out)
                    .await
            }
            Ok(Sent::All | Sent::Nothing) => {
                self.exchange_bodies(admitted, &upstream, asked_at, 0, out)
                    .await
            }
            Err(failure) => Err(failure),
        };
        let delivered = outcome.map_err(|failure| Setback {
            failure,
            is_unprocessed: failure.is_before_sending() || took_nothing,
            lost_reused: reused && upstream.wire.stream.is_connection_lost(),
        })?;
        self.finish(delivered, upstream, out)
            .await
            .map_err(Setback::without_connection)
    }

    /// Has the answer delivered while what is left of the request goes out: `left` bytes of what is kept of it, and the
    /// rest of the body.
    async fn exchange_bodies(
        &self,
        admitted: &mut Admitted,
        upstream: &Upstream,
        asked_at: Micros,
        left: usize,
        out: &mut Block,
    ) -> Result<Delivered, Failure> {
        if admitted.is_whole && left == 0 {
            return deliver(&self.ends(admitted, upstream, asked_at), out).await;
        }
        if !admitted.is_whole && admitted.expects_continue && self.exchange.route().answer_continue
        {
            ask_for_body(self.shard, self.client, self.exchange).await?;
            admitted.expects_continue = false;
        }
        let before = self.exchange.request_bytes.get();
        let mut request = std::mem::take(&mut admitted.request);
        let mut body = std::mem::replace(&mut admitted.body, Body::none());
        let timer = Timer::new(&self.shard.timers);
        let ends = Ends {
            upload_timer: Some(&timer),
            ..self.ends(admitted, upstream, asked_at)
        };
        let uploading = send_rest(&ends, &mut request, left, &mut body, &timer);
        let delivered = receive_answer(&ends, uploading, out).await;
        if !admitted.is_whole {
            let is_untouched = before == self.exchange.request_bytes.get();
            admitted.is_kept &= is_untouched && !body.has_ended();
        }
        (admitted.request, admitted.body) = (request, body);
        delivered
    }

    fn ends<'a>(
        &'a self,
        admitted: &'a Admitted,
        upstream: &'a Upstream,
        asked_at: Micros,
    ) -> Ends<'a> {
        Ends {
            shard: self.shard,
            client: self.client,
            exchange: self.exchange,
            admitted,
            upstream,
            asked_at,
            sent_before: self.exchange.request_bytes.get(),
            is_sending_interim: Default::default(),
            told_interim: Default::default(),
            answer_waits_for: Default::default(),
            upload_waits_for: Cell::new(Side::Client),
            reader_rate: Default::default(),
            unacknowledged: Default::default(),
            is_uploading: Default::default(),
            upload_failure: Default::default(),
            upload_timer: None,
        }
    }

    /// What follows an answer that is delivered: the connection is kept if it may be, and a small answer goes to the
    /// client.
    async fn finish(
        &self,
        delivered: Delivered,
        upstream: Upstream,
        out: &mut Block,
    ) -> Result<(), Failure> {
        let (reusable, is_whole) = match delivered {
            Delivered::Complete { reusable } => (reusable, false),
            Delivered::Whole { reusable } => (reusable, true),
            Delivered::Switched => {
                tunnel::run(self.shard, self.client, self.exchange, &upstream).await;
                return Ok(());
            }
        };
        if reusable && !self.client.is_body_pending() {
            self.shard.keep_idle(upstream);
        }
        match is_whole {
            true => send_whole(self.shard, self.client, self.exchange, out).await,
            false => Ok(()),
        }
    }

    /// Sends the head and what is kept of the body. That the backend does not take it is no failure yet: it may have
    /// answered and then stopped reading; if it has not, receiving tells.
    async fn send_request(
        &self,
        admitted: &mut Admitted,
        upstream: &Upstream,
    ) -> Result<Sent, Failure> {
        let socket = match &upstream.wire.stream {
            Stream::Multiplexed(stream) => return begin(stream, upstream, admitted),
            Stream::Socket(socket) => socket,
        };
        let wait = self.exchange.route().timeouts.upstream_response;
        self.client.timer.set(self.exchange.bounded(wait));
        let request = &mut admitted.request;
        let length = request.len();
        // It is no more than a socket takes.
        let Ok(taken) = socket
            .send(request, length, &self.client.timer, |_| ())
            .await
        else {
            admitted.is_kept = false; // The block is lost with its send.
            return Err(self.exchange.expired(Failure::ResponseTimeout));
        };
        // What a socket took in all is known in cleartext only: a record of TLS may have gone out in part.
        let is_known = !socket.is_tls();
        Ok(
            match is_known && taken.is_err() && request.len() == length {
                true => Sent::Nothing,
                false => Sent::All,
            },
        )
    }
}

/// Opens a stream for a request, and sends as much of what is kept of it as the windows allow at once: the backend may
/// answer before it allows more.
fn begin(
    stream: &multiplex::Stream,
    upstream: &Upstream,
    admitted: &mut Admitted,
) -> Result<Sent, Failure> {
    let is_websocket = upstream.is_websocket;
    let request = &mut admitted.request;
    let is_bare = raise::head_bytes(request.filled()) == request.len();
    // The bytes behind a request for a WebSocket belong to the WebSocket.
    let ends_here = admitted.body.ends_here() && !is_websocket;
    let ends_at_once = ends_here && is_bare;
    let asked = stream.ask(request, upstream.scheme, ends_at_once, is_websocket);
    asked.map_err(|_| Failure::Unprocessed)?;
    if admitted.asked.strict {
        stream.hold_to_the_letter();
    }
    let mut left = request.len();
    let sent = stream.send_now(request, &mut left, ends_here);
    if sent.is_ok() && left > 0 {
        return Ok(Sent::Partly(left));
    }
    send_trailers(stream, &admitted.body);
    Ok(Sent::All)
}

/// Ends a request whose body was received to its end, if trailers end it.
fn send_trailers(stream: &multiplex::Stream, body: &Body) {
    if body.has_ended() && !body.trailers.is_empty() {
        // As with a backend that reads no further: if that is a failure, receiving tells.
        let _ = stream.send_trailers(&body.trailers);
    }
}

/// Sends what is left of a request: `left` bytes of what is kept of it, and the rest of the body.
async fn send_rest(
    ends: &Ends<'_>,
    request: &mut Block,
    left: usize,
    body: &mut Body,
    timer: &Timer,
) -> Result<(), Failure> {
    if let Stream::Multiplexed(stream) = &ends.upstream.wire.stream
        && left > 0
    {
        let give_time = |_| timer.set(ends.wait_to_upload(Side::Backend));
        give_time(0);
        let sending = stream.send(request, left, body.ends_here(), timer, give_time);
        match sending.await {
            Ok(Ok(())) => send_trailers(stream, body),
            Ok(Err(_)) => return Ok(()), // Receiving tells why.
            Err(Expired) if ends.is_refused() => return Ok(()),
            Err(Expired) => return Err(ends.exchange.expired(Failure::ResponseTimeout)),
        }
    }
    match ends.admitted.is_whole {
        true => Ok(()),
        false => upload(ends, body, timer).await,
    }
}

/// Delivers the answer and sends the rest of the request meanwhile, and for a while after that: a backend may answer
/// before it has read everything that it wants to read.
async fn receive_answer(
    ends: &Ends<'_>,
    uploading: impl Future<Output = Result<(), Failure>>,
    out: &mut Block,
) -> Result<Delivered, Failure> {
    let mut uploading = pin!(uploading);
    let mut delivering = pin!(deliver_to_reader(ends, out));
    let mut discarding = pin!(ends.upload_timer.map(|timer| discard(ends, timer)));
    let mut uploaded = None;
    ends.is_uploading.set(true);
    let delivered = poll_fn(|cx| {
        if uploaded.is_none()
            && let Poll::Ready(outcome) = uploading.as_mut().poll(cx)
        {
            uploaded = Some(outcome);
            ends.is_uploading.set(false);
            match outcome {
                Ok(()) => ends.answer_is_due(),
                Err(failure) => ends.upload_failure.set(Some(failure)),
            }
        }
        let polled = delivering.as_mut().poll(cx);
        if polled.is_pending()
            && uploaded == Some(Ok(()))
            && ends.exchange.answered.get()
            && ends.client.is_body_pending()
            && let Some(unwanted) = discarding.as_mut().as_pin_mut()
            && unwanted.poll(cx).is_ready()
        {
            discarding.set(None);
        }
        match uploaded {
            // The client is told of the failure, but not before an interim head that is being sent is with it: two
            // sends on one connection at once have no order.
            Some(Err(failure)) if polled.is_pending() && !ends.is_sending_interim.get() => {
                Poll::Ready(Err(failure))
            }
            _ => polled,
        }
    })
    .await?;
    let is_sending = ends.client.is_body_pending() && !ends.is_client_waiting();
    if uploaded.is_none() && is_sending && delivered != Delivered::Switched {
        ends.answer_has_ended();
        let look = Timer::new(&ends.shard.timers);
        let wait = Duration::from_millis(limits::TICK_MILLIS);
        look.set(wait);
        // The client has its answer, so the outcome of the rest of the upload does not matter.
        let over = |cx: &mut Context<'_>| match uploading.as_mut().poll(cx) {
            Poll::Pending if look.is_due_again(wait, cx) && ends.must_let_go() => Poll::Ready(()),
            Poll::Pending => poll_hung_up(&ends.upstream.wire.stream, cx),
            Poll::Ready(_) => Poll::Ready(()),
        };
        poll_fn(over).await;
    }
    Ok(delivered)
}

/// Ready when a backend that has answered has hung up, or has sent bytes that no request asked for.
fn poll_hung_up(backend: &Stream, cx: &mut Context<'_>) -> Poll<()> {
    let socket = match backend {
        Stream::Multiplexed(stream) => return stream.poll_gone(cx).map(drop),
        Stream::Socket(socket) => socket,
    };
    loop {
        socket.watch();
        ready!(socket.poll_readable(cx));
        if socket.unasked().is_some() {
            return Poll::Ready(());
        }
    }
}

/// Delivers the answer to a client that may still be sending, and that may read only after it has sent everything.
async fn deliver_to_reader(ends: &Ends<'_>, out: &mut Block) -> Result<Delivered, Failure> {
    match deliver(ends, out).await? {
        Delivered::Whole { reusable } if ends.client.is_body_pending() => {
            send_whole(ends.shard, ends.client, ends.exchange, out).await?;
            Ok(Delivered::Complete { reusable })
        }
        delivered => Ok(delivered),
    }
}
