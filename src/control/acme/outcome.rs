//! The outcome of an order.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use instant_acme::{Error, Problem};

use super::schedule::OrderTrouble;
use crate::base::limits;

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// The certificate was issued and stored.
    Issued,
    /// No authority answered, or not as one.
    Unreachable,
    /// The authority did not take the account, the order or the name.
    Refused,
    /// The authority did not get the answer that proves control of the name.
    NotProven,
    /// The authority gave something that is no certificate for the name, or a worse one than the stored one.
    Unusable,
    /// The folder that certificates are kept in cannot be written to.
    NotKept,
}

/// Every outcome, in the order in which they are counted.
const ALL: [OrderOutcome; 6] = [
    OrderOutcome::Issued,
    OrderOutcome::Unreachable,
    OrderOutcome::Refused,
    OrderOutcome::NotProven,
    OrderOutcome::Unusable,
    OrderOutcome::NotKept,
];

impl OrderOutcome {
    /// The label for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            OrderOutcome::Issued => "issued",
            OrderOutcome::Unreachable => "unreachable",
            OrderOutcome::Refused => "refused",
            OrderOutcome::NotProven => "not_proven",
            OrderOutcome::Unusable => "unusable",
            OrderOutcome::NotKept => "not_kept",
        }
    }
}

/// How many orders ended in which way.
#[derive(Debug, Default)]
pub struct OrderCounters([AtomicU64; ALL.len()]);

impl OrderCounters {
    /// Counts an order that ended like this.
    pub(super) fn note(&self, outcome: OrderOutcome) {
        let number = ALL.iter().position(|known| *known == outcome);
        debug_assert!(number.is_some(), "each outcome is listed");
        self.0[number.unwrap_or_default()].fetch_add(1, Relaxed);
    }

    /// Each outcome's word with its count.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = self.0.iter().map(|count| count.load(Relaxed));
        ALL.iter().map(|outcome| outcome.label()).zip(counters)
    }
}

/// Why there is no certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct OrderFailure {
    /// How the order ended.
    pub outcome: OrderOutcome,
    /// On one line, of at most [`limits::ACME_REASON_BYTES`]: part of it an authority has written.
    pub why: String,
    /// The authority does not know the account: another one is needed.
    pub lacks_account: bool,
    /// Whether the dates of the certificate make no sense by this machine's clock.
    pub contradicts_clock: bool,
}

impl OrderFailure {
    /// A failure of an order. `why` is shortened to one line.
    pub fn new(outcome: OrderOutcome, why: impl AsRef<str>) -> OrderFailure {
        OrderFailure {
            outcome,
            why: bounded(why.as_ref()),
            lacks_account: false,
            contradicts_clock: false,
        }
    }

    /// A failure with the reason that the authority gives for a name of which it was not convinced.
    pub fn not_proven(problem: &Problem) -> OrderFailure {
        OrderFailure::new(OrderOutcome::NotProven, text_of(problem))
    }

    /// The side that has the trouble.
    pub fn trouble(&self) -> OrderTrouble {
        match self.outcome {
            OrderOutcome::Unreachable => OrderTrouble::Unreachable,
            _ => OrderTrouble::Refused,
        }
    }
}

impl From<Error> for OrderFailure {
    fn from(error: Error) -> OrderFailure {
        match &error {
            Error::Api(problem) => OrderFailure {
                lacks_account: kind_of(problem) == "accountDoesNotExist",
                ..OrderFailure::new(OrderOutcome::Refused, text_of(problem))
            },
            Error::Json(why) => {
                let why = format!("the answer is not that of an authority: {why}");
                OrderFailure::new(OrderOutcome::Unreachable, why)
            }
            Error::Timeout(_) => {
                OrderFailure::new(OrderOutcome::Unreachable, "the order took too long")
            }
            _ => {
                let cause = error.source().map(|cause| format!(": {cause}"));
                let why = format!("{error}{}", cause.unwrap_or_default());
                OrderFailure::new(OrderOutcome::Unreachable, why)
            }
        }
    }
}

/// The last part of the problem's type (RFC 8555 section 6.7).
fn kind_of(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.rsplit(':').next().unwrap_or_default()
}

/// `connection: 127.0.0.1: connection refused`
fn text_of(problem: &Problem) -> String {
    let subproblems = problem.subproblems.iter();
    let details = subproblems.filter_map(|subproblem| subproblem.detail.as_deref());
    let details = problem.detail.as_deref().into_iter().chain(details);
    let details: Vec<&str> = details.collect();
    format!("{}: {}", kind_of(problem), details.join("; "))
}

fn bounded(text: &str) -> String {
    let visible = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    let mut line: String = visible.collect();
    line.truncate(line.floor_char_boundary(limits::ACME_REASON_BYTES));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        Problem {
            r#type: Some(format!("urn:ietf:params:acme:error:{kind}")),
            detail: Some(detail.to_owned()),
            status: Some(400),
            subproblems: Vec::new(),
        }
    }

    #[test]
    fn what_an_authority_writes_is_one_bounded_line() {
        let long = format!("a\r\nb\u{1b}[31m {}", "ä".repeat(1_000));
        let failure = OrderFailure::not_proven(&problem("connection", &long));
        assert!(
            failure.why.starts_with("connection: a  b [31m ä"),
            "{failure:?}"
        );
        assert!(failure.why.len() <= limits::ACME_REASON_BYTES);
        assert!(failure.why.chars().all(|char| !char.is_control()));
    }

    #[test]
    fn errors_table() {
        let unknown = OrderFailure::from(Error::Api(problem("accountDoesNotExist", "who?")));
        assert_eq!(unknown.outcome, OrderOutcome::Refused);
        assert!(unknown.lacks_account);
        let limited = OrderFailure::from(Error::Api(problem("rateLimited", "too many")));
        assert_eq!(limited.why, "rateLimited: too many");
        assert!(!limited.lacks_account);
        assert_eq!(limited.trouble(), OrderTrouble::Refused);
        let gone = Error::Other(std::io::Error::other("connection refused").into());
        let gone = OrderFailure::from(gone);
        assert_eq!(
            (gone.outcome, gone.trouble()),
            (OrderOutcome::Unreachable, OrderTrouble::Unreachable)
        );
        assert_eq!(gone.why, "connection refused");
    }

    #[test]
    fn outcomes_are_counted_apart() {
        let counters = OrderCounters::default();
        counters.note(OrderOutcome::Issued);
        counters.note(OrderOutcome::NotKept);
        counters.note(OrderOutcome::NotKept);
        let counted: Vec<_> = counters
            .counters()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [("issued", 1), ("not_kept", 2)]);
    }
}
