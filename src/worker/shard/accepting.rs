//! Accepting on a core: the switches of its listeners, the number of its connections, and the tasks that wait for a
//! client slot.

use std::rc::Rc;
use std::task::{Context, Waker};

use crate::base::addresses::ListenAddr;
use crate::net::AcceptSwitch;
use crate::worker::shard::Shard;

impl Shard {
    /// Makes a switch for a new listening address.
    pub fn open_accept_switch(&self, addr: ListenAddr) -> Rc<AcceptSwitch> {
        let accept_switch = Rc::new(AcceptSwitch::default());
        if self.is_ending() {
            accept_switch.close();
        }
        self.accept_switches
            .borrow_mut()
            .push((addr, accept_switch.clone()));
        accept_switch
    }

    /// Turns off the switches for which `closes` is true, so that accepting ends there.
    pub(super) fn close_accept_switches(&self, closes: impl Fn(&ListenAddr) -> bool) {
        let mut accept_switches = self.accept_switches.borrow_mut();
        for (_, accept_switch) in accept_switches.extract_if(.., |(addr, _)| closes(addr)) {
            accept_switch.close();
        }
    }

    /// Counts a client's connection that has begun. [`Shard::connection_ends`] follows when the connection has ended.
    pub fn connection_begins(&self) {
        self.connections.set(self.connections.get() + 1);
        self.memory.note_accepted();
        let counters = self.links.counters(self.worker);
        counters.accept();
        counters.set_connections(self.connections.get() as u32);
    }

    /// Takes a client's connection off the count.
    pub fn connection_ends(&self) {
        debug_assert!(self.connections.get() > 0, "each connection began before");
        self.connections.set(self.connections.get() - 1);
        let counters = self.links.counters(self.worker);
        counters.set_connections(self.connections.get() as u32);
    }

    /// Has the task woken when there may be a slot for another client.
    pub fn wake_with_place(&self, cx: &mut Context<'_>) {
        self.full.borrow_mut().push(cx.waker().clone());
    }

    /// Wakes the tasks that wait for a client slot.
    pub fn look_for_places(&self) {
        self.full.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use crate::base::addresses::ListenAddr;
    use crate::worker::sample::{refusing, run_worker};

    #[test]
    fn a_gate_that_is_opened_while_the_worker_ends_is_closed() {
        run_worker(
            &[refusing()],
            |_| (),
            async |shard| {
                let addr = ListenAddr::Tcp(([127, 0, 0, 1], 1).into());
                let early = shard.open_accept_switch(addr.clone());
                assert!(!early.is_closed());
                shard.retire();
                assert!(early.is_closed() && shard.open_accept_switch(addr).is_closed());
            },
        );
    }
}
