//! Which trailers of an exchange are passed on. A receiver may put them among the fields of the head (RFC 9110 section
//! 6.5.1), so that a name which the sender may not give there must not come this way either.

use std::rc::Rc;

use crate::base::ids::RouteId;
use crate::http::h1::retain_trailers;
use crate::http::names::Identity;
use crate::worker::downstream::Client;
use crate::worker::exchange::Exchange;
use crate::worker::live_config::LiveConfig;
use crate::worker::live_listener::LiveListener;

/// The rules by which the trailers of one message pass or are dropped.
pub struct TrailerRules {
    config: Rc<LiveConfig>,
    route: RouteId,
    /// Where the client came in that sent them; `None`: a backend sent them.
    listener: Option<Rc<LiveListener>>,
}

impl TrailerRules {
    /// Of the request. Only after [`Exchange::take_route`].
    pub fn of_request(exchange: &Exchange, client: &Client) -> TrailerRules {
        let listener = Some(client.arrival.listener.clone());
        TrailerRules::new(exchange, listener)
    }

    /// Of the answer.
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

    /// Takes out of `trailers`, each `name: value CRLF`, those that are not passed on.
    pub fn apply(&self, trailers: &mut Vec<u8>) {
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
