//! The course of a client, whatever version of HTTP it speaks: the order and the times of its requests, the pace at
//! which it reads, and its end.

use super::ledger::Outcome;
use super::scenario::{ClientPlan, Id};
use super::stage::{Reminder, Stage};
use crate::simulated::ConnId;

/// The course of a client with one connection.
pub struct Course {
    at: usize,
    pub config: ClientPlan,
    pub conn: ConnId,
    /// How many of its requests the client has begun, and when it may begin the next one.
    begun: usize,
    next_at: u64,
    /// When a slow reader takes the next bytes.
    reads_at: u64,
    pub is_over: bool,
}

impl Course {
    /// The course of a client that has just connected, by its place among the clients.
    pub fn new(stage: &mut Stage, at: usize, conn: ConnId) -> Course {
        let config = stage.scenario.clients[at].clone();
        let mut course = Course {
            at,
            config,
            conn,
            begun: 0,
            next_at: 0,
            reads_at: 0,
            is_over: false,
        };
        course.wait_for_next(stage);
        course
    }

    /// The client for messages about it.
    pub fn client(&self) -> usize {
        self.at
    }

    /// How many requests the client has begun.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// Whether the client has further requests.
    pub fn has_next(&self) -> bool {
        self.begun < self.config.requests.len()
    }

    /// The next request, if its time has come: the client sends it from now on.
    pub fn begin_next(&mut self, stage: &mut Stage) -> Option<Id> {
        let next = self.config.requests.get(self.begun).copied();
        let id = next.filter(|_| stage.now() >= self.next_at)?;
        self.begun += 1;
        stage.ledger.sent(id, self.config.worker, stage.now());
        Some(id)
    }

    /// Has the client begin its next request after the pause before it.
    pub fn wait_for_next(&mut self, stage: &mut Stage) {
        if let Some(next) = self.config.requests.get(self.begun) {
            self.next_at = stage.now() + stage.scenario.requests[*next].gap;
            self.look_again(stage, self.next_at);
        }
    }

    /// Has the client go on at a time.
    pub fn look_again(&self, stage: &mut Stage, at: u64) {
        stage.remind(at, Reminder::GoOn(self.at));
    }

    /// The bytes that a slow reader takes now, and has to wait after; `None`: its time has not come.
    pub fn take_slowly(
        &mut self,
        stage: &mut Stage,
        (bytes, micros): (usize, u64),
    ) -> Option<usize> {
        if stage.now() < self.reads_at {
            return None;
        }
        self.reads_at = stage.now() + micros;
        self.look_again(stage, self.reads_at);
        Some(bytes)
    }

    /// Closes the connection: requests without an answer come out like this.
    pub fn end(&mut self, stage: &mut Stage, outcome: Outcome, resets: bool) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        stage.kernel.peer_close(self.conn, resets);
        for (number, id) in self.config.requests.iter().enumerate() {
            let is_begun = number < self.begun;
            stage
                .ledger
                .finish(*id, if is_begun { outcome } else { Outcome::Unsent });
        }
    }
}
