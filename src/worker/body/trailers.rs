//! Chooses the trailers that are passed on. A receiver may merge trailers into the fields of the head (RFC 9110 section
//! 6.5.1), so that a name which the sender may not send in the head must not come as a trailer either.

use std::rc::Rc;

use crate::base::ids::RouteId;
use crate::http::h1::retain_trailers;
use crate::http::names::Identity;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::live_config::LiveConfig;
use crate::worker::live_config::listener::LiveListener;

/// The rules by which the trailers of one message pass or are dropped.
pub struct TrailerRules {
    config: Rc<LiveConfig>,
    route: RouteId,
    /// The listener of the client that sent the trailers; `None`: a backend sent them.
    listener: Option<Rc<LiveListener>>,
}

impl TrailerRules {
    /// The rules for the trailers of the request. [`Exchange::take_route`] comes before.
    pub fn of_request(exchange: &Exchange, client: &Client) -> TrailerRules {
        let listener = Some(client.arrival.listener.clone());
        TrailerRules::new(exchange, listener)
    }

    /// The rules for the trailers of the answer.
    pub fn of_response(exchange: &Exchange) -> TrailerRules {
        TrailerRules::new(exchange, None)
    }

    fn new(exchange: &Exchange, listener: Option<Rc<LiveListener>>) -> TrailerRules {
        TrailerRules {
            config: exchange.config.clone(),
            route: exchange.route_id(),
            listener,
        }
    }

    /// Takes the trailers that are not passed on out of `trailers`, each `name: value CRLF`.
    pub fn apply(&self, trailers: &mut Vec<u8>) {
        debug_assert!(
            trailers.is_empty() || trailers.ends_with(b"\r\n"),
            "each trailer is a line"
        );
        retain_trailers(trailers, |name| self.passes(name));
    }

    fn passes(&self, name: &[u8]) -> bool {
        let snapshot = self.config.snapshot();
        let route = &snapshot.routes[self.route.index()];
        match &self.listener {
            None => !route.response_fields.names().contains(name),
            Some(listener) => {
                let own = listener.tls.as_ref().map(|tls| &tls.identity_names);
                let all = &snapshot.identity_names;
                let identity = Identity {
                    names: [all, own.unwrap_or(all)],
                    fields: &[],
                };
                !route.request_fields.names().contains(name) && !identity.is_ours(name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addresses::ListenAddr;
    use crate::http::names::FieldEdits;
    use crate::snapshot::sample::{self, route_of};
    use crate::worker::sample::routed;

    #[test]
    fn a_name_that_the_sender_may_not_give_in_a_head_is_no_trailer_either() {
        let addr = ListenAddr::Tcp(([127, 0, 0, 1], 1).into());
        let edits = |name: &str| FieldEdits::new(vec![name.to_owned()], Vec::new());
        let exchange = routed(|snapshot| {
            snapshot.listeners = vec![sample::listener(addr.clone())];
            snapshot.identity_names = ["x-client".to_owned()].into_iter().collect();
            route_of(snapshot).request_fields = edits("x-request");
            route_of(snapshot).response_fields = edits("x-response");
        });
        let listener = exchange.config.listener(&addr).cloned();
        let sent = b"a: 1\r\nx-request: 2\r\nX-Response: 3\r\nx-client: 4\r\n";
        let rows: [(_, &[u8]); 2] = [
            (listener, b"a: 1\r\nX-Response: 3\r\n"),
            (None, b"a: 1\r\nx-request: 2\r\nx-client: 4\r\n"),
        ];
        for (listener, expected) in rows {
            let is_of_request = listener.is_some();
            let mut trailers = sent.to_vec();
            TrailerRules::new(&exchange, listener).apply(&mut trailers);
            assert_eq!(trailers, expected, "of the request: {is_of_request}");
        }
    }
}
