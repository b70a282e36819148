//! A backend's connection of HTTP/1.1.

use super::ledger::ANSWER;
use super::message::{Head, Part, Reader, body, chunks, last_chunk};
use super::scenario::{BackendFault, Id};
use super::stage::{Reminder, Stage};
use crate::simulated::{ByteQueue, ConnId};

/// A connection on which the proxy sends one request after the other.
pub struct BackendOne {
    conn: ConnId,
    backend: usize,
    reader: Reader,
    /// Whether the connection began with a PROXY header; `None`: it has not begun.
    is_proxied: Option<bool>,
    current: Option<Current>,
    out: ByteQueue,
    /// The connection breaks when so many more bytes are out; whether by a reset.
    breaks: Option<(usize, bool)>,
    served: u32,
    is_over: bool,
}

/// The request that is served.
struct Current {
    arrival: (Id, usize),
    is_whole: bool,
    is_answered: bool,
    fault: Option<BackendFault>,
}

impl BackendOne {
    /// A connection that the proxy has just made.
    pub fn new(conn: ConnId, backend: usize) -> BackendOne {
        BackendOne {
            conn,
            backend,
            reader: Reader::new(false),
            is_proxied: None,
            current: None,
            out: ByteQueue::default(),
            breaks: None,
            served: 0,
            is_over: false,
        }
    }

    /// Reads and sends what can be.
    pub fn changed(&mut self, stage: &mut Stage) {
        if self.is_over {
            return;
        }
        let bytes = stage.kernel.peer_read(self.conn, usize::MAX);
        self.reader.feed(&bytes);
        if self.is_proxied.is_none() && !bytes.is_empty() {
            self.is_proxied = self.reader.take_proxy_line();
        }
        while self.is_proxied.is_some()
            && !self.is_over
            && let Some(part) = self.next_part()
        {
            self.take_in(stage, part);
        }
        self.send(stage);
        // The other direction of a tunnel goes on.
        let is_sending = self.is_tunnel(stage) && !self.out.is_empty();
        if !self.is_over && !is_sending && stage.kernel.peer_end(self.conn).is_some() {
            self.close(stage, false);
        }
    }

    /// Whether the connection is a tunnel by now.
    fn is_tunnel(&self, stage: &Stage) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| {
            current.is_answered && stage.scenario.requests[current.arrival.0].tunnel
        })
    }

    /// A request that comes before the last one is answered waits, as in most servers.
    fn next_part(&mut self) -> Option<Part> {
        match &self.current {
            Some(current) if current.is_whole => None,
            _ => self.reader.next(),
        }
    }

    fn take_in(&mut self, stage: &mut Stage, part: Part) {
        let scenario = stage.scenario.clone();
        match part {
            Part::Head(head) => self.begin(stage, &head),
            Part::Body(bytes) => {
                if let Some(current) = &self.current {
                    let arrival = current.arrival;
                    stage.ledger.body_arrived(&scenario, arrival, &bytes);
                }
            }
            Part::Malformed(why) => {
                let backend = self.backend;
                stage
                    .ledger
                    .violated(format!("backend {backend} got a malformed request: {why}"));
            }
            Part::End(trailer) => {
                let Some(current) = &mut self.current else {
                    return;
                };
                current.is_whole = true;
                let (arrival, is_answered) = (current.arrival, current.is_answered);
                stage.ledger.complete(&scenario, arrival, trailer);
                if !is_answered {
                    let wait = scenario.requests[arrival.0].wait;
                    stage.remind_after(wait, Reminder::Answer(self.conn, 0));
                }
            }
        }
    }

    fn begin(&mut self, stage: &mut Stage, head: &Head) {
        let scenario = stage.scenario.clone();
        let id = head.number("x-id");
        let Some(arrival) = stage
            .ledger
            .arrived(&scenario, id, &head.line, self.backend)
        else {
            return self.close(stage, true);
        };
        let tls = super::settings::number_of(stage.kernel.secured(self.conn));
        let (proxied, now) = (self.is_proxied == Some(true), stage.now());
        stage.ledger.check_settings(arrival.0, tls, proxied, now);
        stage.ledger.taken(&scenario, arrival.0);
        stage.ledger.begin(self.backend);
        let config = &scenario.requests[arrival.0];
        let fault = config.fault.filter(|_| arrival.1 < config.faulty_attempts);
        self.current = Some(Current {
            arrival,
            is_whole: false,
            is_answered: false,
            fault,
        });
        if fault == Some(BackendFault::Early) {
            self.answer(stage);
        } else if config.tunnel {
            stage.remind_after(config.wait, Reminder::Answer(self.conn, 0));
        } else if head.field("expect").is_some() && fault != Some(BackendFault::Silent) {
            self.out.push(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.send(stage);
        }
    }

    /// The answer to the request is due.
    pub fn answer(&mut self, stage: &mut Stage) {
        let Some(current) = &mut self.current else {
            return;
        };
        if current.is_answered || self.is_over {
            return;
        }
        current.is_answered = true;
        let id = current.arrival.0;
        let config = &stage.scenario.clone().requests[id];
        match current.fault {
            Some(BackendFault::Resets) => return self.close(stage, true),
            Some(BackendFault::Closes) => return self.close(stage, false),
            Some(BackendFault::Silent) => {
                current.is_answered = false;
                return;
            }
            Some(BackendFault::Garbage) => {
                // A malformed chunk may stand behind the head, or the head itself is none.
                let head = format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\n");
                let malformed = if config.answer_is_chunked {
                    head + "transfer-encoding: chunked\r\n\r\nxyz\r\n"
                } else {
                    "HTTP/1.1 twohundred\r\nx: y\r\n\r\n".to_owned()
                };
                self.out.push(malformed.as_bytes());
                return self.send(stage);
            }
            Some(BackendFault::Breaks(after)) => self.breaks = Some((after, id % 2 == 0)),
            _ => {}
        }
        let bytes = body(id, ANSWER, config.answer);
        let head = format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\n");
        if config.tunnel {
            let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
            let switch = "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
            let head = format!("{switch}{accept}x-id: {id}\r\n\r\n");
            self.out.push(head.as_bytes());
            self.out.push(bytes);
            return self.send(stage);
        }
        self.out.push(head.as_bytes());
        if config.answer_is_chunked {
            self.out.push(b"transfer-encoding: chunked\r\n\r\n");
            self.out.push(&chunks(bytes));
            let trailer = config.is_answered_with_trailers().then_some(id);
            self.out.push(last_chunk(trailer).as_bytes());
        } else {
            let length = format!("content-length: {}\r\n\r\n", bytes.len());
            self.out.push(length.as_bytes());
            self.out.push(bytes);
        }
        self.send(stage);
    }

    fn send(&mut self, stage: &mut Stage) {
        if self.is_over {
            return;
        }
        if let Some((left, resets)) = &mut self.breaks {
            let last = &self.out[..self.out.len().min(*left)];
            let sent = stage.kernel.peer_send(self.conn, last);
            self.out.drop_front(sent);
            *left -= sent;
            if *left == 0 && !self.out.is_empty() {
                let resets = *resets;
                return self.close(stage, resets);
            }
        } else {
            stage.flush(self.conn, &mut self.out);
        }
        if self.out.is_empty() && self.is_tunnel(stage) {
            stage.kernel.peer_end_sending(self.conn);
        }
        let is_done = |current: &Current| current.is_whole && current.is_answered;
        if self.out.is_empty() && self.current.as_ref().is_some_and(is_done) {
            self.done(stage);
        }
    }

    fn done(&mut self, stage: &mut Stage) {
        self.current = None;
        self.served += 1;
        stage.ledger.end(self.backend, stage.now());
        let config = &stage.scenario.clone().backends[self.backend];
        if config.requests_per_connection > 0 && self.served >= config.requests_per_connection {
            return self.close(stage, false);
        }
        if config.idle_close > 0 {
            stage.remind_after(config.idle_close, Reminder::Idle(self.conn, self.served));
        }
        self.changed(stage);
    }

    /// Closes the connection if it has been idle since it had served so many requests.
    pub fn look_idle(&mut self, stage: &mut Stage, served: u32) {
        if self.served == served && self.current.is_none() {
            self.close(stage, false);
        }
    }

    fn close(&mut self, stage: &mut Stage, resets: bool) {
        if !std::mem::replace(&mut self.is_over, true) {
            stage.kernel.peer_close(self.conn, resets);
            if self.current.take().is_some() {
                stage.ledger.end(self.backend, stage.now());
            }
        }
    }
}
