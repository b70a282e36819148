//! Connections to backends that speak HTTP/2: each carries many exchanges at once. The first connection with a free
//! stream is taken, so that connections are few. Connections that are needed no longer get no requests, and end after
//! the idle time.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::worker::multiplex::MultiplexConnection;
use crate::worker::upstream::{Queue, ReuseKey};

/// A core's shared connections, by backend.
#[derive(Default)]
pub struct Shared {
    backends: RefCell<Vec<Backend>>,
}

#[derive(Default)]
struct Backend {
    connections: Vec<Known>,
    /// The key of the connections on which the backend has announced that it takes no WebSockets over HTTP/2.
    without_websockets: Option<ReuseKey>,
}

struct Known {
    key: ReuseKey,
    connection: Rc<MultiplexConnection>,
    /// The queue of the requests that wait for another connection in its place; `None`: no bound counts the connection.
    queue: Option<Rc<Queue>>,
}

impl Shared {
    /// A connection to the backend with this key and a free stream. A connection that is a second choice is taken only
    /// if there is no other.
    pub fn find(&self, id: BackendId, key: ReuseKey) -> Option<Rc<MultiplexConnection>> {
        let backends = self.backends.borrow();
        let known = &backends.get(id.index())?.connections;
        let has_room = |known: &&Known| known.key == key && known.connection.has_room();
        let with_room = || known.iter().filter(has_room);
        let first = with_room().find(|known| !known.connection.is_second_choice());
        let found = first.or_else(|| with_room().next())?;
        Some(found.connection.clone())
    }

    /// Whether there is a connection to the backend with this key and a free stream.
    pub fn has_room(&self, id: BackendId, key: ReuseKey) -> bool {
        self.find(id, key).is_some()
    }

    /// Whether the core has as many connections to the backend as it may have.
    pub fn is_full(&self, id: BackendId) -> bool {
        let backends = self.backends.borrow();
        let known = backends.get(id.index());
        known.is_some_and(|known| known.connections.len() >= limits::H2_UPSTREAM_CONNECTIONS)
    }

    /// Adds a new connection. `queue`: the queue of the requests that wait for another connection in its place; `None`:
    /// no bound counts the connection.
    pub fn add(
        &self,
        id: BackendId,
        key: ReuseKey,
        connection: Rc<MultiplexConnection>,
        queue: Option<Rc<Queue>>,
    ) {
        let mut backends = self.backends.borrow_mut();
        if backends.len() <= id.index() {
            backends.resize_with(id.index() + 1, Backend::default);
        }
        debug_assert!(
            !(backends[id.index()].connections.iter())
                .any(|known| Rc::ptr_eq(&known.connection, &connection)),
            "a connection is listed once"
        );
        backends[id.index()].connections.push(Known {
            key,
            connection,
            queue,
        });
    }

    /// Ends connections without a stream, if requests of other cores wait to open one in their place: those requests
    /// cannot use the connections of this core.
    pub fn share(&self) {
        let backends = self.backends.borrow();
        let is_wanted = |known: &&Known| {
            let queue = known.queue.as_ref();
            queue.is_some_and(|queue| queue.waiting_elsewhere() > 0)
        };
        let all = backends.iter().flat_map(|backend| &backend.connections);
        all.filter(is_wanted).for_each(|known| {
            known.connection.end_if_idle();
        });
    }

    /// Ends one connection to a backend that has no stream and that a bound counts, for a request that needs a
    /// connection of its own.
    pub fn end_idle(&self, id: BackendId) {
        let backends = self.backends.borrow();
        let known = backends.get(id.index()).map(|known| &known.connections);
        let mut counted = known.into_iter().flatten().filter(|it| it.queue.is_some());
        counted.any(|known| known.connection.end_if_idle());
    }

    /// Notes whether a backend takes WebSockets over HTTP/2, as its settings say (RFC 8441 section 3).
    pub fn note_websockets(&self, id: BackendId, key: ReuseKey, takes: bool) {
        if let Some(known) = self.backends.borrow_mut().get_mut(id.index()) {
            known.without_websockets = (!takes).then_some(key);
        }
    }

    /// Forgets that a backend takes no WebSockets over HTTP/2, because it has refused one over HTTP/1.1 as well.
    pub fn ask_for_websockets(&self, id: BackendId) {
        if let Some(known) = self.backends.borrow_mut().get_mut(id.index()) {
            known.without_websockets = None;
        }
    }

    /// Whether a backend has announced that it takes no WebSockets over HTTP/2, and has not announced the opposite
    /// since.
    pub fn takes_no_websockets(&self, id: BackendId, key: ReuseKey) -> bool {
        let backends = self.backends.borrow();
        backends.get(id.index()).is_some_and(|known| {
            let takes = |it: &Known| it.key == key && it.connection.takes_websockets();
            known.without_websockets == Some(key) && !known.connections.iter().any(takes)
        })
    }

    /// Sends a PING on each connection to a backend that fails its probes; until it is answered, new requests prefer
    /// other connections. Connections without a stream end.
    pub fn suspect(&self, id: BackendId) {
        let backends = self.backends.borrow();
        let known = backends.get(id.index()).map(|known| &known.connections);
        for known in known.into_iter().flatten() {
            known.connection.suspect();
            known.connection.end_if_idle();
        }
    }

    /// Removes a connection that has ended.
    pub fn remove(&self, id: BackendId, connection: &Rc<MultiplexConnection>) {
        if let Some(known) = self.backends.borrow_mut().get_mut(id.index()) {
            known
                .connections
                .retain(|known| !Rc::ptr_eq(&known.connection, connection));
        }
    }

    /// Forgets the connections to backends for which `stays` is false: they end with their last stream.
    pub fn forget_unless(&self, stays: impl Fn(BackendId) -> bool) {
        for (known, id) in self.backends.borrow_mut().iter_mut().zip(0..) {
            if !stays(BackendId(id)) {
                *known = Backend::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::{LocalSettings, Role};
    use crate::net::Timers;

    const ID: BackendId = BackendId(3);

    fn keys() -> [ReuseKey; 2] {
        let mut last = ReuseKey::default();
        [last.advance(), last.advance()]
    }

    fn connection(timers: &Rc<Timers>) -> Rc<MultiplexConnection> {
        MultiplexConnection::new(Role::Client, LocalSettings::default(), timers)
    }

    #[test]
    fn the_first_connection_with_room_and_the_key_is_found() {
        let (shared, timers, [old, new]) = (Shared::default(), Rc::<Timers>::default(), keys());
        assert!(shared.find(ID, new).is_none());
        let [first, second, third] = [(); 3].map(|()| connection(&timers));
        shared.add(ID, old, first.clone(), None);
        assert!(
            shared.find(ID, new).is_none(),
            "it was made with other settings"
        );
        shared.add(ID, new, second.clone(), None);
        shared.add(ID, new, third.clone(), None);
        let found = || shared.find(ID, new).unwrap();
        assert!(Rc::ptr_eq(&found(), &second));
        assert!(shared.find(BackendId(4), new).is_none());
        second.lose(crate::worker::multiplex::Gone::Lost);
        assert!(Rc::ptr_eq(&found(), &third), "a lost one has no room");
        shared.remove(ID, &third);
        assert!(!shared.has_room(ID, new) && shared.has_room(ID, old));
        shared.forget_unless(|id| id != ID);
        assert!(!shared.has_room(ID, old));
    }

    #[test]
    fn connections_are_bounded() {
        let (shared, timers, [key, _]) = (Shared::default(), Rc::<Timers>::default(), keys());
        for _ in 0..limits::H2_UPSTREAM_CONNECTIONS {
            assert!(!shared.is_full(ID));
            shared.add(ID, key, connection(&timers), None);
        }
        assert!(shared.is_full(ID));
        shared.remove(ID, &shared.find(ID, key).unwrap());
        assert!(!shared.is_full(ID));
    }

    /// The announcement of a backend about WebSockets holds for connections with the same settings, until the opposite
    /// is announced.
    #[test]
    fn what_a_backend_says_of_websockets_is_remembered() {
        let (shared, timers, [old, new]) = (Shared::default(), Rc::<Timers>::default(), keys());
        shared.note_websockets(ID, old, false);
        assert!(
            !shared.takes_no_websockets(ID, old),
            "nothing is known of the backend"
        );
        shared.add(ID, old, connection(&timers), None);
        shared.note_websockets(ID, old, false);
        assert!(shared.takes_no_websockets(ID, old));
        assert!(!shared.takes_no_websockets(ID, new));
        shared.ask_for_websockets(ID);
        assert!(!shared.takes_no_websockets(ID, old));
        shared.note_websockets(ID, old, false);
        shared.note_websockets(ID, old, true);
        assert!(!shared.takes_no_websockets(ID, old));
    }
}
