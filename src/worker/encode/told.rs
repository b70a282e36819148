//! The fields that tell a backend about the client and the way of the request.

use crate::http::h1::{Forwarding, RequestHead};
use crate::http::names::Identity;
use crate::worker::downstream::{Arrival, Client};
use crate::worker::exchange::Exchange;

/// The fields that tell the backend how the request reached palantir.
#[inline]
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::snapshot::sample;
    use crate::worker::decide::sample::with_head;
    use crate::worker::sample::routed;

    #[test]
    fn a_backend_is_told_the_clients_address_unless_a_trusted_proxy_told_it() {
        let told = "X-Real-IP: 10.0.0.9\n";
        let also = "X-Real-IP: 10.0.0.9\nX-Forwarded-For: 10.0.0.8\n";
        // Whether the route wants the field, whether the client is a trusted proxy, and the fields that came.
        let rows = [
            (false, false, "", false),
            (true, false, "", true),
            (true, false, told, true),
            (true, true, "", true),
            (true, true, told, false),
            (true, true, also, true),
        ];
        let client: IpAddr = [10, 0, 0, 1].into();
        for (wanted, client_trusted, lines, expected) in rows {
            let mut exchange = routed(|snapshot| sample::route_of(snapshot).x_real_ip = wanted);
            exchange.facts.client = Some(client);
            let text = format!("GET / HTTP/1.1\nHost: a\n{lines}");
            let real_ip = with_head(&text, |head| {
                forwarding(&exchange, head, client_trusted).real_ip
            });
            assert_eq!(
                real_ip,
                expected.then_some(client),
                "{client_trusted} {lines}"
            );
        }
    }

    #[test]
    fn a_route_says_whether_forwarded_is_written() {
        for wanted in [false, true] {
            let exchange = routed(|snapshot| sample::route_of(snapshot).forwarded = wanted);
            let is_written = with_head("GET / HTTP/1.1\nHost: a\n", |head| {
                forwarding(&exchange, head, false).forwarded
            });
            assert_eq!(is_written, wanted);
        }
    }
}
