//! A client that speaks HTTP/1.1.

use std::collections::VecDeque;

use super::ledger::{Outcome, REQUEST};
use super::message::{Part, Reader, body, chunked};
use super::scenario::{ClientPlan, Id, PoolKind, RequestPlan};
use super::stage::{Reminder, Stage};
use crate::simulated::{ByteQueue, ConnId};

/// A client with one connection.
pub struct ClientOne {
    at: usize,
    config: ClientPlan,
    pub conn: ConnId,
    reader: Reader,
    /// Pieces of requests: not before when, what, and the request that is whole with it.
    out: VecDeque<(u64, ByteQueue, Option<Id>)>,
    /// How many of its requests it has begun, and when it may begin the next one.
    begun: usize,
    next_at: u64,
    /// The requests that it wants answers to, in their order.
    awaited: VecDeque<Id>,
    /// Whether no further request may be sent: the connection is to end, or a request stays incomplete.
    is_last: bool,
    reads_at: u64,
    pub is_over: bool,
}

impl ClientOne {
    /// A client that has just connected.
    pub fn new(stage: &mut Stage, at: usize, conn: ConnId) -> ClientOne {
        let config = stage.scenario.clients[at].clone();
        let next_at = stage.now() + stage.scenario.requests[config.requests[0]].gap;
        stage.remind(next_at, Reminder::GoOn(at));
        ClientOne {
            at,
            config,
            conn,
            reader: Reader::new(true),
            out: VecDeque::new(),
            begun: 0,
            next_at,
            awaited: VecDeque::new(),
            is_last: false,
            reads_at: 0,
            is_over: false,
        }
    }

    /// Sends and reads what can be.
    pub fn go_on(&mut self, stage: &mut Stage) {
        if self.is_over {
            return;
        }
        self.begin_next(stage);
        self.send(stage);
        self.read(stage);
        if !self.is_over && stage.kernel.peer_end(self.conn).is_some() {
            self.end(stage, Outcome::Broken, false);
        }
    }

    fn begin_next(&mut self, stage: &mut Stage) {
        while self.begun < self.config.requests.len()
            && stage.now() >= self.next_at
            && (self.awaited.is_empty() || self.config.pipelines)
            && !self.is_last
        {
            let id = self.config.requests[self.begun];
            self.begun += 1;
            self.awaited.push_back(id);
            stage.ledger.sent(id, self.config.worker, stage.now());
            self.write(stage, id);
            if let Some(next) = self.config.requests.get(self.begun) {
                self.wait_for_next(stage, *next);
            }
        }
    }

    fn wait_for_next(&mut self, stage: &mut Stage, next: Id) {
        self.next_at = stage.now() + stage.scenario.requests[next].gap;
        stage.remind(self.next_at, Reminder::GoOn(self.at));
    }

    fn write(&mut self, stage: &mut Stage, id: Id) {
        let scenario = stage.scenario.clone();
        let config = &scenario.requests[id];
        let bytes = body(id, REQUEST, config.body);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let mut start = head(id, config).into_bytes();
        let mut rest = Vec::new();
        if config.body > 0 && config.is_chunked {
            let framed = chunked(first);
            start.extend_from_slice(&framed[..framed.len() - b"0\r\n\r\n".len()]);
            rest.extend_from_slice(&chunked(second));
        } else {
            start.extend_from_slice(first);
            rest.extend_from_slice(second);
        }
        if self.begun == self.config.requests.len() && self.config.sends_ahead {
            rest.extend(b"G");
        }
        let now = stage.now();
        let is_whole = rest.is_empty();
        self.queue(now, &start, is_whole.then_some(id));
        self.is_last |= config.stalls && !is_whole;
        if !is_whole && !config.stalls {
            self.queue(now + config.pause, &rest, Some(id));
            stage.remind(now + config.pause, Reminder::GoOn(self.at));
        }
    }

    /// Queues a piece to be sent from this time on. `whole`: the request that is whole with it.
    fn queue(&mut self, at: u64, bytes: &[u8], whole: Option<Id>) {
        let mut piece = ByteQueue::default();
        piece.push(bytes);
        self.out.push_back((at, piece, whole));
    }

    fn send(&mut self, stage: &mut Stage) {
        while let Some((at, piece, whole)) = self.out.front_mut() {
            if *at > stage.now() {
                return;
            }
            stage.flush(self.conn, piece);
            if !piece.is_empty() {
                return;
            }
            if let Some(id) = whole {
                stage.ledger.records[*id].whole_at = Some(stage.now());
            }
            self.out.pop_front();
        }
        if self.begun == self.config.requests.len() && self.config.half_closes {
            stage.kernel.peer_end_sending(self.conn);
        }
    }

    fn read(&mut self, stage: &mut Stage) {
        let mut most = usize::MAX;
        // Where the proxy has closed, a slow reader only reads what the kernel has left.
        if let Some((bytes, micros)) = self.config.reads_slowly
            && stage.kernel.is_proxy_open(self.conn)
        {
            if stage.now() < self.reads_at {
                return;
            }
            most = bytes;
            self.reads_at = stage.now() + micros;
            stage.remind(self.reads_at, Reminder::GoOn(self.at));
        }
        let bytes = stage.kernel.peer_read(self.conn, most);
        self.reader.feed(&bytes);
        while !self.is_over
            && let Some(part) = self.reader.next()
        {
            self.take_in(stage, part);
        }
    }

    fn take_in(&mut self, stage: &mut Stage, part: Part) {
        let scenario = stage.scenario.clone();
        match (part, self.awaited.front().copied()) {
            (Part::Head(head), _) if head.status() / 100 == 1 => {}
            (Part::Head(head), Some(id)) => {
                self.is_last |= head.field("connection") == Some("close");
                stage.ledger.answer(id, head.number("x-id"), head.status());
            }
            (Part::Body(bytes), Some(id)) => stage.ledger.answer_body(&scenario, id, &bytes),
            (Part::End, Some(id)) => {
                stage.ledger.answered(&scenario, id);
                self.awaited.pop_front();
                self.answered(stage);
            }
            (Part::Malformed(why), _) => {
                let at = self.at;
                stage
                    .ledger
                    .violated(format!("client {at} got a malformed answer: {why}"));
            }
            // The proxy may say why it ends a connection on which nothing is due.
            (Part::Head(head), None) if head.number("x-id").is_some() => {
                let at = self.at;
                stage
                    .ledger
                    .violated(format!("client {at} got an answer to no request: {head:?}"));
            }
            (_, None) => {}
        }
    }

    fn answered(&mut self, stage: &mut Stage) {
        let is_done = self.begun == self.config.requests.len() && self.awaited.is_empty();
        if is_done || self.is_last {
            return self.end(stage, Outcome::Broken, false);
        }
        if self.awaited.is_empty()
            && let Some(next) = self.config.requests.get(self.begun)
        {
            self.wait_for_next(stage, *next);
        }
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

/// The head of a request of HTTP/1.1.
fn head(id: Id, config: &RequestPlan) -> String {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: sim\r\nx-id: {id}\r\n",
        config.method,
        target(id, config)
    );
    if config.long_field > 0 {
        head += &format!("x-long: {}\r\n", "a".repeat(config.long_field));
    }
    match (config.body, config.is_chunked) {
        (0, _) if config.method == "GET" => {}
        (0, _) => head += "content-length: 0\r\n",
        (_, true) => head += "transfer-encoding: chunked\r\n",
        (length, false) => head += &format!("content-length: {length}\r\n"),
    }
    head + "\r\n"
}

/// The target of a request: its pool, its number, and a query if it is to be long.
pub fn target(id: Id, config: &RequestPlan) -> String {
    let pool = if config.pool == PoolKind::One { 1 } else { 2 };
    let query = "q".repeat(config.long_query);
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/{pool}/r{id}{mark}{query}")
}
