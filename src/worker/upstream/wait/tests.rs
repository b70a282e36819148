//! Choosing among backends that all have as many connections as they may have, for callers without a client.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::net::spawn;
use crate::shared::backend_table::BackendState;
use crate::snapshot::Pool;
use crate::worker::sample::{POOL, listener, run_worker, tick, until};
use crate::worker::upstream::choose_first;
use crate::worker::upstream::connect::{Connected, connect};
use crate::worker::upstream::keep_idle;
use crate::worker::upstream::sample::{ANY, Own, PLAIN, ready};

fn one_each(pool: &mut Pool) {
    for backend in &mut pool.backends {
        backend.max_connections = 1;
    }
}

#[test]
fn a_free_backend_is_chosen_at_once() {
    let (_listeners, addrs): (Vec<_>, Vec<_>) = [listener(), listener()].into_iter().unzip();
    run_worker(&addrs, one_each, async |shard| {
        let own = Own::of(&shard);
        let busy = choose(&shard, ANY, &own.caller()).await.unwrap();
        let (busy_index, connected) = (
            busy.index,
            connect(&shard, busy, PLAIN, &own.caller()).await,
        );
        let _busy = ready(connected);
        for _ in 0..4 {
            let chosen = choose(&shard, ANY, &own.caller()).await.unwrap();
            assert_ne!(chosen.index, busy_index, "the other one is full");
        }
    });
}

/// Each waiting request gets the one connection in its turn, in the order of arrival.
#[test]
fn requests_that_wait_are_served_in_their_order() {
    let (_listener, addr) = listener();
    run_worker(&[addr], one_each, async |shard| {
        let own = Own::of(&shard);
        let first = ready(own.connect(&shard, 0, PLAIN).await);
        let served = Rc::new(RefCell::new(Vec::new()));
        for number in 0..4 {
            let (shard, served) = (shard.clone(), served.clone());
            spawn(async move {
                let own = Own::of(&shard);
                let caller = own.caller();
                let target = choose(&shard, ANY, &caller).await.unwrap();
                assert!(target.granted.is_some(), "it was given what became free");
                let upstream = ready(connect(&shard, target, PLAIN, &caller).await);
                served.borrow_mut().push(number);
                keep_idle(&shard, upstream);
            });
        }
        let queue = own.config.live(POOL).queue();
        until(&shard, || queue.is_awaited()).await;
        tick(&shard).await;
        assert!(served.borrow().is_empty(), "the connection is taken");
        let first_choice = choose_first(&shard, &own.config, ANY);
        assert_eq!(first_choice, None, "nobody overtakes those who wait");
        keep_idle(&shard, first);
        until(&shard, || served.borrow().len() == 4).await;
        assert_eq!(*served.borrow(), [0, 1, 2, 3]);
    });
}

#[test]
fn a_wait_that_is_too_long_or_for_nobody_fails() {
    let (_listener, addr) = listener();
    run_worker(&[addr], one_each, async |shard| {
        let own = Own::of(&shard);
        let taken = ready(own.connect(&shard, 0, PLAIN).await);
        let impatient = Caller {
            queue: Duration::from_millis(1),
            ..own.caller()
        };
        let outcome = choose(&shard, ANY, &impatient).await;
        assert_eq!(outcome.err(), Some(Failure::Saturated));
        let id = taken.backend();
        shard.set_backend_state(id, BackendState::Unhealthy, true);
        let outcome = choose(&shard, ANY, &own.caller()).await;
        assert_eq!(outcome.err(), Some(Failure::NoBackend));
        assert!(!own.config.live(POOL).queue().is_awaited());
        drop(taken);
        let outcome = own.connect(&shard, 0, PLAIN).await;
        assert!(
            matches!(outcome, Connected::Ready(_)),
            "choosing is not connecting"
        );
    });
}

#[test]
fn a_wait_ends_when_no_backend_is_left() {
    let (_listener, addr) = listener();
    run_worker(&[addr], one_each, async |shard| {
        let own = Own::of(&shard);
        let taken = ready(own.connect(&shard, 0, PLAIN).await);
        let outcome = Rc::new(RefCell::new(None));
        let (waiting, told) = (shard.clone(), outcome.clone());
        spawn(async move {
            let own = Own::of(&waiting);
            let chosen = choose(&waiting, ANY, &own.caller()).await;
            told.replace(Some(chosen.err()));
        });
        until(&shard, || own.config.live(POOL).queue().is_awaited()).await;
        shard.set_backend_state(taken.backend(), BackendState::Unhealthy, true);
        until(&shard, || outcome.borrow().is_some()).await;
        assert_eq!(outcome.take(), Some(Some(Failure::NoBackend)));
    });
}
