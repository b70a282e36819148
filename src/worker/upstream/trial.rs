//! Backends that rest on this core: how they begin to, how they are tried, and how they come back.

use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::net::{Socket, Timer, TlsVersion, spawn};
use crate::snapshot::Protocol;
use crate::worker::failure::Failure;
use crate::worker::multiplex::Unconnected;
use crate::worker::shard::Shard;
use crate::worker::upstream::ReuseKey;
use crate::worker::upstream::descriptors::may_open;
use crate::worker::upstream::dial::{Security, dial, say_no_tls};
use crate::worker::upstream::rest::Due;

/// Takes into account that a backend could not be connected to with these settings.
pub fn note_unconnected(shard: &Shard, id: BackendId, key: ReuseKey, unconnected: Unconnected) {
    // That there is no descriptor left says nothing about the backend.
    if unconnected == Unconnected::Exhausted || !shard.plan().is_current(id, key) {
        return;
    }
    let now = shard.timers.millis();
    let Some(millis) = shard.rests.borrow_mut().failed(id, now) else {
        return;
    };
    shard.set_share(id, 0);
    if shard.log_ration.may_log_failure() {
        let word = Failure::of_unconnected(unconnected).label();
        let backend = label(shard, id);
        warn!("backend {backend} rests for {millis} ms on this worker: {word}");
    }
}

/// Whether a backend has refused this process behind the handshake on a connection that was made with these settings;
/// that is logged, and taken into account as if the handshake had failed.
pub fn note_refusal(shard: &Shard, (id, key): (BackendId, ReuseKey), socket: &Socket) -> bool {
    let Some(failure) = socket.tls_refusal() else {
        return false;
    };
    let plan = shard.plan();
    if let Some(backend) = plan.backend_of(id) {
        say_no_tls(shard, &backend.label, &backend.server_name, &failure);
    }
    // A backend of HTTP/2 that refuses a connection of HTTP/1.1 may take its other requests.
    let protocol = plan.pool_with(id).map(|pool| pool.protocol);
    if protocol != Some(Protocol::Http2) || socket.alpn() == Some(b"h2") {
        note_unconnected(shard, id, key, Unconnected::Untrusted);
    }
    true
}

/// Takes into account that a backend was connected to.
pub fn note_connected(shard: &Shard, id: BackendId) {
    let now = shard.timers.millis();
    if shard.rests.borrow_mut().connected(id, now) {
        shard.set_share(id, 1);
        if shard.log_ration.may_log_failure() {
            let backend = label(shard, id);
            info!("backend {backend} gets requests of this worker again: it can be connected to");
        }
    }
}

/// Does what is due at a tick.
pub fn go_on(shard: &Rc<Shard>) {
    let due = shard.rests.borrow_mut().due(shard.timers.millis());
    for due in due {
        match due {
            Due::Share(id, share) => shard.set_share(id, share),
            Due::Try(id) => {
                if let Some(key) = shard.plan().reuse_key(id) {
                    spawn(connect_once(shard.clone(), id, key));
                }
            }
        }
    }
}

/// Connects to a backend for no request, and closes the connection again.
async fn connect_once(shard: Rc<Shard>, id: BackendId, key: ReuseKey) {
    let plan = shard.plan();
    let (Some(pool), Some(backend)) = (plan.pool_with(id), plan.backend_of(id)) else {
        return;
    };
    let Some(addr) = &backend.addr else {
        return;
    };
    if !may_open(&shard, 0) {
        return postpone(&shard, id);
    }
    // A handshake would have to begin with a client's address.
    let security = match pool.proxy_protocol {
        None => Security::of(pool, backend, pool.protocol),
        Some(_) => None,
    };
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::TRIAL_MILLIS));
    match dial(&shard, addr, None, security.as_ref(), &timer).await {
        Ok(socket) => {
            await_verdict(&socket, &timer).await;
            if !note_refusal(&shard, (id, key), &socket) {
                note_connected(&shard, id);
            }
            socket.end();
        }
        Err(Unconnected::Exhausted) => postpone(&shard, id),
        Err(unconnected) => note_unconnected(&shard, id, key, unconnected),
    }
}

/// Gives a backend the time to refuse this process behind a handshake of TLS 1.3. Most that do not refuse it say so by
/// a session ticket.
async fn await_verdict(socket: &Socket, timer: &Timer) {
    let version = socket.negotiated().map(|negotiated| negotiated.version);
    if version != Some(TlsVersion::Tls13) {
        return;
    }
    timer.set(Duration::from_millis(limits::TRIAL_VERDICT_MILLIS));
    socket.watch();
    if timer.bound(|cx| socket.poll_readable(cx)).await.is_ok() {
        let _ = socket.unasked(); // What came is opened by that.
    }
}

fn postpone(shard: &Shard, id: BackendId) {
    let now = shard.timers.millis();
    shard.rests.borrow_mut().postpone(id, now);
}

fn label(shard: &Shard, id: BackendId) -> String {
    let plan = shard.plan();
    let backend = plan.backend_of(id);
    backend.map_or_else(String::new, |backend| backend.label.clone())
}
