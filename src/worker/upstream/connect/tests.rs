//! Connections for callers without a client, to backends on loopback.

use std::io::{Read, Write};
use std::task::{Context, Poll};
use std::time::Duration;

use super::*;
use crate::http::proxy_protocol::ProxiedAddrs;
use crate::snapshot::{Pool, ProxyProtocol};
use crate::worker::sample::{
    POOL, listener, of_http2, refusing, run_worker, run_worker_with, until,
};
use crate::worker::upstream::keep_idle;
use crate::worker::upstream::sample::{BY_HTTP1, FRESH, Own, PLAIN, WEBSOCKET, kind_of, ready};

/// SETTINGS without any setting, and with SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const CONNECT_SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01";

fn at_most(count: u32) -> impl FnOnce(&mut Pool) {
    move |pool| pool.backends[0].max_connections = count
}

#[test]
fn a_connection_that_is_given_back_is_used_again() {
    let (_listener, addr) = listener();
    run_worker(
        &[addr],
        |_| (),
        async |shard| {
            let own = Own::of(&shard);
            let first = ready(own.connect(&shard, 0, PLAIN).await);
            assert_eq!((first.reused, own.held.get()), (false, 1));
            keep_idle(&shard, first);
            assert_eq!(own.held.get(), 0, "an idle connection serves nobody");
            let other = ready(own.connect(&shard, 0, FRESH).await);
            assert!(!other.reused, "a fresh one was asked for");
            let again = ready(own.connect(&shard, 0, PLAIN).await);
            assert!(again.reused);
            assert_eq!(own.held.get(), 2);
            drop((other, again));
            assert_eq!(own.held.get(), 0);
        },
    );
}

#[test]
fn a_backend_with_as_many_connections_as_it_may_have_gives_none() {
    let (_listener, addr) = listener();
    run_worker(&[addr], at_most(1), async |shard| {
        let own = Own::of(&shard);
        let first = ready(own.connect(&shard, 0, PLAIN).await);
        assert_eq!(kind_of(&own.connect(&shard, 0, PLAIN).await), "lost race");
        keep_idle(&shard, first);
        // An idle connection of this core is closed for a request that needs a new one.
        let fresh = ready(own.connect(&shard, 0, FRESH).await);
        assert!(!fresh.reused);
        drop(fresh);
        assert_eq!(shard.tables.open(own.config.backend(POOL, 0).id()), 0);
    });
}

#[test]
fn a_refused_connection_says_which_backend_refused() {
    run_worker(
        &[refusing()],
        |_| (),
        async |shard| {
            let own = Own::of(&shard);
            let id = own.config.backend(POOL, 0).id();
            match own.connect(&shard, 0, PLAIN).await {
                Connected::Failed { failure, backend } => {
                    assert_eq!((failure, backend), (Failure::ConnectFailed, id));
                }
                other => panic!("{}", kind_of(&other)),
            }
            assert_eq!(shard.tables.of(shard.worker).share(id), 0, "it rests");
        },
    );
}

#[test]
fn another_address_of_the_name_takes_the_place_of_one_that_refuses() {
    let (_listener, addr) = listener();
    let all = |pool: &mut Pool| {
        for backend in &mut pool.backends {
            backend.addresses = 0..2;
        }
    };
    run_worker(&[refusing(), addr], all, async |shard| {
        let own = Own::of(&shard);
        let upstream = ready(own.connect(&shard, 0, PLAIN).await);
        assert_eq!(upstream.backend(), own.config.backend(POOL, 1).id());
        let tried = [own.config.backend(POOL, 1).id()];
        let caller = Caller {
            tried: &tried,
            ..own.caller()
        };
        let again = connect(&shard, Target::at(POOL, 0), PLAIN, &caller).await;
        assert_eq!(
            kind_of(&again),
            "ConnectFailed",
            "the other was tried before"
        );
    });
}

/// Without descriptors every caller waits, so that each end of a wait is seen.
#[test]
fn a_wait_ends_with_its_time_or_when_the_caller_needs_nothing_more() {
    let (_listener, addr) = listener();
    let none = |snapshot: &mut crate::snapshot::Snapshot| snapshot.descriptors.backends = 0;
    run_worker_with(
        &[addr],
        |_| (),
        none,
        async |shard| {
            let own = Own::of(&shard);
            let id = own.config.backend(POOL, 0).id();
            let (short, long) = (Duration::from_millis(1), Duration::from_secs(600));
            let left = |at: Option<BackendId>, _: &mut Context<'_>| {
                assert_eq!(at, Some(id));
                Poll::Ready(Failure::ClientLeft)
            };
            let nothing = |_: Option<BackendId>, _: &mut Context<'_>| Poll::Pending;
            type Watch<'a> = &'a dyn Fn(Option<BackendId>, &mut Context<'_>) -> Poll<Failure>;
            let rows: [(Duration, Option<Micros>, Watch<'_>, Failure); 3] = [
                (short, None, &nothing, Failure::Exhausted),
                (long, Some(Micros(1)), &nothing, Failure::ExchangeTimeout),
                (long, None, &left, Failure::ClientLeft),
            ];
            for mode in [PLAIN, FRESH] {
                for (connect_within, deadline, watch, expected) in rows {
                    let caller = Caller {
                        connect: connect_within,
                        deadline,
                        watch,
                        ..own.caller()
                    };
                    let connected = connect(&shard, Target::at(POOL, 0), mode, &caller).await;
                    assert_eq!(kind_of(&connected), format!("{expected:?}"));
                }
            }
            assert_eq!(own.held.get(), 0);
            assert!(shard.descriptor_waiters.is_empty());
        },
    );
}

#[test]
fn a_proxy_header_names_whom_the_caller_speaks_for() {
    let (listener, addr) = listener();
    let first = |pool: &mut Pool| pool.options.proxy_protocol = Some(ProxyProtocol::V1);
    run_worker(&[addr], first, async |shard| {
        let own = Own::of(&shard);
        let client = ([192, 0, 2, 7], 4711).into();
        let server = ([192, 0, 2, 1], 443).into();
        let rows = [
            (
                ProxiedAddrs::Tcp { client, server },
                "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n",
            ),
            (ProxiedAddrs::Local, "PROXY UNKNOWN\r\n"),
        ];
        for (introduced, expected) in rows {
            let caller = Caller {
                introduced,
                ..own.caller()
            };
            let upstream = ready(connect(&shard, Target::at(POOL, 0), PLAIN, &caller).await);
            let mut header = vec![0; expected.len()];
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.read_exact(&mut header).unwrap();
            assert_eq!(String::from_utf8_lossy(&header), expected);
            drop(upstream);
        }
    });
}

#[test]
fn callers_share_a_connection_of_http2() {
    let (_listener, addr) = listener();
    let shared = |pool: &mut Pool| {
        of_http2(pool);
        pool.backends[0].max_connections = 1;
    };
    run_worker(&[addr], shared, async |shard| {
        let own = Own::of(&shard);
        let first = ready(own.connect(&shard, 0, PLAIN).await);
        let second = ready(own.connect(&shard, 0, PLAIN).await);
        assert_eq!((first.reused, second.reused), (false, true));
        let id = own.config.backend(POOL, 0).id();
        assert_eq!(shard.tables.open(id), 1);
        // A request that needs a connection of its own finds the bound reached.
        assert_eq!(
            kind_of(&own.connect(&shard, 0, BY_HTTP1).await),
            "lost race"
        );
    });
}

#[test]
fn a_shared_connection_that_is_refused_fails_all_its_callers() {
    run_worker(&[refusing()], of_http2, async |shard| {
        let own = Own::of(&shard);
        let connected = own.connect(&shard, 0, PLAIN).await;
        assert_eq!(kind_of(&connected), "ConnectFailed");
        let id = own.config.backend(POOL, 0).id();
        assert!(
            !shard
                .shared_upstreams
                .has_room(id, own.config.reuse_key(id).unwrap())
        );
    });
}

/// The backend's first SETTINGS decide whether a request for a WebSocket is sent as an extended CONNECT.
#[test]
fn a_websocket_goes_as_the_backends_settings_say() {
    for (settings, expected) in [(CONNECT_SETTINGS, true), (SETTINGS, false)] {
        let (listener, addr) = listener();
        let backend = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(settings).unwrap();
            (listener, stream)
        });
        run_worker(&[addr], of_http2, async |shard| {
            let own = Own::of(&shard);
            let upstream = ready(own.connect(&shard, 0, WEBSOCKET).await);
            assert_eq!(upstream.is_websocket, expected);
            let is_stream = matches!(upstream.wire.stream, Stream::Multiplexed(_));
            assert_eq!(is_stream, expected, "else HTTP/1.1 carries it");
            let id = own.config.backend(POOL, 0).id();
            let by_http1 = |carrier| goes_by_http1(&shard, &own.config, carrier, id);
            assert_eq!(
                by_http1(Carrier::WebSocket),
                !expected,
                "that is remembered"
            );
            assert!(by_http1(Carrier::Http1) && !by_http1(Carrier::Pools));
        });
        drop(backend.join().unwrap());
    }
}

#[test]
fn a_permit_that_was_granted_is_used_although_the_bound_is_reached() {
    let (_listener, addr) = listener();
    run_worker(&[addr], at_most(1), async |shard| {
        let own = Own::of(&shard);
        let id = own.config.backend(POOL, 0).id();
        let permit = shard.tables.try_open(id, 1).unwrap();
        let granted = Granted::Hold(Hold::permit(own.config.live(POOL).queue(), permit));
        let target = Target {
            granted: Some(Box::new(granted)),
            ..Target::at(POOL, 0)
        };
        let upstream = ready(connect(&shard, target, PLAIN, &own.caller()).await);
        assert_eq!(shard.tables.open(id), 1);
        drop(upstream);
        until(&shard, || shard.tables.open(id) == 0).await;
    });
}
