//! The knowledge that the backends share of the cases, and the requests that they have seen of each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::cases::{Case, Elsewhere, Failure};

/// The cases with what was seen of them; both backends of every pool share it.
pub struct Stage {
    pub cases: Vec<Case>,
    ledgers: Vec<Mutex<Ledger>>,
    /// Requests that were hidden in bodies and arrived as requests.
    pub smuggled: AtomicUsize,
    connections: AtomicUsize,
}

/// The requests that backends have seen of one case.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The request itself, each time that its head arrived.
    pub attempts: Vec<Attempt>,
    /// The connections on which the request after it arrived.
    pub next: Vec<usize>,
    /// Connections that have served something of this case, and ended.
    pub ended: Vec<usize>,
    /// Mistakes that are mistakes in any case.
    pub wrongs: Vec<String>,
}

/// One arrival of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub connection: usize,
    pub body: Received,
}

/// The part of a body that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing says that it has ended.
    Incomplete,
    /// The body came to its end, and is the body that was sent, or is not.
    Complete { as_sent: bool, bytes: usize },
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The request makes the connections used ones.
    Warm,
    Go,
    /// The request follows on the client's connection.
    Next,
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Warm => "warm",
            Purpose::Go => "go",
            Purpose::Next => "next",
        }
    }
}

impl Stage {
    pub fn new(cases: Vec<Case>) -> Stage {
        Stage {
            ledgers: cases.iter().map(|_| Mutex::default()).collect(),
            cases,
            smuggled: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    pub fn next_connection(&self) -> usize {
        self.connections.fetch_add(1, SeqCst)
    }

    /// The case and the purpose that a target names; `None` for what must not arrive.
    pub fn find(&self, target: &str) -> Option<(usize, Purpose)> {
        let (case, word) = target.strip_prefix("/c")?.split_once('/')?;
        let purposes = [Purpose::Warm, Purpose::Go, Purpose::Next];
        let purpose = purposes
            .into_iter()
            .find(|purpose| purpose.word() == word)?;
        let case: usize = case.parse().ok()?;
        (case < self.cases.len()).then_some((case, purpose))
    }

    pub fn ledger(&self, case: usize) -> Ledger {
        self.ledgers[case].lock().unwrap().clone()
    }

    pub fn change<T>(&self, case: usize, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(&mut self.ledgers[case].lock().unwrap())
    }

    /// Notes that a connection has ended on which something of these cases was served.
    pub fn note_ended(&self, connection: usize, cases: &[usize]) {
        for case in cases {
            self.change(*case, |ledger| ledger.ended.push(connection));
        }
    }

    /// Notes an attempt; gives its number, and whether it is the one that fails.
    pub fn begin(&self, case: usize, connection: usize) -> (usize, bool) {
        let attempt = Attempt {
            connection,
            body: Received::Incomplete,
        };
        let number = self.change(case, |ledger| {
            ledger.attempts.push(attempt);
            ledger.attempts.len() - 1
        });
        let case = &self.cases[case];
        let is_scripted = matches!(case.failure, Failure::Fails { .. });
        let fails = is_scripted && (number == 0 || case.elsewhere == Elsewhere::Nobody);
        (number, fails)
    }

    /// Notes that the body of an attempt came to its end.
    pub fn complete(&self, case: usize, attempt: usize, body: &[u8]) {
        let received = Received::Complete {
            as_sent: body == self.cases[case].request.body(),
            bytes: body.len(),
        };
        self.change(case, |ledger| ledger.attempts[attempt].body = received);
    }
}

/// The body of every answer that goes well: whose it is.
pub fn token(case: usize, purpose: Purpose) -> String {
    format!("c{case}-{}", purpose.word())
}
