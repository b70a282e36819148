//! Answers to an authority that asks in cleartext whether a name belongs to this server (RFC 8555 section 8.3). The
//! answer is given before any other step of the decision: the authority must not be redirected to a port whose
//! certificate is not issued yet.

use super::{Early, Incoming};
use crate::worker::reply::Reply;

const BELOW: &[u8] = b"/.well-known/acme-challenge/";

/// Answers an authority. Any other request, and a question that palantir has no answer for, takes its ordinary way: a
/// backend may have ordered a certificate itself.
pub fn answer(incoming: &Incoming<'_>) -> Result<(), Early> {
    let head = incoming.head;
    let Some(token) = head.path.strip_prefix(BELOW) else {
        return Ok(());
    };
    let is_asked = matches!(head.method.as_bytes(), b"GET" | b"HEAD");
    if !is_asked || incoming.client.arrival.listener.tls.is_some() {
        return Ok(());
    }
    match incoming.config.snapshot().challenges.answer_for(token) {
        Some(answer) => Err(Reply::challenge(answer).into()),
        None => Ok(()),
    }
}
