//! Backends that rest on this core: how a rest begins, how a backend is tried, and how it returns.

use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use crate::base::addresses::BackendAddr;
use crate::base::ids::BackendId;
use crate::base::limits;
use crate::net::{Socket, Timer, TlsVersion, spawn};
use crate::snapshot::Protocol;
use crate::worker::failure::Failure;
use crate::worker::multiplex::Unconnected;
use crate::worker::shard::Shard;
use crate::worker::upstream::ReuseKey;
use crate::worker::upstream::await_descriptor::may_open;
use crate::worker::upstream::dial::{Preliminaries, TlsTarget, dial, log_no_tls};
use crate::worker::upstream::rest::Due;

/// Notes that a backend could not be connected to with the settings of this key.
pub fn note_unconnected(shard: &Shard, id: BackendId, key: ReuseKey, unconnected: Unconnected) {
    if shard.config().is_current(id, key) {
        let_rest(shard, id, unconnected);
    }
}

/// Takes into account that the address of a backend refuses connections, or does not answer. The settings with which
/// the connection was to be made do not matter for that: a request of an earlier configuration learns the same of the
/// address as any other, and would go on trying a backend that does not rest.
pub fn note_unreachable(
    shard: &Shard,
    id: BackendId,
    addr: &BackendAddr,
    unconnected: Unconnected,
) {
    let config = shard.config();
    let backend = config.backend_of(id);
    if backend.is_some_and(|backend| backend.addr.as_ref() == Some(addr)) {
        let_rest(shard, id, unconnected);
    }
}

fn let_rest(shard: &Shard, id: BackendId, unconnected: Unconnected) {
    #[cfg(test)]
    if crate::simulated::is_planted(crate::simulated::Fault::NeverRests) {
        return;
    }
    // A lack of descriptors says nothing about the backend.
    if unconnected == Unconnected::Exhausted {
        return;
    }
    let now = shard.timers.millis();
    let Some(millis) = shard.rests.borrow_mut().failed(id, now) else {
        return;
    };
    shard.set_share(id, 0);
    if shard.log_ration.may_log_failure() {
        let reason = Failure::of_unconnected(unconnected).label();
        let backend = label(shard, id);
        warn!("backend {backend} rests for {millis} ms on this worker: {reason}");
    }
}

/// Whether a backend has refused this process after the TLS handshake, on a connection with this key. A refusal is
/// logged, and noted as a handshake that failed.
pub fn note_refusal(shard: &Shard, (id, key): (BackendId, ReuseKey), socket: &Socket) -> bool {
    let Some(failure) = socket.tls_refusal() else {
        return false;
    };
    let config = shard.config();
    if let Some(backend) = config.backend_of(id) {
        log_no_tls(shard, &backend.label, &backend.server_name, &failure);
    }
    // A backend of HTTP/2 that refuses a connection of HTTP/1.1 may take its other requests.
    let protocol = config.pool_with(id).map(|pool| pool.protocol);
    if protocol != Some(Protocol::Http2) || socket.alpn() == Some(b"h2") {
        note_unconnected(shard, id, key, Unconnected::Untrusted);
    }
    true
}

/// Notes that a backend was connected to.
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

/// Does the acts that are due at a tick.
pub fn go_on(shard: &Rc<Shard>) {
    let due = shard.rests.borrow_mut().due(shard.timers.millis());
    for due in due {
        match due {
            Due::Share(id, share) => shard.set_share(id, share),
            Due::Try(id) => {
                if let Some(key) = shard.config().reuse_key(id) {
                    spawn(connect_once(shard.clone(), id, key));
                }
            }
        }
    }
}

/// Connects to a backend without a request, and closes the connection again.
async fn connect_once(shard: Rc<Shard>, id: BackendId, key: ReuseKey) {
    let config = shard.config();
    let (Some(pool), Some(backend)) = (config.pool_with(id), config.backend_of(id)) else {
        return;
    };
    let Some(addr) = &backend.addr else {
        return;
    };
    if !may_open(&shard, 0) {
        return postpone(&shard, id);
    }
    // With a PROXY header, a handshake would have to begin with the address of a client.
    let security = match pool.proxy_protocol {
        None => TlsTarget::of(pool, backend, pool.protocol),
        Some(_) => None,
    };
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::TRIAL_MILLIS));
    let preliminaries = Preliminaries {
        introduction: None,
        security: security.as_ref(),
    };
    match dial(&shard, addr, preliminaries, &timer).await {
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

/// Gives a backend the time to refuse this process after a handshake of TLS 1.3 (RFC 8446 section 4.4.2.4). Most
/// backends that do not refuse it send a session ticket.
async fn await_verdict(socket: &Socket, timer: &Timer) {
    let version = socket.negotiated().map(|negotiated| negotiated.version);
    if version != Some(TlsVersion::Tls13) {
        return;
    }
    timer.set(Duration::from_millis(limits::TRIAL_VERDICT_MILLIS));
    socket.watch();
    if timer.bound(|cx| socket.poll_readable(cx)).await.is_ok() {
        let _ = socket.unasked(); // The call decrypts the bytes that came, which may be a refusal.
    }
}

fn postpone(shard: &Shard, id: BackendId) {
    let now = shard.timers.millis();
    shard.rests.borrow_mut().postpone(id, now);
}

fn label(shard: &Shard, id: BackendId) -> String {
    let config = shard.config();
    let backend = config.backend_of(id);
    backend.map_or_else(String::new, |backend| backend.label.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::{POOL, listener, refusing, run_worker, until};

    /// Has a backend at this address fail once, and lets its rest pass; its share of the requests before and after.
    fn share_after_a_rest(addr: BackendAddr, unconnected: Unconnected) -> (u8, u8) {
        run_worker(
            &[addr],
            |_| (),
            async |shard| {
                let id = shard.config().backend(POOL, 0).id();
                let key = shard.config().reuse_key(id).unwrap();
                note_unconnected(&shard, id, key, unconnected);
                let share = || shard.tables.of(shard.worker).share(id);
                let before = share();
                let due = shard.timers.millis() + 2 * limits::REST_MILLIS + limits::TRIAL_MILLIS;
                until(&shard, || share() != before || shard.timers.millis() > due).await;
                (before, share())
            },
        )
    }

    #[test]
    fn a_backend_that_can_be_connected_to_again_comes_back_gently() {
        let (_listener, addr) = listener();
        let (before, after) = share_after_a_rest(addr, Unconnected::Failed);
        assert_eq!(before, 0, "it rests");
        assert!(after > 0 && after < limits::WHOLE_SHARE, "{after}");
    }

    #[test]
    fn a_backend_that_still_refuses_rests_on() {
        assert_eq!(
            share_after_a_rest(refusing(), Unconnected::TimedOut),
            (0, 0)
        );
    }

    #[test]
    fn an_address_that_refuses_lets_its_backend_rest_whatever_the_settings() {
        let addr = refusing();
        run_worker(
            std::slice::from_ref(&addr),
            |_| (),
            async |shard| {
                let id = shard.config().backend(POOL, 0).id();
                let share = || shard.tables.of(shard.worker).share(id);
                note_unreachable(&shard, id, &listener().1, Unconnected::Failed);
                assert_eq!(share(), limits::WHOLE_SHARE, "the backend is elsewhere now");
                note_unreachable(&shard, id, &addr, Unconnected::Exhausted);
                assert_eq!(share(), limits::WHOLE_SHARE, "no descriptor is left");
                note_unreachable(&shard, id, &addr, Unconnected::Failed);
                assert_eq!(share(), 0);
            },
        );
    }

    #[test]
    fn only_a_failure_of_the_backend_as_it_is_now_lets_it_rest() {
        run_worker(
            &[refusing()],
            |_| (),
            async |shard| {
                let id = shard.config().backend(POOL, 0).id();
                let key = shard.config().reuse_key(id).unwrap();
                let whole = || shard.tables.of(shard.worker).share(id) == limits::WHOLE_SHARE;
                note_unconnected(&shard, id, key, Unconnected::Exhausted);
                assert!(whole(), "this process has no descriptor left");
                note_unconnected(&shard, id, ReuseKey::default(), Unconnected::Failed);
                assert!(whole(), "that was a connection of an earlier configuration");
                note_unconnected(&shard, id, key, Unconnected::Untrusted);
                assert!(!whole());
                note_connected(&shard, id);
                assert_eq!(shard.tables.of(shard.worker).share(id), 1);
            },
        );
    }
}
