//! A backend's connection of HTTP/2.

use std::collections::BTreeMap;

use super::frames::{CANCEL, Frame, INTERNAL_ERROR, Link, REFUSED_STREAM};
use super::ledger::ANSWER;
use super::message::{Head, body};
use super::scenario::{BackendFault, Id};
use super::stage::{Reminder, Stage};
use crate::simulated::ConnId;

/// A connection whose streams are requests of many clients.
pub struct BackendTwo {
    conn: ConnId,
    backend: usize,
    link: Link,
    streams: BTreeMap<u32, Current>,
    /// Streams beyond this one are not processed, because the connection goes away.
    last: Option<u32>,
    is_over: bool,
}

struct Current {
    arrival: (Id, usize),
    is_whole: bool,
    /// The rest of the answer; `None`: the answer is not due.
    rest: Option<&'static [u8]>,
    fault: Option<BackendFault>,
    /// The stream breaks after so many bytes of the answer.
    breaks: Option<usize>,
}

impl BackendTwo {
    /// A connection that the proxy has just made to a backend that takes so many streams at once.
    pub fn new(conn: ConnId, backend: usize, streams: u32) -> BackendTwo {
        BackendTwo {
            conn,
            backend,
            link: Link::new(true, 65_535, streams),
            streams: BTreeMap::new(),
            last: None,
            is_over: false,
        }
    }

    /// Reads and sends what can be.
    pub fn changed(&mut self, stage: &mut Stage) {
        if self.is_over {
            return;
        }
        let bytes = stage.kernel.peer_read(self.conn, usize::MAX);
        self.link.feed(&bytes);
        while !self.is_over
            && let Some(frame) = self.link.next()
        {
            self.take_in(stage, frame);
        }
        self.send(stage);
        if !self.is_over && stage.kernel.peer_end(self.conn).is_some() {
            self.close(stage, false);
        }
    }

    fn take_in(&mut self, stage: &mut Stage, frame: Frame) {
        match frame {
            Frame::Head { stream, head, ends } => self.begin(stage, stream, &head, ends),
            Frame::Body {
                stream,
                bytes,
                ends,
            } => {
                self.link.release(None, bytes.len());
                let Some(current) = self.streams.get(&stream) else {
                    return;
                };
                let arrival = current.arrival;
                let scenario = stage.scenario.clone();
                stage.ledger.body_arrived(&scenario, arrival, &bytes);
                if !ends {
                    self.link.release(Some(stream), bytes.len());
                } else {
                    self.whole(stage, stream, None);
                }
            }
            Frame::Trailers { stream, trailer } => self.whole(stage, stream, trailer),
            Frame::Reset(stream) => self.forget(stage, stream),
            Frame::GoAway(_) => {}
            Frame::Broken(why) => {
                let backend = self.backend;
                stage
                    .ledger
                    .violated(format!("backend {backend} got broken HTTP/2: {why}"));
            }
        }
    }

    fn begin(&mut self, stage: &mut Stage, stream: u32, head: &Head, ends: bool) {
        let scenario = stage.scenario.clone();
        let Some(arrival) =
            stage
                .ledger
                .arrived(&scenario, head.number("x-id"), &head.line, self.backend)
        else {
            return self.close(stage, true);
        };
        let conn = self.conn;
        let tell = || {
            format!(
                "connection {conn}: request {} on stream {stream}",
                arrival.0
            )
        };
        stage.kernel.trace(tell);
        let config = &scenario.requests[arrival.0];
        let fault = config.fault.filter(|_| arrival.1 < config.faulty_attempts);
        let most = scenario.backends[self.backend].streams;
        let is_crowded = most > 0 && self.streams.len() >= most as usize;
        let is_beyond = self.last.is_some_and(|last| stream > last);
        match fault {
            Some(BackendFault::GoesAway) if !is_beyond => {
                self.last = Some(stream - 1);
                self.link.go_away(stream - 1, 0);
                stage.ledger.records[arrival.0].arrivals[arrival.1].is_refused = true;
                return stage.remind_after(50_000, Reminder::Idle(self.conn, 0));
            }
            _ if is_beyond => {
                stage.ledger.records[arrival.0].arrivals[arrival.1].is_refused = true;
                return;
            }
            _ if fault == Some(BackendFault::RefusesStream) || is_crowded => {
                self.link.reset(stream, REFUSED_STREAM);
                stage.ledger.records[arrival.0].arrivals[arrival.1].is_refused = true;
                return;
            }
            _ => {}
        }
        stage.ledger.taken(&scenario, arrival.0);
        stage.ledger.begin(self.backend);
        self.streams.insert(
            stream,
            Current {
                arrival,
                is_whole: false,
                rest: None,
                fault,
                breaks: None,
            },
        );
        if fault == Some(BackendFault::Early) {
            self.answer(stage, stream);
        }
        if ends {
            self.whole(stage, stream, None);
        } else if head.field("expect").is_some() && fault != Some(BackendFault::Silent) {
            self.link.send_head(stream, &[(":status", "100")], false);
        }
    }

    fn whole(&mut self, stage: &mut Stage, stream: u32, trailer: Option<Id>) {
        let scenario = stage.scenario.clone();
        let Some(current) = self.streams.get_mut(&stream) else {
            return;
        };
        current.is_whole = true;
        let arrival = current.arrival;
        stage.ledger.complete(&scenario, arrival, trailer);
        if current.rest.is_none() {
            let wait = scenario.requests[arrival.0].wait;
            stage.remind_after(wait, Reminder::Answer(self.conn, stream));
        }
    }

    /// The answer on a stream is due.
    pub fn answer(&mut self, stage: &mut Stage, stream: u32) {
        let Some(current) = self.streams.get_mut(&stream).filter(|_| !self.is_over) else {
            return;
        };
        if current.rest.is_some() {
            return;
        }
        let id = current.arrival.0;
        let config = &stage.scenario.clone().requests[id];
        match current.fault {
            Some(BackendFault::Resets) => return self.close(stage, true),
            Some(BackendFault::Closes) => return self.close(stage, false),
            Some(BackendFault::Silent) => return,
            Some(BackendFault::ResetsStream | BackendFault::Garbage) => {
                self.link.reset(stream, INTERNAL_ERROR);
                self.forget(stage, stream);
                return self.send(stage);
            }
            Some(BackendFault::Breaks(after)) => current.breaks = Some(after),
            _ => {}
        }
        let number = id.to_string();
        let length = config.answer.to_string();
        let mut fields = vec![(":status", "200"), ("x-id", number.as_str())];
        if !config.answer_is_chunked {
            fields.push(("content-length", &length));
        }
        self.link.send_head(stream, &fields, config.answer == 0);
        current.rest = Some(body(id, ANSWER, config.answer));
        if config.answer == 0 {
            self.finish(stage, stream);
        }
        self.send(stage);
    }

    fn send(&mut self, stage: &mut Stage) {
        if self.is_over {
            return;
        }
        let streams: Vec<u32> = self.streams.keys().copied().collect();
        for stream in streams {
            self.send_on(stage, stream);
        }
        stage.flush(self.conn, &mut self.link.out);
    }

    fn send_on(&mut self, stage: &mut Stage, stream: u32) {
        let Some(Current {
            arrival: (id, _),
            rest: Some(rest),
            breaks,
            ..
        }) = self.streams.get_mut(&stream)
        else {
            return;
        };
        if rest.is_empty() || self.link.out.len() > 100_000 {
            return;
        }
        let most = breaks.unwrap_or(usize::MAX).min(rest.len());
        let config = &stage.scenario.requests[*id];
        let has_trailer = config.is_answered_with_trailers();
        let is_last = most == rest.len() && !has_trailer;
        let sent = self.link.send_body(stream, &rest[..most], is_last);
        *rest = &rest[sent..];
        let is_empty = rest.is_empty();
        if let Some(left) = breaks {
            *left -= sent;
            if *left == 0 && !is_empty {
                self.link.reset(stream, INTERNAL_ERROR);
                return self.forget(stage, stream);
            }
        }
        if is_empty {
            if has_trailer {
                self.link.send_trailer(stream, *id);
            }
            self.finish(stage, stream);
        }
    }

    /// The answer is out. If the request is not whole, the rest is not wanted (RFC 9113 section 8.1).
    fn finish(&mut self, stage: &mut Stage, stream: u32) {
        let is_whole = self
            .streams
            .get(&stream)
            .is_some_and(|current| current.is_whole);
        if !is_whole {
            self.link.reset(stream, 0);
        }
        self.forget(stage, stream);
    }

    fn forget(&mut self, stage: &mut Stage, stream: u32) {
        if self.streams.remove(&stream).is_some() {
            stage.ledger.end(self.backend, stage.now());
        }
    }

    /// Ends a connection that has gone away.
    pub fn look_idle(&mut self, stage: &mut Stage) {
        if self.streams.is_empty() {
            return self.close(stage, false);
        }
        stage.remind_after(50_000, Reminder::Idle(self.conn, 0));
        let silent: Vec<u32> = self.streams.keys().copied().collect();
        for stream in silent {
            let current = &self.streams[&stream];
            if current.fault == Some(BackendFault::Silent) {
                self.link.reset(stream, CANCEL);
                self.forget(stage, stream);
            }
        }
        self.send(stage);
    }

    fn close(&mut self, stage: &mut Stage, resets: bool) {
        if !std::mem::replace(&mut self.is_over, true) {
            stage.kernel.peer_close(self.conn, resets);
            let streams: Vec<u32> = self.streams.keys().copied().collect();
            streams
                .into_iter()
                .for_each(|stream| self.forget(stage, stream));
        }
    }
}
