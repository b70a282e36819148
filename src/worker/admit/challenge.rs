//! An authority that asks in cleartext whether a name is ours (RFC 8555 section 8.3). It is answered before anything
//! else is decided about its request: it follows no redirect to a port whose certificate it is about to give.

use crate::http::h1::RequestHead;
use crate::snapshot::Snapshot;
use crate::worker::downstream::Client;

const BELOW: &[u8] = b"/.well-known/acme-challenge/";

/// What is answered; `None`: the request is no such question, or none that anybody waits for. It then goes its ordinary
/// way, where a backend may have ordered a certificate itself.
pub fn answer(snapshot: &Snapshot, client: &Client, head: &RequestHead<'_, '_>) -> Option<String> {
    let token = head.path.strip_prefix(BELOW)?;
    let is_asked = matches!(head.method.as_bytes(), b"GET" | b"HEAD");
    if !is_asked || client.arrival.listener.tls.is_some() {
        return None;
    }
    snapshot.challenges.answer_for(token)
}
