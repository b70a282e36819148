//! A client of a run with a cache that speaks HTTP/2, by prior knowledge.

use std::collections::BTreeMap;

use super::records::CameOut;
use super::scenario::AskId;
use super::scene::Scene;
use super::visit::{Visit, request_of};
use crate::simulated::ConnId;
use crate::simulated::world::frames::{Frame, Link};

/// A client with a stream for each request.
pub struct VisitorTwo {
    pub visit: Visit,
    link: Link,
    /// The requests whose answers are awaited, each with the bytes that a slow reader has not taken.
    streams: BTreeMap<u32, (AskId, usize)>,
    /// Whether no further stream may begin.
    is_ending: bool,
}

impl VisitorTwo {
    /// A client that has just connected.
    pub fn new(scene: &mut Scene, at: usize, conn: ConnId) -> VisitorTwo {
        let visit = Visit::new(scene, at, conn);
        let window = match visit.visitor.reads_slowly {
            Some(_) => 3_000,
            None => 1 << 20,
        };
        VisitorTwo {
            visit,
            link: Link::new(false, window, 0),
            streams: BTreeMap::new(),
            is_ending: false,
        }
    }

    /// Sends and reads what can be.
    pub fn go_on(&mut self, scene: &mut Scene) {
        if self.visit.is_over {
            return;
        }
        while !self.is_ending
            && let Some(id) = self.visit.begin_next(scene)
        {
            self.open(scene, id);
            self.visit.wait_for_next(scene);
        }
        let bytes = scene.kernel.peer_read(self.visit.conn, usize::MAX);
        self.link.feed(&bytes);
        while !self.visit.is_over
            && let Some(frame) = self.link.next()
        {
            self.take_in(scene, frame);
        }
        self.take_slowly(scene);
        scene.flush(self.visit.conn, &mut self.link.out);
        let may_begin = self.visit.has_next() && !self.is_ending;
        let is_done = self.streams.is_empty() && !may_begin;
        if !self.visit.is_over && (is_done || scene.kernel.peer_end(self.visit.conn).is_some()) {
            self.visit.end(scene, CameOut::Broken, false);
        }
    }

    fn open(&mut self, scene: &Scene, id: AskId) {
        let request = request_of(scene, id);
        let stream = 2 * self.visit.begun as u32 - 1;
        let mut fields = vec![
            (":method", request.method),
            (":scheme", "http"),
            (":authority", request.host),
            (":path", request.path.as_str()),
        ];
        fields.extend(
            request
                .fields
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let is_post = request.method == "POST";
        self.link.send_head(stream, &fields, !is_post);
        if is_post {
            self.link.send_body(stream, b"change", true);
        }
        self.streams.insert(stream, (id, 0));
    }

    fn take_in(&mut self, scene: &mut Scene, frame: Frame) {
        match frame {
            Frame::Head { stream, head, ends } => {
                let Some((id, _)) = self.streams.get(&stream).copied() else {
                    let what = format!("a client got a head on stream {stream}, which is closed");
                    return scene.records.violated(what);
                };
                if head.status() / 100 == 1 {
                    return;
                }
                scene.received(id, &head);
                if ends {
                    self.whole(scene, stream);
                }
            }
            Frame::Body {
                stream,
                bytes,
                ends,
            } => self.body(scene, stream, (&bytes, ends)),
            Frame::Trailers { stream, .. } => self.whole(scene, stream),
            Frame::Reset(stream) => self.broken(scene, stream),
            Frame::GoAway(last) => {
                self.is_ending = true;
                let beyond: Vec<u32> = self
                    .streams
                    .range(last + 1..)
                    .map(|(one, _)| *one)
                    .collect();
                beyond
                    .into_iter()
                    .for_each(|stream| self.broken(scene, stream));
            }
            Frame::Broken(why) => scene
                .records
                .violated(format!("a client got broken HTTP/2: {why}")),
        }
    }

    fn body(&mut self, scene: &mut Scene, stream: u32, (bytes, ends): (&[u8], bool)) {
        self.link.release(None, bytes.len());
        let Some((id, held)) = self.streams.get_mut(&stream) else {
            return;
        };
        match self.visit.visitor.reads_slowly {
            Some(_) => *held += bytes.len(),
            None if !ends => self.link.release(Some(stream), bytes.len()),
            None => {}
        }
        scene.records.body(*id, bytes);
        if ends {
            self.whole(scene, stream);
        }
    }

    fn whole(&mut self, scene: &mut Scene, stream: u32) {
        if let Some((id, _)) = self.streams.remove(&stream) {
            scene.records.whole(id);
        }
    }

    fn broken(&mut self, scene: &mut Scene, stream: u32) {
        if let Some((id, _)) = self.streams.remove(&stream) {
            scene.records.finish(id, CameOut::Broken);
        }
    }

    /// Lets the proxy send more to a client that reads slowly.
    fn take_slowly(&mut self, scene: &mut Scene) {
        let rate = self.visit.visitor.reads_slowly;
        let Some(bytes) = rate.and_then(|rate| self.visit.take_slowly(scene, rate)) else {
            return;
        };
        for (stream, (_, held)) in &mut self.streams {
            let taken = (*held).min(bytes);
            *held -= taken;
            self.link.release(Some(*stream), taken);
        }
    }
}
