//! The fields that tell a backend about the client and the way of the request.

use crate::http::h1::{Forwarding, RequestHead};
use crate::http::names::Identity;
use crate::worker::downstream::{Arrival, Client};
use crate::worker::exchange::Exchange;

/// The fields that tell the backend how the request reached palantir.
pub fn forwarding<'a>(
    exchange: &'a Exchange,
    head: &RequestHead<'_, '_>,
    client_trusted: bool,
) -> Forwarding<'a> {
    let route = exchange.route();
    // A proxy that names its client only in `X-Real-IP` must not be named as the client itself.
    let is_told = || {
        client_trusted
            && head.field("x-real-ip").is_some()
            && head.field("x-forwarded-for").is_none()
    };
    Forwarding {
        forwarded: route.forwarded,
        real_ip: if route.x_real_ip && !is_told() {
            exchange.facts.client
        } else {
            None
        },
        pass: &exchange.config.snapshot().pass_fields,
    }
}

/// The identity of the client that the backend is told.
pub fn identity<'a>(exchange: &'a Exchange, client: &'a Client) -> Identity<'a> {
    let Arrival {
        listener, secured, ..
    } = &client.arrival;
    let all = &exchange.config.snapshot().identity_names;
    let own = listener.tls.as_ref().map(|tls| &tls.identity_names);
    let fields = secured.as_ref().and_then(|secured| secured.fields());
    Identity {
        names: [all, own.unwrap_or(all)],
        fields: fields.unwrap_or_default(),
    }
}
