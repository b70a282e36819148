//! The order in which waiting requests are served when a connection becomes free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Wake;

use super::*;
use crate::shared::SharedTables;
use crate::shared::backend_table::{BackendState, BackendTables};
use crate::shared::counter::PerWorker;
use crate::shared::mailbox::{Inbox, mailbox};

const OWN: WorkerId = WorkerId(0);
const OTHER: WorkerId = WorkerId(1);
const ID: BackendId = BackendId(7);

struct Generation(u64);

impl Backends for Generation {
    fn generation(&self) -> u64 {
        self.0
    }

    fn reuse_key(&self, id: BackendId) -> Option<ReuseKey> {
        (id == ID).then(|| ReuseKey::default().advance())
    }

    fn most_connections(&self, id: BackendId) -> Option<u32> {
        (id == ID).then_some(1)
    }
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

struct Core {
    queue: Rc<Queue>,
    counters: SharedPoolCounters,
    tables: SharedTables,
    /// The messages to the other worker.
    inbox: Inbox<ToWorker>,
}

impl Core {
    fn new() -> Core {
        let (own, _) = mailbox(1).unwrap();
        let (other, inbox) = mailbox(2).unwrap();
        let neighbours = Rc::new(Neighbours {
            worker: OWN,
            mailboxes: vec![own, other],
        });
        let counters: SharedPoolCounters = Arc::new(PerWorker::new(2));
        Core {
            queue: Queue::new(counters.clone(), &neighbours),
            counters,
            tables: BackendTables::new(2),
            inbox,
        }
    }

    fn permit(&self) -> Permit {
        self.tables.try_open(ID, 1).expect("one is free")
    }

    /// A request that waits since this time, and how often it was woken.
    fn wait(&self, generation: u64, since: u64) -> (QueueEntry, Arc<Woken>) {
        self.wait_as(Carrier::Pools, generation, since)
    }

    fn wait_as(&self, carrier: Carrier, generation: u64, since: u64) -> (QueueEntry, Arc<Woken>) {
        let config = Rc::new(Generation(generation));
        let entry = self
            .queue
            .join(config, carrier, Micros(since))
            .expect("room");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert!(entry.offer(&Context::from_waker(&waker)).is_none());
        (entry, woken)
    }

    fn open(&self) -> u32 {
        self.tables.open(ID)
    }
}

/// The kind of the offer that a request has got.
fn offered(entry: &QueueEntry) -> &'static str {
    match entry.offer(&Context::from_waker(Waker::noop())) {
        None => "nothing",
        Some(Offer::Connection(_)) => "connection",
        Some(Offer::Permit(_)) => "permit",
        Some(Offer::Room(_)) => "room",
        Some(Offer::Look) => "look",
    }
}

#[test]
fn first_come_first_served_and_nobody_else_is_woken() {
    let core = Core::new();
    let requests = [1, 2, 3].map(|since| core.wait(1, since));
    for served in 0..3 {
        core.queue.release(core.permit());
        for (at, (_, woken)) in requests.iter().enumerate() {
            let times = u32::from(at <= served);
            let name = format!("{at} when {served} is served");
            assert_eq!(woken.0.load(Relaxed), times, "{name}");
        }
        assert_eq!(offered(&requests[served].0), "permit");
        assert_eq!(
            core.open(),
            0,
            "the offer was dropped here, and with it the permit"
        );
    }
    core.queue.release(core.permit());
    assert_eq!(core.open(), 0, "nobody waits");
}

#[test]
fn who_leaves_passes_on_what_it_was_offered() {
    let core = Core::new();
    let [first, second, third] = [1, 2, 3].map(|since| core.wait(1, since).0);
    drop(second);
    core.queue.release(core.permit());
    drop(first);
    assert_eq!(core.open(), 1);
    assert_eq!(offered(&third), "permit");
    core.queue.look();
    let fourth = core.wait(1, 4).0;
    core.queue.look();
    let fifth = core.wait(1, 5).0;
    drop(fourth);
    assert_eq!(offered(&fifth), "look");
    drop((third, fifth));
    assert_eq!(core.counters.waiting(), 0);
}

#[test]
fn who_has_waited_much_longer_elsewhere_goes_first() {
    let margin = limits::UNFAIR_WAIT_MICROS;
    // The time since which a request waits on the other worker, and whether it is served before the own request, which
    // has waited for a second.
    let rows = [
        (1_000_000 - margin - 1, true),
        (1_000_000 - margin, false),
        (1_000_001, false),
    ];
    for (since, goes_first) in rows {
        let core = Core::new();
        let (entry, _) = core.wait(1, 1_000_000);
        core.counters.set_waiting(OTHER, 1, Some(Micros(since)));
        core.queue.release(core.permit());
        let told = core.inbox.take();
        assert_eq!(told.is_some(), goes_first, "{since}");
        assert_eq!(core.open(), 1, "it is not free on its way");
        let expected = if goes_first { "nothing" } else { "permit" };
        assert_eq!(offered(&entry), expected, "{since}");
    }
    let core = Core::new();
    core.counters.set_waiting(OTHER, 1, Some(Micros(1)));
    core.queue.release(core.permit());
    assert!(matches!(core.inbox.take(), Some(ToWorker::Permit(_))));
}

/// Requests that began with an earlier configuration may wait longest on every worker, and none of them knows a new
/// backend.
#[test]
fn a_permit_that_was_sent_here_goes_no_further() {
    let core = Core::new();
    core.counters.set_waiting(OTHER, 1, Some(Micros(1)));
    core.queue.take_over(core.permit());
    assert!(matches!(core.inbox.take(), Some(ToWorker::Look(ID))));
    assert_eq!(core.open(), 0, "nobody here has use for it");
    let (entry, _) = core.wait(1, 1_000_000);
    core.queue.take_over(core.permit());
    assert!(core.inbox.take().is_none());
    assert_eq!(offered(&entry), "permit", "whose turn it is was decided");
}

#[test]
fn a_connection_that_is_one_too_many_by_now_is_given_to_nobody() {
    let core = Core::new();
    let (entry, _) = core.wait(1, 1);
    let permits = [(); 3].map(|()| core.tables.try_open(ID, 3).unwrap());
    for (permit, expected) in permits.into_iter().zip(["nothing", "nothing", "permit"]) {
        core.queue.release(permit);
        assert_eq!(offered(&entry), expected);
    }
    assert_eq!(core.open(), 0);
}

#[test]
fn a_permit_for_a_full_mailbox_is_free_again() {
    let core = Core::new();
    core.counters.set_waiting(OTHER, 1, Some(Micros(1)));
    for _ in 0..2 {
        let told = core.queue.neighbours.tell(OTHER, ToWorker::Look(ID));
        assert!(told.is_ok());
    }
    core.queue.release(core.permit());
    assert_eq!(core.open(), 0);
}

#[test]
fn a_backend_that_takes_no_requests_serves_nobody() {
    let core = Core::new();
    let (entry, woken) = core.wait(1, 1);
    core.tables.of(OWN).set_state(ID, BackendState::Unhealthy);
    core.queue.release(core.permit());
    assert_eq!((woken.0.load(Relaxed), core.open()), (1, 0));
    assert_eq!(offered(&entry), "look");
}

/// A backend that could not be connected to a moment ago would fail every waiting request.
#[test]
fn a_permit_for_a_backend_that_rests_is_nobodys() {
    let core = Core::new();
    let (entry, _) = core.wait(1, 1);
    core.tables.of(OWN).set_share(ID, 0);
    core.queue.release(core.permit());
    assert_eq!(offered(&entry), "look");
    core.queue.take_over(core.permit());
    assert_eq!((offered(&entry), core.open()), ("look", 0));
}

#[test]
fn room_for_two_streams_is_told_to_two() {
    let core = Core::new();
    let requests = [1, 2, 3].map(|since| core.wait(1, since).0);
    core.queue.tell_room(ID);
    core.queue.tell_room(ID);
    core.queue.tell_room(BackendId(8));
    let offers = requests.each_ref().map(offered);
    assert_eq!(offers, ["room", "room", "nothing"]);
}

#[test]
fn looking_goes_on_as_long_as_it_helps() {
    let core = Core::new();
    let [first, second, third, newer] =
        [(1, 1), (1, 2), (1, 3), (2, 4)].map(|(generation, since)| core.wait(generation, since).0);
    core.queue.look();
    assert_eq!(offered(&first), "look");
    first.found();
    assert_eq!(offered(&second), "look");
    second.found_nothing();
    // A backend that was added can serve the requests that know it.
    assert_eq!(
        [&second, &third, &newer].map(offered),
        ["nothing", "nothing", "look"]
    );
    newer.found_nothing();
    assert_eq!([&second, &third, &newer].map(offered), ["nothing"; 3]);
    let is_ahead = |generation| core.queue.is_ahead(generation, Carrier::Pools);
    assert!(is_ahead(2) && !is_ahead(1));
}

/// A connection that a WebSocket cannot use may serve a later request.
#[test]
fn requests_of_one_carrier_do_not_wait_for_those_of_another() {
    let core = Core::new();
    let (tunnel, _) = core.wait_as(Carrier::WebSocket, 1, 0);
    let (second, _) = core.wait_as(Carrier::WebSocket, 1, 0);
    let is_ahead = |carrier| core.queue.is_ahead(1, carrier);
    assert!(is_ahead(Carrier::WebSocket) && !is_ahead(Carrier::Pools));
    let (plain, _) = core.wait(1, 5);
    assert!(is_ahead(Carrier::Pools) && !is_ahead(Carrier::Http1));
    assert!(tunnel.is_alone() == second.is_alone() && plain.is_alone());
    core.queue.tell_room(ID);
    assert_eq!(
        [&tunnel, &second, &plain].map(offered),
        ["room", "nothing", "room"]
    );
    core.queue.look();
    assert_eq!(offered(&plain), "look");
    plain.found();
    assert_eq!([&tunnel, &second].map(offered), ["look", "nothing"]);
    // A permit can serve every carrier, so that the first request gets it.
    core.queue.release(core.permit());
    assert_eq!(offered(&tunnel), "permit");
    drop((tunnel, second, plain));
    assert!(!is_ahead(Carrier::WebSocket) && !is_ahead(Carrier::Pools));
}

#[test]
fn requests_are_bounded_however_often_they_are_woken() {
    let core = Core::new();
    let config = || Rc::new(Generation(1));
    let join = |since| core.queue.join(config(), Carrier::Pools, Micros(since));
    let mut places: Vec<_> = (0..limits::WAITING_REQUESTS as u64).map(join).collect();
    assert!(places.iter().all(Option::is_some));
    for entry in places.iter().flatten() {
        for _ in 0..3 {
            offered(entry);
        }
    }
    let later = limits::WAITING_REQUESTS as u64;
    assert!(join(later).is_none());
    places.pop();
    assert!(join(later).is_some());
    assert_eq!(core.counters.waiting(), limits::WAITING_REQUESTS as u64 - 1);
}
