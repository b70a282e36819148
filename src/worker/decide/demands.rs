//! The fate of a request on a connection whose listener demands something else by now.
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
    // The listener would find out by other means now who the client is.
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::addresses::ListenAddr;
    use crate::net::RemoteAddr;
    use crate::snapshot::sample;
    use crate::worker::live_listener::listeners_after;

    /// A client in cleartext of a listener that is changed like this.
    fn arrival(change: impl FnOnce(&mut Listener)) -> (Listener, Arrival) {
        let mut listener = sample::listener(ListenAddr::Tcp(([127, 0, 0, 1], 1).into()));
        change(&mut listener);
        let snapshot = sample::adapted(sample::snapshot(1, Vec::new()), |snapshot| {
            snapshot.listeners = vec![listener.clone()];
        });
        let peer = RemoteAddr::Tcp(([127, 0, 0, 1], 9).into());
        let arrival = Arrival {
            peer,
            connection_peer: peer,
            reached: None,
            listener: listeners_after(&[], &snapshot).remove(0),
            secured: None,
            upstreams: Rc::default(),
        };
        (listener, arrival)
    }

    #[test]
    fn a_connection_is_known_by_the_means_that_its_listener_demands() {
        let time = UnixTime::now();
        type Change = fn(&mut Listener);
        let range = |text: &str| vec![text.parse().unwrap()];
        let rows: [(&str, bool, Change, bool); 4] = [
            ("no change", false, |_| (), true),
            ("another bound", false, |now| now.connections = 1, true),
            (
                "a PROXY header is wanted by now",
                false,
                |now| now.options.proxy_protocol = true,
                false,
            ),
            (
                "no PROXY header is wanted any more",
                true,
                |now| now.options.proxy_protocol = false,
                false,
            ),
        ];
        for (name, was_proxied, change, expected) in rows {
            let (mut now, arrival) = arrival(|then| then.options.proxy_protocol = was_proxied);
            change(&mut now);
            assert_eq!(are_met(&now, &arrival, time), expected, "{name}");
        }
        for (senders, expected) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
            let (mut now, arrival) = arrival(|then| then.options.proxy_protocol = true);
            now.proxy_protocol_from = range(senders);
            assert_eq!(are_met(&now, &arrival, time), expected, "{senders}");
        }
    }
}
