//! The step that finds the route of a request, and checks the demands of the route on the request.

use super::{Early, Incoming};
use crate::base::ids::RouteId;
use crate::http::grpc;
use crate::http::h1::RequestBody;
use crate::http::max_forwards::Forwards;
use crate::http::refusal::Refusal;
use crate::snapshot::Route;
use crate::tls::Unidentified;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::reply::Reply;

/// Finds the route for host and path, whether or not the request may take it. Errors: no route matches, or servers read
/// the path in more than one way.
#[inline]
pub fn find(incoming: &Incoming<'_>, exchange: &mut Exchange) -> Result<RouteId, Failure> {
    let path = incoming.target.path.map_err(Failure::Refused)?;
    let table = &incoming.config.snapshot().route_table;
    let name = incoming.head.host_name;
    let id = table.find(name, path).ok_or(Failure::NoRoute)?;
    if table.misreading(name, path, id).is_some() {
        return Err(Failure::Refused(Refusal::AmbiguousRoute));
    }
    exchange.facts.found_route = Some(id);
    Ok(id)
}

/// Lets a request take its route. Errors: the route does not take this request. A request that may not be forwarded any
/// further ends with a reply (RFC 9110 section 7.6.2).
#[inline]
pub fn enter<'a>(
    incoming: &Incoming<'a>,
    exchange: &mut Exchange,
    found: Result<RouteId, Failure>,
) -> Result<&'a Route, Early> {
    let head = incoming.head;
    let id = found?;
    exchange.take_route(id);
    let route = &incoming.config.snapshot().routes[id.index()];
    check_certificate(incoming.client, route)?;
    if incoming.forwards.map_err(Failure::Refused)? == Forwards::Spent {
        return Err(Reply::options().into());
    }
    if let RequestBody::Length(length) = head.body
        && length > route.request_body_bytes
    {
        return Err(Failure::BodyTooLarge.into());
    }
    if exchange.facts.is_grpc
        && let Some(wait) = head.field("grpc-timeout").and_then(grpc::timeout)
    {
        exchange.bound_by_client(wait);
    }
    Ok(route)
}

/// Refuses a client without a certificate if the route demands one, and a client whose certificate names no identity
/// that backends could be told.
fn check_certificate(client: &Client, route: &Route) -> Result<(), Failure> {
    let secured = client.arrival.secured.as_ref();
    match secured.and_then(|secured| secured.identity.as_ref()) {
        None if route.wants_certificate => Err(Failure::CertificateMissing),
        Some(Err(Unidentified::NoSubject)) => Err(Failure::SubjectMissing),
        Some(Err(Unidentified::Unusable)) => Err(Failure::CertificateUnusable),
        None | Some(Ok(_)) => Ok(()),
    }
}
