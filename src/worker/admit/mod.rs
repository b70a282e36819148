//! The decisions about a request, made in one go while its head lies in the receive buffer: is it well-formed, which
//! route takes it, which backend comes first, and what is sent there. Nothing here waits.

mod arrival;
mod carrier;
mod challenge;
mod demands;
mod forwards;
mod references;
mod trace;

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use crate::balance::{HashKey, hash_key};
use crate::base::ids::{PoolId, RouteId};
use crate::base::limits;
use crate::http::h1::{self, Asked, FieldSlots, RequestBody, RequestEdits, RequestHead, Version};
use crate::http::max_forwards::Forwards;
use crate::http::path::MergeSlashes;
use crate::http::refusal::Refusal;
use crate::http::traceparent::TraceFields;
use crate::http::websocket::KEY_BYTES;
use crate::http::{fields, grpc, host, path};
use crate::messages::RefusedHead;
use crate::net::Block;
use crate::shared::access::Texts;
use crate::snapshot::{HostHeader, Protocol, Route};
use crate::worker::body::{Body, Coming};
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::multiplex::{self, Gone};
use crate::worker::shard::Shard;
use crate::worker::stream::Stream;
use crate::worker::trailers::TrailerRules;
use crate::worker::upstream::{Carrier, Selection, choose_first};
use arrival::{check_arrival, check_certificate, client_of, forwarding, identity, is_trusted};
use carrier::{carrier_of, needs_key};
use forwards::forwards_of;
pub use references::AskedFor;
use references::asked_for;
use trace::Trace;

/// A request that may go on: what is left to know of it once its head is gone from the receive buffer.
pub struct Admitted {
    pub pool: PoolId,
    /// Hash of what the balancing algorithm goes by.
    pub key: u64,
    pub asked: Asked,
    pub version: Version,
    pub idempotent: bool,
    pub expects_continue: bool,
    /// What of the body is still to come behind `request`.
    pub body: Body,
    /// Whether the request came with a body, even if all of the body has been received.
    pub has_body: bool,
    /// Whether `request` is all of the request.
    pub is_whole: bool,
    /// Whether `request` and what `body` has to bring are all of the request, so that it can be sent again.
    pub is_kept: bool,
    /// The encoded head, and the body as far as it is kept.
    pub request: Block,
    /// The backend to try first, as index in the pool, if one was there.
    pub first: Option<u32>,
    /// The protocols that may be switched to, separated by `, `; empty unless `asked` has an upgrade.
    offered: Box<[u8]>,
    /// The host and scheme that the client has asked for, if references in the answer may have to be rewritten.
    pub asked_for: Option<AskedFor>,
    /// The key of the WebSocket that the client asks for: the client's own key, or palantir's if the client speaks
    /// HTTP/2. `None`: palantir need not know a key.
    pub websocket_key: Option<[u8; KEY_BYTES]>,
    /// Where in `request` the value of `Host` stands.
    host_value: Range<usize>,
    /// The backend that `Host` names, as index in the pool, if it names one.
    host_of: Option<u32>,
}

/// Parses and decides. `None`: the head is not complete.
pub fn admit(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
) -> Result<Option<Admitted>, Failure> {
    match &client.wire.stream {
        Stream::Socket(_) => admit_written(shard, client, exchange),
        Stream::Multiplexed(stream) => admit_stream(shard, client, exchange, stream),
    }
}

/// Decides on the head that opened a stream.
fn admit_stream(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    stream: &multiplex::Stream,
) -> Result<Option<Admitted>, Failure> {
    exchange.version.set(20);
    let (head, end) = match stream.take_head() {
        Ok(Some(message)) => message,
        Err(Gone::Malformed(refusal)) => {
            tell_refused(shard, client, exchange, &[], refusal);
            return Err(Failure::Refused(refusal));
        }
        _ => return Err(Failure::ClientLeft),
    };
    let mut slots = FieldSlots::new();
    let decided = match head.as_request(end, &mut slots) {
        Ok(head) => {
            client.expect_body(head.body != RequestBody::None);
            decide(shard, client, exchange, &head).map(Some)
        }
        Err(refusal) => Err(Failure::Refused(refusal)),
    };
    stream.give_head(head);
    decided
}

/// Parses a head of HTTP/1 and decides.
fn admit_written(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
) -> Result<Option<Admitted>, Failure> {
    let mut received = client.wire.take();
    let mut slots = FieldSlots::new();
    let limits = &exchange.plan.snapshot().client.head;
    let tolerates = client.arrival.listener.tolerates_control_bytes;
    let (consumed, outcome) = match h1::parse_request(received.filled(), &mut slots, limits) {
        Err(Refusal::BadFieldValue) if tolerates => {
            let mut slots = FieldSlots::new();
            let parsed = h1::parse_tolerant(received.filled(), &mut slots, limits);
            decide_written(shard, client, exchange, parsed)
        }
        parsed => decide_written(shard, client, exchange, parsed),
    };
    if matches!(outcome, Err(Failure::Refused(Refusal::UnsupportedVersion)))
        && h1::lower_version(received.filled_mut())
    {
        client.wire.put(received, &shard.blocks);
        return admit_written(shard, client, exchange);
    }
    if let Err(Failure::Refused(refusal)) = outcome {
        tell_refused(shard, client, exchange, received.filled(), refusal);
    }
    received.consume(consumed);
    let outcome = match outcome {
        // Bytes behind the head of an upgrade request are refused, because they could belong to the next request or to
        // the new protocol. Bytes behind a body wait for the answer, which tells which of the two they are; none of
        // them is passed on before.
        Ok(Some(admitted))
            if admitted.asked.upgrade && !admitted.has_body && !received.is_empty() =>
        {
            client.keep_alive.set(false);
            Err(Failure::EarlyUpgradeBytes)
        }
        outcome => outcome,
    };
    client.wire.put(received, &shard.blocks);
    outcome
}

/// Decides on the parsed head. The result also has the number of bytes of the head.
fn decide_written(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    parsed: Result<Option<RequestHead<'_, '_>>, Refusal>,
) -> (usize, Result<Option<Admitted>, Failure>) {
    match parsed {
        Ok(None) => (0, Ok(None)),
        Ok(Some(head)) => {
            client.keep_alive.set(head.keep_alive);
            client.expect_body(head.body != RequestBody::None);
            let decided = decide(shard, client, exchange, &head).map(Some);
            (head.head_bytes, decided)
        }
        Err(refusal) => (0, Err(Failure::Refused(refusal))),
    }
}

/// Hands a copy of what was refused to the control thread, for people to look at.
#[cold]
fn tell_refused(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    received: &[u8],
    refusal: Refusal,
) {
    if exchange.plan.snapshot().admin.is_none() || !shard.log_ration.may_tell_refused() {
        return;
    }
    let len = received.len().min(limits::REFUSED_HEAD_BYTES);
    shard.links.tell_refused(RefusedHead {
        worker: shard.worker,
        client: client.arrival.peer.ip(),
        request_id: exchange.id,
        refusal,
        head: received[..len].into(),
    });
}

fn decide(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    head: &RequestHead<'_, '_>,
) -> Result<Admitted, Failure> {
    let trace = Trace::of(shard, exchange, head);
    let mut scratch = Vec::new();
    let normal = path::normalise(head.path, &mut scratch);
    let merge = arrival::merge_slashes(shard, client);
    let (mut merged, mut forwarded) = (Vec::new(), None);
    let path = normal.map(|normal| match merge {
        MergeSlashes::Off => normal,
        MergeSlashes::On => path::merge_slashes(normal, &mut merged),
        MergeSlashes::MatchOnly => {
            forwarded = Some(normal);
            path::merge_slashes(normal, &mut merged)
        }
    });
    let path = path.map_err(Failure::Refused);
    let sent = forwarded.or(path.ok()).unwrap_or(head.path);
    note_head(exchange, client, head, sent, &trace);
    if let Some(answer) = challenge::answer(exchange.plan.snapshot(), client, head) {
        exchange.own_text.replace(Some(answer));
        return Err(Failure::Challenged);
    }
    let found = path.and_then(|path| find_route(exchange, head, path));
    exchange.found_route.set(found.ok());
    check_arrival(shard, client, exchange, head, sent)?;
    let (path, route) = (path?, exchange.take_route(found?));
    check_certificate(client, route)?;
    let forwards = forwards_of(exchange, head)?;
    if let RequestBody::Length(length) = head.body
        && length > route.request_body_bytes
    {
        return Err(Failure::BodyTooLarge);
    }
    if exchange.is_grpc.get()
        && let Some(wait) = head.field("grpc-timeout").and_then(grpc::timeout)
    {
        exchange.bound_by_client(wait);
    }
    let key = key_of(exchange, head, path);
    let own_key = needs_key(head).then(|| shard.make_websocket_key());
    let (carrier, websocket_key) = carrier_of(exchange, head, own_key);
    exchange.carrier.set(carrier);
    let selection = Selection {
        pool: route.pool,
        key,
        carrier,
        last: None,
    };
    let first = choose_first(shard, &exchange.plan, selection);
    Ok(encode(
        shard,
        client,
        exchange,
        head,
        Chosen {
            path: sent,
            route,
            key,
            first,
            trace: trace.fields(),
            forwards,
            own_key,
            websocket_key,
        },
    ))
}

fn find_route(
    exchange: &Exchange,
    head: &RequestHead<'_, '_>,
    path: &[u8],
) -> Result<RouteId, Failure> {
    let table = &exchange.plan.snapshot().route_table;
    let (name, _port) = host::split(head.host).unwrap_or((b"", None));
    let id = table.find(name, path).ok_or(Failure::NoRoute)?;
    match table.misreading(name, path, id) {
        None => Ok(id),
        Some(_) => Err(Failure::Refused(Refusal::AmbiguousRoute)),
    }
}

fn key_of(exchange: &Exchange, head: &RequestHead<'_, '_>, path: &[u8]) -> u64 {
    let pool = exchange.plan.pool(exchange.route().pool);
    if !pool.algorithm.uses_key() {
        return 0;
    }
    match &pool.algorithm.key {
        HashKey::Path => hash_key(path),
        HashKey::Header(name) => hash_key(head.field(name).unwrap_or_default()),
        HashKey::Cookie(name) => hash_key(fields::cookie(head.fields, name).unwrap_or_default()),
        HashKey::ClientAddress => match exchange.client.get() {
            Some(IpAddr::V4(address)) => hash_key(&address.octets()),
            Some(IpAddr::V6(address)) => hash_key(&address.octets()),
            None => 0,
        },
    }
}

struct Chosen<'a> {
    path: &'a [u8],
    route: &'a Route,
    key: u64,
    first: Option<u32>,
    trace: TraceFields<'a>,
    forwards: Forwards,
    /// The key that palantir makes for a WebSocket whose client has given none.
    own_key: Option<[u8; KEY_BYTES]>,
    websocket_key: Option<[u8; KEY_BYTES]>,
}

fn encode(
    shard: &Shard,
    client: &Client,
    exchange: &Exchange,
    head: &RequestHead<'_, '_>,
    chosen: Chosen<'_>,
) -> Admitted {
    let route = chosen.route;
    let mut scratch = Vec::new();
    let path = if route.strip_prefix {
        path::without_prefix(chosen.path, &route.prefix, &mut scratch)
    } else {
        chosen.path
    };
    let client_trusted = is_trusted(exchange, client);
    let edits = RequestEdits {
        path,
        host: host_of(exchange, route, chosen.first),
        client: client.arrival.peer.ip(),
        client_trusted,
        forwarding: forwarding(exchange, head, client_trusted),
        proto: match client.arrival.secured {
            Some(_) => "https",
            None => "http",
        },
        operator: &route.request_fields,
        identity: identity(exchange, client),
        via: route.via,
        expect: !route.answer_continue,
        trace: chosen.trace,
        websocket_key: chosen.own_key.as_ref().map(|key| &key[..]),
        max_forwards: chosen.forwards.written(),
    };
    let mut request = shard.blocks.take();
    let encoded = h1::encode_request(request.vec(), head, &edits);
    Admitted {
        pool: route.pool,
        key: chosen.key,
        asked: Asked {
            head: head.method.is_head(),
            upgrade: head.upgrade,
            strict: exchange.plan.pool(route.pool).strict_responses,
        },
        version: head.version,
        idempotent: head.method.is_idempotent(),
        expects_continue: head.expect_continue,
        body: body_of(client, exchange, head),
        has_body: head.body != RequestBody::None,
        is_whole: head.body == RequestBody::None,
        is_kept: true,
        request,
        first: chosen.first,
        asked_for: asked_for(client, head, route, client_trusted),
        offered: offered(head),
        websocket_key: chosen.websocket_key,
        host_value: encoded.host_value,
        host_of: matches!(route.host_header, HostHeader::Backend)
            .then_some(chosen.first.unwrap_or(0)),
    }
}

/// The value of `Host` for the backend; `None`: the client's own.
fn host_of<'a>(exchange: &'a Exchange, route: &'a Route, first: Option<u32>) -> Option<&'a [u8]> {
    match &route.host_header {
        HostHeader::Preserve => None,
        HostHeader::Literal(host) => Some(host.as_bytes()),
        HostHeader::Backend => {
            let backend = exchange.plan.backend(route.pool, first.unwrap_or(0));
            Some(backend.host.as_bytes())
        }
    }
}

/// The protocols that the client offers, for use after its head is gone.
fn offered(head: &RequestHead<'_, '_>) -> Box<[u8]> {
    match head.upgrade {
        true => head.offered().collect::<Vec<_>>().join(&b", "[..]).into(),
        false => Box::default(),
    }
}

fn body_of(client: &Client, exchange: &Exchange, head: &RequestHead<'_, '_>) -> Body {
    let route = exchange.route();
    let speaks_http1 = exchange.carrier.get() == Carrier::Http1
        || exchange.plan.pool(route.pool).protocol == Protocol::Http1;
    let coming = match head.body {
        RequestBody::None => Coming::Nothing,
        // Over HTTP/2 the stream tells the end, perhaps with trailers, and has the length checked.
        _ if head.version == Version::Http2 => Coming::UntilClose,
        RequestBody::Length(length) => Coming::Length(length),
        RequestBody::Chunked => Coming::Chunked(Box::default()),
    };
    Body {
        chunked: head.body == RequestBody::Chunked && speaks_http1,
        coming,
        most: route.request_body_bytes,
        trailers: Vec::new(),
        rules: (head.body != RequestBody::None).then(|| TrailerRules::of_request(exchange, client)),
    }
}

/// Whether an `Accept` names JSON and not HTML, as far as it is looked at: it only decides what an answer of our own
/// looks like, and may have many kilobytes.
fn prefers_json(accept: &[u8]) -> bool {
    let accept = &accept[..accept.len().min(limits::ACCEPT_BYTES)];
    let names = |kind: &[u8]| {
        accept
            .windows(kind.len())
            .any(|at| at.eq_ignore_ascii_case(kind))
    };
    names(b"application/json") && !names(b"text/html")
}

/// The target with the path that is forwarded, if that path differs from the received one.
fn target_of<'a>(head: &RequestHead<'a, '_>, path: &[u8]) -> Cow<'a, [u8]> {
    match head.query {
        _ if path == head.path => Cow::Borrowed(head.target),
        Some(query) => Cow::Owned([path, b"?", query].concat()),
        None => Cow::Owned(path.to_vec()),
    }
}

/// Keeps what own answers and the log will need of the head.
fn note_head(
    exchange: &Exchange,
    client: &Client,
    head: &RequestHead<'_, '_>,
    path: &[u8],
    trace: &Trace,
) {
    exchange.client.set(client_of(exchange, client, head));
    exchange.is_head.set(head.method.is_head());
    let is_grpc =
        |head: &RequestHead<'_, '_>| head.field("content-type").is_some_and(grpc::is_grpc);
    exchange
        .is_grpc
        .set(head.version == Version::Http2 && is_grpc(head));
    exchange
        .wants_json
        .set(head.field("accept").is_some_and(prefers_json));
    exchange.version.set(match head.version {
        Version::Http10 => 10,
        Version::Http11 => 11,
        Version::Http2 => 20,
    });
    if exchange.plan.snapshot().access_log.is_some() {
        let field = |name| head.field(name).unwrap_or_default();
        let target = target_of(head, path);
        let texts = Texts::new(
            head.method.as_bytes(),
            &target,
            head.host,
            field("referer"),
            field("user-agent"),
            trace.id(head),
        );
        exchange.texts.replace(Some(texts));
    }
}

impl Admitted {
    /// Whether the client offered to switch to each of these protocols (RFC 9110 section 7.8).
    pub fn has_offered(&self, protocols: &[u8]) -> bool {
        let is_offered = |chosen: &[u8]| {
            fields::list(&self.offered).any(|offered| offered.eq_ignore_ascii_case(chosen))
        };
        fields::list(protocols).all(is_offered)
    }

    /// Makes the request ready to be sent, from its beginning: `Host` names the backend that it goes to, if it is to
    /// name the backend at all.
    pub fn prepare_for(&mut self, exchange: &Exchange, index: u32) {
        self.request.rewind();
        if self.host_of.is_none_or(|named| named == index) {
            return;
        }
        let host = exchange.plan.backend(self.pool, index).host.as_bytes();
        let value = self.host_value.clone();
        self.request
            .vec()
            .splice(value.clone(), host.iter().copied());
        self.host_value.end = value.start + host.len();
        self.host_of = Some(index);
    }
}
