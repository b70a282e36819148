//! What becomes of a request on a connection whose listener demands something else by now.
//!
//! Such a connection ends with its next answer. Until then it is not what it was let in for: each of its requests is
//! decided by what the listener demands at present, as far as the connection can meet that at all.

use rustls::pki_types::UnixTime;

use crate::snapshot::Listener;
use crate::tls::Fact;
use crate::worker::downstream::{Arrival, Secured};

/// Whether a connection meets, at this time, what its listener demands now.
pub fn are_met(now: &Listener, arrival: &Arrival, time: UnixTime) -> bool {
    let then = &arrival.listener;
    // Who the client is, would be known by other means now.
    let is_known_alike =
        now.proxy_protocol == then.proxy_protocol && identity(now) == identity(then);
    let sender = arrival.connection_peer.ip();
    let is_sender_believed = !now.proxy_protocol || now.takes_proxy_header_of(sender);
    is_known_alike && is_sender_believed && is_let_in(now, arrival.secured.as_deref(), time)
}

fn identity(listener: &Listener) -> &[(String, Fact)] {
    listener.tls.as_ref().map_or(&[], |tls| &tls.identity)
}

fn is_let_in(now: &Listener, secured: Option<&Secured>, time: UnixTime) -> bool {
    let chain = secured.and_then(|secured| secured.client_chain.as_deref());
    let chain = chain.unwrap_or_default();
    match &now.tls {
        Some(_) if secured.is_none() => false,
        // Where no certificate is asked for, none is believed either.
        tls => match tls.as_ref().and_then(|tls| tls.trust.as_ref()) {
            Some(trust) => trust.accepts(chain, time),
            None => chain.is_empty(),
        },
    }
}
