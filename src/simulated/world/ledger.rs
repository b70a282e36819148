//! The knowledge of every request from outside: the request as its client sent it, the backends that got it, the answer
//! that came back. A violation is noted here, the first one alone.

use super::message::body;
use super::scenario::{Id, PoolKind, Scenario, Settings};

/// The salt of requests' bodies.
pub const REQUEST: usize = 1;
/// The salt of answers' bodies.
pub const ANSWER: usize = 2;

/// How a request came out for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A backend's answer, whole.
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

/// A request as it reached a backend.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When it came, in microseconds.
    pub at: u64,
    /// Whether the proxy was told that nothing of it was processed.
    pub is_refused: bool,
    /// Bytes of its body.
    received: usize,
}

/// All that is known of a request.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub worker: usize,
    /// When its client began to send it, in microseconds.
    pub sent_at: Option<u64>,
    /// When all of it was sent.
    pub whole_at: Option<u64>,
    pub arrivals: Vec<Arrival>,
    pub outcome: Option<Outcome>,
    /// The status of the final head that the client got, and bytes of the body behind it.
    pub status: Option<u16>,
    got: usize,
    is_own: bool,
}

/// The configuration of a worker over time.
#[derive(Clone, Debug)]
pub struct InForce {
    pub settings: Settings,
    /// When it was sent to the workers.
    pub since: u64,
    /// When each worker had the next one.
    pub until: Vec<Option<u64>>,
}

/// All requests of a run.
pub struct Ledger {
    pub records: Vec<Record>,
    pub in_force: Vec<InForce>,
    /// The instants from which each backend has had nothing to do.
    pub idle_since: Vec<Option<u64>>,
    busy: Vec<usize>,
    pub violation: Option<String>,
    /// When the workers were told to end.
    pub ending_at: Option<u64>,
    /// The virtual time, in microseconds.
    pub now: u64,
}

impl Ledger {
    /// Nothing has happened yet.
    pub fn new(scenario: &Scenario) -> Ledger {
        Ledger {
            records: vec![Record::default(); scenario.requests.len()],
            in_force: vec![InForce {
                settings: scenario.settings.clone(),
                since: 0,
                until: vec![None; scenario.workers],
            }],
            idle_since: vec![Some(0); scenario.backends.len()],
            busy: vec![0; scenario.backends.len()],
            violation: None,
            ending_at: None,
            now: 0,
        }
    }

    /// Notes that something must not be. The first one counts.
    pub fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A client begins to send a request to this worker.
    pub fn sent(&mut self, id: Id, worker: usize, now: u64) {
        let record = &mut self.records[id];
        record.worker = worker;
        record.sent_at.get_or_insert(now);
    }

    /// A backend has something to do, or one thing less.
    pub fn begin(&mut self, backend: usize) {
        self.busy[backend] += 1;
        self.idle_since[backend] = None;
    }

    /// A backend has one thing less to do.
    pub fn end(&mut self, backend: usize, now: u64) {
        self.busy[backend] -= 1;
        if self.busy[backend] == 0 {
            self.idle_since[backend] = Some(now);
        }
    }

    /// The head of a request has reached a backend. `line`: its request line. Gives the number of the arrival.
    /// Invariant: a backend gets no message that its client did not send.
    pub fn arrived(
        &mut self,
        scenario: &Scenario,
        id: Option<Id>,
        line: &str,
        backend: usize,
    ) -> Option<(Id, usize)> {
        let known = id.filter(|id| *id < self.records.len() && self.records[*id].sent_at.is_some());
        let Some(id) = known else {
            self.violated(format!(
                "backend {backend} got what no client sent: {line:?}"
            ));
            return None;
        };
        let config = &scenario.requests[id];
        if config.pool != scenario.backends[backend].pool {
            self.violated(format!(
                "request {id} went to backend {backend} of another pool"
            ));
        }
        if !line.starts_with(&format!("{} /", config.method)) || !line.contains(&format!("/r{id}"))
        {
            self.violated(format!(
                "request {id} reached backend {backend} as {line:?}"
            ));
        }
        let at = self.now;
        let record = &mut self.records[id];
        record.arrivals.push(Arrival {
            at,
            is_refused: false,
            received: 0,
        });
        let number = record.arrivals.len() - 1;
        Some((id, number))
    }

    /// Invariant: a request that is not idempotent reaches backends at most once, unless it is known that the first one
    /// did not process it. A backend takes a request that has arrived, and may execute it from now on.
    pub fn taken(&mut self, scenario: &Scenario, id: Id) {
        let arrivals = self.records[id].arrivals.iter();
        let taken = arrivals.filter(|arrival| !arrival.is_refused).count();
        if taken > 1 && !scenario.requests[id].is_idempotent() {
            self.violated(format!("request {id}, a POST, reached backends twice"));
        }
    }

    /// Invariant: no byte goes out over a connection whose settings are not those in force for its exchange. Checks the
    /// settings of the connection over which a request came.
    pub fn check_settings(&mut self, id: Id, tls: u8, proxied: bool, now: u64) {
        let record = &self.records[id];
        let sent = record.sent_at.unwrap_or(0);
        let fits = self.in_force.iter().any(|one| {
            let is_over = one.until[record.worker].is_some_and(|until| until < sent);
            let settings = &one.settings;
            !is_over
                && one.since <= now
                && (settings.tls, settings.proxy_protocol) == (tls, proxied)
        });
        if !fits {
            self.violated(format!(
                "request {id} went over a connection with TLS {tls}, PROXY {proxied}, which was not in force"
            ));
        }
    }

    /// Invariant: a backend gets the body that the client has sent. Bytes of a request's body have reached a backend.
    pub fn body_arrived(&mut self, scenario: &Scenario, (id, number): (Id, usize), bytes: &[u8]) {
        let arrival = &mut self.records[id].arrivals[number];
        let start = arrival.received;
        arrival.received += bytes.len();
        let expected = body(id, REQUEST, scenario.requests[id].body);
        if expected.get(start..arrival.received) != Some(bytes) {
            let (end, whole) = (arrival.received, expected.len());
            self.violated(format!(
                "request {id} reached a backend with a body that is not its own in {start}..{end} of {whole}"
            ));
        }
    }

    /// Invariant: a backend never gets a part of a message as whole. A backend has taken a request for whole.
    pub fn complete(
        &mut self,
        scenario: &Scenario,
        (id, number): (Id, usize),
        trailer: Option<Id>,
    ) {
        let expected = scenario.requests[id].sends_trailers().then_some(id);
        self.check_trailer(id, expected, trailer);
        let (received, whole) = (
            self.records[id].arrivals[number].received,
            scenario.requests[id].body,
        );
        if received != whole {
            self.violated(format!(
                "request {id} reached a backend as whole with {received} bytes of {whole}"
            ));
        }
    }

    /// The client has got a final head. `id`: whose answer it says to be; `None`: it is the proxy's own.
    /// Invariant: every client gets the answer to its own request, or a failure that says so, once.
    pub fn answer(&mut self, expected: Id, id: Option<Id>, status: u16) {
        let record = &mut self.records[expected];
        let is_second = record.status.is_some() || record.outcome.is_some();
        record.status = Some(status);
        record.is_own = id.is_none();
        if is_second {
            self.violated(format!(
                "request {expected} got a second answer, of status {status}"
            ));
        }
        match id {
            Some(id) if id != expected => {
                self.violated(format!("request {expected} got the answer to request {id}"));
            }
            None if status < 400 => {
                self.violated(format!("request {expected} got {status} from nobody"));
            }
            _ => {}
        }
    }

    /// The client has got bytes of an answer's body. Invariant: the body of an answer is the one that the backend has
    /// sent for the request.
    pub fn answer_body(&mut self, scenario: &Scenario, id: Id, bytes: &[u8]) {
        let record = &mut self.records[id];
        let start = record.got;
        record.got += bytes.len();
        if record.is_own {
            return;
        }
        let expected = body(id, ANSWER, scenario.requests[id].answer);
        if expected.get(start..record.got) != Some(bytes) {
            self.violated(format!("request {id} got a body that is not its answer's"));
        }
    }

    /// Invariant: an answer that a client takes for whole is whole. The client has taken the answer for whole.
    pub fn answered(&mut self, scenario: &Scenario, id: Id, trailer: Option<Id>) {
        let is_own = self.records[id].is_own;
        let has_trailer = scenario.requests[id].is_answered_with_trailers() && !is_own;
        self.check_trailer(id, has_trailer.then_some(id), trailer);
        let record = &self.records[id];
        let (got, whole) = (record.got, scenario.requests[id].answer);
        match (record.is_own, record.status) {
            (true, Some(status)) => self.finish(id, Outcome::Refused(status)),
            (_, None) => self.violated(format!(
                "request {id} has an answer that ends without a head"
            )),
            _ if got != whole => {
                self.violated(format!(
                    "request {id} got {got} bytes of {whole} as a whole answer"
                ));
            }
            _ => self.finish(id, Outcome::Answered),
        }
    }

    /// Invariant: a trailer comes with its own message, and with no other.
    fn check_trailer(&mut self, id: Id, expected: Option<Id>, got: Option<Id>) {
        if got != expected {
            self.violated(format!(
                "request {id} or its answer has the trailer of {got:?} instead of {expected:?}"
            ));
        }
    }

    /// Whether all bytes that go through the tunnel of a request have arrived at the client, and at a backend.
    pub fn has_tunnelled(&self, scenario: &Scenario, id: Id) -> (bool, bool) {
        let (record, config) = (&self.records[id], &scenario.requests[id]);
        let received = record.arrivals.last().map(|arrival| arrival.received);
        let is_switched = record.status == Some(101);
        (
            is_switched && record.got == config.answer,
            is_switched && received == Some(config.body),
        )
    }

    /// Whether a request had reached no backend when the workers were told to end.
    pub fn is_late(&self, id: Id) -> bool {
        let arrivals = &self.records[id].arrivals;
        let first = arrivals.first().map_or(u64::MAX, |arrival| arrival.at);
        self.ending_at.is_some_and(|at| first >= at)
    }

    /// A request has come out like this, unless it had come out already.
    pub fn finish(&mut self, id: Id, outcome: Outcome) {
        self.records[id].outcome.get_or_insert(outcome);
    }

    /// The requests that are sent and have no outcome.
    pub fn open(&self) -> impl Iterator<Item = (Id, &Record)> {
        let records = self.records.iter().enumerate();
        records.filter(|(_, record)| record.sent_at.is_some() && record.outcome.is_none())
    }

    /// Invariant: no client waits while a backend that could serve it is idle. Checks that no request waits for a
    /// connection while a backend has had nothing to do for as long.
    pub fn check_idle(
        &mut self,
        scenario: &Scenario,
        is_connecting: impl Fn(usize) -> bool,
        now: u64,
    ) {
        const LONG: u64 = 700_000;
        // An answer that a slow reader has not taken keeps its connection from others, though its backend is done.
        if scenario
            .clients
            .iter()
            .any(|client| client.reads_slowly.is_some())
        {
            return;
        }
        let is_free = |&backend: &usize| {
            let has_been = self.idle_since[backend].is_some_and(|since| since + LONG < now);
            has_been && scenario.is_steady(backend)
        };
        let stuck = self.open().find_map(|(id, record)| {
            let waits = record.whole_at.is_some_and(|at| at + LONG < now)
                && record.arrivals.is_empty()
                && !scenario
                    .clients
                    .iter()
                    .any(|one| one.pipelines && one.requests.contains(&id))
                && scenario.requests[id].pool == PoolKind::One;
            let pool = scenario.pool(PoolKind::One);
            let free = pool.iter().copied().find(is_free)?;
            let is_connecting = pool.iter().any(|backend| is_connecting(*backend));
            (waits && !is_connecting).then_some((id, free))
        });
        if let Some((id, backend)) = stuck {
            self.violated(format!(
                "request {id} waits although backend {backend} has nothing to do"
            ));
        }
    }
}
