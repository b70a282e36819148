//! Connections to backends that speak HTTP/2: each carries many exchanges at once. The first with room is taken, so that
//! they stay few; those that are not needed any more run dry, and end when they have been idle for long enough.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::ids::BackendId;
use crate::base::limits;
use crate::worker::multiplex::Connection;

/// A core's shared connections, by backend.
#[derive(Default)]
pub struct Shared {
    backends: RefCell<Vec<Vec<Rc<Connection>>>>,
}

impl Shared {
    /// A connection to the backend with room for another stream; one that may be dead only if there is no other.
    pub fn find(&self, id: BackendId) -> Option<Rc<Connection>> {
        let backends = self.backends.borrow();
        let connections = backends.get(id.index())?;
        let with_room = || connections.iter().filter(|connection| has_room(connection));
        let alive = with_room().find(|connection| !connection.is_suspect());
        alive.or_else(|| with_room().next()).cloned()
    }

    /// Whether there is one.
    pub fn has_room(&self, id: BackendId) -> bool {
        self.find(id).is_some()
    }

    /// Takes a new connection in; false if there are as many as may be.
    pub fn add(&self, id: BackendId, connection: Rc<Connection>) -> bool {
        let mut backends = self.backends.borrow_mut();
        if backends.len() <= id.index() {
            backends.resize_with(id.index() + 1, Vec::new);
        }
        let connections = &mut backends[id.index()];
        let has_place = connections.len() < limits::H2_UPSTREAM_CONNECTIONS;
        if has_place {
            connections.push(connection);
        }
        has_place
    }

    /// Whether a connection is still wanted.
    pub fn has(&self, id: BackendId, connection: &Rc<Connection>) -> bool {
        let backends = self.backends.borrow();
        let mut connections = backends.get(id.index()).into_iter().flatten();
        connections.any(|known| Rc::ptr_eq(known, connection))
    }

    /// Takes a connection out that has ended.
    pub fn remove(&self, id: BackendId, connection: &Rc<Connection>) {
        if let Some(connections) = self.backends.borrow_mut().get_mut(id.index()) {
            connections.retain(|known| !Rc::ptr_eq(known, connection));
        }
    }

    /// Lets go of the connections to backends that `stays` does not hold for: they end with their last stream.
    pub fn forget_unless(&self, stays: impl Fn(BackendId) -> bool) {
        for (connections, id) in self.backends.borrow_mut().iter_mut().zip(0..) {
            if !stays(BackendId(id)) {
                connections.clear();
            }
        }
    }
}

fn has_room(connection: &Connection) -> bool {
    connection.open_streams() < limits::H2_UPSTREAM_STREAMS && connection.free_streams() > 0
}
