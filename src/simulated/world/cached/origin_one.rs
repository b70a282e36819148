//! A connection of the origin that speaks HTTP/1.1.

use super::origin::OriginReply;
use super::scenario::{Event, Framing, OriginFault};
use super::scene::{CachedReminder, Scene};
use crate::simulated::world::message::{Part, Reader};
use crate::simulated::world::scenario::PoolKind;
use crate::simulated::{ByteQueue, ConnId};

/// A connection on which the proxy sends one request after the other.
pub struct OriginOne {
    conn: ConnId,
    reader: Reader,
    current: Option<Sending>,
    out: ByteQueue,
    is_over: bool,
}

/// An answer on its way.
pub struct Sending {
    pub reply: OriginReply,
    /// When the answer began, in microseconds.
    pub began: Option<u64>,
    /// Bytes of its body that were given to the connection.
    pub given: usize,
    /// Whether the request is whole.
    pub is_whole: bool,
    /// The instant at which the next piece is due that the world was asked to remind of.
    wakes_at: u64,
}

impl Sending {
    /// An answer that has not begun.
    pub fn new(reply: OriginReply) -> Sending {
        Sending {
            reply,
            began: None,
            given: 0,
            is_whole: false,
            wakes_at: 0,
        }
    }

    /// Has the connection go on when the next piece is due.
    pub fn remind(&mut self, scene: &mut Scene, conn: ConnId, next: Option<u64>) {
        if let Some(next) = next.filter(|next| *next != self.wakes_at) {
            self.wakes_at = next;
            scene.remind(next, CachedReminder::Piece(conn));
        }
    }

    /// Bytes of the body that may be sent by now; the second value: when there will be more, in microseconds.
    pub fn released(&self, scene: &Scene) -> (usize, Option<u64>) {
        let ask = &scene.scenario.asks[self.reply.asker];
        let (length, began) = (self.reply.body.len(), self.began.unwrap_or(0));
        let pieces = ask.pieces.max(1) as u64;
        let come = (scene.now() - began)
            .checked_div(ask.pause)
            .unwrap_or(pieces)
            + 1;
        if come >= pieces {
            return (length, None);
        }
        let part = length as u64 * come / pieces;
        (part as usize, Some(began + come * ask.pause))
    }
}

impl OriginOne {
    /// A connection that the proxy has just made.
    pub fn new(conn: ConnId) -> OriginOne {
        OriginOne {
            conn,
            reader: Reader::new(false),
            current: None,
            out: ByteQueue::default(),
            is_over: false,
        }
    }

    /// Reads and sends what can be.
    pub fn changed(&mut self, scene: &mut Scene) {
        if self.is_over {
            return;
        }
        let bytes = scene.kernel.peer_read(self.conn, usize::MAX);
        self.reader.feed(&bytes);
        while !self.is_over
            && self
                .current
                .as_ref()
                .is_none_or(|current| !current.is_whole)
            && let Some(part) = self.reader.next()
        {
            self.take_in(scene, part);
        }
        self.go_on(scene);
        if !self.is_over && scene.kernel.peer_end(self.conn).is_some() {
            self.close(scene, false);
        }
    }

    fn take_in(&mut self, scene: &mut Scene, part: Part) {
        match part {
            Part::Head(head) => match scene.arrived(&head, PoolKind::One) {
                Some(reply) => self.current = Some(Sending::new(reply)),
                None => self.close(scene, true),
            },
            Part::Body(_) => {}
            Part::End(_) => {
                if let Some(current) = &mut self.current {
                    current.is_whole = true;
                    let wait = scene.scenario.asks[current.reply.asker].wait;
                    scene.remind_after(wait, CachedReminder::Answer(self.conn, 0));
                }
            }
            Part::Malformed(why) => scene
                .records
                .violated(format!("the origin got a malformed request: {why}")),
        }
    }

    /// The answer is due.
    pub fn answer(&mut self, scene: &mut Scene) {
        let Some(current) = self.current.as_mut().filter(|_| !self.is_over) else {
            return;
        };
        match current.reply.fault {
            Some(OriginFault::Resets) => return self.close(scene, true),
            Some(OriginFault::Silent) => return,
            _ => {}
        }
        let reply = &current.reply;
        let mut head = format!("HTTP/1.1 {} Some\r\n", reply.status);
        for (name, value) in &reply.fields {
            head += &format!("{name}: {value}\r\n");
        }
        match reply.framing {
            _ if reply.status == 304 => {}
            Framing::Length => head += &format!("content-length: {}\r\n", reply.body.len()),
            Framing::Chunked => head += "transfer-encoding: chunked\r\n",
            Framing::Close => head += "connection: close\r\n",
        }
        head += "\r\n";
        current.began = Some(scene.now());
        self.out.push(head.as_bytes());
        scene.note(Event::Answered);
        self.go_on(scene);
    }

    /// Sends what may be sent by now.
    pub fn go_on(&mut self, scene: &mut Scene) {
        let Some(current) = self.current.as_mut().filter(|one| one.began.is_some()) else {
            return;
        };
        let (mut released, mut next) = current.released(scene);
        if !current.reply.has_body {
            (released, next) = (0, None);
        }
        let breaks = match current.reply.fault {
            Some(OriginFault::Breaks(after)) => Some(after),
            _ => None,
        };
        released = released.min(breaks.unwrap_or(usize::MAX));
        let piece = &current.reply.body[current.given.min(released)..released];
        let is_chunked = current.reply.framing == Framing::Chunked && current.reply.has_body;
        if !piece.is_empty() {
            if is_chunked {
                self.out.push(format!("{:x}\r\n", piece.len()).as_bytes());
            }
            self.out.push(piece);
            if is_chunked {
                self.out.push(b"\r\n");
            }
            current.given = released;
        }
        let is_broken = breaks.is_some_and(|after| after <= current.given)
            && current.given < current.reply.body.len();
        let is_last = !is_broken && next.is_none();
        if is_last && is_chunked {
            self.out.push(b"0\r\n\r\n");
            current.reply.has_body = false;
        }
        current.remind(scene, self.conn, next.filter(|_| !is_broken));
        scene.flush(self.conn, &mut self.out);
        if self.out.is_empty() && is_broken {
            return self.close(scene, true);
        }
        if self.out.is_empty() && is_last {
            self.done(scene);
        }
    }

    fn done(&mut self, scene: &mut Scene) {
        scene.note(Event::Sent);
        let ended = self.current.take();
        if ended.is_some_and(|ended| ended.reply.framing == Framing::Close) {
            return self.close(scene, false);
        }
        self.changed(scene);
    }

    /// Ends the connection.
    pub fn close(&mut self, scene: &mut Scene, resets: bool) {
        if !std::mem::replace(&mut self.is_over, true) {
            if resets {
                scene.trouble(PoolKind::One);
            }
            scene.kernel.peer_close(self.conn, resets);
        }
    }
}
