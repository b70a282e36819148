//! The stage that the actors of a run, clients and backends, act on.

use std::rc::Rc;

use super::ledger::Ledger;
use super::scenario::Scenario;
use crate::simulated::{ByteQueue, ConnId, Kernel};

/// Something that an actor, or the world, has asked to be reminded of.
#[derive(Clone, Copy, Debug)]
pub enum Reminder {
    /// A client begins, goes on, or leaves.
    Begin(usize),
    GoOn(usize),
    Leave(usize),
    /// A connection of a backend: the answer to a stream is due (0 on HTTP/1), or an idle one is to be looked at.
    Answer(ConnId, u32),
    Idle(ConnId, u32),
    /// A change of the scenario, by its place.
    Change(usize),
    /// How a backend's address answers changes: the backend and the place of the manner.
    Manner(usize, usize),
    /// Workers that were told to end have had the time for it.
    Ended,
    /// All is looked at.
    Look,
}

/// The stage of a run.
pub struct Stage {
    pub kernel: Rc<Kernel>,
    pub ledger: Ledger,
    pub scenario: Rc<Scenario>,
    reminders: Vec<Reminder>,
}

impl Stage {
    /// An empty stage.
    pub fn new(kernel: Rc<Kernel>, scenario: Rc<Scenario>) -> Stage {
        Stage {
            ledger: Ledger::new(&scenario),
            kernel,
            scenario,
            reminders: Vec::new(),
        }
    }

    /// The virtual time, in microseconds.
    pub fn now(&self) -> u64 {
        self.kernel.now()
    }

    /// Asks to be reminded at a time.
    pub fn remind(&mut self, at: u64, reminder: Reminder) {
        self.reminders.push(reminder);
        self.kernel.remind(at, self.reminders.len() as u64 - 1);
    }

    /// Asks to be reminded after so many microseconds.
    pub fn remind_after(&mut self, micros: u64, reminder: Reminder) {
        self.remind(self.now() + micros, reminder);
    }

    /// The reminder that an actor asked for.
    pub fn reminder(&self, number: u64) -> Reminder {
        self.reminders[number as usize]
    }

    /// Sends what there is room for, and takes that from the front of `out`.
    pub fn flush(&self, conn: ConnId, out: &mut ByteQueue) {
        if !out.is_empty() {
            let sent = self.kernel.peer_send(conn, out);
            out.drop_front(sent);
        }
    }
}
