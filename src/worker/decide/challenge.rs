//! An authority that asks in cleartext whether a name is ours (RFC 8555 section 8.3). It is answered before anything
//! else is decided about its request: it follows no redirect to a port whose certificate it is about to give.

use super::{Early, Incoming};
use crate::worker::reply::Reply;

const BELOW: &[u8] = b"/.well-known/acme-challenge/";

/// Answers an authority. A request that is no such question, or a question that nobody waits for, goes its ordinary
/// way, where a backend may have ordered a certificate itself.
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
