//! The client connections of one core that wait for a request or a head, the longest waiting first. They are closed
//! when another client needs a slot, or memory is short.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::shared::client_count::{ClientCount, SharedClientCount};

/// A core's idle client connections.
#[derive(Default)]
pub struct IdleClients {
    known: RefCell<BTreeMap<u64, Known>>,
    next: Cell<u64>,
}

struct Known {
    /// The listener of the connection.
    listener: SharedClientCount,
    close: Box<dyn Fn()>,
}

/// A connection that is listed as idle until this value is dropped.
pub struct Idle {
    clients: Rc<IdleClients>,
    number: u64,
}

impl IdleClients {
    /// Lists a connection of this listener as idle. `close` ends the connection, and is called at most once. The call
    /// happens at once if clients wait for a slot of the listener and no other connection is about to end for them.
    pub fn enter(
        self: &Rc<Self>,
        listener: &SharedClientCount,
        close: impl Fn() + 'static,
    ) -> Idle {
        let number = self.next.get();
        self.next.set(number + 1);
        if listener.is_one_wanted() {
            close();
        } else {
            let (listener, close) = (listener.clone(), Box::new(close));
            let known = Known { listener, close };
            debug_assert!(
                !self.known.borrow().contains_key(&number),
                "each client has its own number"
            );
            self.known.borrow_mut().insert(number, known);
        }
        let clients = self.clone();
        Idle { clients, number }
    }

    /// Closes the connection that has been idle for longest, of those whose listener `gives` one up. The result says
    /// whether there was one.
    pub fn close_oldest(&self, gives: impl Fn(&ClientCount) -> bool) -> bool {
        let number = {
            let known = self.known.borrow();
            let found = known.iter().find(|(_, known)| gives(&known.listener));
            found.map(|(&number, _)| number)
        };
        let known = number.and_then(|number| self.known.borrow_mut().remove(&number));
        let is_found = known.is_some();
        known.into_iter().for_each(|known| (known.close)());
        is_found
    }

    /// Closes the connection of this listener that has been idle for longest. The result says whether there was one.
    pub fn close_one_of(&self, listener: &SharedClientCount) -> bool {
        self.close_oldest(|other| std::ptr::eq(other, &**listener))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.clients.known.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::ids::WorkerId;

    #[test]
    fn the_longest_idle_of_a_listener_is_closed_once() {
        let clients = Rc::new(IdleClients::default());
        let listeners = [Arc::new(ClientCount::new(1)), Arc::new(ClientCount::new(1))];
        let closed = Rc::new(RefCell::new(Vec::new()));
        let enter = |name: &'static str, listener: usize| {
            let closed = closed.clone();
            clients.enter(&listeners[listener], move || closed.borrow_mut().push(name))
        };
        let _all = [enter("a0", 0), enter("a1", 1), enter("b0", 0)];
        drop(enter("c1", 1));
        assert!(clients.close_one_of(&listeners[1]));
        assert!(!clients.close_one_of(&listeners[1]), "c1 is busy again");
        assert!(clients.close_oldest(|_| true));
        assert!(clients.close_one_of(&listeners[0]));
        assert!(!clients.close_oldest(|_| true));
        assert_eq!(*closed.borrow(), ["a1", "a0", "b0"]);
        listeners[0].wait(WorkerId(0));
        let _late = [enter("d1", 1), enter("d0", 0)];
        assert_eq!(closed.borrow().last(), Some(&"d0"), "somebody waits");
    }
}
