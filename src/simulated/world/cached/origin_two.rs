//! A connection of the origin that speaks HTTP/2.

use std::collections::BTreeMap;

use super::origin_one::Sending;
use super::scenario::{Event, Framing, OriginFault};
use super::scene::{CachedReminder, Scene};
use crate::simulated::ConnId;
use crate::simulated::world::frames::{Frame, INTERNAL_ERROR, Link};
use crate::simulated::world::message::Head;
use crate::simulated::world::scenario::PoolKind;

/// A connection whose streams are requests of many clients.
pub struct OriginTwo {
    conn: ConnId,
    link: Link,
    streams: BTreeMap<u32, Sending>,
    is_over: bool,
}

impl OriginTwo {
    /// A connection that the proxy has just made.
    pub fn new(conn: ConnId) -> OriginTwo {
        OriginTwo {
            conn,
            link: Link::new(true, 65_535, 0),
            streams: BTreeMap::new(),
            is_over: false,
        }
    }

    /// Reads and sends what can be.
    pub fn changed(&mut self, scene: &mut Scene) {
        if self.is_over {
            return;
        }
        let bytes = scene.kernel.peer_read(self.conn, usize::MAX);
        self.link.feed(&bytes);
        while !self.is_over
            && let Some(frame) = self.link.next()
        {
            self.take_in(scene, frame);
        }
        self.go_on(scene);
        if !self.is_over && scene.kernel.peer_end(self.conn).is_some() {
            self.close(scene, false);
        }
    }

    fn take_in(&mut self, scene: &mut Scene, frame: Frame) {
        match frame {
            Frame::Head { stream, head, ends } => self.begin(scene, stream, &head, ends),
            Frame::Body {
                stream,
                bytes,
                ends,
            } => {
                self.link.release(None, bytes.len());
                if ends {
                    self.whole(scene, stream);
                }
            }
            Frame::Trailers { stream, .. } => self.whole(scene, stream),
            Frame::Reset(stream) => drop(self.streams.remove(&stream)),
            Frame::GoAway(_) => {}
            Frame::Broken(why) => scene
                .records
                .violated(format!("the origin got broken HTTP/2: {why}")),
        }
    }

    fn begin(&mut self, scene: &mut Scene, stream: u32, head: &Head, ends: bool) {
        let Some(reply) = scene.arrived(head, PoolKind::Two) else {
            return self.close(scene, true);
        };
        self.streams.insert(stream, Sending::new(reply));
        if ends {
            self.whole(scene, stream);
        }
    }

    fn whole(&mut self, scene: &mut Scene, stream: u32) {
        if let Some(current) = self.streams.get_mut(&stream) {
            current.is_whole = true;
            let wait = scene.scenario.asks[current.reply.asker].wait;
            scene.remind_after(wait, CachedReminder::Answer(self.conn, stream));
        }
    }

    /// The answer on a stream is due.
    pub fn answer(&mut self, scene: &mut Scene, stream: u32) {
        let Some(current) = self.streams.get_mut(&stream).filter(|_| !self.is_over) else {
            return;
        };
        match current.reply.fault {
            Some(OriginFault::Resets) => {
                self.link.reset(stream, INTERNAL_ERROR);
                self.streams.remove(&stream);
                scene.trouble(PoolKind::Two);
                return scene.flush(self.conn, &mut self.link.out);
            }
            Some(OriginFault::Silent) => return,
            _ => {}
        }
        let reply = &current.reply;
        let (status, length) = (reply.status.to_string(), reply.body.len().to_string());
        let mut fields = vec![(":status", status.as_str())];
        fields.extend(
            reply
                .fields
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        if reply.framing == Framing::Length && reply.status != 304 {
            fields.push(("content-length", length.as_str()));
        }
        let is_bare = !reply.has_body || reply.body.is_empty();
        self.link.send_head(stream, &fields, is_bare);
        current.began = Some(scene.now());
        scene.note(Event::Answered);
        if is_bare {
            self.streams.remove(&stream);
            scene.note(Event::Sent);
        }
        self.go_on(scene);
    }

    /// Sends what may be sent by now.
    pub fn go_on(&mut self, scene: &mut Scene) {
        if self.is_over {
            return;
        }
        let streams: Vec<u32> = self.streams.keys().copied().collect();
        for stream in streams {
            self.send_on(scene, stream);
        }
        scene.flush(self.conn, &mut self.link.out);
    }

    fn send_on(&mut self, scene: &mut Scene, stream: u32) {
        let Some(current) = self.streams.get_mut(&stream) else {
            return;
        };
        if current.began.is_none() || self.link.out.len() > 100_000 {
            return;
        }
        let (mut released, next) = current.released(scene);
        let breaks = match current.reply.fault {
            Some(OriginFault::Breaks(after)) => Some(after),
            _ => None,
        };
        released = released.min(breaks.unwrap_or(usize::MAX));
        let length = current.reply.body.len();
        let piece = &current.reply.body[current.given.min(released)..released];
        if !piece.is_empty() {
            let sent = self.link.send_body(stream, piece, released == length);
            current.given += sent;
        }
        let given = current.given;
        current.remind(scene, self.conn, next.filter(|_| given < length));
        if breaks.is_some_and(|after| after <= given) && given < length {
            self.link.reset(stream, INTERNAL_ERROR);
            self.streams.remove(&stream);
            return scene.trouble(PoolKind::Two);
        }
        if given == length {
            self.streams.remove(&stream);
            scene.note(Event::Sent);
        }
    }

    /// Ends the connection.
    pub fn close(&mut self, scene: &mut Scene, resets: bool) {
        if !std::mem::replace(&mut self.is_over, true) {
            if resets {
                scene.trouble(PoolKind::Two);
            }
            scene.kernel.peer_close(self.conn, resets);
            self.streams.clear();
        }
    }
}
