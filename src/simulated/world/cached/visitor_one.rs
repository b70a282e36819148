//! A client of a run with a cache that speaks HTTP/1.1.

use super::records::CameOut;
use super::scenario::{AskId, AskKind};
use super::scene::Scene;
use super::visit::{Visit, request_of};
use crate::simulated::world::message::{Part, Reader};
use crate::simulated::{ByteQueue, ConnId};

/// A client that sends one request after the other.
pub struct VisitorOne {
    pub visit: Visit,
    reader: Reader,
    out: ByteQueue,
    awaited: Option<AskId>,
    /// Whether the connection ends with the answer.
    is_last: bool,
}

impl VisitorOne {
    /// A client that has just connected.
    pub fn new(scene: &mut Scene, at: usize, conn: ConnId) -> VisitorOne {
        VisitorOne {
            visit: Visit::new(scene, at, conn),
            reader: Reader::new(true),
            out: ByteQueue::default(),
            awaited: None,
            is_last: false,
        }
    }

    /// Sends and reads what can be.
    pub fn go_on(&mut self, scene: &mut Scene) {
        if self.visit.is_over {
            return;
        }
        if self.awaited.is_none()
            && let Some(id) = self.visit.begin_next(scene)
        {
            self.write(scene, id);
        }
        scene.flush(self.visit.conn, &mut self.out);
        self.read(scene);
        if !self.visit.is_over && scene.kernel.peer_end(self.visit.conn).is_some() {
            self.visit.end(scene, CameOut::Broken, false);
        }
    }

    fn write(&mut self, scene: &Scene, id: AskId) {
        let request = request_of(scene, id);
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            request.method, request.path, request.host
        );
        for (name, value) in &request.fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += match request.method {
            "POST" => "content-length: 6\r\n\r\nchange",
            _ => "\r\n",
        };
        self.awaited = Some(id);
        self.out.push(head.as_bytes());
    }

    fn read(&mut self, scene: &mut Scene) {
        let mut most = usize::MAX;
        // Where the proxy has closed, a slow reader only reads what the kernel has left.
        if let Some(rate) = self.visit.visitor.reads_slowly
            && scene.kernel.is_proxy_open(self.visit.conn)
        {
            match self.visit.take_slowly(scene, rate) {
                Some(bytes) => most = bytes,
                None => return,
            }
        }
        let bytes = scene.kernel.peer_read(self.visit.conn, most);
        self.reader.feed(&bytes);
        while !self.visit.is_over
            && let Some(part) = self.reader.next()
        {
            self.take_in(scene, part);
        }
    }

    fn take_in(&mut self, scene: &mut Scene, part: Part) {
        match (part, self.awaited) {
            (Part::Head(head), Some(id)) => {
                self.is_last |= head.field("connection") == Some("close");
                let kind = scene.scenario.asks[id].kind;
                if kind == AskKind::Head || head.status() == 304 {
                    self.reader.skip_body();
                }
                scene.received(id, &head);
            }
            (Part::Body(bytes), Some(id)) => scene.records.body(id, &bytes),
            (Part::End(_), Some(id)) => {
                scene.records.whole(id);
                self.awaited = None;
                if self.is_last || !self.visit.has_next() {
                    return self.visit.end(scene, CameOut::Broken, false);
                }
                self.visit.wait_for_next(scene);
            }
            (Part::Malformed(why), _) => scene
                .records
                .violated(format!("a client got a malformed answer: {why}")),
            // The proxy may say why it ends a connection on which nothing is due.
            (Part::Head(head), None) if head.number("x-made").is_some() => scene
                .records
                .violated(format!("a client got an answer to no request: {head:?}")),
            (_, None) => {}
        }
    }
}
