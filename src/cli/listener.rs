//! Chooses the listener that a request of `palantir explain` would reach.

use crate::base::addresses::ListenAddr;
use crate::http::host;
use crate::snapshot::{Listener, Snapshot};

/// A listener, and the reason why it was chosen, as words that follow its address.
pub(super) type Taken<'s> = (&'s Listener, &'static str);

/// The listener with the address `wanted`; without that, the listener that fits the scheme and port of the URL best.
/// Errors: there is no listener with that address.
pub(super) fn take<'s>(
    snapshot: &'s Snapshot,
    url: &str,
    wanted: Option<&str>,
) -> Result<Taken<'s>, String> {
    let listeners = &snapshot.listeners;
    if let Some(wanted) = wanted {
        let known = |listener: &&Listener| listener.addr.to_string() == wanted;
        return match listeners.iter().find(known) {
            Some(listener) => Ok((listener, "by --listener")),
            None => {
                let all: Vec<String> = listeners.iter().map(|one| one.addr.to_string()).collect();
                Err(format!(
                    "there is no listener {wanted}; known: {}",
                    all.join(", ")
                ))
            }
        };
    }
    let (is_tls, port) = asked_for(url);
    let speaks = |listener: &&Listener| listener.tls.is_some() == is_tls;
    let is_there = |listener: &&Listener| port_of(listener) == Some(port) && speaks(listener);
    let by_port = listeners.iter().find(is_there);
    let by_scheme = listeners.iter().find(speaks);
    by_port
        .map(|listener| (listener, "by scheme and port of the URL"))
        .or(by_scheme.map(|listener| (listener, "the first one of the URL's scheme")))
        .or(listeners
            .first()
            .map(|listener| (listener, "the first one")))
        .ok_or_else(|| "there is no listener".to_owned())
}

/// Whether a URL asks for TLS, and for which port.
fn asked_for(url: &str) -> (bool, u16) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let is_tls = scheme.eq_ignore_ascii_case("https");
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let port = host::split(authority.as_bytes()).and_then(|(_, port)| port);
    (is_tls, port.unwrap_or(if is_tls { 443 } else { 80 }))
}

fn port_of(listener: &Listener) -> Option<u16> {
    match &listener.addr {
        ListenAddr::Tcp(addr) => Some(addr.port()),
        ListenAddr::Unix(_) => None,
    }
}
