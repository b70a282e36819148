//! A client that speaks HTTP/2, by prior knowledge.

use std::collections::BTreeMap;

use super::client_one::target;
use super::course::Course;
use super::frames::{Frame, Link};
use super::ledger::{Outcome, REQUEST};
use super::message::{Head, body};
use super::scenario::Id;
use super::stage::Stage;
use crate::simulated::ConnId;

/// A client with one connection and a stream for each request.
pub struct ClientTwo {
    pub course: Course,
    link: Link,
    streams: BTreeMap<u32, Upload>,
    /// Whether no further stream may begin.
    is_ending: bool,
}

/// A request whose answer is awaited.
struct Upload {
    id: Id,
    /// The rest of the request's body: the first half, and the second with the time from which on it is sent.
    first: &'static [u8],
    second: &'static [u8],
    second_at: u64,
    stalls: bool,
    /// Bytes of the answer that a slow reader has not taken.
    held: usize,
}

impl ClientTwo {
    /// A client that has just connected.
    pub fn new(stage: &mut Stage, at: usize, conn: ConnId) -> ClientTwo {
        let course = Course::new(stage, at, conn);
        let window = if course.config.reads_slowly.is_some() {
            3_000
        } else {
            1 << 20
        };
        ClientTwo {
            course,
            link: Link::new(false, window, 0),
            streams: BTreeMap::new(),
            is_ending: false,
        }
    }

    /// Sends and reads what can be.
    pub fn go_on(&mut self, stage: &mut Stage) {
        if self.course.is_over {
            return;
        }
        self.begin_next(stage);
        let bytes = stage.kernel.peer_read(self.course.conn, usize::MAX);
        self.link.feed(&bytes);
        while !self.course.is_over
            && let Some(frame) = self.link.next()
        {
            self.take_in(stage, frame);
        }
        self.take_slowly(stage);
        self.send(stage);
        let may_begin = self.course.has_next() && !self.is_ending;
        let is_done = self.streams.is_empty() && !may_begin;
        if !self.course.is_over && (is_done || stage.kernel.peer_end(self.course.conn).is_some()) {
            self.course.end(stage, Outcome::Broken, false);
        }
    }

    fn begin_next(&mut self, stage: &mut Stage) {
        while !self.is_ending
            && let Some(id) = self.course.begin_next(stage)
        {
            let stream = 2 * self.course.begun() as u32 - 1;
            self.open(stage, stream, id);
            self.course.wait_for_next(stage);
        }
    }

    fn open(&mut self, stage: &mut Stage, stream: u32, id: Id) {
        let scenario = stage.scenario.clone();
        let config = &scenario.requests[id];
        let (path, number) = (target(id, config), id.to_string());
        let (long, length) = ("a".repeat(config.long_field), config.body.to_string());
        let mut fields = vec![
            (":method", config.method),
            (":scheme", "http"),
            (":authority", "sim"),
            (":path", path.as_str()),
            ("x-id", number.as_str()),
        ];
        if config.long_field > 0 {
            fields.push(("x-long", &long));
        }
        if config.body > 0 && !config.is_chunked {
            fields.push(("content-length", &length));
        }
        self.link.send_head(stream, &fields, config.body == 0);
        let (first, second) = body(id, REQUEST, config.body).split_at(config.body / 2);
        let second_at = stage.now() + config.pause;
        if config.body == 0 {
            stage.ledger.records[id].whole_at = Some(stage.now());
        } else {
            self.course.look_again(stage, second_at);
        }
        let upload = Upload {
            id,
            first,
            second,
            second_at,
            stalls: config.stalls,
            held: 0,
        };
        self.streams.insert(stream, upload);
    }

    fn send(&mut self, stage: &mut Stage) {
        let now = stage.now();
        for (stream, upload) in &mut self.streams {
            if self.link.out.len() > 100_000 {
                break;
            }
            let sent = self.link.send_body(*stream, upload.first, false);
            upload.first = &upload.first[sent..];
            let is_due = now >= upload.second_at && !upload.stalls;
            if upload.first.is_empty() && !upload.second.is_empty() && is_due {
                let has_trailer = stage.scenario.requests[upload.id].sends_trailers();
                let sent = self.link.send_body(*stream, upload.second, !has_trailer);
                upload.second = &upload.second[sent..];
                if upload.second.is_empty() {
                    if has_trailer {
                        self.link.send_trailer(*stream, upload.id);
                    }
                    stage.ledger.records[upload.id].whole_at = Some(now);
                }
            }
        }
        stage.flush(self.course.conn, &mut self.link.out);
    }

    fn take_in(&mut self, stage: &mut Stage, frame: Frame) {
        match frame {
            Frame::Head { stream, head, ends } => self.head(stage, stream, &head, ends),
            Frame::Body {
                stream,
                bytes,
                ends,
            } => {
                self.link.release(None, bytes.len());
                let Some(upload) = self.streams.get_mut(&stream) else {
                    return;
                };
                match self.course.config.reads_slowly {
                    Some(_) => upload.held += bytes.len(),
                    None if !ends => self.link.release(Some(stream), bytes.len()),
                    None => {}
                }
                let id = upload.id;
                let scenario = stage.scenario.clone();
                stage.ledger.answer_body(&scenario, id, &bytes);
                if ends {
                    self.answered(stage, stream, None);
                }
            }
            Frame::Trailers { stream, trailer } => self.answered(stage, stream, trailer),
            Frame::Reset(stream) => self.broken(stage, stream),
            Frame::GoAway(last) => {
                self.is_ending = true;
                let beyond: Vec<u32> = self
                    .streams
                    .keys()
                    .copied()
                    .filter(|one| *one > last)
                    .collect();
                beyond
                    .into_iter()
                    .for_each(|stream| self.broken(stage, stream));
            }
            Frame::Broken(why) => {
                let at = self.course.client();
                stage
                    .ledger
                    .violated(format!("client {at} got broken HTTP/2: {why}"));
            }
        }
    }

    fn head(&mut self, stage: &mut Stage, stream: u32, head: &Head, ends: bool) {
        let Some(upload) = self.streams.get(&stream) else {
            let at = self.course.client();
            return stage.ledger.violated(format!(
                "client {at} got a head on stream {stream}, which is closed"
            ));
        };
        if head.status() / 100 == 1 {
            return;
        }
        let id = upload.id;
        stage.ledger.answer(id, head.number("x-id"), head.status());
        if ends {
            self.answered(stage, stream, None);
        }
    }

    fn answered(&mut self, stage: &mut Stage, stream: u32, trailer: Option<Id>) {
        if let Some(upload) = self.streams.remove(&stream) {
            let scenario = stage.scenario.clone();
            stage.ledger.answered(&scenario, upload.id, trailer);
        }
    }

    fn broken(&mut self, stage: &mut Stage, stream: u32) {
        if let Some(upload) = self.streams.remove(&stream) {
            stage.ledger.finish(upload.id, Outcome::Broken);
        }
    }

    /// Lets the proxy send more to a client that reads slowly.
    fn take_slowly(&mut self, stage: &mut Stage) {
        let pace = self.course.config.reads_slowly;
        let Some(bytes) = pace.and_then(|pace| self.course.take_slowly(stage, pace)) else {
            return;
        };
        for (stream, upload) in &mut self.streams {
            let taken = upload.held.min(bytes);
            upload.held -= taken;
            self.link.release(Some(*stream), taken);
        }
    }
}
