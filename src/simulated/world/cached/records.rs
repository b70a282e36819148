//! The knowledge of every request of a run with a cache, from outside. A violation is noted here, the first one alone.

use std::rc::Rc;

use super::scenario::{AskId, CachedScenario, Purged};

/// How a request came out for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameOut {
    /// An answer of the origin, whole.
    Answered,
    /// The proxy's own answer.
    Refused(u16),
    /// The connection or the stream ended before the answer did.
    Broken,
    /// The client has left.
    Left,
    /// The request was never sent, because its connection was over.
    Unsent,
}

/// All that is known of a request.
#[derive(Clone, Debug, Default)]
pub struct AskRecord {
    /// When its client began to send it: its place in the order of all that happens, in milliseconds since 1970, and in
    /// microseconds.
    pub begun: Option<(u64, u64, u64)>,
    pub came_out: Option<CameOut>,
    /// The body that the client has to get, once it has got the head. `None` behind the head: the proxy's own answer.
    expected: Option<Rc<[u8]>>,
    has_head: bool,
    status: u16,
    got: usize,
}

/// A purge that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct PurgeRecord {
    pub order: u64,
    pub what: Purged,
    pub is_soft: bool,
}

/// All requests and purges of a run.
pub struct Records {
    pub asks: Vec<AskRecord>,
    pub purges: Vec<PurgeRecord>,
    /// From which place in the order on a resource has at least a version, because a client knows of the change.
    pub floors: Vec<(u64, usize, u32)>,
    /// The entity tag of each resource and variant that a client got last.
    pub tags: Vec<((usize, u8), String)>,
    pub violation: Option<String>,
    /// How often answers have said of themselves what [`REACHED`] lists.
    pub reached: [u64; REACHED.len()],
    order: u64,
}

/// The words of `Cache-Status` that tell which way an answer came.
pub const REACHED: [&str; 9] = [
    "hit",
    "collapsed",
    "stored",
    "fwd-status=304",
    "fwd=partial",
    "refreshing",
    "unreachable",
    "error",
    "slow",
];

impl Records {
    /// Nothing has happened yet.
    pub fn new(scenario: &CachedScenario) -> Records {
        Records {
            asks: vec![AskRecord::default(); scenario.asks.len()],
            purges: Vec::new(),
            floors: Vec::new(),
            tags: Vec::new(),
            violation: None,
            reached: [0; REACHED.len()],
            order: 0,
        }
    }

    /// Notes that something must not be. The first one counts.
    pub fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// The next place in the order of all that happens.
    pub fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Notes what an answer says of the way that it came.
    pub fn note_way(&mut self, said: &str) {
        for (word, count) in REACHED.iter().zip(&mut self.reached) {
            *count += u64::from(said.contains(word));
        }
    }

    /// A purge was acknowledged.
    pub fn purged(&mut self, what: Purged, is_soft: bool) {
        let order = self.next_order();
        self.purges.push(PurgeRecord {
            order,
            what,
            is_soft,
        });
    }

    /// A client begins to send a request.
    pub fn begin(&mut self, id: AskId, millis: u64, micros: u64) {
        let order = self.next_order();
        self.asks[id].begun = Some((order, millis, micros));
    }

    /// The client has got a final head. `expected`: the body of the origin's answer; `None`: it is the proxy's own.
    /// Invariant: every client gets one answer, or a failure that shows.
    pub fn head(&mut self, id: AskId, status: u16, expected: Option<Rc<[u8]>>) {
        let record = &mut self.asks[id];
        let is_second = record.has_head || record.came_out.is_some();
        (record.has_head, record.status, record.expected) = (true, status, expected);
        if is_second {
            self.violated(format!(
                "request {id} got a second answer, of status {status}"
            ));
        }
    }

    /// The client has got bytes of an answer's body. Invariant: they are those of the answer that its head names.
    pub fn body(&mut self, id: AskId, bytes: &[u8]) {
        let record = &mut self.asks[id];
        let start = record.got;
        record.got += bytes.len();
        let Some(expected) = &record.expected else {
            return;
        };
        if expected.get(start..record.got) != Some(bytes) {
            let whole = expected.len();
            let begins: String = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into();
            self.violated(format!(
                "request {id} got other bytes from {start} on of {whole}, such as {begins:?}"
            ));
        }
    }

    /// The client has taken the answer for whole. Invariant: it is whole.
    pub fn whole(&mut self, id: AskId) {
        let record = &self.asks[id];
        match &record.expected {
            _ if !record.has_head => {
                self.violated(format!(
                    "request {id} has an answer that ends without a head"
                ));
            }
            None => self.finish(id, CameOut::Refused(record.status)),
            Some(expected) if expected.len() != record.got => {
                let (got, whole) = (record.got, expected.len());
                self.violated(format!(
                    "request {id} got {got} bytes of {whole} as a whole answer"
                ));
            }
            Some(_) => self.finish(id, CameOut::Answered),
        }
    }

    /// A request has come out like this, unless it had come out already.
    pub fn finish(&mut self, id: AskId, came_out: CameOut) {
        self.asks[id].came_out.get_or_insert(came_out);
    }

    /// The requests that are sent and have not come out.
    pub fn open(&self) -> impl Iterator<Item = (AskId, &AskRecord)> {
        let asks = self.asks.iter().enumerate();
        asks.filter(|(_, record)| record.begun.is_some() && record.came_out.is_none())
    }
}
