//! A client that speaks HTTP/1.1.

use std::collections::VecDeque;

use super::course::Course;
use super::ledger::{Outcome, REQUEST};
use super::message::{Part, Reader, body, chunks, last_chunk};
use super::scenario::{Id, PoolKind, RequestPlan};
use super::stage::Stage;
use crate::simulated::{ByteQueue, ConnId};

/// The time of a piece that is sent when the client is asked to.
const UNASKED: u64 = u64::MAX;

/// A client with one connection.
pub struct ClientOne {
    pub course: Course,
    reader: Reader,
    /// Pieces of requests: not before when, what, and the request that is whole with it.
    out: VecDeque<(u64, ByteQueue, Option<Id>)>,
    /// The requests that it wants answers to, in their order.
    awaited: VecDeque<Id>,
    /// The request whose tunnel the connection is.
    tunnel: Option<Id>,
    /// Whether no further request may be sent: the connection is to end, or a request stays incomplete.
    is_last: bool,
}

impl ClientOne {
    /// A client that has just connected.
    pub fn new(stage: &mut Stage, at: usize, conn: ConnId) -> ClientOne {
        ClientOne {
            course: Course::new(stage, at, conn),
            reader: Reader::new(true),
            out: VecDeque::new(),
            awaited: VecDeque::new(),
            tunnel: None,
            is_last: false,
        }
    }

    /// Sends and reads what can be.
    pub fn go_on(&mut self, stage: &mut Stage) {
        if self.course.is_over {
            return;
        }
        self.begin_next(stage);
        self.send(stage);
        self.read(stage);
        // The other direction of a tunnel goes on.
        let is_sending = self.tunnel.is_some() && !self.out.is_empty();
        if !self.course.is_over && !is_sending && stage.kernel.peer_end(self.course.conn).is_some()
        {
            self.peer_ended(stage);
        }
    }

    fn peer_ended(&mut self, stage: &mut Stage) {
        let scenario = stage.scenario.clone();
        if let Some(id) = self.tunnel
            && stage.ledger.has_tunnelled(&scenario, id).0
        {
            stage.ledger.answered(&scenario, id, None);
        }
        self.course.end(stage, Outcome::Broken, false);
    }

    fn begin_next(&mut self, stage: &mut Stage) {
        while (self.awaited.is_empty() || self.course.config.pipelines)
            && !self.is_last
            && let Some(id) = self.course.begin_next(stage)
        {
            self.awaited.push_back(id);
            self.write(stage, id);
            self.course.wait_for_next(stage);
        }
    }

    fn write(&mut self, stage: &mut Stage, id: Id) {
        let scenario = stage.scenario.clone();
        let config = &scenario.requests[id];
        let now = stage.now();
        let mut start = head(id, config).into_bytes();
        if config.tunnel {
            self.is_last = true;
            return self.queue(now, &start, Some(id));
        }
        let bytes = body(id, REQUEST, config.body);
        let half = if config.expects { 0 } else { bytes.len() / 2 };
        let (first, second) = bytes.split_at(half);
        let mut rest = Vec::new();
        if config.body > 0 && config.is_chunked {
            start.extend_from_slice(&chunks(first));
            rest.extend_from_slice(&chunks(second));
            let trailer = config.sends_trailers().then_some(id);
            rest.extend_from_slice(last_chunk(trailer).as_bytes());
        } else {
            start.extend_from_slice(first);
            rest.extend_from_slice(second);
        }
        if !self.course.has_next() && self.course.config.sends_ahead {
            rest.extend(b"G");
        }
        let is_whole = rest.is_empty();
        self.queue(now, &start, is_whole.then_some(id));
        self.is_last |= config.stalls && !is_whole;
        if config.expects {
            self.queue(UNASKED, &rest, Some(id));
        } else if !is_whole && !config.stalls {
            self.queue(now + config.pause, &rest, Some(id));
            self.course.look_again(stage, now + config.pause);
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
            stage.flush(self.course.conn, piece);
            if !piece.is_empty() {
                return;
            }
            if let Some(id) = whole {
                stage.ledger.records[*id].whole_at = Some(stage.now());
            }
            self.out.pop_front();
        }
        if self.tunnel.is_some() {
            stage.kernel.peer_end_sending(self.course.conn);
        }
        if !self.course.has_next() && self.course.config.half_closes {
            stage.kernel.peer_end_sending(self.course.conn);
        }
    }

    fn read(&mut self, stage: &mut Stage) {
        let mut most = usize::MAX;
        // Where the proxy has closed, a slow reader only reads what the kernel has left.
        if let Some(pace) = self.course.config.reads_slowly
            && stage.kernel.is_proxy_open(self.course.conn)
        {
            match self.course.take_slowly(stage, pace) {
                Some(bytes) => most = bytes,
                None => return,
            }
        }
        let bytes = stage.kernel.peer_read(self.course.conn, most);
        self.reader.feed(&bytes);
        while !self.course.is_over
            && let Some(part) = self.reader.next()
        {
            self.take_in(stage, part);
        }
    }

    fn take_in(&mut self, stage: &mut Stage, part: Part) {
        let scenario = stage.scenario.clone();
        match (part, self.awaited.front().copied()) {
            (Part::Head(head), _) if head.status() == 100 => {
                let asked = self.out.front_mut().filter(|(at, ..)| *at == UNASKED);
                asked.into_iter().for_each(|(at, ..)| *at = stage.now());
                self.send(stage);
            }
            (Part::Head(head), Some(id)) => {
                self.is_last |= head.field("connection") == Some("close");
                stage.ledger.answer(id, head.number("x-id"), head.status());
                self.final_head(stage, id, head.status());
            }
            (Part::Body(bytes), Some(id)) => stage.ledger.answer_body(&scenario, id, &bytes),
            (Part::End(trailer), Some(id)) => {
                stage.ledger.answered(&scenario, id, trailer);
                self.awaited.pop_front();
                self.answered(stage);
            }
            (Part::Malformed(why), _) => {
                let at = self.course.client();
                stage
                    .ledger
                    .violated(format!("client {at} got a malformed answer: {why}"));
            }
            // The proxy may say why it ends a connection on which nothing is due.
            (Part::Head(head), None) if head.number("x-id").is_some() => {
                let at = self.course.client();
                stage
                    .ledger
                    .violated(format!("client {at} got an answer to no request: {head:?}"));
            }
            (_, None) => {}
        }
    }

    /// A client that was not asked for its body does not send it any more, so that its connection ends with the answer.
    fn final_head(&mut self, stage: &mut Stage, id: Id, status: u16) {
        if self.out.front().is_some_and(|(at, ..)| *at == UNASKED) {
            self.out.clear();
            self.is_last = true;
        }
        let config = &stage.scenario.requests[id];
        if status == 101 && config.tunnel {
            self.tunnel = Some(id);
            self.queue(stage.now(), body(id, REQUEST, config.body), None);
            self.send(stage);
        }
    }

    fn answered(&mut self, stage: &mut Stage) {
        let is_done = !self.course.has_next() && self.awaited.is_empty();
        if is_done || self.is_last {
            self.course.end(stage, Outcome::Broken, false);
        } else if self.awaited.is_empty() {
            self.course.wait_for_next(stage);
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
    if config.expects {
        head += "expect: 100-continue\r\n";
    }
    if config.tunnel {
        let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        return head + "connection: upgrade\r\nupgrade: websocket\r\n" + key + "\r\n\r\n";
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
