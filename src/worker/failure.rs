//! The failure of a request whose connection to a backend has ended. The table of all failures is in
//! `shared/failure.rs`, because the table sizes the counters of both sides.

pub use crate::shared::failure::{Afterwards, Failure, FailureRow, Fault, RetryRule, STATUS_5XX};
use crate::worker::multiplex::{Gone, Unconnected};

impl Failure {
    /// The failure of a request whose stream to the backend is gone.
    pub fn of_gone(gone: Gone) -> Failure {
        match gone {
            Gone::Malformed(refusal) => Failure::MalformedResponse(refusal),
            Gone::Unprocessed => Failure::Unprocessed,
            Gone::Reset(_) | Gone::Lost | Gone::TooSlow => Failure::Reset,
            Gone::Unconnected(unconnected) => Failure::of_unconnected(unconnected),
        }
    }

    /// The failure of a request whose backend cannot be connected to.
    pub fn of_unconnected(unconnected: Unconnected) -> Failure {
        match unconnected {
            Unconnected::Failed => Failure::ConnectFailed,
            Unconnected::TimedOut => Failure::ConnectTimeout,
            Unconnected::Untrusted => Failure::Untrusted,
            Unconnected::Exhausted => Failure::Exhausted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::ErrorCode;
    use crate::http::refusal::Refusal;

    #[test]
    fn the_end_of_a_stream_or_a_connection_is_a_failure() {
        let malformed = Refusal::BadFieldName;
        let rows = [
            (
                Gone::Malformed(malformed),
                Failure::MalformedResponse(malformed),
            ),
            (Gone::Unprocessed, Failure::Unprocessed),
            (Gone::Reset(ErrorCode::CANCEL), Failure::Reset),
            (Gone::Lost, Failure::Reset),
            (
                Gone::Unconnected(Unconnected::Failed),
                Failure::ConnectFailed,
            ),
            (
                Gone::Unconnected(Unconnected::TimedOut),
                Failure::ConnectTimeout,
            ),
            (
                Gone::Unconnected(Unconnected::Untrusted),
                Failure::Untrusted,
            ),
            (
                Gone::Unconnected(Unconnected::Exhausted),
                Failure::Exhausted,
            ),
        ];
        for (gone, failure) in rows {
            assert_eq!(Failure::of_gone(gone), failure, "{gone:?}");
        }
    }
}
