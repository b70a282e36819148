//! The course of a client of a run with a cache, whatever version of HTTP it speaks, and the fields of its requests.

use super::records::CameOut;
use super::scenario::{AskId, AskKind, Event, Visitor};
use super::scene::{CachedReminder, Scene};
use crate::simulated::ConnId;

/// The course of a client with one connection.
pub struct Visit {
    at: usize,
    pub visitor: Visitor,
    pub conn: ConnId,
    /// How many of its requests the client has begun, and when it may begin the next one.
    pub begun: usize,
    next_at: u64,
    /// When a slow reader takes the next bytes.
    reads_at: u64,
    pub is_over: bool,
}

impl Visit {
    /// The course of a client that has just connected, by its place among the clients.
    pub fn new(scene: &mut Scene, at: usize, conn: ConnId) -> Visit {
        let mut visit = Visit {
            at,
            visitor: scene.scenario.visitors[at].clone(),
            conn,
            begun: 0,
            next_at: 0,
            reads_at: 0,
            is_over: false,
        };
        visit.wait_for_next(scene);
        visit
    }

    /// Whether the client has further requests.
    pub fn has_next(&self) -> bool {
        self.begun < self.visitor.asks.len()
    }

    /// The next request, if its time has come: the client sends it from now on.
    pub fn begin_next(&mut self, scene: &mut Scene) -> Option<AskId> {
        let next = self.visitor.asks.get(self.begun).copied();
        let id = next.filter(|_| scene.now() >= self.next_at)?;
        self.begun += 1;
        let (millis, micros) = (scene.millis(), scene.now());
        scene.records.begin(id, millis, micros);
        scene.kernel.trace(|| format!("request {id} begins"));
        scene.note(Event::Asked);
        Some(id)
    }

    /// Has the client begin its next request after the pause before it.
    pub fn wait_for_next(&mut self, scene: &mut Scene) {
        if let Some(next) = self.visitor.asks.get(self.begun) {
            self.next_at = scene.now() + scene.scenario.asks[*next].gap;
            scene.remind(self.next_at, CachedReminder::GoOn(self.at));
        }
    }

    /// The bytes that a slow reader takes now, and has to wait after; `None`: its time has not come.
    pub fn take_slowly(
        &mut self,
        scene: &mut Scene,
        (bytes, micros): (usize, u64),
    ) -> Option<usize> {
        if scene.now() < self.reads_at {
            return None;
        }
        self.reads_at = scene.now() + micros;
        scene.remind(self.reads_at, CachedReminder::GoOn(self.at));
        Some(bytes)
    }

    /// Closes the connection: requests without an answer come out like this.
    pub fn end(&mut self, scene: &mut Scene, came_out: CameOut, resets: bool) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        scene.kernel.peer_close(self.conn, resets);
        for (number, id) in self.visitor.asks.iter().enumerate() {
            let is_begun = number < self.begun;
            let came_out = if is_begun { came_out } else { CameOut::Unsent };
            scene.records.finish(*id, came_out);
        }
    }
}

/// The method of a request, the host, the path, and its fields.
pub fn request_of(scene: &Scene, id: AskId) -> Request {
    let ask = &scene.scenario.asks[id];
    let resource = &scene.scenario.resources[ask.resource];
    let mut fields = vec![("x-id", id.to_string())];
    if ask.variant > 0 {
        fields.push(("x-kind", ask.variant.to_string()));
    }
    if ask.is_authorized {
        fields.push(("authorization", format!("Basic c2VjcmV0{id}")));
    }
    if let Some(directive) = ask.directive {
        fields.push(("cache-control", directive.to_owned()));
    }
    let mut tags = scene.records.tags.iter();
    let key = (ask.resource, ask.variant);
    if let Some((_, tag)) = tags.find(|(known, _)| *known == key)
        && ask.is_conditional
    {
        fields.push(("if-none-match", tag.clone()));
    }
    let method = match ask.kind {
        AskKind::Get => "GET",
        AskKind::Head => "HEAD",
        AskKind::Post(_) => "POST",
        AskKind::Range(first, last) => {
            fields.push(("range", format!("bytes={first}-{last}")));
            "GET"
        }
    };
    Request {
        method,
        host: resource.host,
        path: resource.path(),
        fields,
    }
}

/// A request as its client sends it.
pub struct Request {
    pub method: &'static str,
    pub host: &'static str,
    pub path: String,
    pub fields: Vec<(&'static str, String)>,
}
